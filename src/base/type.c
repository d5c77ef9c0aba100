/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names and sizes of types and operators, and the users' operators: a fixed table of this process.
 *
 *      op = TUTTI_OPS + generation * OP_SLOTS + slot        so that a handle that was freed is not taken for its successor
 *
 * Create and free take the lock; look-ups take none: a slot is filled before its handle is stored, and believed only while that is there.
 */
#include <base/err.h>
#include <base/type.h>
#include <base/user_op.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

enum { OP_SLOTS = 64 };

static const struct { const char *name; size_t bytes; bool integer; } types[TUTTI_TYPES] = {
#define X(NAME, name, ctype, bytes, integer) [TUTTI_##NAME] = { #name, bytes, integer },
	TYPE_ROWS(X)
#undef X
};

static const struct { const char *name; bool integers_only; } ops[TUTTI_OPS] = {
#define X(NAME, name, integers) [TUTTI_##NAME] = { #name, integers },
	OP_ROWS(X)
#undef X
};

/* What nccl-tests and people call them besides. */
static const struct { const char *name; enum tutti_type type; } aliases[] = {
	{ "char", TUTTI_INT8 }, { "int", TUTTI_INT32 }, { "uint", TUTTI_UINT32 }, { "half", TUTTI_FLOAT16 }, { "fp16", TUTTI_FLOAT16 },
	{ "bf16", TUTTI_BFLOAT16 }, { "float", TUTTI_FLOAT32 }, { "fp32", TUTTI_FLOAT32 }, { "double", TUTTI_FLOAT64 },
	{ "fp64", TUTTI_FLOAT64 },
};

static struct { atomic_int handle; int generation; struct user_op op; } slots[OP_SLOTS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

bool type_valid(int type)
{
	return type >= 0 && type < TUTTI_TYPES;
}

size_t type_bytes(int type)
{
	return type_valid(type) ? types[type].bytes : 0;
}

int type_from_name(const char *name)
{
	for (int i = 0; i < TUTTI_TYPES; i++)
		if (!strcmp(types[i].name, name))
			return i;
	for (size_t i = 0; i < sizeof aliases / sizeof *aliases; i++)
		if (!strcmp(aliases[i].name, name))
			return (int)aliases[i].type;
	return -1;
}

const struct user_op *user_op(int op)
{
	int slot = (op - TUTTI_OPS) % OP_SLOTS;

	if (op < TUTTI_OPS || atomic_load_explicit(&slots[slot].handle, memory_order_acquire) != op)
		return NULL;
	return &slots[slot].op;
}

bool op_legal(int op, int type)
{
	if (op < 0 || !type_valid(type))
		return false;
	if (op < TUTTI_OPS)
		return types[type].integer || !ops[op].integers_only;
	return user_op(op) != NULL;
}

bool op_commutes(int op)
{
	const struct user_op *user = user_op(op);

	return !user || user->commutes;
}

int op_from_name(const char *name)
{
	for (int i = 0; i < TUTTI_OPS; i++)
		if (!strcmp(ops[i].name, name))
			return i;
	return -1;
}

uint32_t op_user_id(int op)
{
	const struct user_op *user = user_op(op);

	return user ? user->id : 0;
}

size_t tutti_type_size(enum tutti_type type)
{
	return type_bytes((int)type);
}

const char *tutti_type_name(enum tutti_type type)
{
	return type_valid((int)type) ? types[type].name : "?";
}

const char *tutti_op_name(int op)
{
	if (op >= 0 && op < TUTTI_OPS)
		return ops[op].name;
	return user_op(op) ? "user" : "?";
}

int tutti_op_create(tutti_op_fn fn, void *ctx, uint32_t id, int commutes, int *op)
{
	int slot, handle;

	if (!fn || !op)
		return err_set(TUTTI_ERR_INVALID, "op_create: %s must not be NULL", fn ? "op" : "fn");
	pthread_mutex_lock(&lock);
	for (slot = 0; slot < OP_SLOTS && atomic_load_explicit(&slots[slot].handle, memory_order_relaxed); slot++)
		;
	if (slot == OP_SLOTS) {
		pthread_mutex_unlock(&lock);
		return err_set(TUTTI_ERR_NOMEM, "op_create: all %d operators of this process are in use", OP_SLOTS);
	}
	handle = TUTTI_OPS + slots[slot].generation * OP_SLOTS + slot;
	slots[slot].generation = (slots[slot].generation + 1) % (INT_MAX / OP_SLOTS - 1);
	slots[slot].op = (struct user_op){ fn, ctx, id, commutes != 0 };
	atomic_store_explicit(&slots[slot].handle, handle, memory_order_release);
	pthread_mutex_unlock(&lock);
	*op = handle;
	return TUTTI_OK;
}

int tutti_op_free(int op)
{
	int status = TUTTI_OK;

	pthread_mutex_lock(&lock);
	if (user_op(op))
		atomic_store_explicit(&slots[(op - TUTTI_OPS) % OP_SLOTS].handle, 0, memory_order_release);
	else
		status = err_set(TUTTI_ERR_INVALID, "op_free: expected an operator from tutti_op_create, got %d", op);
	pthread_mutex_unlock(&lock);
	return status;
}
