/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Single linkage: the edges of a shortest spanning tree (Prim's, n^2 distances) are all that matters; cutting the long ones leaves the
 * groups.
 */
#include <base/err.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <topo/topo.h>

struct link { double length; int32_t a, b; };

static double apart(double (*distance)(void *ctx, int a, int b), void *ctx, int a, int b)
{
	double x = distance(ctx, a, b), y = distance(ctx, b, a);

	return isfinite(x) && isfinite(y) && x > 0 && y > 0 ? fmax(x, y) : INFINITY;
}

static int by_length(const void *a, const void *b)
{
	double x = ((const struct link *)a)->length, y = ((const struct link *)b)->length;

	return (x > y) - (x < y);
}

/* n - 1 links, shortest first. near[i]: the link from i to what is joined already. */
static void span(int n, double (*distance)(void *ctx, int a, int b), void *ctx, struct link *near, struct link *link)
{
	int last = 0;

	for (int i = 0; i < n; i++)
		near[i] = (struct link){ INFINITY, -1, i };
	near[0].a = -2;                                 /* joined */
	for (int k = 0; k < n - 1; k++) {
		int best = -1;

		for (int i = 0; i < n; i++) {
			if (near[i].a == -2)
				continue;
			double d = apart(distance, ctx, last, i);

			if (d < near[i].length || near[i].a < 0)
				near[i] = (struct link){ d, last, i };
			if (best < 0 || near[i].length < near[best].length)
				best = i;
		}
		link[k] = near[best];
		near[best].a = -2;
		last = best;
	}
	qsort(link, (size_t)n - 1, sizeof *link, by_length);
}

/* How many of the shortest links stay: up to the widest gap of at least factor; all of them when there is none. */
static int before_gap(const struct link *link, int n, double factor)
{
	double widest = factor;
	int keep = n;

	for (int i = 1; i < n; i++) {
		double gap = isfinite(link[i - 1].length) ? link[i].length / link[i - 1].length : 0;

		if (gap >= widest && (gap > widest || keep == n)) {
			widest = gap;
			keep = i;
		}
	}
	return keep;
}

static int32_t find(int32_t *up, int32_t i)
{
	while (up[i] != i)
		i = up[i] = up[up[i]];
	return i;
}

/* Number the groups in order. Half of the nodes alone is no grouping, but a few that were lucky. */
static int name_groups(int n, int32_t *up, int32_t *size, int32_t *group)
{
	int groups = 0, alone = 0;

	for (int i = 0; i < n; i++)
		size[find(up, i)]++;
	for (int i = 0; i < n; i++)
		alone += size[find(up, i)] == 1;
	memset(size, -1, (size_t)n * sizeof *size);
	for (int i = 0; i < n; i++) {
		int32_t *number = &size[find(up, i)];

		if (*number < 0)
			*number = groups++;
		group[i] = *number;
	}
	return 2 * alone > n ? 0 : groups;
}

int topo_group(int n, double (*distance)(void *ctx, int a, int b), void *ctx, double factor, int32_t *group)
{
	size_t count = n > 1 ? (size_t)n : 1;
	struct link *near = malloc(2 * count * sizeof *near), *link = near + count;
	int32_t *up = malloc(count * sizeof *up), *size = calloc(count, sizeof *size);
	int groups = 1;

	if (!near || !up || !size) {
		groups = err_set(TUTTI_ERR_NOMEM, "no memory to group %d nodes", n);
	} else if (n > 1) {
		span(n, distance, ctx, near, link);
		for (int i = 0; i < n; i++)
			up[i] = i;
		for (int i = 0, keep = before_gap(link, n - 1, factor); i < keep; i++)
			up[find(up, link[i].a)] = find(up, link[i].b);
		groups = name_groups(n, up, size, group);
	}
	if (groups == 0 || n == 1) {
		memset(group, 0, (size_t)n * sizeof *group);
		groups = 1;
	}
	free(near);
	free(up);
	free(size);
	return groups;
}
