/* SPDX-License-Identifier: Apache-2.0 */
/* The collectives as the suite sees them: one row each. Constant; any thread. */
#include <perf/inner.h>
#include <string.h>

#define ARGS_REDUCE c->send, c->recv, c->count, c->type, c->op
#define ARGS_MOVE   c->send, c->recv, c->count, c->type
#define DEFINE(name, ...) \
	static int name##_call(const struct perf_call *c) { return tutti_##name(__VA_ARGS__, c->comm); } \
	static int name##_start(const struct perf_call *c, struct tutti_request **req) { return tutti_##name##_async(__VA_ARGS__, c->comm, req); }

DEFINE(all_reduce, ARGS_REDUCE)
DEFINE(reduce_scatter, ARGS_REDUCE)
DEFINE(reduce, ARGS_REDUCE, c->root)
DEFINE(all_gather, ARGS_MOVE)
DEFINE(broadcast, ARGS_MOVE, c->root)
DEFINE(gather, ARGS_MOVE, c->root)
DEFINE(scatter, ARGS_MOVE, c->root)
DEFINE(all_to_all, ARGS_MOVE)

static int barrier_call(const struct perf_call *c) { return tutti_barrier(c->comm); }
static int barrier_start(const struct perf_call *c, struct tutti_request **req) { return tutti_barrier_async(c->comm, req); }

/* To the right and from the left, at the same time. */
static int sendrecv_start(const struct perf_call *c, struct tutti_request **req)
{
	int n = tutti_comm_size(c->comm), rank = tutti_comm_rank(c->comm);
	int status = tutti_recv_async(c->recv, c->count, c->type, (rank + n - 1) % n, c->comm, &req[0]);

	return status ? status : tutti_send_async(c->send, c->count, c->type, (rank + 1) % n, c->comm, &req[1]);
}

static int sendrecv_call(const struct perf_call *c)
{
	struct tutti_request *req[PERF_REQUESTS] = { NULL, NULL };
	int status = sendrecv_start(c, req);

	for (int i = 0; i < PERF_REQUESTS; i++) {
		int s = tutti_wait(&req[i], -1);
		status = status ? status : s;
	}
	return status;
}

/*        name, send N?, recv N?, reduces?, rooted?, in place, busbw, result from, own block?, at root only? */
#define ROWS(X) \
	X(all_reduce,     0, 0, 1, 0, SAME,         TWICE, ALL,   0, 0) \
	X(reduce_scatter, 1, 0, 1, 0, RECV_IN_SEND, SHARE, ALL,   1, 0) \
	X(all_gather,     0, 1, 0, 0, SEND_IN_RECV, SHARE, BLOCK, 0, 0) \
	X(broadcast,      0, 0, 0, 1, SAME,         ONE,   ROOT,  0, 0) \
	X(reduce,         0, 0, 1, 1, SAME,         ONE,   ALL,   0, 1) \
	X(gather,         0, 1, 0, 1, SEND_IN_RECV, SHARE, BLOCK, 0, 1) \
	X(scatter,        1, 0, 0, 1, RECV_IN_SEND, SHARE, ROOT,  1, 0) \
	X(all_to_all,     1, 1, 0, 0, SAME,         SHARE, BLOCK, 1, 0) \
	X(barrier,        0, 0, 0, 0, NONE,         NONE,  ALL,   0, 0) \
	X(sendrecv,       0, 0, 0, 0, NONE,         ONE,   LEFT,  0, 0)

static const struct perf_coll rows[] = {
#define X(name, sn, rn, red, root, place, factor, from, own, at_root) \
	{ #name, sn, rn, red, root, PLACE_##place, FACTOR_##factor, FROM_##from, own, at_root, name##_call, name##_start },
	ROWS(X)
#undef X
};

const struct perf_coll *perf_coll_find(const char *name)
{
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (!strcmp(rows[i].name, name))
			return &rows[i];
	return NULL;
}

double perf_busbw_factor(enum perf_factor f, int nranks)
{
	double share = (nranks - 1.0) / nranks;

	switch (f) {
	case FACTOR_NONE: return 0;
	case FACTOR_ONE: return 1;
	case FACTOR_SHARE: return share;
	case FACTOR_TWICE: return 2 * share;
	}
	return 0;
}
