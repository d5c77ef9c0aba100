/* SPDX-License-Identifier: Apache-2.0 */
/* The collectives' three forms, and the check of their arguments. */
#include <base/clock.h>
#include <base/type.h>
#include <comm/comm.h>
#include <stdint.h>

/* ---- arguments ---------------------------------------------------------------------------------------------------------- */

/* Buffers of a call at this rank: what is used, how long, and where recv must stand to be in place. */
struct layout { bool reads, writes; size_t in, out; const char *in_place; };

static struct layout layout_of(const struct tutti_comm *c, const struct call *k, size_t bytes)
{
	const struct coll_row *row = &coll_rows[k->coll];
	struct layout l = { coll_reads(k->coll, k->root, c->rank), coll_writes(k->coll, k->root, c->rank), bytes * coll_in_blocks(k->coll, c->nranks),
		            bytes * coll_out_blocks(k->coll, c->nranks), NULL };
	uintptr_t send = (uintptr_t)k->send;
	l.in_place = (const char *)(send + (row->out_shift ? (size_t)c->rank * bytes : 0) - (row->in_shift ? (size_t)c->rank * bytes : 0));
	return l;
}

static int check_buffers(const struct tutti_comm *c, const struct call *k, size_t bytes)
{
	struct layout l = layout_of(c, k, bytes);
	const char *name = coll_rows[k->coll].name;
	if (!k->count)
		return TUTTI_OK;
	if (l.reads && !k->send)
		return err_set(TUTTI_ERR_INVALID, "%s: send: expected %zu bytes at rank %d, got NULL", name, l.in, c->rank);
	if (l.writes && !k->recv)
		return err_set(TUTTI_ERR_INVALID, "%s: recv: expected %zu bytes at rank %d, got NULL", name, l.out, c->rank);
	uintptr_t in = (uintptr_t)k->send, out = (uintptr_t)k->recv;
	if (l.reads && l.writes && k->recv != l.in_place && in < out + l.out && out < in + l.in)
		return err_set(TUTTI_ERR_INVALID, "%s: send [%p, +%zu) and recv [%p, +%zu) overlap; in place expects recv == %p", name, k->send, l.in, k->recv,
		               l.out, (const void *)l.in_place);
	return TUTTI_OK;
}

int call_check(const struct tutti_comm *c, const struct call *k)
{
	const struct coll_row *row = &coll_rows[k->coll];
	bool p2p = k->coll == COLL_SEND || k->coll == COLL_RECV;
	if (!type_valid(k->type))
		return err_set(TUTTI_ERR_INVALID, "%s: type: expected 0..%d, got %d", row->name, TUTTI_TYPES - 1, k->type);
	if (row->reduces && !op_legal(k->op, k->type))
		return err_set(TUTTI_ERR_INVALID, "%s: operator %d (%s) is not one that %s has", row->name, k->op, tutti_op_name(k->op),
		               tutti_type_name((enum tutti_type)k->type));
	if (row->rooted && (k->root < 0 || k->root >= c->nranks || (p2p && k->root == c->rank)))
		return err_set(TUTTI_ERR_INVALID, "%s: %s: expected 0..%d%s, got %d", row->name, p2p ? "peer" : "root", c->nranks - 1,
		               p2p ? " but this rank itself" : "", k->root);
	if (k->count > SIZE_MAX / 4 / type_bytes(k->type) / (size_t)c->nranks)
		return err_set(TUTTI_ERR_INVALID, "%s: count: %zu elements of %zu bytes for %d ranks are more than memory can hold", row->name, k->count,
		               type_bytes(k->type), c->nranks);
	return check_buffers(c, k, k->count * type_bytes(k->type));
}

/* ---- three ways to start one plan ----------------------------------------------------------------------------------------- */

static int call_plan(struct tutti_comm *c, const struct call *k, struct plan **plan)
{
	int status = c->engine.status ? err_set(c->engine.status, "%s", c->engine.why) : call_check(c, k);
	return status ? status : plans_get(c, k, plan);
}

