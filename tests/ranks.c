/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "ranks.h"
#include <base/half.h>
#include <base/type.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- meeting ------------------------------------------------------------------------------------------------------------ */

struct meet {
	int n;
	pthread_barrier_t barrier;
	char *all;
};

struct meet *meet_new(int n)
{
	struct meet *m = calloc(1, sizeof(*m));
	m->n = n;
	m->all = malloc((size_t)n << 20);
	pthread_barrier_init(&m->barrier, NULL, (unsigned)n);
	return m;
}

void meet_free(struct meet *m)
{
	pthread_barrier_destroy(&m->barrier);
	free(m->all);
	free(m);
}

int meet_allgather(const void *mine, void *all, size_t bytes, void *seat)
{
	struct meet_seat *s = seat;
	if (bytes > 1 << 20)
		return -1;
	memcpy(s->meet->all + (size_t)s->rank * bytes, mine, bytes);
	pthread_barrier_wait(&s->meet->barrier);
	memcpy(all, s->meet->all, (size_t)s->meet->n * bytes);
	pthread_barrier_wait(&s->meet->barrier);
	return 0;
}

struct job { struct meet_seat seat; const struct tutti_config *config; rank_fn fn; void *ctx; bool to_failure, failed; };

static void *rank_main(void *arg)
{
	struct job *j = arg;
	struct tutti_comm *comm;
	const char *why = NULL;
	if (tutti_comm_init_allgather(&comm, j->seat.meet->n, j->seat.rank, meet_allgather, &j->seat, j->config) < 0)
		why = tutti_last_error(NULL);
	else {
		why = j->fn(comm, j->ctx);
		bool failed = tutti_comm_destroy(comm) < 0;
		if (failed != j->to_failure && !why)
			why = failed ? tutti_last_error(NULL) : "the communicator did not fail";
	}
	if (why)
		fprintf(stderr, "rank %d of %d: %s\n", j->seat.rank, j->seat.meet->n, why);
	j->failed = why;
	return NULL;
}

static int run(int n, const struct tutti_config *config, rank_fn fn, void *ctx, bool to_failure)
{
	struct tutti_config limited = TUTTI_CONFIG_INIT;
	struct job *jobs = calloc((size_t)n, sizeof(*jobs));
	pthread_t *threads = calloc((size_t)n, sizeof(*threads));
	struct meet *m = meet_new(n);
	int failed = 0;
	if (config)
		limited = *config;
	if (!limited.timeout_ms)
		limited.timeout_ms = 60000;
	for (int r = 0; r < n; r++) {
		jobs[r] = (struct job){ { m, r }, &limited, fn, ctx, to_failure, false };
		if (pthread_create(&threads[r], NULL, rank_main, &jobs[r]))
			abort();
	}
	for (int r = 0; r < n; r++) {
		pthread_join(threads[r], NULL);
		failed += jobs[r].failed;
	}
	meet_free(m);
	free(threads);
	free(jobs);
	return failed;
}

int comms_run(int n, const struct tutti_config *config, rank_fn fn, void *ctx) { return run(n, config, fn, ctx, false); }
int comms_run_to_failure(int n, const struct tutti_config *config, rank_fn fn, void *ctx) { return run(n, config, fn, ctx, true); }

/* ---- data ---------------------------------------------------------------------------------------------------------------- */

static int value(int op, int rank, uint32_t block, size_t i)
{
	unsigned x = (unsigned)(i * 7 + i / 11 + (size_t)rank * 13 + block * 29);
	if (op == TUTTI_PROD)
		return (x / 3 + (unsigned)rank) % 5 == 0 ? 2 : 1;
	return (int)(x % 7) + 1;
}

static void put(void *buf, int type, size_t i, int v)
{
	switch (type) {
#define X(NAME, name, ctype, bytes, integer) case TUTTI_##NAME: ((ctype *)buf)[i] = TUTTI_##NAME == TUTTI_FLOAT16 ? (ctype)half_from_float((float)v) \
		: TUTTI_##NAME == TUTTI_BFLOAT16 ? (ctype)(float_bits((float)v) >> 16) : (ctype)v; break;
	TYPE_ROWS(X)
#undef X
	}
}

void data_fill(void *buf, int type, int op, int rank, uint32_t block, size_t count)
{
	for (size_t i = 0; i < count; i++)
		put(buf, type, i, value(op, rank, block, i));
}

/* What out's block must hold. */
static void expected(void *buf, const struct trial *t, int n, int rank, uint32_t b)
{
	struct coll_expect x = coll_expect(t->coll, n, t->root, rank, b);
	size_t bytes = t->count * type_bytes(t->type);
	if (x.from >= 0) {
		data_fill(buf, t->type, t->op, x.from, x.block, t->count);
		return;
	}
	char *all = malloc((size_t)n * bytes + 1);
	const void **from = malloc((size_t)n * sizeof(*from));
	for (int r = 0; r < n; r++) {
		from[r] = all + (size_t)r * bytes;
		data_fill(all + (size_t)r * bytes, t->type, t->op, r, x.block, t->count);
	}
	reduce_k_plain(buf, from, n, t->count, t->type, t->op, t->op == TUTTI_AVG ? n : 1);
	free(from);
	free(all);
}

