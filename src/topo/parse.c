/* SPDX-License-Identifier: Apache-2.0 */
/* A topology in words. First all words are read and checked, with all totals; then the tree is written in its order. */
#include <base/err.h>
#include <ctype.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <topo/inner.h>

enum { LEVELS = TOPO_DEPTH - 1 };

struct level {
	enum topo_kind kind;
	struct edge edge;
	int first, n;                   /* its counts: one for all parents, or one each */
	int seen;                       /* parents met while writing */
	int total;
};

struct parse {
	const char *text, *p, *where;
	struct level level[LEVELS];
	int nlevels, nest;              /* nest: the last level that others can hang below; -1: the fabric */
	int32_t *counts;
	int ncounts, cap;
	int64_t places;
	struct build build;
};

/* ---- errors ----------------------------------------------------------------------------------------------------- */

/* "cluster.topo:3, column 7" or "topology, column 7" */
static void place_of(const struct parse *s, const char *at, char *text, size_t cap)
{
	int line = 1, column = 1;

	for (const char *p = s->text; p < at; p++) {
		column = *p == '\n' ? 1 : column + 1;
		line += *p == '\n';
	}
	if (s->where)
		snprintf(text, cap, "%.200s:%d, column %d", s->where, line, column);
	else
		snprintf(text, cap, "topology, column %d", column);
}

