/* SPDX-License-Identifier: Apache-2.0 */
/* The first row that fits wins; the last of a collective fits always. */
#include <algo/algo.h>
#include <base/err.h>
#include <plan/choose.h>
#include <string.h>

enum place { ANYWHERE, LOCAL, REMOTE };
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
	{ COLL_ALL_REDUCE, REMOTE, 4, 16 * KI, "direct", 0 },
	{ COLL_ALL_REDUCE, REMOTE, 4, 512 * KI, "direct_rs_ag", 0 },
	{ COLL_ALL_REDUCE, REMOTE, 4, 4 * MI, "direct_rs_ag", 2 },      /* reduce-scatter of one channel beside all-gather of another */
	{ COLL_ALL_REDUCE, REMOTE, 4, ANY, "direct_rs_ag", 4 },
	{ COLL_ALL_REDUCE, ANYWHERE, 0, 32 * KI, "recursive_doubling", 0 },
	{ COLL_ALL_REDUCE, ANYWHERE, 0, 1 * MI, "circulant", 0 },
	{ COLL_ALL_REDUCE, ANYWHERE, 0, ANY, "ring", 2 },
	{ COLL_REDUCE_SCATTER, ANYWHERE, 16, ANY, "direct", 0 },
	{ COLL_REDUCE_SCATTER, ANYWHERE, 0, 1 * MI, "circulant", 0 },
	{ COLL_REDUCE_SCATTER, ANYWHERE, 0, ANY, "ring", 0 },
	{ COLL_ALL_GATHER, ANYWHERE, 16, ANY, "direct", 0 },
	{ COLL_ALL_GATHER, ANYWHERE, 0, 64 * KI, "circulant", 0 },
	{ COLL_ALL_GATHER, ANYWHERE, 0, ANY, "ring", 0 },
	{ COLL_BROADCAST, ANYWHERE, 0, ANY, "binomial", 0 },
	{ COLL_REDUCE, LOCAL, 16, ANY, "direct", 0 },
	{ COLL_REDUCE, ANYWHERE, 0, ANY, "binomial", 0 },
	{ COLL_GATHER, ANYWHERE, 16, ANY, "direct", 0 },
	{ COLL_GATHER, ANYWHERE, 0, 64 * KI, "binomial", 0 },
	{ COLL_SCATTER, ANYWHERE, 16, ANY, "direct", 0 },
	{ COLL_SCATTER, ANYWHERE, 0, 64 * KI, "binomial", 0 },
	{ COLL_ALL_TO_ALL, ANYWHERE, 16, 64 * KI, "direct", 0 },
	{ COLL_ALL_TO_ALL, ANYWHERE, 0, ANY, "pairwise", 0 },
	{ COLL_BARRIER, ANYWHERE, 0, ANY, "dissemination", 0 },
};

static bool fits(const struct rule *r, const struct query *q)
{
	return r->coll == q->coll && (!r->max_ranks || q->nranks <= r->max_ranks) && q->bytes <= r->max_bytes &&
	       (r->place == ANYWHERE || (r->place == LOCAL) == q->one_machine);
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

int choose(struct choice *c, const struct query *q, const char *name, size_t slice, int channels)
{
	const struct algo *forced = name && *name ? algo_find(q->coll, name) : NULL;
	if (forced && !allowed(forced, q))
		return err_set(TUTTI_ERR_UNSUPPORTED, "%s %s does not keep rank order, which this operator needs", coll_rows[q->coll].name, name);
	int ruled = 0;
	*c = (struct choice){ .algo = forced ? forced : by_rule(q, &ruled), .slice = slice ? slice : 128 * KI };
	if (!c->algo)
		return err_set(TUTTI_ERR_UNSUPPORTED, "no algorithm for %s keeps rank order", coll_rows[q->coll].name);
	uint64_t pieces = q->bytes / c->slice;
	c->problem = (struct problem){ q->coll, q->nranks, q->root, pieces < 1 ? 1 : pieces > 16 ? 16 : (int)pieces,
		                        channels ? channels : ruled ? ruled : 1, c->algo->shaped ? q->shape : NULL };
	return TUTTI_OK;
}
