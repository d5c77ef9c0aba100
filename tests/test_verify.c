/* SPDX-License-Identifier: Apache-2.0 */
/* All algorithms are right for 1 to 128 ranks; and the verifier says what is wrong with those that are not. */
#include <algo/algo.h>
#include <base/err.h>
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <stdlib.h>
#include <string.h>
#include <tutti/tutti.h>
#include <verify/verify.h>

/* Sanitizers make it ten times as slow, and see the same code with fewer ranks. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { RANKS = 40 };
#else
enum { RANKS = 128 };
#endif

ParameterizedTestParameters(verify, every_algorithm_is_right_for_all_numbers_of_ranks)
{
	static int index[128];
	size_t n = 0;
	while (algo_table[n].name) {
		index[n] = (int)n;
		n++;
	}
	return cr_make_param_array(int, index, n);
}

ParameterizedTest(int *index, verify, every_algorithm_is_right_for_all_numbers_of_ranks)
{
	const struct algo *a = &algo_table[*index];
	unsigned cases = 0;
	char why[1024];
	for (int n = 1; n <= RANKS; n++)
		cr_assert_eq(verify_ranks(a, n, &cases, why, sizeof why), 0, "%s %s: %s", coll_rows[a->coll].name, a->name, why);
	cr_assert_geq(cases, RANKS - 1);
}

/* Were there none, the test above would go through without a word. */
Test(verify, there_are_even_and_uneven_shapes_of_two_and_three_levels)
{
	for (int n = 8; n <= RANKS; n += 4) {
		struct shape *s;
		int at = 0, even = 0, uneven = 0, racks = 0, dealt = 0;
		for (; (s = verify_shape(n, &at)); shape_free(s)) {
			bool same = s->level[0].least == s->level[0].most;
			cr_assert(s->nlevels == 1 || s->nlevels == 2);
			even += same;
			uneven += !same;
			racks += s->nlevels == 2;
			dealt += s->level[0].of[1] != s->level[0].of[0] && same;
		}
		cr_assert_geq(at, 0, "%d ranks: %s", n, err_last());
		cr_assert(even > 1 && uneven > 1 && racks && dealt, "%d ranks: %d even, %d uneven, %d with racks, %d dealt out", n, even, uneven, racks, dealt);
	}
}

/* Hierarchical ones beyond that, sampled: n ranks by machine, `per` on each but the last, which has what is left; racks of `rack` machines (0: none). */
struct sample { int n, per, rack; };

static struct shape *sample_shape(const struct sample *x)
{
	struct shape *s = NULL;
	int32_t *unit = calloc((size_t)x->n * 2, sizeof *unit);
	for (int r = 0; r < x->n; r++) {
		unit[r] = r / x->per;
		unit[x->n + r] = x->rack ? unit[r] / x->rack : 0;
	}
	cr_assert_eq(shape_make(&s, x->n, 2, (const int32_t *const[]){ unit, unit + x->n }), 0, "%s", err_last());
	free(unit);
	return s;
}

Test(verify, hierarchical_algorithms_are_right_beyond_128_ranks)
{
	static const struct sample samples[] = { { 200, 8, 0 }, { 203, 8, 0 }, { 256, 16, 4 }, { 387, 7, 5 }, { 1024, 32, 0 }, { 1000, 64, 4 } };
	char why[1024];
	for (size_t i = 0; i < (RANKS < 128 ? 2 : sizeof samples / sizeof *samples); i++) {
		struct shape *s = sample_shape(&samples[i]);
		for (const struct algo *a = algo_table; a->name; a++) {
			struct problem p = { a->coll, samples[i].n, samples[i].n / 3, 2, 1, s };
			struct verify_opts o = verify_defaults(p.nranks);
			cr_assert(!a->shaped || verify(a, &p, &o, why, sizeof why) == 0, "%s %s, %d ranks by %d: %s", coll_rows[a->coll].name, a->name,
					samples[i].n, samples[i].per, why);
		}
		shape_free(s);
	}
}

/* ---- algorithms that are wrong ------------------------------------------------------------------------------------- */

static uint32_t one(const struct problem *p)
{
	(void)p;
	return 1;
}

static void refuted(void (*build)(struct recorder *, const struct problem *, const struct group *), enum coll coll, int ranks, bool ordered,
		const char *because)
{
	const struct algo a = { "wrong", coll, one, build, ordered, "", false };
	struct problem p = { coll, ranks, 0, 1, 1, NULL };
	struct verify_opts o = verify_defaults(ranks);
	char why[512] = "";
	cr_assert_eq(verify(&a, &p, &o, why, sizeof why), TUTTI_ERR_INTERNAL);
	cr_assert(strstr(why, because), "expected \"%s\", got \"%s\"", because, why);
}

static void other(struct recorder *w, const struct group *g, bool reversed, struct span dst, struct span src)
{
	rec_send(w, 1 - g->me, src);
	rec_recv_reduce(w, 1 - g->me, dst, src, (reversed && g->me ? STEP_REVERSED : 0) | STEP_FINAL);
}

static void exchange_in_place(struct recorder *w, const struct problem *p, const struct group *g)
{
	(void)p;
	other(w, g, true, span(BUF_OUT, 0, 1), span(BUF_IN, 0, 1));
}

