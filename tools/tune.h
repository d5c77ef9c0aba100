/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `tutti tune`: from the model's best candidates to a table of measured ones.
 *
 *      tune.c        options; the life of a run; rank 0: which sizes, how long for what
 *      tune_pick.c   rank 0: which candidates are tried at a size
 *      tune_try.c    all ranks: what rank 0's order says is tried, and timed
 *      tune_print.c  rank 0: rows
 *      tune_fabric.c something else, in place of all that: which machines are near each other
 */
#ifndef TOOLS_TUNE_H
#define TOOLS_TUNE_H
#include <comm/comm.h>
#include <perf/inner.h>
#include <plan/project.h>

enum { TUNE_TRIES_MAX = 17, TUNE_COLLS_MAX = 16, TUNE_SAMPLES = 256 };

struct tune_options {
	int ranks, top, dry_run;
	size_t min, max;
	int64_t budget_ms;
	const char *transport, *fabric;
};

/* What rank 0 tells the others to try. n 0: nothing more. */
struct tune_order {
	int32_t coll, size, n, rounds, iters;   /* size: of plan_size() */
	int32_t glance;                         /* the fastest sample counts, not the median: a wake-up must not decide */
	struct plan_cell cell[TUNE_TRIES_MAX];
};

/* A candidate at one size. */
struct try {
	struct plan_cell cell;          /* seconds: measured, 0 before */
	double projected;               /* seconds; 0: not known */
	bool rule;                      /* what would run without a table */
};

struct tune {
	const struct tune_options *o;
	struct tutti_comm *comm;
	char *send, *recv;
	size_t room;                    /* bytes of each */
	double *times;                  /* of a candidate: TUNE_SAMPLES */
	/* rank 0 */
	int64_t deadline;
	struct plan_table table;
	double *errors;                 /* of the model, relative, for each candidate measured */
	int nerrors, cap_errors, measured, left_out;    /* cells */
};

/* tune_pick.c: the best o->top of the list at a size, and what the rules say. Returns how many. */
int tune_pick(const struct tune *t, const struct candidate *list, int n, enum coll coll, int size, struct try *tries);

/* tune_try.c: collective; every rank with the same order. Fills order->cell[i].seconds, on all ranks alike. */
int tune_try(struct tune *t, struct tune_order *order);
uint64_t tune_bytes(enum coll coll, int nranks, int size);      /* of the larger buffer */

/* tune_fabric.c: collective. */
int tune_fabric(struct tune *t);

/* tune_print.c */
void tune_print_costs(const struct tune *t);
void tune_print_head(enum coll coll);
void tune_print_row(const struct tune *t, int size, const struct try *tries, int n);
void tune_print_end(struct tune *t);
#endif