static int wrong(const struct parse *s, const char *at, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static int wrong(const struct parse *s, const char *at, const char *fmt, ...)
{
	char where[240], expected[160], got[32];
	va_list args;
	size_t n = 0;

	place_of(s, at, where, sizeof where);
	va_start(args, fmt);
	vsnprintf(expected, sizeof expected, fmt, args);
	va_end(args);
	for (; n < sizeof got - 1 && at[n] && !isspace((unsigned char)at[n]); n++)
		got[n] = isprint((unsigned char)at[n]) ? at[n] : '?';
	got[n] = 0;
	if (!n)
		return err_set(TUTTI_ERR_CONFIG, "%s: expected %s, got %s", where, expected, *at ? "a blank" : "the end");
	return err_set(TUTTI_ERR_CONFIG, "%s: expected %s, got \"%s\"", where, expected, got);
}

/* ---- words ------------------------------------------------------------------------------------------------------ */

static const char *blanks(const char *p)
{
	for (; isspace((unsigned char)*p) || *p == '#'; p++)
		if (*p == '#' && !*(p += strcspn(p, "\n")))
			break;
	return p;
}

static bool may_stand_below(enum topo_kind kind, enum topo_kind above)
{
	if (above == TOPO_RANK || kind == TOPO_FABRIC)
		return false;
	if (above == TOPO_SWITCH)               /* whatever is within a machine needs one */
		return kind == TOPO_SWITCH || kind == TOPO_NODE;
	return kind > above;                    /* nic and gpu are the last kinds */
}

/* "rank, nic or gpu" */
static const char *list_below(enum topo_kind above, char *text, size_t cap)
{
	int last = TOPO_KINDS - 1;
	size_t n = 0;

	*text = 0;
	while (last > 0 && !may_stand_below((enum topo_kind)last, above))
		last--;
	for (int k = 0; k <= last && n < cap; k++)
		if (may_stand_below((enum topo_kind)k, above))
			n += (size_t)snprintf(text + n, cap - n, "%s%s", !n ? "" : k == last ? " or " : ", ", topo_kinds[k]);
	return text;
}

static int read_kind(struct parse *s, enum topo_kind *kind)
{
	enum topo_kind above = s->nest < 0 ? TOPO_FABRIC : s->level[s->nest].kind;
	const char *at = s->p;
	size_t n = strspn(at, "abcdefghijklmnopqrstuvwxyz");
	char below[80];

	if (above == TOPO_RANK)
		return wrong(s, at, "nothing after rank");
	for (int k = 0; k < TOPO_KINDS; k++)
		if (strlen(topo_kinds[k]) == n && !memcmp(topo_kinds[k], at, n) && may_stand_below((enum topo_kind)k, above)) {
			s->p = at + n;
			*kind = (enum topo_kind)k;
			return TUTTI_OK;
		}
	return wrong(s, at, "%s below %s", list_below(above, below, sizeof below), topo_kinds[above]);
}

static int keep_count(struct parse *s, int32_t count)
{
	if (s->ncounts == s->cap) {
		int cap = s->cap ? 2 * s->cap : 64;
		int32_t *more = realloc(s->counts, (size_t)cap * sizeof *more);

		if (!more)
			return err_set(TUTTI_ERR_NOMEM, "no memory for a topology of %d counts", cap);
		s->counts = more;
		s->cap = cap;
	}
	s->counts[s->ncounts++] = count;
	return TUTTI_OK;
}

static int read_counts(struct parse *s, struct level *l)
{
	l->first = s->ncounts;
	do {
		const char *at = ++s->p;        /* behind the colon or the comma */
		long v = 0;
		int status;

		for (; isdigit((unsigned char)*s->p) && v <= TOPO_RANKS_MAX; s->p++)
			v = 10 * v + (*s->p - '0');
		if (s->p == at || v > TOPO_RANKS_MAX)
			return wrong(s, at, "a count of 1..%d", TOPO_RANKS_MAX);
		if ((status = keep_count(s, (int32_t)v)))
			return status;
		l->n++;
	} while (*s->p == ',');
	return TUTTI_OK;
}

/* ---- figures ---------------------------------------------------------------------------------------------------- */

static const struct unit { const char *name; double factor; bool time; } units[] = {
	{ "kb", 1e3 / 8, 0 }, { "Mb", 1e6 / 8, 0 }, { "Gb", 1e9 / 8, 0 }, { "Tb", 1e12 / 8, 0 },
	{ "kB", 1e3, 0 }, { "MB", 1e6, 0 }, { "GB", 1e9, 0 }, { "TB", 1e12, 0 },
	{ "ns", 1e-9, 1 }, { "us", 1e-6, 1 }, { "ms", 1e-3, 1 }, { "s", 1, 1 },
};

static const struct unit *unit_of(const char *p, size_t n)
{
	for (size_t i = 0; i < sizeof units / sizeof *units; i++)
		if (strlen(units[i].name) == n && !memcmp(units[i].name, p, n))
			return &units[i];
	return NULL;
}

/* Digits, perhaps a point and more digits; the locale has no say. At most what a million of the largest unit would be. */
static const char *read_number(const char *p, double *v)
{
	double scale = 1, x = 0;
	const char *begin = p;

	for (; isdigit((unsigned char)*p); p++)
		x = 10 * x + (*p - '0');
	if (p == begin)
		return NULL;
	if (*p == '.') {
		if (!isdigit((unsigned char)p[1]))
			return NULL;
		for (p++; isdigit((unsigned char)*p); p++)
			x += (*p - '0') * (scale /= 10);
	}
	*v = x;
	return x > 0 && x <= 1e6 ? p : NULL;
}

const char *parse_figures(const char *text, const char **end, struct edge *e)
{
	for (*end = text;; text = ++*end) {
		double v, *into;
		const char *p = read_number(text, &v);
		size_t n = p ? strspn(p, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") : 0;
		const struct unit *u = p ? unit_of(p, n) : NULL;

		if (!u)
			return "a bandwidth (100Gb, 20GB) or a latency (200ns, 1.5us)";
		into = u->time ? &e->latency : &e->bandwidth;
		if (*into > 0)
			return u->time ? "one latency only" : "one bandwidth only";
		*into = v * u->factor;
		*end = p + n;
		if (**end != ',')
			return NULL;
	}
}

/* The at sign and what follows, if it is there */
static int read_figures(struct parse *s, struct level *l)
{
	const char *expected = *s->p == '@' ? parse_figures(s->p + 1, &s->p, &l->edge) : NULL;

	return expected ? wrong(s, s->p, "%s", expected) : TUTTI_OK;
}

/* ---- levels ----------------------------------------------------------------------------------------------------- */

static int check_total(struct parse *s, struct level *l, const char *at)
{
	int parents = s->nest < 0 ? 1 : s->level[s->nest].total;
	int64_t total = 0;

	if (l->n == 1 && !s->counts[l->first])
		return wrong(s, at, "a count of 1..%d", TOPO_RANKS_MAX);
	if (l->n != 1 && parents == 1)
		return wrong(s, at, "one count, not %d", l->n);
	if (l->n != 1 && l->n != parents)
		return wrong(s, at, "one count, or one for each %s (%d), not %d", topo_kinds[s->level[s->nest].kind], parents, l->n);
	for (int i = 0; i < l->n; i++)
		total += s->counts[l->first + i];
	total *= l->n == 1 ? parents : 1;
	s->places += total;
	if (total < 1 || total > TOPO_RANKS_MAX || s->places >= TOPO_PLACES_MAX)
		return wrong(s, at, "1..%d of %s in all, and at most %d places, not %lld", TOPO_RANKS_MAX, topo_kinds[l->kind],
			     TOPO_PLACES_MAX, (long long)total);
	l->total = (int)total;
	return TUTTI_OK;
}

static int read_level(struct parse *s)
{
	const char *at = s->p, *counts;
	struct level *l = &s->level[s->nlevels];
	int status;

	if (s->nlevels == LEVELS)
		return wrong(s, at, "at most %d words", LEVELS);
	if ((status = read_kind(s, &l->kind)))
		return status;
	if (*s->p != ':')
		return wrong(s, s->p, "a colon and a count behind %s", topo_kinds[l->kind]);
	counts = s->p + 1;
	if ((status = read_counts(s, l)) || (status = read_figures(s, l)))
		return status;
	if (*s->p && *s->p != '#' && !isspace((unsigned char)*s->p))
		return wrong(s, s->p, "a blank");
	if ((status = check_total(s, l, counts)))
		return status;
	if (l->kind < TOPO_NIC)
		s->nest = s->nlevels;
	s->nlevels++;
	return TUTTI_OK;
}

static int read_all(struct parse *s)
{
	enum topo_kind last;
	char below[80];
	int status;

	for (s->p = blanks(s->text); *s->p; s->p = blanks(s->p))
		if ((status = read_level(s)))
			return status;
	last = s->nest < 0 ? TOPO_FABRIC : s->level[s->nest].kind;
	if (last != TOPO_RANK)
		return wrong(s, s->p, "%s: a topology ends with ranks", list_below(last, below, sizeof below));
	return TUTTI_OK;
}

/* Level i and what hangs beside and below it, all below one parent. */
static void write_level(struct parse *s, int i, int parent)
{
	for (; i < s->nlevels && !s->build.status; i++) {
		struct level *l = &s->level[i];
		int count = s->counts[l->first + (l->n > 1 ? l->seen++ : 0)];

		for (int k = 0; k < count; k++) {
			if (l->kind == TOPO_RANK)
				build_rank(&s->build, parent, s->build.nranks, l->edge);
			else if (l->kind >= TOPO_NIC)
				build_add(&s->build, parent, l->kind, "", l->edge);
			else
				write_level(s, i + 1, build_add(&s->build, parent, l->kind, "", l->edge));
		}
		if (l->kind < TOPO_NIC)
			return;
	}
}

int parse_text(struct topo **t, const char *text, const char *where)
{
	struct parse s = { .text = text, .where = where, .nest = -1 };
	int status = read_all(&s);

	if (!status) {
		build_add(&s.build, -1, TOPO_FABRIC, "", (struct edge){ 0, 0 });
		write_level(&s, 0, 0);
		status = build_finish(&s.build, t);
	}
	free(s.counts);
	return status;
}

int topo_parse(struct topo **t, const char *text)
{
	return parse_text(t, text, NULL);
}
