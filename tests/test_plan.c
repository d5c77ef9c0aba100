/* SPDX-License-Identifier: Apache-2.0 */
/* The rules that choose: always something, always legal, nothing that ranks could see differently. And the binding of schedules to bytes. */
#include <algo/algo.h>
#include <base/type.h>
#include <criterion/criterion.h>
#include <exec/plan.h>
#include <plan/choose.h>
#include <stdlib.h>
#include <string.h>

#define EACH_COLLECTIVE for (int coll = 0; coll < COLLS; coll++)
#define EACH_SIZE(bytes) for (uint64_t bytes = 0; bytes < UINT64_MAX / 8; bytes = bytes * 4 + 4)

Test(plan, every_call_gets_an_algorithm_of_its_collective)
{
	EACH_COLLECTIVE for (int n = 1; n <= 300; n += n < 20 ? 1 : 40) EACH_SIZE(bytes) for (int local = 0; local < 2; local++) {
		struct choice c;
		struct query q = { (enum coll)coll, n, n - 1, bytes, true, local, NULL, NULL };
		cr_assert_eq(choose(&c, &q, "", 0, 0), TUTTI_OK);
		cr_assert_eq((int)c.algo->coll, coll);
		cr_assert(c.problem.channels >= 1 && c.problem.channels <= SCHED_MAX_CHANNELS && c.problem.pieces >= 1 && c.slice > 0);
	}
}

Test(plan, operators_that_do_not_commute_get_ordered_algorithms)
{
	EACH_COLLECTIVE for (int n = 2; n <= 130; n += n < 20 ? 1 : 37) EACH_SIZE(bytes) {
		struct choice c;
		struct query q = { (enum coll)coll, n, 0, bytes, !coll_rows[coll].reduces, true, NULL, NULL };
		cr_assert_eq(choose(&c, &q, "", 0, 0), TUTTI_OK, "%s at %d ranks", coll_rows[coll].name, n);
		cr_assert(q.commutes || c.algo->ordered);
	}
}

Test(plan, what_is_forced_counts_and_is_refused_when_it_would_break_order)
{
	struct choice c;
	struct query q = { COLL_ALL_REDUCE, 4, 0, 1 << 20, true, true, NULL, NULL };
	cr_assert_eq(choose(&c, &q, "ring", 4096, 3), TUTTI_OK);
	cr_assert_str_eq(c.algo->name, "ring");
	cr_assert(c.slice == 4096 && c.problem.channels == 3);
	q.commutes = false;
	cr_assert_eq(choose(&c, &q, "ring", 0, 0), TUTTI_ERR_UNSUPPORTED);
	cr_assert(strstr(err_last(), "ring"));
	q.coll = COLL_BARRIER;
	q.commutes = true;
	cr_assert_eq(choose(&c, &q, "ring", 0, 0), TUTTI_OK);   /* a barrier has no ring: the rule decides */
}

Test(plan, signatures_say_who_called_what)
{
	struct choice c;
	struct query q = { COLL_REDUCE, 4, 2, 400, true, true, NULL, NULL };
	struct sched *s;
	struct plan *p;
	char words[96];
	cr_assert_eq(choose(&c, &q, "", 0, 0), TUTTI_OK);
	cr_assert_eq(sched_build(&s, c.algo, &c.problem, 1), TUTTI_OK);
	cr_assert_eq(plan_bind(&p, s, &(struct plan_args){ 100, TUTTI_FLOAT32, TUTTI_MAX, 2, 4096, false }), TUTTI_OK);
	plan_sig_words(p->sig, words, sizeof(words));
	cr_assert_str_eq(words, "reduce float32 max, count 100, root 2");
	plan_free(p);
	sched_free(s);
}

/* Every step's ranges lie in its buffers, for counts below, at and above the number of chunks. */
Test(plan, bound_ranges_lie_in_the_buffers)
{
	for (const struct algo *a = algo_table; a->name; a++)
		for (int n = 2; n < 12; n += 3)
			for (uint64_t count = 0; count < 3000; count = count * 3 + 1) {
				struct problem problem = { a->coll, n, 1, 2, 2, NULL };
				struct sched *s;
				struct plan *p;
				cr_assert_eq(sched_build(&s, a, &problem, 0), TUTTI_OK, "%s", err_last());
				cr_assert_eq(plan_bind(&p, s, &(struct plan_args){ count, TUTTI_FLOAT64, TUTTI_SUM, 1, 4096, a->coll >= COLL_SEND }), TUTTI_OK);
				const size_t most[] = { 0, p->in_bytes, p->out_bytes, p->scratch_bytes };
				for (uint32_t i = 0; i < p->nsteps; i++) {
					const struct bound *x = &p->steps[i];
					cr_assert(x->dst_buf == BUF_NONE || x->dst + x->len <= most[x->dst_buf]);
					cr_assert(x->src_buf == BUF_NONE || x->src + x->len <= most[x->src_buf]);
				}
				plan_free(p);
				sched_free(s);
			}
}
