/* SPDX-License-Identifier: Apache-2.0 */
/* What the verbs of `tutti plan` share: its options, and the verb with a file of its own. */
#ifndef TOOLS_PLAN_H
#define TOOLS_PLAN_H
#include <algo/algo.h>
#include <model/model.h>
#include <stddef.h>

struct plan_options {
	const char *ranks;
	int rank, root, channels, pieces;       /* pieces 0: not said */
	const char *topology, *costs, *trace, *svg;
	size_t size, slice;
};

/* one: the algorithm, or NULL for all of the collective. Returns the exit status. */
int plan_simulate(const char *cmd, const struct plan_options *o, int coll, const struct algo *one);

/* The same: what the planner would choose, by size. */
int plan_explain(const char *cmd, const struct plan_options *o, int coll);

/* The page of all algorithms, on stdout. */
int plan_document(const char *cmd);

/* What --topology, --ranks and --costs say; refuses what is wrong. topo_free, shape_free. */
void plan_scene(const char *cmd, const struct plan_options *o, struct topo **topo, struct shape **shape, struct costs *costs);
#endif
