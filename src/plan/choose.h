/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which algorithm, how many channels, what slice. The first of these that says something:
 *
 *      what the caller forces      TUTTI_ALGO, struct tutti_config
 *      the communicator's table    measured by `tutti tune`, or projected by the model; rank 0's, the same on every rank
 *      rules                       measured on one machine (choose.c)
 *
 * The same on every rank because all that is looked at is: nothing here may depend on this rank's buffers, place or luck.
 */
#ifndef PLAN_CHOOSE_H
#define PLAN_CHOOSE_H
#include <base/config.h>
#include <plan/table.h>
#include <sched/sched.h>
#include <stdbool.h>

struct query {
	enum coll coll;
	int nranks, root;
	uint64_t bytes;                 /* of one rank's count */
	bool commutes;                  /* false: only algorithms that keep rank order */
	bool one_machine;               /* no network between any two ranks */
	const struct shape *shape;      /* who is near to whom, or NULL */
	const struct plan_table *table; /* or NULL */
};

struct choice {
	const struct algo *algo;
	struct problem problem;
	size_t slice;
	enum plan_source source;        /* PLAN_RULE for what is forced, too */
	double seconds;                 /* what the table says it takes at about this size; 0: nothing */
};

/*
 * algo, slice, channels: what is forced (NULL or "", 0, 0: nothing). A forced algorithm that this collective does not have is not an
 * error: the rule decides.
 */
int choose(struct choice *c, const struct query *q, const char *algo, size_t slice, int channels);
#endif
