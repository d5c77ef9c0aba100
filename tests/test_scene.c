/* SPDX-License-Identifier: Apache-2.0 */
/* What a communicator knows of where its ranks are, what it chooses from, and what it says when a choice turns out slow. */
#include "ranks.h"
#include <comm/comm.h>
#include <criterion/criterion.h>
#include <plan/project.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EXPECT(cond) do { if (!(cond)) return "line " LINE(__LINE__) ": " #cond; } while (0)
#define LINE(l) LINE_(l)
#define LINE_(l) #l

enum { RANKS = 4, CALLS = 12 * WATCH_EVERY };

static int over_loop(const char *topology, int n, rank_fn fn, void *ctx)
{
	struct tutti_config c = TUTTI_CONFIG_INIT;
	c.transport = "loop";
	setenv("TUTTI_CACHE", "none", 1);
	setenv("TUTTI_PLAN_TIME", "20s", 1);    /* for sanitizers */
	setenv("TUTTI_TOPOLOGY", topology, 1);
	return comms_run(n, &c, fn, ctx);
}

/* ---- tables ------------------------------------------------------------------------------------------------------------ */

static struct plan_table seen[8];

static const char *keep_table(struct tutti_comm *c, void *ctx)
{
	(void)ctx;
	EXPECT(c->table != NULL);
	seen[c->rank] = *c->table;
	return NULL;
}

Test(scene, all_ranks_have_rank_0s_table)
{
	cr_assert_eq(over_loop("node:4@1Gb,20us rank:2", 8, keep_table, NULL), 0);
	for (int r = 1; r < 8; r++)
		cr_assert_eq(memcmp(&seen[r], &seen[0], sizeof(seen[0])), 0, "rank %d", r);
	for (int k = 0; k < COLL_SEND; k++)
		for (int i = 0; i < PLAN_SIZES; i++)
			cr_assert_eq((int)seen[0].cell[k][0][i].source, PLAN_MODEL, "%s at %llu bytes", coll_rows[k].name, (unsigned long long)plan_size(i));
}

/* A link that is slow beside everything else: who sends least over it wins, and that are those that know of machines. */
Test(scene, long_vectors_go_by_rails_over_a_slow_link)
{
	/* not broadcast: a chain of ranks in order is as good as one of machines */
	static const enum coll long_ones[] = { COLL_ALL_REDUCE, COLL_REDUCE_SCATTER, COLL_ALL_GATHER };
	cr_assert_eq(over_loop("node:4@1Gb,20us rank:2", 8, keep_table, NULL), 0);
	for (size_t k = 0; k < sizeof(long_ones) / sizeof(*long_ones); k++)
		for (int i = plan_size_index(8 << 20); i < PLAN_SIZES; i++) {
			const struct plan_cell *cell = &seen[0].cell[long_ones[k]][0][i];
			cr_assert(plan_cell_algo(cell)->shaped, "%s at %llu bytes: %s", coll_rows[long_ones[k]].name, (unsigned long long)plan_size(i),
			          plan_cell_algo(cell)->name);
			const struct algo *ordered = plan_cell_algo(&seen[0].cell[long_ones[k]][1][i]);
			cr_assert(!coll_rows[long_ones[k]].reduces || (ordered && ordered->ordered));
		}
}

Test(scene, within_a_machine_the_rules_choose)
{
	cr_assert_eq(over_loop("node:1 core:4 rank:1", RANKS, keep_table, NULL), 0);
	for (int k = 0; k < COLLS; k++)
		for (int i = 0; i < PLAN_SIZES; i++)
			cr_assert_eq(seen[0].cell[k][0][i].algo, 0);
}

static const char *call_with_table(struct tutti_comm *c, void *ctx)
{
	const struct plan_cell *cell = ctx;
	float x[2] = { 1, 2 };
	for (int i = 0; i < PLAN_SIZES; i++)
		c->table->cell[COLL_ALL_REDUCE][0][i] = *cell;
	EXPECT(tutti_all_reduce(x, x, 2, TUTTI_FLOAT32, TUTTI_SUM, c) == TUTTI_OK);
	EXPECT(x[1] == 2 * RANKS);
	EXPECT(c->plans.last->choice.algo == plan_cell_algo(cell) && c->plans.last->choice.problem.channels == cell->channels);
	EXPECT(c->plans.last->choice.slice == 1u << cell->slice && c->plans.last->choice.source == PLAN_MEASURED);
	return NULL;
}

Test(scene, a_call_goes_by_the_table)
{
	const struct algo *a = algo_find(COLL_ALL_REDUCE, "hier_circulant");
	struct plan_cell cell = { .algo = (uint8_t)(a - algo_table + 1), .channels = 3, .pieces = 1, .slice = 13, .source = PLAN_MEASURED };
	cr_assert_eq(over_loop("node:2 rank:2", RANKS, call_with_table, &cell), 0);
}

