/* SPDX-License-Identifier: Apache-2.0 */
/* Of the rules, the first row that fits wins; the last of a collective fits always. */
#include <algo/algo.h>
#include <base/err.h>
#include <plan/choose.h>
#include <string.h>

enum place { ANYWHERE, LOCAL, REMOTE, GROUPED };        /* GROUPED: several machines, several ranks on some */
#define KI 1024ull
#define MI (1024ull * KI)
#define ANY UINT64_MAX

struct rule {
	enum coll coll;
	enum place place;
	int max_ranks;                  /* 0: any */
	uint64_t max_bytes;             /* of one rank's count */
	const char *algo;
	int channels;                   /* 0: one */
};

static const struct rule rules[] = {
	{ COLL_ALL_REDUCE, LOCAL, 16, 16 * KI, "direct", 0 },
	{ COLL_ALL_REDUCE, LOCAL, 64, ANY, "direct_rs_ag", 0 },
	{ COLL_ALL_REDUCE, GROUPED, 0, 32 * KI, "leaders_doubling", 0 },
	{ COLL_ALL_REDUCE, GROUPED, 64, 1 * MI, "hier_circulant", 0 },
	{ COLL_ALL_REDUCE, GROUPED, 64, ANY, "hier_ring", 0 },
	{ COLL_ALL_REDUCE, GROUPED, 0, 16 * MI, "hier_circulant", 0 },
	{ COLL_ALL_REDUCE, GROUPED, 0, ANY, "hier_ring", 0 },
	{ COLL_ALL_REDUCE, REMOTE, 4, 16 * KI, "direct", 0 },
	{ COLL_ALL_REDUCE, REMOTE, 4, 512 * KI, "direct_rs_ag", 0 },
	{ COLL_ALL_REDUCE, REMOTE, 4, 4 * MI, "direct_rs_ag", 2 },      /* reduce-scatter of one channel beside all-gather of another */
	{ COLL_ALL_REDUCE, REMOTE, 4, ANY, "direct_rs_ag", 4 },
	{ COLL_ALL_REDUCE, ANYWHERE, 0, 32 * KI, "recursive_doubling", 0 },
	{ COLL_ALL_REDUCE, ANYWHERE, 0, 1 * MI, "circulant", 0 },
	{ COLL_ALL_REDUCE, ANYWHERE, 0, ANY, "ring", 2 },
	{ COLL_REDUCE_SCATTER, GROUPED, 0, ANY, "hier_ring", 0 },
	{ COLL_REDUCE_SCATTER, ANYWHERE, 16, ANY, "direct", 0 },
	{ COLL_REDUCE_SCATTER, ANYWHERE, 0, 1 * MI, "circulant", 0 },
	{ COLL_REDUCE_SCATTER, ANYWHERE, 0, ANY, "ring", 0 },
	{ COLL_ALL_GATHER, GROUPED, 0, ANY, "hier_ring", 0 },
	{ COLL_ALL_GATHER, ANYWHERE, 16, ANY, "direct", 0 },
	{ COLL_ALL_GATHER, ANYWHERE, 0, 64 * KI, "circulant", 0 },
	{ COLL_ALL_GATHER, ANYWHERE, 0, ANY, "ring", 0 },
	{ COLL_BROADCAST, GROUPED, 0, ANY, "hier_binomial", 0 },
	{ COLL_BROADCAST, ANYWHERE, 0, ANY, "binomial", 0 },
	{ COLL_REDUCE, LOCAL, 16, ANY, "direct", 0 },
	{ COLL_REDUCE, GROUPED, 0, ANY, "hier_binomial", 0 },
	{ COLL_REDUCE, ANYWHERE, 0, ANY, "binomial", 0 },
	{ COLL_GATHER, ANYWHERE, 16, ANY, "direct", 0 },
	{ COLL_GATHER, ANYWHERE, 0, 64 * KI, "binomial", 0 },
	{ COLL_SCATTER, ANYWHERE, 16, ANY, "direct", 0 },
	{ COLL_SCATTER, ANYWHERE, 0, 64 * KI, "binomial", 0 },
	{ COLL_ALL_TO_ALL, ANYWHERE, 16, 64 * KI, "direct", 0 },
	{ COLL_ALL_TO_ALL, ANYWHERE, 0, ANY, "pairwise", 0 },
	{ COLL_BARRIER, GROUPED, 0, ANY, "hier_dissemination", 0 },
	{ COLL_BARRIER, ANYWHERE, 0, ANY, "dissemination", 0 },
};

