/* SPDX-License-Identifier: Apache-2.0 */
/* The communicator as its users meet it: requests, several communicators, point-to-point, operators, errors. Over every transport. */
#include "ranks.h"
#include <base/clock.h>
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <net/transport.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static char transports[3][8] = { "loop", "shm", "tcp" };
#define OVER_TRANSPORTS(name) \
	ParameterizedTestParameters(comm, name) { return cr_make_param_array(char[8], transports, 3); } \
	ParameterizedTest(char (*transport)[8], comm, name)

static struct tutti_config on(const char *transport)
{
	struct tutti_config c = TUTTI_CONFIG_INIT;
	c.transport = transport;
	c.timeout_ms = 20000;
	return c;
}

#define EXPECT(cond) do { if (!(cond)) return "line " LINE(__LINE__) ": " #cond; } while (0)
#define LINE(l) LINE_(l)
#define LINE_(l) #l

static int run(int n, const char *transport, rank_fn fn)
{
	struct tutti_config c = on(transport);
	return comms_run(n, &c, fn, NULL);
}

static int run_to_failure(int n, const char *transport, rank_fn fn)
{
	struct tutti_config c = on(transport);
	return comms_run_to_failure(n, &c, fn, NULL);
}

/* ---- requests ------------------------------------------------------------------------------------------------------------ */

enum { BUCKETS = 24, LENGTH = 3001 };

static const char *many_in_flight(struct tutti_comm *c, void *ctx)
{
	(void)ctx;
	int n = tutti_comm_size(c), rank = tutti_comm_rank(c);
	int64_t *x = malloc(BUCKETS * LENGTH * sizeof(*x));
	struct tutti_request *req[BUCKETS];
	for (int i = 0; i < BUCKETS * LENGTH; i++)
		x[i] = i + rank;
	for (int b = 0; b < BUCKETS; b++)       /* alternating sizes: one plan shared by many, two plans at once */
		EXPECT(tutti_all_reduce_async(x + b * LENGTH, x + b * LENGTH, b % 2 ? LENGTH : 7, TUTTI_INT64, TUTTI_SUM, c, &req[b]) == 0);
	for (int b = BUCKETS; b-- > 0;) {       /* each rank waits in an order of its own */
		int k = (b * 7 + rank * 5) % BUCKETS;
		EXPECT(tutti_wait(&req[k], -1) == TUTTI_OK);
		EXPECT(!req[k]);
	}
	for (int b = 0; b < BUCKETS; b++)
		for (int i = 0; i < LENGTH; i++) {
			int at = b * LENGTH + i;
			EXPECT(x[at] == (b % 2 || i < 7 ? (int64_t)n * at + n * (n - 1) / 2 : at + rank));
		}
	free(x);
	return NULL;
}
OVER_TRANSPORTS(many_requests_in_flight_waited_for_in_any_order) { cr_assert_eq(run(4, *transport, many_in_flight), 0); }

static const char *persistent(struct tutti_comm *c, void *ctx)
{
	(void)ctx;
	int32_t x[100], n = tutti_comm_size(c);
	struct tutti_request *req, *once;
	EXPECT(tutti_all_reduce_init(x, x, 100, TUTTI_INT32, TUTTI_MAX, c, &req) == 0);
	for (int turn = 0; turn < 50; turn++) {
		for (int i = 0; i < 100; i++)
			x[i] = turn * 1000 + i + tutti_comm_rank(c);
		EXPECT(tutti_start(req) == 0);
		EXPECT(tutti_start(req) == TUTTI_ERR_INVALID);
		int status;
		while ((status = turn % 2 ? tutti_wait(&req, 1) : tutti_test(&req)) == TUTTI_PENDING)
			;
		EXPECT(status == 0 && req);
		for (int i = 0; i < 100; i++)
			EXPECT(x[i] == turn * 1000 + i + n - 1);
	}
	EXPECT(tutti_request_free(&req) == 0 && !req);
	EXPECT(tutti_barrier_async(c, &once) == 0);
	EXPECT(tutti_start(once) == TUTTI_ERR_INVALID);
	return tutti_wait(&once, -1) < 0 ? tutti_last_error(c) : NULL;
}
OVER_TRANSPORTS(a_persistent_request_starts_again) { cr_assert_eq(run(3, *transport, persistent), 0); }

