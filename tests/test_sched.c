/* SPDX-License-Identifier: Apache-2.0 */
/* The recorder derives the waits that the text of sched.h promises, and refuses what builders must not write. */
#include <algo/algo.h>
#include <base/err.h>
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static uint32_t two_chunks(const struct problem *p)
{
	(void)p;
	return 2;
}

/* An algorithm of this test's own. */
static struct sched *record(void (*build)(struct recorder *, const struct problem *, const struct group *), enum coll coll, int ranks,
		int *status)
{
	static struct algo a;
	struct problem p = { coll, ranks, 0, 1, 1, NULL };
	struct sched *s = NULL;
	a = (struct algo){ "test", coll, two_chunks, build, false, "", false };
	*status = sched_build(&s, &a, &p, 0);
	return s;
}

static struct sched *build(enum coll coll, const char *name, int ranks, int root, int channels, int rank)
{
	struct problem p = { coll, ranks, root, 4, channels, NULL };
	struct sched *s = NULL;
	cr_assert_eq(sched_build(&s, algo_find(coll, name), &p, rank), 0, "%s", err_last());
	return s;
}

static bool waits_for(const struct sched *s, uint32_t i, int32_t a, int32_t b)
{
	const int32_t *w = s->steps[i].wait;
	return (w[0] == a && w[1] == b) || (w[0] == b && w[1] == a);
}

Test(sched, ring_of_four_is_the_picture)
{
	struct sched *s = build(COLL_ALL_REDUCE, "ring", 4, 0, 1, 0);
	static const int32_t wait[] = { -1, -1, 1, -1, 3, -1, 5, 0, 7, 2, 9, 4 };
	char *text = NULL;
	size_t size = 0;
	FILE *f = open_memstream(&text, &size);
	cr_assert_eq(s->nsteps, 12);
	for (uint32_t i = 0; i < 12; i++)
		cr_assert(waits_for(s, i, wait[i], -1), "step %u waits for %d %d", i, s->steps[i].wait[0], s->steps[i].wait[1]);
	sched_print(f, s);
	fclose(f);
	cr_assert(strstr(text, "2      0       send         1                                out     [3,4)        1 "), "%s", text);
	cr_assert(strstr(text, "5      0       recv_reduce  3           out     [1,2)        in      [1,2)                   final"), "%s",
			text);
	free(text);
	sched_free(s);
}

static void copy_twice(struct recorder *w, const struct problem *p, const struct group *g)
{
	(void)p;
	(void)g;
	rec_scratch(w, 4);
	rec_copy(w, span(BUF_SCRATCH, 0, 2), span(BUF_IN, 0, 2));       /* 0 */
	rec_send(w, 1, span(BUF_SCRATCH, 0, 1));                        /* 1 reads what 0 wrote */
	/* 2 overwrites what 1 read; 0 is implied for its chunk, not for the other */
	rec_recv(w, 1, span(BUF_SCRATCH, 0, 2));
	/* 3 reads what 2 wrote, and overwrites what 0 read, when in place: implied */
	rec_copy(w, span(BUF_OUT, 0, 2), span(BUF_SCRATCH, 0, 2));
}

Test(sched, implied_waits_are_left_out)
{
	int status;
	struct sched *s = record(copy_twice, COLL_ALL_REDUCE, 2, &status);
	cr_assert_eq(status, 0, "%s", err_last());
	cr_assert_eq(s->nsteps, 4);
	cr_assert(waits_for(s, 1, 0, -1));
	cr_assert(waits_for(s, 2, 1, -1));
	cr_assert(waits_for(s, 3, 2, -1));
	sched_free(s);
}

static void gather_four(struct recorder *w, const struct problem *p, const struct group *g)
{
	(void)p;
	(void)g;
	rec_scratch(w, 4);
	for (uint32_t i = 0; i < 4; i++)
		rec_recv(w, 1, span(BUF_SCRATCH, i, 1));
	rec_channel(w, 1);
	rec_send(w, 1, span(BUF_SCRATCH, 0, 4));
}

