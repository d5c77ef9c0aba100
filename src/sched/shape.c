/* SPDX-License-Identifier: Apache-2.0 */
/* Shapes: from "rank r is in unit so-and-so" to members by unit. One allocation holds all. */
#include <base/err.h>
#include <sched/sched.h>
#include <stdlib.h>

struct pair { int64_t unit; int32_t member; };

static int by_unit(const void *a, const void *b)
{
	const struct pair *x = a, *y = b;
	return x->unit != y->unit ? (x->unit > y->unit) - (x->unit < y->unit) : (x->member > y->member) - (x->member < y->member);
}

static int by_member(const void *a, const void *b)
{
	const struct pair *x = a, *y = b;
	return (x->member > y->member) - (x->member < y->member);
}

/*
 * unit[m] of m members, made 0 ... in order of first members. pairs: room for m, twice. Returns how many units there are.
 */
static int renumber(int32_t *of, const int32_t *unit, int m, struct pair *pairs)
{
	struct pair *firsts = pairs + m;
	int n = 0;
	for (int i = 0; i < m; i++)
		pairs[i] = (struct pair){ unit[i], i };
	qsort(pairs, (size_t)m, sizeof *pairs, by_unit);
	for (int i = 0; i < m; i++)
		if (i == 0 || pairs[i].unit != pairs[i - 1].unit)
			firsts[n++] = (struct pair){ i, pairs[i].member };
	qsort(firsts, (size_t)n, sizeof *firsts, by_member);
	for (int u = 0; u < n; u++)
		for (int64_t i = firsts[u].unit, own = pairs[i].unit; i < m && pairs[i].unit == own; i++)
			of[pairs[i].member] = u;
	return n;
}

/* The level of m members that `of` cuts into n units; room: for 2 m + n + 1. */
static void fill(struct shape_level *v, const int32_t *of, int m, int n, int32_t *room)
{
	int32_t *first = room, *member = first + n + 1, *place = member + m;
	for (int i = 0; i < m; i++)
		first[of[i] + 1]++;
	for (int u = 0; u < n; u++)
		first[u + 1] += first[u];
	*v = (struct shape_level){ n, m, 0, first, member, of, place };
	for (int i = 0; i < m; i++) {
		place[i] = 0;
		member[first[of[i]]++] = i;
	}
	for (int u = n; u > 0; u--)
		first[u] = first[u - 1];
	first[0] = 0;
	for (int u = 0; u < n; u++) {
		int size = first[u + 1] - first[u];
		v->least = size < v->least ? size : v->least;
		v->most = size > v->most ? size : v->most;
		for (int i = 0; i < size; i++)
			place[member[first[u] + i]] = i;
	}
}

static void hash_level(struct shape *s, const struct shape_level *v, int m)
{
	for (int i = 0; i < m; i++)
		s->hash = (s->hash ^ (uint64_t)(uint32_t)v->of[i]) * 1099511628211u;
	s->hash = (s->hash ^ (uint64_t)v->n) * 1099511628211u;
}

/* unit: of the *m members at hand. A level that joins nothing, or everything, is left out. */
static int add_level(struct shape *s, const int32_t *unit, int *m, int32_t **room, struct pair *pairs)
{
	int32_t *of = *room;
	int n = renumber(of, unit, *m, pairs);
	if (n < 2 || n == *m)
		return TUTTI_OK;
	fill(&s->level[s->nlevels], of, *m, n, of + *m);
	hash_level(s, &s->level[s->nlevels++], *m);
	*room += 3 * (size_t)*m + (size_t)n + 1;
	*m = n;
	return TUTTI_OK;
}

/* The unit that rank r is in so far: a member of the next level. */
static int32_t member_of(const struct shape *s, int32_t r)
{
	for (int l = 0; l < s->nlevels; l++)
		r = s->level[l].of[r];
	return r;
}

int shape_make(struct shape **shape, int nranks, int nlevels, const int32_t *const *unit)
{
	size_t n = (size_t)nranks;
	if (nranks < 1 || nlevels < 0 || nlevels > SHAPE_LEVELS)
		return err_set(TUTTI_ERR_INVALID, "shape: expected ranks, and 0..%d levels, got %d and %d", SHAPE_LEVELS, nranks, nlevels);
	struct shape *s = calloc(1, sizeof *s + ((size_t)nlevels * 4 * (n + 1)) * sizeof(int32_t));
	struct pair *pairs = calloc(2 * n, sizeof *pairs);
	int32_t *room = s ? (int32_t *)(s + 1) : NULL, *mine = calloc(n, sizeof *mine);
	int m = nranks, status = s && pairs && mine ? TUTTI_OK : err_set(TUTTI_ERR_NOMEM, "no memory for a shape of %d ranks", nranks);
	if (!status)
		*s = (struct shape){ .nranks = nranks, .hash = 14695981039346656037u };
	for (int l = 0; l < nlevels && !status; l++) {
		for (int r = nranks - 1; r >= 0; r--)
			mine[member_of(s, r)] = unit[l][r];
		for (int r = 0; r < nranks && !status; r++)
			if (mine[member_of(s, r)] != unit[l][r])
				status = err_set(TUTTI_ERR_INVALID, "shape: level %d puts rank %d apart from another of its unit of the level before", l, r);
		if (!status)
			status = add_level(s, mine, &m, &room, pairs);
	}
	free(pairs);
	free(mine);
	if (status)
		free(s);
	else
		*shape = s;
	return status;
}

void shape_free(struct shape *s)
{
	free(s);
}
