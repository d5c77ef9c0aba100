/* SPDX-License-Identifier: Apache-2.0 */
/* What is worth a measurement: the model's best, but not one algorithm in all its variants, and what would run without a table. */
#include <plan/choose.h>
#include <tools/tune.h>

enum { USUAL = 128 << 10 };

static int log2_of(size_t x) { return 63 - __builtin_clzll(x); }

static struct plan_cell cell_of(const struct algo *a, int channels, int pieces, size_t slice)
{
	return (struct plan_cell){ .algo = (uint8_t)(a - algo_table + 1), .channels = (uint8_t)channels, .pieces = (uint8_t)pieces,
		.slice = (uint8_t)log2_of(slice), .source = PLAN_MEASURED };
}

static bool same(const struct plan_cell *a, const struct plan_cell *b)
{
	return a->algo == b->algo && a->channels == b->channels && a->pieces == b->pieces && a->slice == b->slice;
}

/* What the simulator cannot tell from one that is there already is the same at this size; one algorithm gets at most half of the places. */
static bool wanted(const struct try *tries, int n, const struct candidate *c, int size, int most)
{
	struct plan_cell cell = cell_of(c->algo, c->channels, c->pieces, c->slice);
	int of_algo = 0;
	for (int i = 0; i < n; i++) {
		double d = tries[i].projected - c->seconds[size];
		if (tries[i].cell.algo != cell.algo)
			continue;
		if (same(&tries[i].cell, &cell) || (d < 1e-9 * c->seconds[size] && d > -1e-9 * c->seconds[size]))
			return false;
		of_algo++;
	}
	return of_algo < most;
}

/* Where the model sees no difference, the usual slice and what comes first in the list are as good. */
static bool better(const struct candidate *a, const struct candidate *b, int size)
{
	if (a->seconds[size] != b->seconds[size])
		return a->seconds[size] < b->seconds[size];
	return a->algo == b->algo && a->channels == b->channels && a->pieces == b->pieces && a->slice == USUAL;
}

static const struct candidate *next_best(const struct tune *t, const struct candidate *list, int n, int size,
                                         const struct try *tries, int ntries)
{
	const struct candidate *best = NULL;
	for (int i = 0; i < n; i++)
		if ((!best || better(&list[i], best, size)) && wanted(tries, ntries, &list[i], size, (t->o->top + 1) / 2))
			best = &list[i];
	return best;
}

/* What would run without a table, and how long the model says that takes. */
static bool by_rule(const struct tune *t, enum coll coll, int size, struct try *try)
{
	const struct tutti_comm *c = t->comm;
	struct query q = { coll, c->nranks, 0, coll == COLL_BARRIER ? 1 : plan_size(size), true, c->world.one_machine, c->shape, NULL };
	struct choice ch;
	struct sim *s;
	struct sim_result r;
	if (choose(&ch, &q, NULL, 0, 0))
		return false;
	*try = (struct try){ .cell = cell_of(ch.algo, ch.problem.channels, ch.problem.pieces, ch.slice), .rule = true };
	if (!sim_open(&s, &(struct sim_job){ ch.algo, ch.problem }, c->topo, &c->costs)) {
		if (!sim_run(s, coll == COLL_BARRIER ? 0 : plan_size(size), ch.slice, &r))
			try->projected = r.seconds;
		sim_close(s);
	}
	return true;
}

int tune_pick(const struct tune *t, const struct candidate *list, int n, enum coll coll, int size, struct try *tries)
{
	const struct candidate *c;
	int found = by_rule(t, coll, size, &tries[0]), rules = found;
	while (found - rules < t->o->top && found < TUNE_TRIES_MAX && (c = next_best(t, list, n, size, tries, found)))
		tries[found++] = (struct try){ cell_of(c->algo, c->channels, c->pieces, c->slice), c->seconds[size], false };
	return found;
}