/* ---- a trial -------------------------------------------------------------------------------------------------------------- */

enum { GUARD = 64, PAD = 0xa5 };

struct buffers { char *in, *out, *in_base, *out_base; size_t in_bytes, out_bytes; };

static void buffers_new(struct buffers *b, const struct trial *t, int n, int rank)
{
	size_t bytes = t->count * type_bytes(t->type);
	const struct coll_row *row = &coll_rows[t->coll];
	b->in_bytes = bytes * coll_in_blocks(t->coll, n);
	b->out_bytes = bytes * coll_out_blocks(t->coll, n);
	b->in_base = malloc(b->in_bytes + 2 * GUARD);
	b->out_base = malloc(b->out_bytes + 2 * GUARD);
	memset(b->in_base, PAD, b->in_bytes + 2 * GUARD);
	memset(b->out_base, PAD, b->out_bytes + 2 * GUARD);
	b->in = b->in_base + GUARD;
	b->out = b->out_base + GUARD;
	if (t->in_place && row->out_shift)
		b->out = b->in + (size_t)rank * bytes;
	else if (t->in_place)
		b->in = b->out + (row->in_shift ? (size_t)rank * bytes : 0);
	for (uint32_t k = 0; k < coll_in_blocks(t->coll, n); k++)
		data_fill(b->in + k * bytes, t->type, t->op, rank, k, t->count);
}

static int start(struct tutti_comm *c, const struct trial *t, const void *in, void *out)
{
	enum tutti_type type = (enum tutti_type)t->type;
	switch (t->coll) {
	case COLL_ALL_REDUCE: return tutti_all_reduce(in, out, t->count, type, t->op, c);
	case COLL_REDUCE_SCATTER: return tutti_reduce_scatter(in, out, t->count, type, t->op, c);
	case COLL_ALL_GATHER: return tutti_all_gather(in, out, t->count, type, c);
	case COLL_BROADCAST: return tutti_broadcast(in, out, t->count, type, t->root, c);
	case COLL_REDUCE: return tutti_reduce(in, out, t->count, type, t->op, t->root, c);
	case COLL_GATHER: return tutti_gather(in, out, t->count, type, t->root, c);
	case COLL_SCATTER: return tutti_scatter(in, out, t->count, type, t->root, c);
	case COLL_ALL_TO_ALL: return tutti_all_to_all(in, out, t->count, type, c);
	default: return tutti_barrier(c);
	}
}

static const char *fail(const struct trial *t, const char *what, size_t at)
{
	char *text = NULL;
	if (asprintf(&text, "%s %s %s count %zu root %d%s: %s %zu", coll_rows[t->coll].name, tutti_type_name((enum tutti_type)t->type), tutti_op_name(t->op),
	             t->count, t->root, t->in_place ? " in place" : "", what, at) < 0)
		abort();
	return text;
}

static const char *check(const struct trial *t, const struct buffers *b, int n, int rank)
{
	size_t bytes = t->count * type_bytes(t->type), size = type_bytes(t->type);
	char *want = malloc(bytes + 1);
	const char *why = NULL;
	for (uint32_t k = 0; !why && t->coll != COLL_BARRIER && k < coll_out_blocks(t->coll, n); k++) {
		if (coll_expect(t->coll, n, t->root, rank, k).from == COLL_NONE) {
			for (size_t i = 0; !why && !t->in_place && i < bytes; i++)
				if ((unsigned char)b->out[k * bytes + i] != PAD)
					why = fail(t, "wrote where nothing is to be written, byte", k * bytes + i);
			continue;
		}
		expected(want, t, n, rank, k);
		for (size_t i = 0; !why && i < t->count; i++)
			if (memcmp(want + i * size, b->out + k * bytes + i * size, size))
				why = fail(t, "wrong element", k * t->count + i);
	}
	for (uint32_t k = 0; !why && !t->in_place && k < coll_in_blocks(t->coll, n); k++) {
		data_fill(want, t->type, t->op, rank, k, t->count);
		if (memcmp(want, b->in + k * bytes, bytes))
			why = fail(t, "input changed, block", k);
	}
	for (size_t i = 0; !why && i < GUARD; i++)
		if ((unsigned char)b->out_base[i] != PAD || (unsigned char)b->out_base[GUARD + b->out_bytes + i] != PAD)
			why = fail(t, "wrote outside, near", i);
	free(want);
	return why;
}

const char *trial_run(struct tutti_comm *c, const struct trial *t)
{
	struct buffers b;
	int n = tutti_comm_size(c), rank = tutti_comm_rank(c);
	buffers_new(&b, t, n, rank);
	const char *why = start(c, t, b.in, b.out) < 0 ? tutti_last_error(c) : check(t, &b, n, rank);
	free(b.in_base);
	free(b.out_base);
	return why;
}
