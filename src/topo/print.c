/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tree for people:
 *
 *      fabric: ranks 0-127
 *        2 x switch (100 Gb/s, 1 us): ranks 0-63, 64-127
 *          8 x node: ranks 0-7, 8-15, 16-23, ... 56-63
 *            2 x nic (25 Gb/s, 5 us)
 *            8 x rank (20 GB/s, 200 ns): 0-7
 *
 * Neighbours are folded when they and all below them are equal but for rank numbers, their own names, and the names of switches and nodes.
 * What is below stands there once, with the ranks of the first of them.
 */
#include <base/err.h>
#include <stdlib.h>
#include <string.h>
#include <topo/inner.h>

enum { SHOWN = 3, NAME_SHOWN = 4 };     /* of a folded line's ranks and names; then the last */

/* ---- figures ---------------------------------------------------------------------------------------------------- */

static void scaled(char *text, size_t cap, double v, const char *const *units, int n)
{
	int i = 0;

	for (; i < n - 1 && v >= 999.95; i++)
		v /= 1000;
	snprintf(text, cap, "%.4g %s", v, units[i]);
}

const char *figures(char text[FIGURES], enum topo_kind kind, double bandwidth, double latency)
{
	static const char *const bits[] = { "b/s", "kb/s", "Mb/s", "Gb/s", "Tb/s" };
	static const char *const bytes[] = { "B/s", "kB/s", "MB/s", "GB/s", "TB/s" };
	static const char *const times[] = { "ns", "us", "ms", "s" };
	bool network = kind == TOPO_SWITCH || kind == TOPO_NODE || kind == TOPO_NIC;
	char rate[20] = "", time[20] = "";

	if (bandwidth > 0)
		scaled(rate, sizeof rate, network ? 8 * bandwidth : bandwidth, network ? bits : bytes, 5);
	if (latency > 0)
		scaled(time, sizeof time, 1e9 * latency, times, 4);
	snprintf(text, FIGURES, "%s%s%s", rate, *rate && *time ? ", " : "", time);
	return text;
}

/* ---- which neighbours are equal --------------------------------------------------------------------------------- */

/* FNV-1a, 64 bits */
static uint64_t hash(uint64_t h, const void *data, size_t len)
{
	for (const unsigned char *p = data; len--; p++)
		h = (h ^ *p) * 0x100000001b3u;
	return h;
}

uint64_t *topo_shapes(const struct topo *t)
{
	uint64_t *shape = malloc((size_t)t->nplaces * sizeof *shape);

	for (int p = t->nplaces - 1; shape && p >= 0; p--) {
		const struct topo_place *x = &t->place[p];
		uint64_t h = hash(0xcbf29ce484222325u, &x->kind, sizeof x->kind);

		h = hash(h, &x->bandwidth, sizeof x->bandwidth);
		h = hash(h, &x->latency, sizeof x->latency);
		for (int c = p + 1; c < x->end; c = t->place[c].end) {
			h = hash(h, &shape[c], sizeof shape[c]);
			if (t->place[c].kind != TOPO_SWITCH && t->place[c].kind != TOPO_NODE)
				h = hash(h, t->place[c].name, strlen(t->place[c].name) + 1);
		}
		shape[p] = h;
	}
	return shape;
}

uint64_t topo_digest(const struct topo *t)
{
	uint64_t h = hash(0xcbf29ce484222325u, t->rank, (size_t)t->nranks * sizeof *t->rank);

	for (int p = 0; p < t->nplaces; p++) {
		const struct topo_place *x = &t->place[p];

		h = hash(h, &x->kind, sizeof x->kind);
		h = hash(h, &x->parent, sizeof x->parent);
		h = hash(h, &x->bandwidth, sizeof x->bandwidth);
		h = hash(h, &x->latency, sizeof x->latency);
		h = hash(h, x->name, strlen(x->name) + 1);
	}
	return h;
}

int topo_fold(const struct topo *t, const uint64_t *shape, int32_t p, int32_t end)
{
	int n = 0;

	for (int32_t c = p; c < end && shape[c] == shape[p]; c = t->place[c].end)
		n++;
	return n;
}

