/* SPDX-License-Identifier: Apache-2.0 */
/* What the verbs of `tutti plan` share: its options, and the verb with a file of its own. */
#ifndef TOOLS_PLAN_H
#define TOOLS_PLAN_H
#include <algo/algo.h>
#include <stddef.h>

struct plan_options {
	const char *ranks;
	int rank, root, channels, pieces;       /* pieces 0: not said */
	const char *topology, *costs, *trace, *svg;
	size_t size, slice;
};

/* one: the algorithm, or NULL for all of the collective. Returns the exit status. */
int plan_simulate(const char *cmd, const struct plan_options *o, int coll, const struct algo *one);
#endif