/* Passes with buffering; in place, each receive waits for a send that waits for the other's receive. */
Test(verify, exchange_in_place_is_a_deadlock)
{
	refuted(exchange_in_place, COLL_ALL_REDUCE, 2, true, "deadlock with one open step a queue");
}

static void exchange(struct recorder *w, const struct problem *p, const struct group *g, bool reversed)
{
	(void)p;
	rec_scratch(w, 1);
	rec_copy(w, span(BUF_SCRATCH, 0, 1), span(BUF_IN, 0, 1));
	other(w, g, reversed, span(BUF_OUT, 0, 1), span(BUF_SCRATCH, 0, 1));
}

static void exchange_unordered(struct recorder *w, const struct problem *p, const struct group *g)
{
	exchange(w, p, g, false);
}

static void exchange_ordered(struct recorder *w, const struct problem *p, const struct group *g)
{
	exchange(w, p, g, true);
}

Test(verify, operands_in_another_order_are_wrong)
{
	const struct algo right = { "right", COLL_ALL_REDUCE, one, exchange_ordered, true, "", false };
	struct problem p = { COLL_ALL_REDUCE, 2, 0, 1, 1, NULL };
	struct verify_opts o = verify_defaults(2);
	char why[512];
	cr_assert_eq(verify(&right, &p, &o, why, sizeof why), 0, "%s", why);
	refuted(exchange_unordered, COLL_ALL_REDUCE, 2, true, "wrong result");
	refuted(exchange_unordered, COLL_ALL_REDUCE, 2, false, "wrong result");         /* the two ranks' expressions differ */
}

static void fill_root(struct recorder *w, const struct problem *p, const struct group *g)
{
	if (g->me == p->root)
		rec_copy(w, span(BUF_OUT, 0, 1), span(BUF_IN, 0, 1));
}

Test(verify, broadcast_must_reach_everybody)
{
	refuted(fill_root, COLL_BROADCAST, 3, false, "rank 1: wrong result at element 0 of block 0");
}

static void forget_final(struct recorder *w, const struct problem *p, const struct group *g)
{
	if (g->me == p->root)
		rec_recv_reduce_set(w, g, span(BUF_OUT, 0, 1), span(BUF_IN, 0, 1), 0);
	else
		rec_send(w, p->root, span(BUF_IN, 0, 1));
}

Test(verify, average_must_be_divided)
{
	refuted(forget_final, COLL_REDUCE, 3, true, "wrong result");
}

/*
 * A reduction that overwrites the send buffer is right in place, and wrong out of place, where in is constant: the recorder refuses it;
 * out is as bad a source.
 */
static void read_out(struct recorder *w, const struct problem *p, const struct group *g)
{
	(void)p;
	rec_scratch(w, 1);
	rec_copy(w, span(BUF_SCRATCH, 0, 1), span(BUF_OUT, 0, 1));
	other(w, g, true, span(BUF_OUT, 0, 1), span(BUF_SCRATCH, 0, 1));
}

Test(verify, what_is_right_only_in_place_is_wrong)
{
	refuted(read_out, COLL_ALL_REDUCE, 2, true, "out of place");
}

static void one_way(struct recorder *w, const struct problem *p, const struct group *g)
{
	(void)p;
	rec_scratch(w, 1);
	if (g->me == 0)
		rec_send(w, 1, span(BUF_SCRATCH, 0, 1));
	if (g->me == 1)
		rec_recv(w, 0, span(BUF_SCRATCH, 0, 1));
}

Test(verify, barrier_must_hear_of_everybody)
{
	refuted(one_way, COLL_BARRIER, 2, false, "rank 0 may leave before rank 1 has come");
}

/* The receive of round 2 is not waited for by the send of round 2: a rank may leave too early although everybody talks to everybody. */
static void forgetful(struct recorder *w, const struct problem *p, const struct group *g)
{
	(void)p;
	rec_scratch(w, 4);
	for (int i = 0; i < 2; i++) {
		rec_send(w, (g->me + (1 << i)) % 4, span(BUF_SCRATCH, 0, 1));
		rec_recv(w, (g->me + 4 - (1 << i)) % 4, span(BUF_SCRATCH, (uint32_t)i + 1, 1));
	}
}

Test(verify, barrier_rounds_must_wait_for_each_other)
{
	refuted(forgetful, COLL_BARRIER, 4, false, "may leave before");
}

static void one_too_many(struct recorder *w, const struct problem *p, const struct group *g)
{
	rec_scratch(w, 2);
	fill_root(w, p, g);
	if (g->me == 0)
		rec_send(w, 1, span(BUF_IN, 0, 1));
	else
		for (int i = 0; i < 2; i++)
			rec_recv(w, 0, span(BUF_OUT, 0, 1));
}

static void one_too_few(struct recorder *w, const struct problem *p, const struct group *g)
{
	fill_root(w, p, g);
	if (g->me == 0)
		rec_send(w, 1, span(BUF_IN, 0, 1));
}

Test(verify, every_message_needs_both_ends)
{
	refuted(one_too_many, COLL_BROADCAST, 2, false, "rank 1 step 1 receives from 0 on channel 0, which sends it nothing more");
	refuted(one_too_few, COLL_BROADCAST, 2, false, "rank 0 step 1 sends to 1, which does not receive it");
}