/* ---- two communicators ------------------------------------------------------------------------------------------------------ */

static const char *opposite(struct tutti_comm *c, void *ctx)
{
	(void)ctx;
	int rank = tutti_comm_rank(c);
	struct tutti_comm *d;
	size_t count = 300000;
	float *x = malloc(2 * count * sizeof(*x));
	struct tutti_config config = on(NULL);
	EXPECT(tutti_comm_split(c, 0, -rank, &d, &config) == 0);
	EXPECT(tutti_comm_rank(d) == tutti_comm_size(c) - 1 - rank);
	for (int turn = 0; turn < 5; turn++) {
		struct tutti_request *r[2];
		for (size_t i = 0; i < 2 * count; i++)
			x[i] = 1;
		EXPECT(tutti_all_reduce_async(x, x, count, TUTTI_FLOAT32, TUTTI_SUM, c, &r[0]) == 0);
		EXPECT(tutti_all_reduce_async(x + count, x + count, count, TUTTI_FLOAT32, TUTTI_SUM, d, &r[1]) == 0);
		EXPECT(tutti_wait(&r[rank % 2], -1) == 0);
		EXPECT(tutti_wait(&r[1 - rank % 2], -1) == 0);
		for (size_t i = 0; i < 2 * count; i += 997)
			EXPECT(x[i] == (float)tutti_comm_size(c));
	}
	free(x);
	return tutti_comm_destroy(d) < 0 ? tutti_last_error(NULL) : NULL;
}
OVER_TRANSPORTS(two_communicators_waited_for_in_opposite_order) { cr_assert_eq(run(4, *transport, opposite), 0); }

static const char *split(struct tutti_comm *c, void *ctx)
{
	(void)ctx;
	int rank = tutti_comm_rank(c), x = rank;
	struct tutti_comm *d = c;
	EXPECT(tutti_comm_split(c, rank == 4 ? -1 : rank % 2, 0, &d, NULL) == 0);
	if (rank == 4)
		return d ? "a negative color got a communicator" : NULL;
	EXPECT(tutti_comm_size(d) == 2 && tutti_comm_rank(d) == rank / 2);
	EXPECT(tutti_all_reduce(&x, &x, 1, TUTTI_INT32, TUTTI_SUM, d) == 0);
	EXPECT(x == (rank % 2 ? 1 + 3 : 0 + 2));
	return tutti_comm_destroy(d) < 0 ? tutti_last_error(NULL) : NULL;
}
OVER_TRANSPORTS(split_by_color_and_key) { cr_assert_eq(run(5, *transport, split), 0); }

static bool goes_over(struct tutti_comm *c, const char *transport)
{
	char text[4096], line[64];
	float x = 1;
	snprintf(line, sizeof(line), "rank %d: %s", 1 - tutti_comm_rank(c), transport);
	return !tutti_all_reduce(&x, &x, 1, TUTTI_FLOAT32, TUTTI_SUM, c) && x == 2 && !tutti_comm_describe(c, text, sizeof(text)) && strstr(text, line);
}

static const char *split_twice(struct tutti_comm *c, void *transport)
{
	struct tutti_config config = TUTTI_CONFIG_INIT;
	struct tutti_comm *d, *e;
	EXPECT(tutti_comm_split(c, 0, 0, &d, NULL) == 0);
	EXPECT(goes_over(d, transport));
	config.algo = "ring";
	EXPECT(tutti_comm_split(d, 0, 0, &e, &config) == 0);
	EXPECT(tutti_comm_destroy(d) == 0);
	EXPECT(goes_over(e, transport));
	return tutti_comm_destroy(e) < 0 ? tutti_last_error(NULL) : NULL;
}
OVER_TRANSPORTS(a_split_is_configured_as_its_parent)
{
	struct tutti_config c = on(*transport);
	cr_assert_eq(comms_run(2, &c, split_twice, *transport), 0);
}