/* ---- lines ------------------------------------------------------------------------------------------------------ */

struct print {
	FILE *f;
	const struct topo *t;
	const uint64_t *shape;
	const int32_t *rank_at;         /* a rank's number by its place */
	int32_t *list;                  /* room for all ranks */
};

static int by_number(const void *a, const void *b)
{
	int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;

	return (x > y) - (x < y);
}

/* The ranks at places [p, end): "0-3,8" */
static void print_ranks(const struct print *o, int32_t p, int32_t end)
{
	int n = 0;

	for (; p < end; p++)
		if (o->t->place[p].kind == TOPO_RANK)
			o->list[n++] = o->rank_at[p];
	qsort(o->list, (size_t)n, sizeof *o->list, by_number);
	for (int i = 0, j; i < n; i = j) {
		for (j = i + 1; j < n && o->list[j] == o->list[j - 1] + 1; j++)
			;
		if (i > 0)
			putc(',', o->f);
		if (i > 0 && j < n && i >= 64) {                /* scattered */
			fprintf(o->f, "...%d", o->list[n - 1]);
			return;
		}
		fprintf(o->f, j - i > 1 ? "%d-%d" : "%d", o->list[i], o->list[j - 1]);
	}
	if (!n)
		fputs("none", o->f);
}

/* Which of n are shown: the first few and the last. "..." goes before the last when some are not. */
static bool shown(const struct print *o, int i, int n, int most)
{
	if (i >= most && i < n - 1)
		return false;
	fputs(!i ? "" : i == n - 1 && n > most + 1 ? ", ... " : ", ", o->f);
	return true;
}

static void print_names(const struct print *o, int32_t p, int n)
{
	bool any = false;

	for (int32_t c = p, i = 0; i < n; i++, c = o->t->place[c].end)
		any |= *o->t->place[c].name;
	if (any)
		putc(' ', o->f);
	for (int32_t c = p, i = 0; any && i < n; i++, c = o->t->place[c].end)
		if (shown(o, i, n, NAME_SHOWN))
			fputs(*o->t->place[c].name ? o->t->place[c].name : "?", o->f);
}

/* n equal places, the first of them p; the last ends at end */
static void print_line(const struct print *o, int32_t p, int n, int32_t end)
{
	const struct topo_place *x = &o->t->place[p];
	char text[FIGURES];

	fprintf(o->f, "%*s", 2 * x->depth, "");
	if (n > 1)
		fprintf(o->f, "%d x ", n);
	fputs(topo_kinds[x->kind], o->f);
	print_names(o, p, n);
	if (*figures(text, x->kind, x->bandwidth, x->latency))
		fprintf(o->f, " (%s)", text);
	if (x->kind < TOPO_RANK)
		fputs(": ranks ", o->f);
	for (int32_t c = p, i = 0; x->kind < TOPO_RANK && i < n; i++, c = o->t->place[c].end)
		if (shown(o, i, n, SHOWN))
			print_ranks(o, c, o->t->place[c].end);
	if (x->kind == TOPO_RANK) {
		fputs(": ", o->f);
		print_ranks(o, p, end);
	}
	putc('\n', o->f);
}

static void print_below(const struct print *o, int32_t p)
{
	for (int32_t c = p + 1, end; c < o->t->place[p].end; c = end) {
		int n = topo_fold(o->t, o->shape, c, o->t->place[p].end);

		end = c;
		for (int i = 0; i < n; i++)
			end = o->t->place[end].end;
		print_line(o, c, n, end);
		print_below(o, c);
	}
}

void topo_print(FILE *f, const struct topo *t)
{
	uint64_t *shape = topo_shapes(t);
	int32_t *rank_at = malloc(((size_t)t->nplaces + (size_t)t->nranks) * sizeof *rank_at);
	struct print o = { f, t, shape, rank_at, rank_at + t->nplaces };

	if (!shape || !rank_at) {
		fputs("no memory to print the topology\n", f);
	} else {
		for (int r = 0; r < t->nranks; r++)
			rank_at[t->rank[r]] = r;
		print_line(&o, 0, 1, t->nplaces);
		print_below(&o, 0);
	}
	free(shape);
	free(rank_at);
}
