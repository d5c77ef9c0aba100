/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The simulator: how long would this schedule take there? A reader of schedules beside the executor and the verifier.
 *
 *      schedules of all ranks + topology + costs  --- sim_run(bytes) --->  seconds, the busiest resource, and a picture
 *
 * LogGP (Alexandrov and others 1995) a pair class, with shared resources: each rank's core, each NIC and each edge between switches in each direction, each
 * node's memory has a time from which it is free. A step is one stream (start, rate, end), never cut into slices: what waits for it element by element
 * starts one slice later and ends no sooner than one slice after it; what waits for all of it starts when it is complete.
 */
#ifndef MODEL_MODEL_H
#define MODEL_MODEL_H
#include <sched/sched.h>
#include <topo/topo.h>

/* How near two ranks are: the first of these that they share. */
enum near { NEAR_CORE, NEAR_NUMA, NEAR_PACKAGE, NEAR_NODE, NEAR_NETWORK, NEARS };

struct loggp {
	double latency;                 /* seconds from the first byte out to the first byte in, beside what the topology's edges say */
	double overhead;                /* seconds of each end's core, a message */
	double byte_core;               /* seconds of each end's core, a byte */
	double byte;                    /* least seconds between two bytes of one message; what links allow stands in the topology */
};

struct rate { double cached, memory; };         /* seconds a byte of one operand, when what is touched fits the cache or does not */

struct costs {
	struct loggp pair[NEARS];
	struct rate copy, reduce;       /* by a core */
	double memory;                  /* seconds a byte read or written of a node's memory, all its cores together */
	double step;                    /* seconds of a core, a step */
	double start;                   /* seconds of a core, a call */
	size_t cache;                   /* bytes of cache a core */
};

struct sim;
struct sim_job { const struct algo *algo; struct problem problem; };

struct sim_result {
	double seconds;                 /* until the last rank is done, all having started at 0 */
	double busy;                    /* of that time the busiest resource was in use, 0..1 */
	char busiest[64];               /* "nic node3/mlx5_0:1 out", "core of rank 5", "memory of node 2" */
	uint64_t messages, node_bytes;  /* messages of all ranks; bytes out of the node that sends most */
	double passes;                  /* bytes read and written by copying and reducing (messages too), of the rank with most, over the bytes of one rank's count */
};

/* Build the schedules of all ranks once; then run them for many sizes. *s on success only. topo and costs must outlive it. */
int sim_open(struct sim **s, const struct sim_job *job, const struct topo *topo, const struct costs *costs);
int sim_run(struct sim *s, uint64_t bytes, size_t slice, struct sim_result *result);
void sim_close(struct sim *s);
#endif