/* ---- point to point ---------------------------------------------------------------------------------------------------------- */

static const char *exchange(struct tutti_comm *c, void *ctx)
{
	(void)ctx;
	int n = tutti_comm_size(c), rank = tutti_comm_rank(c), right = (rank + 1) % n, left = (rank + n - 1) % n;
	size_t count = 250000;
	int32_t *out = malloc(count * 4), *in = malloc(count * 4);
	struct tutti_request *r[2];
	for (size_t i = 0; i < count; i++)
		out[i] = (int32_t)i * 3 + rank;
	EXPECT(tutti_send_async(out, count, TUTTI_INT32, right, c, &r[0]) == 0);        /* everybody sends first */
	EXPECT(tutti_recv_async(in, count, TUTTI_INT32, left, c, &r[1]) == 0);
	EXPECT(tutti_barrier(c) == 0);                                                  /* a collective passes between them */
	EXPECT(tutti_wait(&r[1], -1) == 0 && tutti_wait(&r[0], -1) == 0);
	for (size_t i = 0; i < count; i++)
		EXPECT(in[i] == (int32_t)i * 3 + left);
	for (int k = 0; k < 100; k++) {         /* in the order issued */
		int x = k * n + rank, y = -1;
		EXPECT(tutti_send_async(&x, 1, TUTTI_INT32, right, c, &r[0]) == 0);
		EXPECT(tutti_recv(&y, 1, TUTTI_INT32, left, c) == 0);
		EXPECT(y == k * n + left);
		EXPECT(tutti_wait(&r[0], -1) == 0);
	}
	EXPECT(tutti_send_async(NULL, 0, TUTTI_INT8, right, c, &r[0]) == 0);
	EXPECT(tutti_recv(NULL, 0, TUTTI_INT8, left, c) == 0);
	free(in);
	free(out);
	return tutti_wait(&r[0], -1) < 0 ? tutti_last_error(c) : NULL;
}
OVER_TRANSPORTS(send_and_recv_between_neighbours) { cr_assert_eq(run(3, *transport, exchange), 0); }

static const char *unmatched(struct tutti_comm *c, void *ctx)
{
	(void)ctx;
	enum { MANY = 50 };
	int rank = tutti_comm_rank(c), token = 0, got[MANY];
	struct tutti_request *r[MANY];
	if (rank == 0) {
		for (int i = 0; i < MANY; i++)  /* rank 1 sends these only after rank 2's token has gone round */
			EXPECT(tutti_recv_async(&got[i], 1, TUTTI_INT32, 1, c, &r[i]) == 0);
		EXPECT(tutti_recv(&token, 1, TUTTI_INT32, 2, c) == 0);
		EXPECT(tutti_send(&token, 1, TUTTI_INT32, 1, c) == 0);
		for (int i = 0; i < MANY; i++)
			EXPECT(tutti_wait(&r[i], -1) == 0 && got[i] == i);
	} else if (rank == 1) {
		EXPECT(tutti_recv(&token, 1, TUTTI_INT32, 0, c) == 0);
		for (int i = 0; i < MANY; i++)
			EXPECT(tutti_send(&i, 1, TUTTI_INT32, 0, c) == 0);
	} else {
		EXPECT(tutti_send(&rank, 1, TUTTI_INT32, 0, c) == 0);
	}
	return NULL;
}
OVER_TRANSPORTS(receives_that_nobody_sends_for_block_nothing_else) { cr_assert_eq(run(3, *transport, unmatched), 0); }

/* ---- operators ------------------------------------------------------------------------------------------------------------------ */

/* Affine maps x -> a x + b, packed in an int64: composing does not commute. */
static void compose(const void *a, const void *b, void *out, size_t count, enum tutti_type type, void *ctx)
{
	(void)type;
	(void)ctx;
	const int32_t *f = a, *g = b;
	int32_t *o = out;
	for (size_t i = 0; i < count; i++) {
		int32_t slope = (int32_t)((uint32_t)f[2 * i] * (uint32_t)g[2 * i]), offset = (int32_t)((uint32_t)f[2 * i] * (uint32_t)g[2 * i + 1] + (uint32_t)f[2 * i + 1]);
		o[2 * i] = slope;
		o[2 * i + 1] = offset;
	}
}

