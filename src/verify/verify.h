/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Proof that the schedules of all ranks together do what their collective promises, with no network.
 *
 *      legal   each rank   spans in range and equally long, in constant, buffers that a rank has not are left alone, waits point back
 *      race    each rank   any two steps that touch one chunk, and not both to read it, are ordered by waits (as if in place)
 *      match   all ranks   the i-th send from a to b on a channel meets b's i-th receive from a, equally long
 *      block   all ranks   one open step a queue and no buffering: nothing hangs; and the results, executed in that order
 *      chaos   all ranks   every step open, unbounded buffering, random slices in random order, under the wait rule: the same results
 *
 * Legal, race, match and block are decided, not sampled: without races every execution gives what one execution gives. Chaos knows
 * nothing of that argument and tries. Results are judged by coll_expect, with nobody, everybody and random ranks in place, for counts
 * above and below the number of chunks. The verifier shares no code with the recorder.
 */
#ifndef VERIFY_VERIFY_H
#define VERIFY_VERIFY_H
#include <sched/sched.h>

struct verify_opts {
	int chaos;              /* random executions of each case; 0: none */
	uint64_t seed;
};

/* How thorough for this many ranks: chaos up to 16. */
struct verify_opts verify_defaults(int nranks);

/*
 * Build p's schedules with a for all ranks and judge them. For send and recv, rank (root + 1) % nranks and p->root are the two ends, the
 * others idle. 0: proved. TUTTI_ERR_INTERNAL: refuted, and why[cap] says where. Other statuses: could not be tried (why says so too).
 */
int verify(const struct algo *a, const struct problem *p, const struct verify_opts *o, char *why, size_t cap);

/*
 * The same over the problems worth trying with this many ranks: all roots up to 16 ranks, two beyond; one and more channels and pieces.
 * *cases is increased by how many they were; why begins with the one that failed. Nothing to try (a message to oneself) is 0.
 */
int verify_ranks(const struct algo *a, int nranks, unsigned *cases, char *why, size_t cap);

/*
 * The shapes worth trying with this many ranks, one after the other: every even one of two levels, ranks by machine and dealt out in turn;
 * even ones of three levels; uneven ones of two and three (all numbers of machines up to 16 ranks, some beyond). *at is 0 at first, and moved on. NULL: no
 * more, or, with *at below 0, one could not be made (sentence).
 */
struct shape *verify_shape(int nranks, int *at);
int verify_shape_words(const struct shape *s, char *buf, size_t cap);   /* ", 3 + 2 + 3 | 4 in 2 units" */

/* The same for schedules at hand, one a rank. */
int verify_scheds(const struct sched *const *s, int nranks, const struct verify_opts *o, char *why, size_t cap);
#endif