Test(sched, more_than_two_waits_go_through_nops)
{
	int status;
	struct sched *s = record(gather_four, COLL_ALL_REDUCE, 2, &status);
	cr_assert_eq(status, 0, "%s", err_last());
	cr_assert_eq(s->nsteps, 7);
	cr_assert_eq(s->steps[4].op, STEP_NOP);
	cr_assert_eq(s->steps[5].op, STEP_NOP);
	cr_assert_eq(s->steps[4].channel, 1);
	cr_assert(waits_for(s, 4, 1, 0));
	cr_assert(waits_for(s, 5, 2, 4));
	cr_assert(waits_for(s, 6, 3, 5));
	sched_free(s);
}

static void own_block(struct recorder *w, const struct problem *p, const struct group *g)
{
	(void)p;
	rec_recv(w, 1, span(BUF_OUT, 0, 2));
	rec_send(w, 1, span(BUF_IN, (uint32_t)(g->me + 1) * 2, 2));     /* block 1 of in: not where out lies */
	rec_send(w, 1, span(BUF_IN, (uint32_t)g->me * 2, 2));           /* where out lies, in place */
}

Test(sched, waits_know_where_in_place_buffers_lie)
{
	int status;
	struct sched *s = record(own_block, COLL_REDUCE_SCATTER, 2, &status);
	cr_assert_eq(status, 0, "%s", err_last());
	cr_assert(waits_for(s, 1, -1, -1));
	cr_assert(waits_for(s, 2, 0, -1));
	sched_free(s);
}

static int32_t always_one(const struct group *g, int i)
{
	(void)g;
	(void)i;
	return 1;
}

static int32_t odd(const struct group *g, int i)
{
	(void)g;
	return 2 * i + 1;
}

/* ---- what builders must not write --------------------------------------------------------------------------------- */

#define BAD(name, ...) \
	static void bad_##name(struct recorder *w, const struct problem *p, const struct group *g) \
	{ \
		(void)p; \
		(void)g; \
		rec_scratch(w, 4); \
		__VA_ARGS__; \
	}
BAD(write_in, rec_recv(w, 1, span(BUF_IN, 0, 1)))
BAD(range, rec_send(w, 1, span(BUF_IN, 1, 2)))
BAD(wrap, rec_send(w, 1, span(BUF_IN, UINT32_MAX, 1)))
BAD(scratch, rec_send(w, 1, span(BUF_SCRATCH, 4, 1)))
BAD(empty, rec_send(w, 1, span(BUF_IN, 0, 0)))
BAD(self, rec_send(w, 0, span(BUF_IN, 0, 1)))
BAD(stranger, rec_recv(w, 3, span(BUF_OUT, 0, 1)))
BAD(length, rec_copy(w, span(BUF_OUT, 0, 1), span(BUF_IN, 0, 2)))
BAD(piece, rec_copy(w, span(BUF_OUT, 0, 1), span(BUF_IN, 1, 1)))
BAD(overlap, rec_copy(w, span(BUF_SCRATCH, 0, 3), span(BUF_SCRATCH, 2, 3)))
BAD(channel, rec_channel(w, SCHED_MAX_CHANNELS))
BAD(nobody, rec_recv_reduce_set(w, &(struct group){ .n = 1 }, span(BUF_OUT, 0, 1), span(BUF_IN, 0, 1), 0))
BAD(twice, rec_send_set(w, &(struct group){ .n = 2, .rank = always_one }, span(BUF_IN, 0, 1)))
BAD(set_stranger, rec_send_set(w, &(struct group){ .n = 2, .rank = odd }, span(BUF_IN, 0, 1)))