static int composing;

static const char *ordered(struct tutti_comm *c, void *ctx)
{
	(void)ctx;
	enum { COUNT = 5000 };
	static _Thread_local int32_t x[2 * COUNT], want[2 * COUNT], next[2 * COUNT];
	int n = tutti_comm_size(c);
	for (int r = 0; r < n; r++) {
		for (int i = 0; i < COUNT; i++) {
			next[2 * i] = 2 * r + 3;
			next[2 * i + 1] = i + r;
		}
		if (r == tutti_comm_rank(c))
			memcpy(x, next, sizeof(x));
		if (r)
			compose(want, next, want, COUNT, TUTTI_INT64, NULL);
		else
			memcpy(want, next, sizeof(want));
	}
	EXPECT(tutti_all_reduce(x, x, COUNT, TUTTI_INT64, composing, c) == 0);
	EXPECT(!memcmp(x, want, sizeof(x)));
	return NULL;
}
OVER_TRANSPORTS(an_operator_that_does_not_commute_keeps_rank_order)
{
	cr_assert_eq(tutti_op_create(compose, NULL, 77, 0, &composing), 0);
	for (int n = 2; n < 8; n++)
		cr_assert_eq(run(n, *transport, ordered), 0);
	cr_assert_eq(tutti_op_free(composing), 0);
}

/* ---- errors ---------------------------------------------------------------------------------------------------------------------- */

static const char *bad_arguments(struct tutti_comm *c, void *ctx)
{
	(void)ctx;
	float x[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };
	EXPECT(tutti_all_reduce(NULL, x, 8, TUTTI_FLOAT32, TUTTI_SUM, c) == TUTTI_ERR_INVALID);
	EXPECT(strstr(tutti_last_error(c), "send: expected 32 bytes"));
	EXPECT(tutti_all_reduce(x, x + 1, 4, TUTTI_FLOAT32, TUTTI_SUM, c) == TUTTI_ERR_INVALID);
	EXPECT(strstr(tutti_last_error(c), "overlap"));
	EXPECT(tutti_all_reduce(x, x, 8, (enum tutti_type)99, TUTTI_SUM, c) == TUTTI_ERR_INVALID);
	EXPECT(tutti_all_reduce(x, x, 8, TUTTI_FLOAT32, TUTTI_BXOR, c) == TUTTI_ERR_INVALID);
	EXPECT(tutti_all_reduce(x, x, 8, TUTTI_FLOAT32, 12345, c) == TUTTI_ERR_INVALID);
	EXPECT(tutti_all_reduce(x, x, SIZE_MAX / 2, TUTTI_FLOAT32, TUTTI_SUM, c) == TUTTI_ERR_INVALID);
	EXPECT(tutti_broadcast(x, x, 8, TUTTI_FLOAT32, 7, c) == TUTTI_ERR_INVALID);
	EXPECT(strstr(tutti_last_error(c), "root: expected 0..1, got 7"));
	EXPECT(tutti_send(x, 8, TUTTI_FLOAT32, tutti_comm_rank(c), c) == TUTTI_ERR_INVALID);
	EXPECT(tutti_all_reduce(x, x, 8, TUTTI_FLOAT32, TUTTI_SUM, NULL) == TUTTI_ERR_INVALID);
	EXPECT(tutti_all_reduce(x, x, 8, TUTTI_FLOAT32, TUTTI_SUM, c) == TUTTI_OK);     /* the communicator is as good as before */
	EXPECT(x[7] == 16);
	return NULL;
}
OVER_TRANSPORTS(bad_arguments_are_refused_in_words_and_harm_nothing) { cr_assert_eq(run(2, *transport, bad_arguments), 0); }

