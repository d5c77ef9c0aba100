/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the simulator's files share. All ranks' steps stand in one row, numbered through; messages in another.
 *
 *      open.c    schedules -> steps, messages (matched)        once
 *      route.c   topology  -> resources, seats of ranks        once
 *      run.c     events in order of time                       each run, on `now` (one a step), messages' streams, queues, resources
 *
 * Small on purpose: a hundred thousand ranks have some millions of steps.
 */
#ifndef MODEL_INNER_H
#define MODEL_INNER_H
#include <model/model.h>

enum { SIM_WINDOW = 8 };                /* open steps a queue: the executor's RUN_WINDOW */
#define SIM_NONE UINT32_MAX

/*
 * part[w]: which part of the step waited for this one needs, in 1 / PART_ALL of its elements: before the first element may be touched, and
 * before the last. PART_WHOLE: it must be complete.
 */
enum { PART_ALL = 1 << 15, PART_WHOLE = UINT16_MAX };
struct part { uint16_t first, last; };

struct sim_step {
	uint32_t piece, n;              /* its operands are n chunks, the first is piece `piece` of a block; n 0: it touches nothing */
	uint32_t msg;                   /* its message; of a set: ends[msg] is how many, and behind it which */
	int32_t rank;
	uint32_t wait[SCHED_MAX_WAITS]; /* SIM_NONE: none */
	struct part part[SCHED_MAX_WAITS];
	uint32_t next;                  /* of the same queue */
	uint8_t op, flags, channel;
	uint8_t operands;               /* own ones: dst, src */
};

/*
 * A step in a run:   closed --> listed (with those it waits for) --> open (its queue's turn) --> ready (may touch its first element) -->
 * done begun: a send whose first message has left; read: one whose bytes have been read for the ranks on its node.
 */
enum { NOW_LISTED = 1, NOW_OPEN = 2, NOW_READY = 4, NOW_DONE = 8, NOW_BEGUN = 16, NOW_READ = 32 };

struct sim_now {
	double bytes;                   /* of an operand; known once listed */
	double start, end;              /* its stream, once done. Before that, of what has arrived for a receive, or has left of a send */
	double whole;                   /* when it was complete, once done. Before that, when it was opened, then when it was ready */
	uint32_t waiters;               /* who waits for this one: 2 * step + which of its waits; SIM_NONE: nobody else */
	uint32_t link[SCHED_MAX_WAITS]; /* the next waiter, behind this step's wait */
	uint32_t left;                  /* messages to come; a receive counts itself as one more */
	int32_t by;                     /* the resource that bounded it; -1 */
	uint8_t state, pending;         /* waits not done */
};

struct message {
	uint32_t send, recv;
	double start, end;              /* its stream where it arrives */
	float latency;                  /* of the topology's edges */
	uint32_t path;                  /* paths[path ... path + hops): the resources of its edges, in order */
	uint8_t hops, near;
};

struct sim_queue { uint32_t first, next, active; double time; };

/* free: from when; quick: the same, for steps without bytes; byte: seconds, of an edge */
struct resource { double free, quick, busy, byte; };
struct seat { int32_t node; uint32_t core; float blocks; };     /* the how manieth node; blocks: of this rank's buffers, scratch too */
struct event { uint64_t time; uint32_t what; };                 /* time: a double's bits */

struct sim {
	const struct topo *topo;
	const struct costs *costs;
	const struct algo *algo;
	struct problem problem;
	uint32_t k;                     /* chunks a block */
	int nranks, nnodes, nqueues;    /* queues a rank */
	uint32_t nsteps, nends, nmsgs, cap_steps, cap_ends, cap_msgs;
	struct sim_step *steps;
	uint32_t *ends, *base;          /* base[rank]: its first step */
	struct message *msgs;
	struct sim_now *now;
	struct sim_queue *queues;
	/* route.c */
	/* resources: cores, nodes' memories, their links out and in, edges up and down */
	uint32_t ncores, memory0, links0, edges0, nresources;
	struct resource *resources;
	struct seat *seats;
	uint32_t *edge;                 /* of a place: its edge's resource upwards, + 1 is downwards; SIM_NONE: none */
	int32_t *who;                   /* of a resource: the first rank on a core, the node, the place at the lower end of an edge */
	uint32_t *sharers;              /* of a core: ranks on it */
	bool *known;                    /* of a node: the topology knows how fast its link is */
	uint32_t *paths, npaths, cap_paths;
	/* of a run */
	uint64_t count, q, m;           /* bytes of a block; a chunk has q, the first m one more */
	size_t slice;
	uint32_t done, nevents, cap_events;
	struct event *events;
	double *touched;                /* bytes, by a rank's steps */
	uint64_t *sent;                 /* bytes, out of a node */
	double time, last;              /* of the event at hand; the latest end */
	sim_sink *sink;
	void *ctx;
};

int route_open(struct sim *s);
int route_message(struct sim *s, struct message *m, int from, int to);  /* its path, latency, and how near the two are */
int match_messages(struct sim *s);                                      /* open.c has put the ranks where the messages will stand */

/* Room for n more items; 0, or an error. */
int sim_grow(void *array, uint32_t *cap, uint64_t need, size_t size);


static inline uint64_t sim_elem(const struct sim *s, uint64_t c)
{
	uint64_t blocks = 0;
	if (c >= s->k) {
		blocks = c == s->k ? 1 : c / s->k;
		c -= blocks * s->k;
	}
	return blocks * s->count + c * s->q + (c < s->m ? c : s->m);
}
static inline uint64_t sim_bytes(const struct sim *s, const struct sim_step *x)
{
	return x->n ? sim_elem(s, (uint64_t)x->piece + x->n) - sim_elem(s, x->piece) : 0;
}

/* The messages of a step that has a peer. */
static inline uint32_t sim_npeers(const struct sim *s, const struct sim_step *x)
{
	return x->flags & STEP_SET ? s->ends[x->msg] : 1;
}
static inline uint32_t sim_message(const struct sim *s, const struct sim_step *x, uint32_t i)
{
	return x->flags & STEP_SET ? s->ends[x->msg + 1 + i] : x->msg;
}
static inline bool sim_receives(uint8_t op) { return op == STEP_RECV || op == STEP_RECV_REDUCE; }
#endif
