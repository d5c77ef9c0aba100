/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The simulator: how long would this schedule take there? A reader of schedules beside the executor and the verifier.
 *
 *      schedules of all ranks + topology + costs  --- sim_run(bytes) --->  seconds, the busiest resource, and a picture
 *
 *      a message:   sender's core - its node's memory - nic out - edges up - edges down - nic in - the other's memory - receiver's core
 *      its stream:  [start ...... end]          [start ...... end]                  ...                  [start ...... end]
 *
 * LogGP (Alexandrov and others 1995) a pair class, with shared resources: each rank's core, each edge of the topology with a known
 * bandwidth (a NIC's too) in each direction, each node's link, each node's memory. A step is one stream (start, end), never cut into
 * slices: it costs the same for one byte and for a gigabyte.
 *
 * A resource serves streams in the order in which they come. One that comes while it is busy gets its first slice through at once, as
 * slices take turns, but its last byte only when all before it are through: no resource ever moves more than it can.
 *
 * Waits: with f(x) the time at which step j's stream has got so far, who waits for bytes [a, b) of j starts at f(a + a slice) and ends one
 * slice after f(b); who waits for all of j (sched.h says when) starts when it is complete. An executor's window of open steps is kept to.
 *
 * Left out: what a transport buffers beyond `eager`; that a core serves two processes in turn (let the pair class NEAR_CORE say what it
 * costs); loss, routing by several ways, other traffic.
 */
#ifndef MODEL_MODEL_H
#define MODEL_MODEL_H
#include <sched/sched.h>
#include <topo/topo.h>

/* How near two ranks are: the first of these that they share. */
enum near { NEAR_CORE, NEAR_NUMA, NEAR_PACKAGE, NEAR_NODE, NEAR_NETWORK, NEARS };
extern const char *const near_names[NEARS];
enum near near_of(const struct topo *t, int a, int b);  /* route.c */

struct loggp {
	double latency;                 /* seconds from the first byte out to the first byte in, beside what the topology's edges say */
	double overhead;                /* seconds of each end's core, a message */
	double byte_core;               /* seconds of each end's core, a byte */
	double byte;                    /* least seconds between two bytes of one message; what links allow stands in the topology */
	size_t eager;                   /* bytes of a message that leaves, and its sender goes on, before the receiver is there */
};

struct rate { double cached, memory; };         /* seconds a byte of one operand, when what is touched fits the cache or does not */

struct costs {
	struct loggp pair[NEARS];
	struct rate copy, reduce;       /* by a core */
	double link;                    /* seconds a byte over a node's link, each way, where the topology knows none; 0: no limit */
	double link_measured;           /* the same, as found out: counts beside what the topology claims; 0: not measured */
	double memory;                  /* seconds a byte read or written of a node's memory, all its cores together; 0: no limit */
	double step;                    /* seconds of a core, a step */
	double start;                   /* seconds of a core, a call */
	size_t cache;                   /* bytes of cache a core */
};

/* ---- costs.c ---------------------------------------------------------------------------------------------------- */

void costs_default(struct costs *c);    /* for who has measured nothing: round figures of a current machine and TCP */

/* One `name = value unit` a line, `#` and the rest of a line ignored; every name exactly once. *c on success only. */
void costs_print(FILE *f, const struct costs *c);
int costs_parse(struct costs *c, const char *text);

/* ---- open.c, run.c ---------------------------------------------------------------------------------------------- */

struct sim;
struct sim_job { const struct algo *algo; struct problem problem; };

struct sim_result {
	double seconds;                 /* until the last rank is done, all having started at 0 */
	double busy;                    /* of that time the busiest resource was in use, 0..1 */
	char busiest[64];               /* "nic node3/mlx5_0:1 out", "core of rank 5", "memory of node 2"; "nothing" */
	uint64_t messages, node_bytes;  /* messages of all ranks; bytes out of the node that sends most */
	double passes; /* bytes that steps read and write (a send reads, a receive writes), of the rank with most, over `bytes` */
};

/*
 * Build the schedules of all ranks once; then run them for many sizes. *s on success only. topo and costs must outlive it; costs may change
 * between runs. One thread at a time a sim. TUTTI_ERR_UNSUPPORTED (sentence) for what is too large, and for send and recv, which are half
 * an operation each.
 */
int sim_open(struct sim **s, const struct sim_job *job, const struct topo *topo, const struct costs *costs);
void sim_close(struct sim *s);

/*
 * The same when all ranks do what rank 0 does, counted round from themselves, as in ring, circulant and dissemination: only its schedule is
 * built, and turned (a range that wraps round elsewhere, and is two messages there, stays one). For many ranks and algorithms that cut a
 * vector into as many chunks.
 */
int sim_open_alike(struct sim **s, const struct sim_job *job, const struct topo *topo, const struct costs *costs);

/*
 * For problem.shape, what the topology says: nodes, then switches outward. *shape may be NULL: all ranks are equally near. shape_free it.
 */
int sim_shape(struct shape **shape, const struct topo *topo);

/*
 * bytes: of one rank's count, as sched.h's block. slice: what the executor moves at a time. Nothing is allocated after the first run of a
 * sim.
 */
int sim_run(struct sim *s, uint64_t bytes, size_t slice, struct sim_result *result);

/* ---- trace.c ---------------------------------------------------------------------------------------------------- */

/* A step is over (steps of a rank come in any order). resource: what bounded it most, -1 when nothing did but waiting. */
struct sim_event { int rank, peer, resource; uint32_t step; uint8_t op, channel; uint64_t bytes; double start, end; };
typedef void sim_sink(void *ctx, const struct sim_event *e);

void sim_trace(struct sim *s, sim_sink *sink, void *ctx);       /* of the runs that follow; NULL: none */
void sim_resource_name(const struct sim *s, int resource, char *buf, size_t cap);

/*
 * Run once more, and write what happens: for chrome://tracing and ui.perfetto.dev, and as a drawing with a row a rank. 0, or an error
 * (sentence).
 */
int sim_write_json(struct sim *s, uint64_t bytes, size_t slice, FILE *f);
int sim_write_svg(struct sim *s, uint64_t bytes, size_t slice, const char *title, FILE *f);
#endif