static const char *mismatch(struct tutti_comm *c, void *ctx)
{
	(void)ctx;
	float x[64] = { 0 };
	int rank = tutti_comm_rank(c);
	int status = rank == 1 ? tutti_all_reduce(x, x, 63, TUTTI_FLOAT32, TUTTI_SUM, c) : tutti_all_reduce(x, x, 64, TUTTI_FLOAT32, TUTTI_SUM, c);
	if (status != TUTTI_ERR_MISMATCH)
		return tutti_last_error(c);
	EXPECT(strstr(tutti_last_error(c), "count 63") && strstr(tutti_last_error(c), "count 64"));
	EXPECT(tutti_barrier(c) == TUTTI_ERR_MISMATCH);         /* final */
	return NULL;
}
OVER_TRANSPORTS(ranks_that_disagree_hear_who_called_what) { cr_assert_eq(run_to_failure(3, *transport, mismatch), 0); }

static const char *late(struct tutti_comm *c, void *ctx)
{
	(void)ctx;
	struct tutti_request *r;
	if (tutti_comm_rank(c) == 1)
		usleep(1500000);
	EXPECT(tutti_barrier_async(c, &r) == 0);
	int64_t t = clock_ns();
	int status = tutti_wait(&r, 200);
	if (tutti_comm_rank(c) == 0)
		EXPECT(status == TUTTI_PENDING && r && clock_ns() - t >= 200000000);
	while (r)
		EXPECT(tutti_wait(&r, 100) >= 0);
	return NULL;
}
OVER_TRANSPORTS(wait_gives_up_at_its_deadline_and_the_request_lives_on) { cr_assert_eq(run(2, *transport, late), 0); }

static const char *never(struct tutti_comm *c, void *ctx)
{
	(void)ctx;
	if (tutti_comm_rank(c) == 1) {
		usleep(900000);
		int status = tutti_barrier(c);  /* may end well: rank 0 did come, and its message with it */
		if (!status)
			status = tutti_barrier(c);
		return status == TUTTI_ERR_TIMEOUT ? NULL : tutti_last_error(c);
	}
	EXPECT(tutti_barrier(c) == TUTTI_ERR_TIMEOUT);
	EXPECT(strstr(tutti_last_error(c), "rank 1"));
	return NULL;
}
OVER_TRANSPORTS(the_communicators_deadline_names_whom_it_waited_for)
{
	struct tutti_config c = on(*transport);
	c.timeout_ms = 400;
	cr_assert_eq(comms_run_to_failure(2, &c, never, NULL), 0);
}

static const char *aborts(struct tutti_comm *c, void *ctx)
{
	(void)ctx;
	static _Thread_local char x[1 << 20];
	struct tutti_request *r = NULL;
	if (tutti_comm_rank(c) == 2) {
		usleep(100000);
		EXPECT(tutti_comm_abort(c) == 0);
		EXPECT(tutti_barrier(c) == TUTTI_ERR_ABORTED);
		return NULL;
	}
	EXPECT(tutti_all_reduce_async(x, x, sizeof(x), TUTTI_INT8, TUTTI_SUM, c, &r) == 0);
	if (tutti_wait(&r, -1) != TUTTI_ERR_ABORTED)
		return tutti_last_error(c);
	EXPECT(strstr(tutti_last_error(c), "rank 2"));
	return NULL;
}
OVER_TRANSPORTS(abort_ends_operations_everywhere) { cr_assert_eq(run_to_failure(4, *transport, aborts), 0); }

/* ---- ways to meet --------------------------------------------------------------------------------------------------------------- */

struct by_id { struct tutti_unique_id id; int n, rank; const char *why; };

static void *join_by_id(void *arg)
{
	struct by_id *me = arg;
	struct tutti_comm *c;
	struct tutti_config config = on("loop");
	int x = me->rank + 1;
	if (tutti_comm_init(&c, me->n, &me->id, me->rank, &config) < 0 || tutti_all_reduce(&x, &x, 1, TUTTI_INT32, TUTTI_SUM, c) < 0)
		me->why = tutti_last_error(NULL);
	else if (x != me->n * (me->n + 1) / 2)
		me->why = "wrong sum";
	else if (tutti_comm_destroy(c) < 0)
		me->why = tutti_last_error(NULL);
	if (me->why)
		fprintf(stderr, "rank %d: %s\n", me->rank, me->why);
	return NULL;
}