Test(sched, illegal_steps_are_refused)
{
	void (*const bad[])(struct recorder *, const struct problem *, const struct group *) = { bad_write_in, bad_range, bad_wrap,
		bad_scratch, bad_empty, bad_self, bad_stranger, bad_length, bad_piece, bad_overlap, bad_channel, bad_nobody, bad_twice,
				bad_set_stranger };
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		int status;
		struct sched *s = record(bad[i], COLL_ALL_REDUCE, 3, &status);
		cr_assert_eq(status, TUTTI_ERR_INTERNAL, "case %zu", i);
		cr_assert_null(s);
		cr_assert(strstr(err_last(), "all_reduce test, rank 0 of 3, step 0: "), "case %zu: %s", i, err_last());
	}
}

Test(sched, impossible_problems_are_refused_in_words)
{
	const struct { struct problem p; int rank, status; const char *words; } bad[] = {
		{ { COLL_BROADCAST, 4, 4, 1, 1, NULL }, 0, TUTTI_ERR_INVALID, "expected a root in 0..3, got 4" },
		{ { COLL_BROADCAST, 4, 0, 1, 1, NULL }, 4, TUTTI_ERR_INVALID, "expected a rank in 0..3, got 4" },
		{ { COLL_BROADCAST, 4, 0, 1, 9, NULL }, 0, TUTTI_ERR_INVALID, "expected 1..8 channels, got 9" },
		{ { COLL_BROADCAST, 4, 0, 0, 1, NULL }, 0, TUTTI_ERR_INVALID, "expected 1 or more pieces, got 0" },
		{ { COLL_SEND, 4, 2, 1, 1, NULL }, 2, TUTTI_ERR_INVALID, "expected another rank as the peer" },
		{ { COLL_REDUCE, 4, 0, 1, 1, NULL }, 0, TUTTI_ERR_UNSUPPORTED, "binomial is an algorithm for broadcast" },
	};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		const struct algo *a = bad[i].p.coll == COLL_SEND ? algo_find(COLL_SEND, "p2p") : algo_find(COLL_BROADCAST, "binomial");
		struct sched *s = NULL;
		cr_assert_eq(sched_build(&s, a, &bad[i].p, bad[i].rank), bad[i].status, "case %zu", i);
		cr_assert(strstr(err_last(), bad[i].words), "case %zu: %s", i, err_last());
	}
}

/* ---- the algorithms ------------------------------------------------------------------------------------------------ */

Test(sched, id_is_equal_on_all_ranks_and_differs_between_operations)
{
	struct sched *a = build(COLL_BROADCAST, "binomial", 5, 2, 1, 0), *b = build(COLL_BROADCAST, "binomial", 5, 2, 1, 4);
	struct sched *root = build(COLL_BROADCAST, "binomial", 5, 3, 1, 0), *name = build(COLL_BROADCAST, "chain", 5, 2, 1, 0);
	struct sched *send = build(COLL_SEND, "p2p", 5, 2, 1, 1), *recv = build(COLL_RECV, "p2p", 5, 1, 1, 2);
	cr_assert_eq(a->hash, b->hash);
	cr_assert_neq(a->hash, root->hash);
	cr_assert_neq(a->hash, name->hash);
	cr_assert_eq(send->hash, recv->hash);
	struct sched *all[] = { a, b, root, name, send, recv };
	for (int i = 0; i < 6; i++)
		sched_free(all[i]);
}

static uint64_t chunks_sent(const struct sched *s)
{
	uint64_t n = 0;
	for (uint32_t i = 0; i < s->nsteps; i++)
		n += s->steps[i].op == STEP_SEND ? s->steps[i].src.n : 0;
	return n;
}