static bool fits(const struct rule *r, const struct query *q)
{
	bool grouped = q->shape && q->shape->nlevels, there[] = { true, q->one_machine, !q->one_machine, !q->one_machine && grouped };
	return r->coll == q->coll && (!r->max_ranks || q->nranks <= r->max_ranks) && q->bytes <= r->max_bytes && there[r->place];
}

static bool allowed(const struct algo *a, const struct query *q) { return a && (q->commutes || a->ordered); }

static const struct algo *by_rule(const struct query *q, int *channels)
{
	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
		const struct algo *a = fits(&rules[i], q) ? algo_find(q->coll, rules[i].algo) : NULL;
		*channels = rules[i].channels;
		if (allowed(a, q))
			return a;
	}
	*channels = 0;
	for (const struct algo *a = algo_table; a->name; a++)
		if (a->coll == q->coll && allowed(a, q))
			return a;
	return NULL;
}

static struct problem problem_of(const struct query *q, const struct algo *a, int pieces, int channels)
{
	return (struct problem){ q->coll, q->nranks, q->root, pieces, channels, a->shaped ? q->shape : NULL };
}

static int pieces_of(uint64_t bytes, size_t slice)
{
	uint64_t pieces = bytes / slice;
	return pieces < 1 ? 1 : pieces > 16 ? 16 : (int)pieces;
}

/* What a cell says of so many bytes: the last stands for all above it, too; of other channels or slices than its own nothing is known. */
static double seconds_of(const struct plan_cell *cell, uint64_t bytes, size_t slice, int channels)
{
	uint64_t last = plan_size(PLAN_SIZES - 1);
	bool own = (!channels || channels == cell->channels) && (!slice || slice == (size_t)1 << cell->slice);
	return own ? (double)cell->seconds * (bytes > last ? (double)bytes / (double)last : 1) : 0;
}

/* false: the table says nothing. */
static bool by_table(struct choice *c, const struct query *q, size_t slice, int channels)
{
	const struct plan_cell *cell = q->table ? &q->table->cell[q->coll][!q->commutes][plan_size_index(q->bytes)] : NULL;
	const struct algo *a = cell ? plan_cell_algo(cell) : NULL;
	if (!a)
		return false;
	*c = (struct choice){ a, problem_of(q, a, cell->pieces, channels ? channels : cell->channels), slice ? slice : (size_t)1 << cell->slice,
		(enum plan_source)cell->source, seconds_of(cell, q->bytes, slice, channels) };
	return true;
}

int choose(struct choice *c, const struct query *q, const char *name, size_t slice, int channels)
{
	const struct algo *forced = name && *name ? algo_find(q->coll, name) : NULL;
	if (forced && !allowed(forced, q))
		return err_set(TUTTI_ERR_UNSUPPORTED, "%s %s does not keep rank order, which this operator needs", coll_rows[q->coll].name, name);
	if (!forced && by_table(c, q, slice, channels))
		return TUTTI_OK;
	int ruled = 0;
	const struct algo *a = forced ? forced : by_rule(q, &ruled);
	if (!a)
		return err_set(TUTTI_ERR_UNSUPPORTED, "no algorithm for %s keeps rank order", coll_rows[q->coll].name);
	slice = slice ? slice : 128 * KI;
	*c = (struct choice){ a, problem_of(q, a, pieces_of(q->bytes, slice), channels ? channels : ruled ? ruled : 1), slice, PLAN_RULE, 0 };
	return TUTTI_OK;
}
