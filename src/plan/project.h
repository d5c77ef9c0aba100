/* SPDX-License-Identifier: Apache-2.0 */
/* From the model to a table: every candidate is simulated on every size, and the fastest kept. */
#ifndef PLAN_PROJECT_H
#define PLAN_PROJECT_H
#include <model/model.h>
#include <plan/table.h>

/* Where the calls will run. */
struct scene {
	const struct topo *topo;
	const struct shape *shape;      /* of topo (sim_shape), or NULL */
	const struct costs *costs;
};

/* One way to do a collective. seconds: by size, as simulated; beyond any doubt when it is not worth it there. */
struct candidate {
	const struct algo *algo;
	int channels, pieces;
	size_t slice;
	double seconds[PLAN_SIZES];
	struct sim_result result[PLAN_SIZES];
};

/*
 * All candidates for a collective, simulated: *list is the caller's to free, *n how many. effort: how much of the candidates' space is
 * tried (0: when a communicator is made; 1: offline). deadline: clock_ns; TUTTI_ERR_TIMEOUT when it passes before all are through.
 */
int project_candidates(struct candidate **list, int *n, enum coll coll, const struct scene *s, int effort, int64_t deadline);

/*
 * The best at plan_size(size), of those that keep order if need be, and of other algorithms than but's if there is one. NULL: there is
 * none. The model is no better than 3 percent: of those as close to the fastest, of short messages the one with the fewest counts, which
 * cores that do other things, too, thank for; of long ones the first in the list, which begins with what is kindest to switches (a ring
 * has one sender a receiver), one channel and long slices.
 */
const struct candidate *project_best(const struct candidate *list, int n, int size, bool ordered, const struct candidate *but);

/*
 * Fill t's cells of the collectives that are through before the deadline, all_reduce first; the others are left as they are, and so are
 * cells for which the rules' own choice was too much to simulate.
 */
int project_table(struct plan_table *t, const struct scene *s, int effort, int64_t deadline);
#endif