Test(comm, ranks_meet_by_a_unique_id)
{
	enum { N = 5 };
	pthread_t thread[N];
	struct by_id ranks[N] = { { .n = N } };
	cr_assert_eq(tutti_get_unique_id(&ranks[0].id), 0, "%s", tutti_last_error(NULL));
	for (int r = 0; r < N; r++) {
		ranks[r] = (struct by_id){ ranks[0].id, N, r, NULL };
		cr_assert_eq(pthread_create(&thread[r], NULL, join_by_id, &ranks[r]), 0);
	}
	for (int r = 0; r < N; r++)
		pthread_join(thread[r], NULL);
	for (int r = 0; r < N; r++)
		cr_assert_null(ranks[r].why);
}

Test(comm, one_rank_needs_nobody)
{
	struct tutti_comm *c;
	double in[3] = { 1, 2, 3 }, out[3];
	unsetenv("RANK");
	unsetenv("WORLD_SIZE");
	cr_assert_eq(tutti_comm_init_env(&c, NULL), 0, "%s", tutti_last_error(NULL));
	cr_assert_eq(tutti_comm_size(c), 1);
	cr_assert_eq(tutti_all_reduce(in, out, 3, TUTTI_FLOAT64, TUTTI_AVG, c), 0);
	cr_assert(!memcmp(in, out, sizeof(in)));
	cr_assert_eq(tutti_all_to_all(in, out, 3, TUTTI_FLOAT64, c), 0);
	cr_assert_eq(tutti_barrier(c), 0);
	cr_assert_eq(tutti_comm_destroy(c), 0);
}

/* Each rank has a slice of its own: refused by name when the communicator is made. */
struct slice_seat { struct meet_seat seat; bool refused; };

static void *join_with_a_slice(void *arg)
{
	struct slice_seat *s = arg;
	struct tutti_comm *c;
	struct tutti_config config = on("loop");
	config.slice_bytes = s->seat.rank == 1 ? 8192 : 4096;
	s->refused = tutti_comm_init_allgather(&c, 3, s->seat.rank, meet_allgather, &s->seat, &config) == TUTTI_ERR_MISMATCH &&
	             strstr(tutti_last_error(NULL), "TUTTI_SLICE");
	return NULL;
}

Test(comm, ranks_configured_differently_are_refused)
{
	struct meet *m = meet_new(3);
	struct slice_seat seats[3] = { { { m, 0 }, false }, { { m, 1 }, false }, { { m, 2 }, false } };
	pthread_t thread[3];
	for (int r = 0; r < 3; r++)
		cr_assert_eq(pthread_create(&thread[r], NULL, join_with_a_slice, &seats[r]), 0);
	for (int r = 0; r < 3; r++)
		pthread_join(thread[r], NULL);
	for (int r = 0; r < 3; r++)
		cr_assert(seats[r].refused, "rank %d", r);
	meet_free(m);
}

Test(comm, an_unknown_algorithm_is_refused_by_name)
{
	struct tutti_comm *c;
	struct tutti_config config = on("loop");
	config.algo = "rung";
	cr_assert_eq(tutti_comm_init_env(&c, &config), TUTTI_ERR_CONFIG);
	cr_assert(strstr(tutti_last_error(NULL), "\"rung\""));
}

/* ---- waiting in one call for what another must move ------------------------------------------------------------------------------ */

