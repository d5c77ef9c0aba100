/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which algorithm, how many channels, what slice: today by a table of rules (choose.c), measured on one machine, the same on every rank because everything that they
 * look at is: nothing here may depend on this rank's buffers, place or luck.
 */
#ifndef PLAN_CHOOSE_H
#define PLAN_CHOOSE_H
#include <base/config.h>
#include <sched/sched.h>
#include <stdbool.h>

struct query {
	enum coll coll;
	int nranks, root;
	uint64_t bytes;                 /* of one rank's count */
	bool commutes;                  /* false: only algorithms that keep rank order */
	bool one_machine;               /* no network between any two ranks */
	const struct shape *shape;      /* who is near to whom */
};

struct choice {
	const struct algo *algo;
	struct problem problem;
	size_t slice;
};

/* algo, slice, channels: what is forced (NULL or "", 0, 0: nothing). A forced algorithm that this collective does not have is not an error: the rule decides. */
int choose(struct choice *c, const struct query *q, const char *algo, size_t slice, int channels);
#endif
