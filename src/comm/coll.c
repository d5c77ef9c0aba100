/* SPDX-License-Identifier: Apache-2.0 */
/* The collectives' three forms, and the check of their arguments. */
#include <base/clock.h>
#include <base/type.h>
#include <comm/comm.h>
#include <stdint.h>

/* ---- arguments ---------------------------------------------------------------------------------------------------------- */

static int check_buffers(const struct tutti_comm *c, const struct call *k, const struct plan_entry *e)
{
	const char *name = coll_rows[k->coll].name;
	uintptr_t in = (uintptr_t)k->send, out = (uintptr_t)k->recv;
	if (e->reads && !in && k->count)
		return err_set(TUTTI_ERR_INVALID, "%s: send: expected %zu bytes at rank %d, got NULL", name, e->in, c->rank);
	if (e->writes && !out && k->count)
		return err_set(TUTTI_ERR_INVALID, "%s: recv: expected %zu bytes at rank %d, got NULL", name, e->out, c->rank);
	if (e->reads && e->writes && out != in + (uintptr_t)e->in_place && in < out + e->out && out < in + e->in)
		return err_set(TUTTI_ERR_INVALID, "%s: send [%p, +%zu) and recv [%p, +%zu) overlap; in place expects recv == send%+td", name, k->send, e->in,
		               k->recv, e->out, e->in_place);
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
	return TUTTI_OK;
}

/* ---- three ways to start one plan ----------------------------------------------------------------------------------------- */

static int call_entry(struct tutti_comm *c, const struct call *k, struct plan_entry **e)
{
	int status = c->engine.status ? err_set(c->engine.status, "%s", c->engine.why) : plans_get(c, k, e);
	return status ? status : check_buffers(c, k, *e);
}

static int call_block(struct tutti_comm *c, const struct call *k)
{
	struct plan_entry *e;
	struct run *run;
	if (!c)
		return err_set(TUTTI_ERR_INVALID, "comm: expected a communicator, got NULL");
	engine_enter(&c->engine);
	int status = call_entry(c, k, &e);
	bool timed = !status && watch_due(e);
	int64_t from = timed ? clock_ns() : 0;
	if (!status)
		status = engine_start(&c->engine, e->plan, k->send, k->recv, &run);
	if (!status) {
		status = engine_wait(&c->engine, run, CLOCK_NEVER);
		engine_drop(&c->engine, run);
	}
	if (timed && !status)
		watch_note(c, e, clock_ns() - from);
	if (status < 0)
		comm_error(c, status);
	engine_leave(&c->engine);
	return status;
}

static int call_request(struct tutti_comm *c, const struct call *k, struct tutti_request **req, bool persistent)
{
	struct plan_entry *e;
	if (!c || !req)
		return err_set(TUTTI_ERR_INVALID, "%s: expected a pointer, got NULL", c ? "req" : "comm");
	engine_enter(&c->engine);
	int status = call_entry(c, k, &e);
	if (!status)
		status = request_new(c, e->plan, k, persistent, req);
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