/* Even ranks leave an operation in flight and go on to a call that waits on the control tree; odd ranks finish the operation first. */
static const char *in_flight_across(struct tutti_comm *c, void *ctx)
{
	bool destroys = ctx;
	enum { COUNT = 200000 };
	int rank = tutti_comm_rank(c), status;
	float *x = malloc(COUNT * sizeof(*x));
	struct tutti_comm *d = NULL;
	struct tutti_request *r;
	for (int i = 0; i < COUNT; i++)
		x[i] = 1;
	if (destroys)
		EXPECT(tutti_comm_split(c, 0, 0, &d, NULL) == 0);
	EXPECT(tutti_all_reduce_async(x, x, COUNT, TUTTI_FLOAT32, TUTTI_SUM, c, &r) == 0);
	if (rank % 2)
		EXPECT(tutti_wait(&r, -1) == 0);
	status = destroys ? tutti_comm_destroy(d) : tutti_comm_split(c, 0, 0, &d, NULL);
	EXPECT(status == 0);
	EXPECT(tutti_wait(&r, -1) == 0);
	for (int i = 0; i < COUNT; i++)
		EXPECT(x[i] == (float)tutti_comm_size(c));
	free(x);
	if (!destroys)
		EXPECT(tutti_comm_destroy(d) == 0);
	return NULL;
}

static int run_across(const char *transport, bool destroys)
{
	struct tutti_config c = on(transport);
	return comms_run(4, &c, in_flight_across, destroys ? "" : NULL);
}
OVER_TRANSPORTS(a_split_moves_operations_in_flight) { cr_assert_eq(run_across(*transport, false), 0); }
OVER_TRANSPORTS(destroying_one_communicator_moves_the_others) { cr_assert_eq(run_across(*transport, true), 0); }

static void *abort_later(void *comm)
{
	usleep(200000);
	tutti_comm_abort(comm);
	return NULL;
}

static const char *aborted_while_blocked(struct tutti_comm *c, void *ctx)
{
	(void)ctx;
	pthread_t watchdog;
	int x = 0;
	if (tutti_comm_rank(c) == 0)
		EXPECT(pthread_create(&watchdog, NULL, abort_later, c) == 0);
	int status = tutti_recv(&x, 1, TUTTI_INT32, 1 - tutti_comm_rank(c), c);        /* nobody sends */
	if (tutti_comm_rank(c) == 0)
		pthread_join(watchdog, NULL);
	return status == TUTTI_ERR_ABORTED ? NULL : tutti_last_error(c);
}
OVER_TRANSPORTS(another_thread_may_abort_a_blocked_call) { cr_assert_eq(run_to_failure(2, *transport, aborted_while_blocked), 0); }

static const char *tiny_slice(struct tutti_comm *c, void *ctx)
{
	(void)ctx;
	return trial_run(c, &(struct trial){ COLL_ALL_REDUCE, TUTTI_FLOAT64, TUTTI_SUM, 0, 3001, false });
}

Test(comm, a_slice_below_the_grain_still_moves)
{
	struct tutti_config c = on("loop");
	c.slice_bytes = 5;
	cr_assert_eq(comms_run(3, &c, tiny_slice, NULL), 0);
}

/* A test that finds nothing, a long time elsewhere, a wait: the time elsewhere is not held against the others. */
static const char *computes_between(struct tutti_comm *c, void *ctx)
{
	(void)ctx;
	struct tutti_request *r;
	if (tutti_comm_rank(c) == 0) {
		EXPECT(tutti_barrier_async(c, &r) == 0);
		EXPECT(tutti_test(&r) == TUTTI_PENDING);
		usleep(4500000);
		return tutti_wait(&r, -1) < 0 ? tutti_last_error(c) : NULL;
	}
	usleep(5000000);
	return tutti_barrier(c) < 0 ? tutti_last_error(c) : NULL;
}

Test(comm, time_spent_elsewhere_is_no_wait)
{
	struct tutti_config c = on("loop");
	c.timeout_ms = 2000;
	cr_assert_eq(comms_run(2, &c, computes_between, NULL), 0);
}

/* ---- registered memory ------------------------------------------------------------------------------------------------- */

