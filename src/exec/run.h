/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A run: one start of a plan on buffers. Owns all mutable state: a frontier a step, a message a peer of a step, scratch.
 *
 *      queue      done ... done | open  open  open | not opened yet ...
 *                                 \__ window ____/
 *
 * Steps of a queue are opened (their messages posted) in order, RUN_WINDOW at a time, and finish in any order. A later run opens nothing on a queue before the
 * earlier ones have opened all of theirs there: the i-th send meets the i-th receive.
 */
#ifndef EXEC_RUN_H
#define EXEC_RUN_H
#include <exec/plan.h>

enum { RUN_WINDOW = 8 };
enum step_state { STEP_CLOSED, STEP_OPEN, STEP_DONE, STEP_COMPLETE };  /* done: its own elements; complete: and all it waits for */

struct step_run { size_t done, granted; uint8_t state; };
struct queue_run { uint64_t place; uint32_t opened, nactive, active[RUN_WINDOW]; };     /* place: among the runs that use this queue */

struct scratch { struct scratch *next; const struct net_mem *mem; char *at; int order; };

struct run {
	struct run *next;               /* of the engine, in order of issue; or idle, of the plan */
	struct engine *engine;
	struct plan *plan;
	char *base[BUF_SCRATCH + 1];    /* by enum sched_buf */
	const struct net_mem *mem[BUF_SCRATCH + 1];
	struct scratch *scratch;
	uint32_t opnum;
	uint32_t left, left_user;       /* steps not done; those that matter to the user */
	bool held;                      /* a request looks at this run: not to be recycled yet */
	int status;                     /* negative once the communicator has failed */
	const void **sources;           /* room for the widest reduction */
	struct step_run *steps;
	struct net_op *ops;
	struct queue_run queues[];
};

/* Recycled or new, ready to open; no buffers are touched yet. The caller links it into the engine. */
int run_new(struct run **run, struct engine *e, struct plan *plan, const void *in, void *out);
void run_recycle(struct run *run);      /* not held, left == 0 or failed with nothing posted */

/* Once, when it has its number and its places in the queues: open the first steps, and move them. */
void run_start(struct run *run);

/* Open, move, close what can be; positive when anything moved. A failure calls engine_fail. */
int run_progress(struct run *run);

/* Is it the user's again? All steps but sends from scratch are done, and those need no further call here. */
bool run_done(const struct run *run);

/* "step 17 recv_reduce from rank 2 over shm": what an unfinished run waits for. */
int run_waits_for(const struct run *run, char *buf, size_t cap);
int run_name(const struct run *run, char *buf, size_t cap);     /* "all_reduce #412, rank 3 of 64" */
#endif