Test(sched, circulant_and_ring_send_the_least_volume)
{
	for (int n = 2; n <= 64; n++)
		for (int rank = 0; rank < n; rank += n / 2) {
			struct sched *ring = build(COLL_ALL_REDUCE, "ring", n, 0, 1, rank);
			struct sched *circulant = build(COLL_ALL_REDUCE, "circulant", n, 0, 1, rank);
			cr_assert_eq(chunks_sent(ring), 2 * ((uint64_t)n - 1));
			cr_assert_eq(chunks_sent(circulant), 2 * ((uint64_t)n - 1));
			sched_free(ring);
			sched_free(circulant);
		}
}

Test(sched, two_trees_give_nobody_more_than_two_children)
{
	for (int n = 2; n <= 64; n++)
		for (int rank = 0; rank < n; rank++) {
			struct problem p = { COLL_ALL_REDUCE, n, 0, 1, 1, NULL };
			struct sched *s;
			int children = 0;
			cr_assert_eq(sched_build(&s, algo_find(COLL_ALL_REDUCE, "double_tree"), &p, rank), 0);
			for (uint32_t i = 0; i < s->nsteps; i++)
				children += s->steps[i].op == STEP_RECV_REDUCE;
			cr_assert_leq(children, 2, "rank %d of %d", rank, n);
			sched_free(s);
		}
}

Test(sched, direct_all_reduce_is_three_steps)
{
	struct sched *s = build(COLL_ALL_REDUCE, "direct", 7, 0, 1, 3);
	cr_assert_eq(s->nsteps, 3);
	cr_assert_eq(s->nsets, 1);
	cr_assert_eq(s->sets[0].n, 6);
	sched_free(s);
}

Test(sched, one_rank_copies)
{
	for (const struct algo *a = algo_table; a->name; a++) {
		if (a->coll == COLL_SEND || a->coll == COLL_RECV)
			continue;
		struct sched *s = build(a->coll, a->name, 1, 0, 1, 0);
		cr_assert_eq(s->nsteps, a->coll == COLL_BARRIER ? 0 : 1);
		cr_assert(s->nsteps == 0 || s->steps[0].op == STEP_COPY);
		sched_free(s);
	}
}

Test(sched, chunks_tile_every_count)
{
	for (uint32_t k = 1; k < 12; k++)
		for (uint64_t count = 0; count < 40; count++)
			for (uint32_t c = 0; c < 3 * k; c++) {
				uint64_t n = sched_elem(count, k, c + 1) - sched_elem(count, k, c);
				cr_assert_eq(sched_elem(count, k, c / k * k), c / k * count);
				cr_assert(n == count / k || n == count / k + 1);
			}
}

Test(sched, a_thousand_ranks_and_eight_channels)
{
	for (const struct algo *a = algo_table; a->name; a++) {
		struct sched *s = build(a->coll, a->name, 1024, 3, 8, 700);
		cr_assert_gt(s->nsteps, 0);
		sched_free(s);
	}
}

/* Machines and racks that are as uneven as can be: a rank alone does not answer for the shards of thousands, one after the other. */
Test(sched, uneven_machines_have_few_shards)
{
	enum { N = 7000 };
	int32_t *unit = calloc(3 * N, sizeof *unit);
	struct shape *s;
	struct sched *out;
	for (int r = 0; r < N; r++) {
		unit[r] = r < 2000 ? 0 : r;
		unit[N + r] = r < 4000 ? 0 : r;
		unit[2 * N + r] = r < 5500 ? 0 : r;
	}
	cr_assert_eq(shape_make(&s, N, 3, (const int32_t *const[]){ unit, unit + N, unit + 2 * N }), 0);
	const struct algo *a = algo_find(COLL_ALL_REDUCE, "hier_doubling");
	struct problem p = { COLL_ALL_REDUCE, N, 0, 1, 8, s };
	cr_assert_leq(a->k_of(&p), 8 * 8 * 8 * 8);
	cr_assert_eq(sched_build(&out, a, &p, N - 1), 0, "%s", err_last());
	cr_assert_lt(out->nsteps, 1000 * 8);
	sched_free(out);
	shape_free(s);
	free(unit);
}