static int call_block(struct tutti_comm *c, const struct call *k)
{
	struct plan *plan;
	struct run *run;
	if (!c)
		return err_set(TUTTI_ERR_INVALID, "comm: expected a communicator, got NULL");
	engine_enter(&c->engine);
	int status = call_plan(c, k, &plan);
	if (!status)
		status = engine_start(&c->engine, plan, k->send, k->recv, &run);
	if (!status) {
		status = engine_wait(&c->engine, run, CLOCK_NEVER);
		engine_drop(&c->engine, run);
	}
	if (status < 0)
		comm_error(c, status);
	engine_leave(&c->engine);
	return status;
}

static int call_request(struct tutti_comm *c, const struct call *k, struct tutti_request **req, bool persistent)
{
	struct plan *plan;
	if (!c || !req)
		return err_set(TUTTI_ERR_INVALID, "%s: expected a pointer, got NULL", c ? "req" : "comm");
	engine_enter(&c->engine);
	int status = call_plan(c, k, &plan);
	if (!status)
		status = request_new(c, plan, k, persistent, req);
	if (status < 0)
		comm_error(c, status);
	engine_leave(&c->engine);
	return status;
}

/* name, parameters, the call's fields */
#define DEFINE(name, NAME, fields, ...) \
	int tutti_##name(__VA_ARGS__, struct tutti_comm *comm) \
	{ \
		struct call k = { .coll = COLL_##NAME, fields }; \
		return call_block(comm, &k); \
	} \
	int tutti_##name##_async(__VA_ARGS__, struct tutti_comm *comm, struct tutti_request **req) \
	{ \
		struct call k = { .coll = COLL_##NAME, fields }; \
		return call_request(comm, &k, req, false); \
	} \
	int tutti_##name##_init(__VA_ARGS__, struct tutti_comm *comm, struct tutti_request **req) \
	{ \
		struct call k = { .coll = COLL_##NAME, fields }; \
		return call_request(comm, &k, req, true); \
	}
#define COMMA ,
#define MOVE .send = send COMMA .recv = recv COMMA .count = count COMMA .type = (int)type

DEFINE(all_reduce, ALL_REDUCE, MOVE COMMA .op = op, TUTTI_ARGS_REDUCE)
DEFINE(reduce_scatter, REDUCE_SCATTER, MOVE COMMA .op = op, TUTTI_ARGS_REDUCE)
DEFINE(reduce, REDUCE, MOVE COMMA .op = op COMMA .root = root, TUTTI_ARGS_REDUCE, int root)
DEFINE(all_gather, ALL_GATHER, MOVE, TUTTI_ARGS_MOVE)
DEFINE(broadcast, BROADCAST, MOVE COMMA .root = root, TUTTI_ARGS_MOVE, int root)
DEFINE(gather, GATHER, MOVE COMMA .root = root, TUTTI_ARGS_MOVE, int root)
DEFINE(scatter, SCATTER, MOVE COMMA .root = root, TUTTI_ARGS_MOVE, int root)
DEFINE(all_to_all, ALL_TO_ALL, MOVE, TUTTI_ARGS_MOVE)
DEFINE(send, SEND, .send = send COMMA .count = count COMMA .type = (int)type COMMA .root = peer, const void *send, size_t count, enum tutti_type type, int peer)
DEFINE(recv, RECV, .recv = recv COMMA .count = count COMMA .type = (int)type COMMA .root = peer, void *recv, size_t count, enum tutti_type type, int peer)

/* One byte of scratch travels, so that the waits are real. */
static const struct call barrier = { .coll = COLL_BARRIER, .count = 1, .type = TUTTI_UINT8 };

int tutti_barrier(struct tutti_comm *comm) { return call_block(comm, &barrier); }
int tutti_barrier_async(struct tutti_comm *comm, struct tutti_request **req) { return call_request(comm, &barrier, req, false); }
int tutti_barrier_init(struct tutti_comm *comm, struct tutti_request **req) { return call_request(comm, &barrier, req, true); }
