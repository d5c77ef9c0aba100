/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine of one communicator: its runs in flight, its transports, its control tree, and how a thread waits.
 *
 *      engine_enter; run_start ...; engine_wait; engine_leave
 *
 * One thread is inside at a time (engine_enter waits for the other). A thread that waits moves every engine whose last user it was, so that two ranks may
 * wait for two communicators in opposite order. Failure is final: the first cause is told to everybody, all endpoints are quiesced, every run fails.
 */
#ifndef EXEC_ENGINE_H
#define EXEC_ENGINE_H
#include <boot/boot.h>
#include <exec/run.h>
#include <net/world.h>
#include <stdatomic.h>

enum { SCRATCH_ORDERS = 48 };

struct engine {
	struct engine *next;            /* all engines of the process */
	struct world *world;
	struct boot *boot;
	const struct config *config;
	struct run *runs, **last;       /* in flight, in order of issue */
	uint64_t issued[PLAN_QUEUES], turn[PLAN_QUEUES];        /* runs that use a queue: started; have opened all their steps there */
	uint32_t opnum;
	struct scratch *scratch[SCRATCH_ORDERS], *slabs;        /* free blocks of 2^order bytes; regions that blocks were cut from */
	int status;                     /* the first cause, and its sentence */
	char why[ERR_TEXT];
	int64_t timeout_ms;
	int64_t spin_ns;
	int yields;
	uint32_t polls;                 /* turns of waiting, for what is done every Nth */
	int64_t stuck_since;            /* clock when a wait first saw nothing move; 0: something has moved since */
	int64_t checked, looked;        /* clock of the last look at stuck_since; of a test's last look at the control tree */
	atomic_bool abort_wanted;       /* by another thread than the one inside */
	atomic_bool busy;
	_Atomic(const void *) owner;    /* the thread that entered last */
};

int engine_open(struct engine *e, struct world *w, struct boot *b, const struct config *c, int64_t timeout_ms);
void engine_close(struct engine *e);    /* no runs in flight, or failed */

void engine_enter(struct engine *e);
bool engine_try_enter(struct engine *e);        /* false: another thread is inside */
void engine_leave(struct engine *e);

/* Everything below is called inside enter/leave. */

/* Start plan on the buffers. *run is held: engine_drop it after run_done or failure. */
int engine_start(struct engine *e, struct plan *plan, const void *in, void *out, struct run **run);
void engine_drop(struct engine *e, struct run *run);

/* Take finished runs that nobody looks at out of the list: their plans are idle then. engine_drop does; others may finish after it. */
void engine_reap(struct engine *e);

/* Move everything once (all: transports without endpoints, too); positive when anything moved. */
int engine_progress(struct engine *e, bool all);

/* Until run is done (NULL: until nothing is in flight). TUTTI_OK; the engine's failure; or TUTTI_PENDING when `deadline` (clock_ns) passed first.
 * When nothing has moved for the communicator's own deadline, the engine fails with TUTTI_ERR_TIMEOUT. */
int engine_wait(struct engine *e, struct run *run, int64_t deadline);

/* One look at run, without waiting: TUTTI_OK, TUTTI_PENDING or the engine's failure. */
int engine_test(struct engine *e, struct run *run);

/* First cause: tells the control tree, quiesces, fails all runs. Returns the status in force. */
int engine_fail(struct engine *e, int status, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Move all engines that this thread drives and that nobody is inside of; how many of them want more of it. For long waits outside of engine_wait. */
int engines_move(void);

/* This thread is inside of e, has finished its runs, and waits for the control tree: engines_move moves e's transports for its peers. NULL: no longer. */
void engine_linger(struct engine *e);

int scratch_take(struct engine *e, size_t bytes, struct scratch **s);
void scratch_give(struct engine *e, struct scratch *s);
#endif