/* Links may be given as slow as one likes: what then takes too long for a table is at its end, and still legal. */
Test(scene, a_table_over_the_slowest_links_is_legal)
{
	struct topo *t;
	struct shape *shape;
	struct costs costs;
	struct plan_table *table = calloc(1, sizeof(*table));
	costs_default(&costs);
	costs.pair[NEAR_NETWORK].byte = 100;
	cr_assert_eq(topo_parse(&t, "node:3 rank:2"), TUTTI_OK);
	cr_assert_eq(sim_shape(&shape, t), TUTTI_OK);
	cr_assert_eq(project_table(table, &(struct scene){ t, shape, &costs }, 0, INT64_MAX), TUTTI_OK);
	cr_assert_neq(table->cell[COLL_ALL_REDUCE][0][PLAN_SIZES - 1].algo, 0);
	cr_assert_gt(table->cell[COLL_ALL_REDUCE][0][PLAN_SIZES - 1].seconds, 1e8);
	cr_assert_eq(plan_table_check(table), TUTTI_OK, "%s", tutti_last_error(NULL));
	free(table);
	shape_free(shape);
	topo_free(t);
}

Test(scene, what_a_cell_says_holds_for_its_sizes_and_its_own_channels)
{
	struct plan_table t = { 0 };
	struct query q = { COLL_ALL_REDUCE, 4, 0, 512ull << 20, true, false, NULL, &t };
	struct choice c;
	t.cell[COLL_ALL_REDUCE][0][PLAN_SIZES - 1] = (struct plan_cell){ .algo = 1, .channels = 2, .pieces = 1, .slice = 17, .seconds = 1 };
	cr_assert_eq(choose(&c, &q, NULL, 0, 0), TUTTI_OK);
	cr_assert_eq(c.seconds, 1);
	cr_assert_eq(choose(&c, &q, NULL, 0, 4), TUTTI_OK);
	cr_assert(c.seconds == 0 && c.problem.channels == 4);
	cr_assert_eq(choose(&c, &q, NULL, 4096, 0), TUTTI_OK);
	cr_assert_eq(c.seconds, 0);
	q.bytes *= 8;
	cr_assert_eq(choose(&c, &q, NULL, 0, 2), TUTTI_OK);
	cr_assert_eq(c.seconds, 8);
}

/* ---- splits ---------------------------------------------------------------------------------------------------------------- */

/* Ranks 0 2 4 6 are one a node, 0 1 2 3 two on each of two; of those, 0 and 3 are one a node again. */
static const char *split_in_two(struct tutti_comm *c, void *ctx)
{
	struct tutti_comm *d, *e, *f;
	int rank = tutti_comm_rank(c), one = 1;
	(void)ctx;
	EXPECT(tutti_comm_split(c, rank % 2, 0, &d, NULL) == TUTTI_OK);
	EXPECT(d->topo->nranks == 4 && d->topo->node[0] != d->topo->node[1] && d->topo->node[2] != d->topo->node[3] && !d->shape);
	EXPECT(tutti_comm_split(c, rank / 4, -rank, &e, NULL) == TUTTI_OK);
	EXPECT(e->shape && e->shape->nlevels == 1 && e->shape->level[0].n == 2 && e->topo->nranks == 4);
	EXPECT(e->topo->node[0] == e->topo->node[1] && e->topo->node[1] != e->topo->node[2]);
	EXPECT(tutti_comm_split(e, tutti_comm_rank(e) % 3 == 0, 0, &f, NULL) == TUTTI_OK);
	EXPECT(f->topo->nranks == 2 && f->topo->node[0] != f->topo->node[1] && f->split_from == NULL);
	EXPECT(tutti_all_reduce(&one, &one, 1, TUTTI_INT32, TUTTI_SUM, e) == TUTTI_OK && one == 4);
	EXPECT(tutti_comm_destroy(f) == TUTTI_OK && tutti_comm_destroy(e) == TUTTI_OK && tutti_comm_destroy(d) == TUTTI_OK);
	return NULL;
}

Test(scene, a_split_has_its_part_of_the_topology)
{
	cr_assert_eq(over_loop("node:4@1Gb,20us rank:2", 8, split_in_two, NULL), 0);
}

static const char *split_alone(struct tutti_comm *c, void *ctx)
{
	struct tutti_comm *d;
	int one = 1;
	(void)ctx;
	EXPECT(tutti_comm_split(c, tutti_comm_rank(c), 0, &d, NULL) == TUTTI_OK);
	EXPECT(d->topo->nranks == 1 && tutti_all_reduce(&one, &one, 1, TUTTI_INT32, TUTTI_SUM, d) == TUTTI_OK && one == 1);
	EXPECT(tutti_barrier(d) == TUTTI_OK);
	return tutti_comm_destroy(d) == TUTTI_OK ? NULL : "destroy";
}

