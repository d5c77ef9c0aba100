/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A plan: a schedule bound to a count, a type, an operator and a slice size. Immutable; buffers are never part of it.
 *
 *      schedule (chunks)  --- plan_bind --->  plan (bytes)  --- run_start(buffers) --->  run (frontiers)
 *
 * Everything that a step needs at run time is computed here, once: byte ranges, which messages it posts, in which queue it stands, and for each wait
 * how the other step's frontier bounds this one's.
 */
#ifndef EXEC_PLAN_H
#define EXEC_PLAN_H
#include <net/transport.h>
#include <sched/sched.h>

/*
 * How far step i may go while it waits for step j (the wait rule, sched.h):
 *      SAME    every byte of i's operands stands at the same place in j's: i may go as far as j has
 *      WHOLE   i's first byte is one that j never touches: not before j is complete
 *      MAPPED  anything else: computed range by range (run.c)
 */
enum wait_kind { WAIT_NONE, WAIT_SAME, WAIT_WHOLE, WAIT_MAPPED };

struct place { bool scratch; size_t at; };      /* start of an operand on its line, in bytes, judged as if in place */

struct bound {                          /* one step */
	uint8_t op, flags, channel;
	uint8_t dst_buf, src_buf, nwaits;
	uint8_t wait_kind[SCHED_MAX_WAITS];
	int32_t wait[SCHED_MAX_WAITS];
	bool user;                      /* not merely a send from scratch: the request is not complete for the user before this step is */
	int scale;                      /* divide the result by this (avg's last step), else 1 */
	size_t len, dst, src;           /* bytes; offsets in their buffers */
	uint32_t queue, nth;            /* plan.queue[queue].steps[nth] is this step */
	uint32_t op0, npeers;           /* messages: run.ops[op0 ... op0 + npeers) */
	const int32_t *peers;
	uint32_t own_place;             /* recv_reduce: this rank's operand comes after so many of the peers' */
	int noperands;
	struct place operand[2];
};

enum { PLAN_QUEUES = 2 * NET_CHANNELS };        /* channel * 2, everything but sends; + 1, sends: moved in this order, so that a send finds its bytes ready */

struct queue { const uint32_t *steps; uint32_t n; };

struct plan {
	const struct sched *sched;
	enum coll coll;
	uint64_t count;
	int type, op, root;
	size_t esize, slice;
	int eshift;                     /* esize == 1 << eshift */
	bool p2p;                       /* on the point-to-point channel, apart from the collectives' order */
	uint64_t sig;                   /* of the call: equal on all ranks (net_head) */
	size_t in_bytes, out_bytes, scratch_bytes;
	uint32_t nsteps, nops, nqueues, nuser;
	uint8_t queue_id[PLAN_QUEUES];
	struct queue queue[PLAN_QUEUES];        /* the nqueues that are not empty */
	struct bound *steps;
	uint32_t *order;                /* all queues' steps, behind queue[].steps */
	struct run *idle;               /* runs kept for the next start */
	uint32_t live;                  /* runs in flight, and persistent requests */
};

struct plan_args { uint64_t count; int type, op, root; size_t slice; bool p2p; };

/* sched must outlive the plan. *plan on success only. */
int plan_bind(struct plan **plan, const struct sched *sched, const struct plan_args *args);
void plan_free(struct plan *plan);      /* no live runs */

uint64_t plan_sig(const struct sched *sched, const struct plan_args *args);
int plan_sig_words(uint64_t sig, char *buf, size_t cap);        /* "all_reduce float32 sum, count 1024"; what snprintf returns */
#endif
