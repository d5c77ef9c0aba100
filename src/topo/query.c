/* SPDX-License-Identifier: Apache-2.0 */
/* What the planner and the simulator ask. Pure functions of an immutable tree: any thread. */
#include <base/err.h>
#include <stdlib.h>
#include <string.h>
#include <topo/inner.h>

static int32_t common(const struct topo_place *place, int32_t a, int32_t b)
{
	while (a != b) {
		if (place[a].depth >= place[b].depth)
			a = place[a].parent;
		else
			b = place[b].parent;
	}
	return a;
}

int32_t topo_common(const struct topo *t, int a, int b)
{
	return common(t->place, t->rank[a], t->rank[b]);
}

int topo_path(const struct topo *t, int a, int b, struct topo_hop hop[TOPO_PATH])
{
	bool far = t->node[a] != t->node[b];
	int32_t from = far ? t->node[a] : t->rank[a], to = far ? t->node[b] : t->rank[b];
	int32_t top = common(t->place, from, to), down[TOPO_DEPTH];
	int n = 0, ndown = 0;

	if (far && t->nic[a] >= 0)
		hop[n++] = (struct topo_hop){ t->nic[a], true };
	for (; from != top; from = t->place[from].parent)
		hop[n++] = (struct topo_hop){ from, true };
	if (far && t->nic[b] >= 0)
		down[ndown++] = t->nic[b];
	for (; to != top; to = t->place[to].parent)
		down[ndown++] = to;
	while (ndown > 0)
		hop[n++] = (struct topo_hop){ down[--ndown], false };
	return n;
}

/* ---- units ------------------------------------------------------------------------------------------------------ */

/* The place that groups rank r, so many floors outward from its node; where there are no more, the outermost one. */
static int32_t floor_of(const struct topo *t, int r, int floor)
{
	int32_t p = t->node[r];

	for (; floor > 0 && t->place[p].parent > 0; floor--)
		p = t->place[p].parent;
	return p;
}

/* seen: one number a place, for us to scribble on */
static int units_of(const struct topo *t, int floor, int32_t *unit, int32_t *seen)
{
	int n = 0;

	memset(seen, -1, (size_t)t->nplaces * sizeof *seen);
	for (int r = 0; r < t->nranks; r++) {
		int32_t *s = &seen[floor_of(t, r, floor)];

		if (*s < 0)
			*s = n++;
		unit[r] = *s;
	}
	return n;
}

/* Units only grow outward: a level that has as many as the one below has the same. */
int topo_units(const struct topo *t, int level, int32_t *unit)
{
	int32_t *seen = malloc((size_t)t->nplaces * sizeof *seen);
	int below = t->nranks, n = 0;

	if (!seen)
		return err_set(TUTTI_ERR_NOMEM, "no memory for a topology of %d places", t->nplaces);
	for (int floor = 0; floor < TOPO_DEPTH && level >= 0; floor++) {
		n = units_of(t, floor, unit, seen);
		if (n <= 1)
			break;
		level -= n < below;
		below = n;
	}
	free(seen);
	return level < 0 && n > 1 ? n : 0;
}
