/* SPDX-License-Identifier: Apache-2.0 */
/* Rows as soon as they are measured. */
#include <stdlib.h>
#include <string.h>
#include <tools/tune.h>

static const char rule[] = "---------  ----------------------------  ----------  --------  ----------  --------  ---------------";

/* "ring", "ring 2ch", "chain 1ch 8pc", and the slice when it is not the usual one; a star marks the rules' choice. */
static void name_of(char *buf, size_t cap, const struct try *t)
{
	char more[48] = "", slice[24] = "";
	if (t->cell.channels > 1 || t->cell.pieces > 1)
		snprintf(more, sizeof more, t->cell.pieces > 1 ? " %dch %dpc" : " %dch", t->cell.channels, t->cell.pieces);
	if (t->cell.slice != 17)
		snprintf(slice, sizeof slice, " %luk", (1ul << t->cell.slice) / 1024);
	snprintf(buf, cap, "%s%s%s%s", plan_cell_algo(&t->cell)->name, more, slice, t->rule ? "*" : "");
}

void tune_print_costs(const struct tune *t)
{
	const struct tutti_comm *c = t->comm;
	printf("# %d ranks. What was measured, one way: latency, core time a message, rate of a stream\n", c->nranks);
	for (int i = 0; i < NEARS; i++) {
		const struct loggp *g = &c->costs.pair[i];
		int a = 0, b = 0;
		for (int r = 1; r < c->nranks && !b; r++)
			for (int q = 0; q < r && q < 64 && !b; q++)
				if (near_of(c->topo, q, r) == (enum near)i)
					a = q, b = r;
		double byte = g->byte > g->byte_core ? g->byte : g->byte_core;
		if (b)
			printf("#   %-8s %9.2f us %9.2f us %9.2f GB/s   (ranks %d and %d)\n", near_names[i], g->latency * 1e6,
			       g->overhead * 1e6, 1e-9 / byte, a, b);
	}
	if (c->costs.link_measured > 0)
		printf("#   all ranks of a node to another: %.2f GB/s\n", 1e-9 / c->costs.link_measured);
	printf("#   a core: copies %.1f GB/s cached, %.1f beyond; reduces %.1f and %.1f (read and written); all cores of a node %.1f\n",
	       1e-9 / c->costs.copy.cached, 1e-9 / c->costs.copy.memory, 1e-9 / c->costs.reduce.cached, 1e-9 / c->costs.reduce.memory,
	       1e-9 / c->costs.memory);
}

void tune_print_head(enum coll coll)
{
	printf("#\n# %s\n# %9s  %-28s  %10s  %8s  %10s  %8s  %s\n# %s\n", coll_rows[coll].name, "bytes",
	       "chosen (*: the rules', too)", "us", "wins by", "model us", "error", "the others, us", rule);
	fflush(stdout);
}

/* tries come sorted: what is chosen, then the others, the fastest first. */
void tune_print_row(const struct tune *t, int size, const struct try *tries, int n)
{
	char name[64], wins[24] = "-", error[24] = "-";
	const struct try *w = &tries[0];
	double us = (double)w->cell.seconds * 1e6;
	(void)t;
	name_of(name, sizeof name, w);
	if (n > 1)
		snprintf(wins, sizeof wins, "%.1f %%", 100 * ((double)tries[1].cell.seconds / (double)w->cell.seconds - 1));
	if (w->projected > 0)
		snprintf(error, sizeof error, "%+.0f %%", 100 * (w->projected * 1e6 / us - 1));
	printf("%11llu  %-28s  %10.2f  %8s  %10.2f  %8s  ", (unsigned long long)plan_size(size), name, us, wins, w->projected * 1e6, error);
	for (int i = 1; i < n; i++) {
		name_of(name, sizeof name, &tries[i]);
		printf("%s%s %.2f", i > 1 ? ", " : "", name, (double)tries[i].cell.seconds * 1e6);
	}
	printf("\n");
	fflush(stdout);
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

void tune_print_end(struct tune *t)
{
	int n = t->nerrors;
	printf("#\n");
	if (t->left_out)
		printf("# the time was over before %d of %d sizes: what the model and the rules say stands for them\n", t->left_out,
		       t->left_out + t->measured);
	if (n) {
		qsort(t->errors, (size_t)n, sizeof *t->errors, by_value);
		printf("# the model's error over %d measured candidates: median %.0f %%, 90th percentile %.0f %%\n", n,
		       100 * t->errors[n / 2], 100 * t->errors[(n - 1) * 9 / 10]);
	}
}