static const char *registered(struct tutti_comm *c, void *ctx)
{
	(void)ctx;
	enum { N = 40000 };
	int n = tutti_comm_size(c), rank = tutti_comm_rank(c);
	int32_t *x = malloc(N * sizeof(*x)), *shared;
	struct tutti_mem *mem[3], *wrong = (struct tutti_mem *)x;
	EXPECT(tutti_register(c, x, N * sizeof(*x), &mem[0]) == TUTTI_OK);
	EXPECT(tutti_register(c, x + 10, 100, &mem[1]) == TUTTI_OK);    /* lies within */
	EXPECT(tutti_register(c, x + N / 2, N * sizeof(*x), &mem[2]) == TUTTI_ERR_INVALID && strstr(tutti_last_error(c), "overlaps"));
	EXPECT(tutti_mem_free(x) == TUTTI_ERR_INVALID);                 /* it is not tutti_mem_alloc's */
	EXPECT(tutti_mem_alloc((void **)&shared, N * sizeof(*shared)) == TUTTI_OK);
	EXPECT(tutti_register(c, shared, N * sizeof(*shared), &mem[2]) == TUTTI_OK);
	for (int i = 0; i < N; i++)
		x[i] = i + rank;
	EXPECT(tutti_all_reduce(x, x, N, TUTTI_INT32, TUTTI_SUM, c) == TUTTI_OK);
	EXPECT(tutti_all_reduce(x, shared, N, TUTTI_INT32, TUTTI_MAX, c) == TUTTI_OK);
	for (int i = 0; i < N; i++)
		EXPECT(x[i] == n * i + n * (n - 1) / 2 && shared[i] == x[i]);
	EXPECT(tutti_deregister(c, wrong) == TUTTI_ERR_INVALID);
	for (int i = 0; i < 2; i++)
		EXPECT(tutti_deregister(c, mem[i]) == TUTTI_OK);
	EXPECT(tutti_register(c, x + 1, 8, &mem[0]) == TUTTI_OK);       /* as new; left to the communicator's end */
	EXPECT(tutti_deregister(c, mem[2]) == TUTTI_OK && tutti_mem_free(shared) == TUTTI_OK);
	EXPECT(tutti_barrier(c) == TUTTI_OK);
	free(x);
	return NULL;
}

OVER_TRANSPORTS(registered_memory_is_used_and_stays_the_callers) { cr_assert_eq(run(3, *transport, registered), 0); }

static const char *persistent_memory(struct tutti_comm *c, void *ctx)
{
	(void)ctx;
	enum { N = 30000 };
	int n = tutti_comm_size(c), rank = tutti_comm_rank(c);
	int32_t *x = malloc((size_t)n * N * sizeof(*x));
	struct tutti_request *gather, *sum;
	EXPECT(!net_mem_find(x, 1));
	EXPECT(tutti_all_gather_init(x + rank * N, x, N, TUTTI_INT32, c, &gather) == TUTTI_OK);
	EXPECT(tutti_all_reduce_init(x, x, N, TUTTI_INT32, TUTTI_SUM, c, &sum) == TUTTI_OK);
	EXPECT(net_mem_find(x, (size_t)n * N * sizeof(*x)));
	for (int turn = 0; turn < 3; turn++) {
		for (int i = 0; i < N; i++)
			x[rank * N + i] = rank + i + turn;
		EXPECT(tutti_start(gather) == TUTTI_OK && tutti_wait(&gather, -1) == TUTTI_OK);
		for (int i = 0; i < n * N; i++)
			EXPECT(x[i] == i / N + i % N + turn);
		EXPECT(tutti_start(sum) == TUTTI_OK && tutti_wait(&sum, -1) == TUTTI_OK);
		for (int i = 0; i < N; i++)
			EXPECT(x[i] == n * (i + turn));
		if (turn == 1)                          /* the region stays while the other shares it */
			EXPECT(tutti_request_free(&gather) == TUTTI_OK && net_mem_find(x, (size_t)n * N * sizeof(*x)) &&
			       tutti_all_gather_init(x + rank * N, x, N, TUTTI_INT32, c, &gather) == TUTTI_OK);
	}
	EXPECT(tutti_request_free(&sum) == TUTTI_OK && net_mem_find(x, 1) && tutti_request_free(&gather) == TUTTI_OK && !net_mem_find(x, 1));
	free(x);
	return NULL;
}

OVER_TRANSPORTS(buffers_of_persistent_requests_are_regions_until_they_are_freed) { cr_assert_eq(run(3, *transport, persistent_memory), 0); }
