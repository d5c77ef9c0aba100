/* SPDX-License-Identifier: Apache-2.0 */
/* Every algorithm through the executor over loop: all collectives, types, operators, rank counts, in place and out of place, counts from 0 to large. */
#include "ranks.h"
#include <algo/algo.h>
#include <base/type.h>
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const int sizes[] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 16 };
static const size_t counts[] = { 0, 1, 5, 131, 1037, 20011 };

/* In place nowhere, everywhere, on every other rank. */
static bool in_place(int mode, int rank) { return mode == 1 || (mode == 2 && rank % 2); }

static bool has_in_place(const struct trial *t, int rank) { return coll_reads(t->coll, t->root, rank) && coll_writes(t->coll, t->root, rank); }

static const char *trial_places(struct tutti_comm *c, struct trial t)
{
	const char *why = NULL;
	for (int mode = 0; !why && mode < 3; mode++) {
		t.in_place = in_place(mode, tutti_comm_rank(c)) && has_in_place(&t, tutti_comm_rank(c));
		why = trial_run(c, &t);
	}
	return why;
}

static const char *all_counts(struct tutti_comm *c, const char *algo)
{
	const char *why = NULL;
	int n = tutti_comm_size(c);
	for (int k = 0; !why && k < COLL_SEND; k++)
		for (size_t i = 0; !why && algo_find((enum coll)k, algo) && i < sizeof(counts) / sizeof(counts[0]); i++)
			why = trial_places(c, (struct trial){ (enum coll)k, TUTTI_FLOAT32, TUTTI_SUM, (int)(i * 5) % n, counts[i], false });
	return why;
}

static const char *all_types(struct tutti_comm *c, const char *algo)
{
	const char *why = NULL;
	int n = tutti_comm_size(c);
	for (int k = 0; !why && k < COLL_SEND; k++)
		for (int type = 0; !why && algo_find((enum coll)k, algo) && type < TUTTI_TYPES; type++)
			for (int op = 0; !why && op < (coll_rows[k].reduces ? TUTTI_OPS : 1); op++)
				if (op_legal(op, type) || !coll_rows[k].reduces)
					why = trial_run(c, &(struct trial){ (enum coll)k, type, op, (type + op) % n, 67, (type + op) % 2 == 0 && k != COLL_BROADCAST
						&& k != COLL_REDUCE && k != COLL_GATHER && k != COLL_SCATTER });
	return why;
}

struct forced { const char *algo; const char *(*body)(struct tutti_comm *, const char *); };
static const char *forced(struct tutti_comm *c, void *ctx) { struct forced *f = ctx; return f->body(c, f->algo); }

static bool shaped_only;        /* those that look at the topology */

static int over_algorithms(const char *modes, int n, int channels, const char *(*body)(struct tutti_comm *, const char *))
{
	int failed = 0, ran = 0;
	setenv("TUTTI_LOOP", modes, 1);
	for (const struct algo *a = algo_table; a->name; a++) {
		bool seen = shaped_only && !a->shaped;
		for (const struct algo *b = algo_table; b < a; b++)
			seen |= !strcmp(a->name, b->name);
		if (seen || a->coll >= COLL_SEND)
			continue;
		struct tutti_config config = TUTTI_CONFIG_INIT;
		config.transport = "loop";
		config.algo = a->name;
		config.channels = channels;
		config.slice_bytes = 4096;
		int bad = comms_run(n, &config, forced, &(struct forced){ a->name, body });
		if (bad)
			fprintf(stderr, "%s at %d ranks failed on %d\n", a->name, n, bad);
		failed += bad;
		ran++;
	}
	cr_assert_gt(ran, 5, "only %d algorithms", ran);
	return failed;
}

#define EACH_SIZE for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)

Test(collectives, every_algorithm_every_count_buffered) { EACH_SIZE cr_assert_eq(over_algorithms("", sizes[i], 0, all_counts), 0); }
Test(collectives, every_algorithm_every_count_unbuffered_in_random_slices) { EACH_SIZE cr_assert_eq(over_algorithms("zero,random,3", sizes[i], 0, all_counts), 0); }
Test(collectives, every_algorithm_every_type_and_operator) { EACH_SIZE cr_assert_eq(over_algorithms("zero", sizes[i], 0, all_types), 0); }
Test(collectives, every_algorithm_on_three_channels) { EACH_SIZE cr_assert_eq(over_algorithms("zero,random,5", sizes[i], 3, all_counts), 0); }

/* ---- hierarchical ones, over machines and racks that are only said to be ----------------------------------------------------- */

struct where { char topology[64]; int n; };

ParameterizedTestParameters(collectives, every_hierarchical_algorithm_over_machines)
{
	static struct where list[] = { { "node:2 rank:2", 4 }, { "node:3 rank:3,3,1", 7 }, { "node:4 rank:2", 8 }, { "node:2 rank:5,3", 8 },
		{ "switch:2 node:2 rank:2", 8 }, { "switch:2 node:2,1 rank:2,3,4", 9 }, { "switch:3 node:1,2,2 rank:3,1,2,4,3", 13 } };
	return cr_make_param_array(struct where, list, sizeof(list) / sizeof(list[0]));
}

ParameterizedTest(struct where *w, collectives, every_hierarchical_algorithm_over_machines)
{
	setenv("TUTTI_TOPOLOGY", w->topology, 1);
	shaped_only = true;
	cr_assert_eq(over_algorithms("zero,random,7", w->n, 1, all_counts), 0, "%s", w->topology);
	cr_assert_eq(over_algorithms("zero,random,7", w->n, 3, all_counts), 0, "%s", w->topology);
	cr_assert_eq(over_algorithms("zero", w->n, 0, all_types), 0, "%s", w->topology);
}