Test(scene, a_rank_alone_has_a_place_of_its_own)
{
	setenv("TUTTI_EXPLAIN", "1", 1);
	cr_assert_eq(over_loop("node:2 rank:2", RANKS, split_alone, NULL), 0);
}

/* ---- the text of tables, and what must not be believed -------------------------------------------------------------------- */

Test(scene, a_table_says_itself)
{
	char *text, *again;
	size_t n, m;
	struct plan_table t;
	cr_assert_eq(over_loop("node:2@10Gb rank:2", RANKS, keep_table, NULL), 0);
	FILE *f = open_memstream(&text, &n);
	plan_table_print(f, &seen[0]);
	fclose(f);
	cr_assert_eq(plan_table_parse(&t, text), TUTTI_OK, "%s", tutti_last_error(NULL));
	f = open_memstream(&again, &m);
	plan_table_print(f, &t);
	fclose(f);
	cr_assert_str_eq(again, text);
	free(again);
	free(text);
}

Test(scene, bad_tables_are_refused)
{
	static const struct { const char *text, *words; } bad[] = {
		{ "allreduce any 8 ring channels 1 pieces 1 slice 4096 us 1 model", "line 1: expected a collective, got \"allreduce\"" },
		{ "# one\nall_reduce some", "line 2: expected \"any\" or \"ordered\"" },
		{ "all_reduce any 9 ring", "expected 8 * 4^i bytes, got \"9\"" },
		{ "all_reduce any 8 chain", "expected an algorithm of the collective, got \"chain\"" },
		{ "all_reduce ordered 8 ring", "that keeps rank order, got \"ring\"" },
		{ "all_reduce any 8 ring channels 9 pieces 1 slice 4096 us 1 model", "expected channels 1..8" },
		{ "all_reduce any 8 ring channels 1 pieces 1 slice 4096 us -1 model", "expected us and a time" },
		{ "all_reduce any 8 ring channels 1 pieces 1 slice 4096 us 1 guessed", "expected rule, model or measured" },
		{ "all_reduce any 8", "got \"the end of the line\"" },
	};
	struct plan_table t = { 0 }, before = t;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		cr_assert_eq(plan_table_parse(&t, bad[i].text), TUTTI_ERR_CONFIG, "%s", bad[i].text);
		cr_assert(strstr(tutti_last_error(NULL), bad[i].words), "%s: %s", bad[i].text, tutti_last_error(NULL));
		cr_assert_eq(memcmp(&t, &before, sizeof(t)), 0);
	}
	t.cell[COLL_ALL_REDUCE][0][3] = (struct plan_cell){ .algo = 255, .channels = 1, .pieces = 1, .slice = 12 };
	cr_assert_eq(plan_table_check(&t), TUTTI_ERR_MISMATCH);
	t.cell[COLL_ALL_REDUCE][0][3] = (struct plan_cell){ .algo = 1, .channels = 1, .pieces = 1, .slice = 60 };
	cr_assert_eq(plan_table_check(&t), TUTTI_ERR_MISMATCH);
}

Test(scene, the_nearest_size_stands_for_a_size)
{
	cr_assert_eq(plan_size_index(0), 0);
	cr_assert_eq(plan_size_index(16), 0);
	cr_assert_eq(plan_size_index(17), 1);
	cr_assert_eq(plan_size_index(1 << 20), plan_size_index(512 << 10));
	cr_assert_eq(plan_size_index(UINT64_MAX), PLAN_SIZES - 1);
}

/* ---- slower than projected --------------------------------------------------------------------------------------------------- */

static const char *call_late(struct tutti_comm *c, void *ctx)
{
	char text[2048];
	float x[2] = { 0 }, seconds = *(float *)ctx;
	for (int i = 0; i < PLAN_SIZES; i++)
		c->table->cell[COLL_ALL_REDUCE][0][i] = (struct plan_cell){ .algo = 1, .channels = 1, .pieces = 1, .slice = 12, .seconds = seconds };
	for (int i = 0; i < CALLS; i++) {
		if (c->rank == 1 && i % WATCH_EVERY == WATCH_EVERY - 1)
			usleep(2000);           /* the others wait at least that long in the calls that are looked at */
		EXPECT(tutti_all_reduce(x, x, 2, TUTTI_FLOAT32, TUTTI_SUM, c) == TUTTI_OK);
	}
	EXPECT(tutti_comm_describe(c, text, sizeof(text)) == TUTTI_OK);
	EXPECT(c->rank != 0 || (strstr(text, "slow: ") != NULL) == (seconds < 1));
	EXPECT(c->rank != 0 || (c->slow > 0 && c->slow_said) == (seconds < 1));
	return NULL;
}

Test(scene, calls_slower_than_projected_are_counted_and_said)
{
	float projected = 1e-6f;
	cr_assert_eq(over_loop("node:2 rank:1", 2, call_late, &projected), 0);
	projected = 1e6f;
	cr_assert_eq(over_loop("node:2 rank:1", 2, call_late, &projected), 0);
}
