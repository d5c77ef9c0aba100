/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The communicator: ties the floors together and owns them all.
 *
 *      tutti_all_reduce --> call (arguments, checked) --> plan (cached) --> engine: run --> wait
 *
 * Order of birth: boot (who are we), world (transports), exchange of blobs and digests, engine. Death in the other order, after everybody's goodbye.
 */
#ifndef COMM_COMM_H
#define COMM_COMM_H
#include <exec/engine.h>
#include <model/model.h>
#include <plan/choose.h>
#include <topo/topo.h>

enum { PLAN_BUCKETS = 256, PLANS_MAX = 512, WATCH_EVERY = 64, WATCH_SAMPLES = 64 };

struct call {                           /* one collective as the user wrote it */
	enum coll coll;
	const void *send;
	void *recv;
	size_t count;
	int type, op, root;
};

struct plan_entry {
	struct plan_entry *next;        /* of its bucket */
	struct plan *plan;
	enum coll coll;
	size_t count;
	int type, op, root;
	uint32_t user_op;               /* a handle may be used again for another operator */
	bool reads, writes;             /* buffers at this rank, their bytes, and where recv stands from send when in place */
	size_t in, out;
	ptrdiff_t in_place;
	uint32_t calls, timed, slow;    /* blocking ones (watch.c) */
	float *samples;                 /* seconds of the last WATCH_SAMPLES timed; NULL unless TUTTI_EXPLAIN=1 */
	struct choice choice;
};

struct sched_entry {
	struct sched_entry *next;
	struct sched *sched;
	int channels, pieces;
};

struct plans {
	struct plan_entry *bucket[PLAN_BUCKETS], *last;
	struct sched_entry *scheds;
	uint32_t n;
};

struct tutti_mem { struct tutti_mem *next; const struct net_mem *region; };

struct tutti_comm {
	struct engine engine;
	struct world world;
	struct boot *boot;
	struct auth_key key;
	struct config config;           /* the process's, or of a split the parent's, with the caller's overrides */
	char *transport, *algo;         /* its strings that may be overridden */
	int rank, nranks;
	const struct tutti_comm *split_from;    /* while it is made by a split: its parent, and which ranks of that these are */
	const int *split_ranks;
	struct topo *topo;              /* where the ranks are, and the same as a shape */
	struct shape *shape;
	struct costs costs;             /* rank 0's: what the model reckons with */
	bool calibrated;                /* they were measured */
	bool calibrate;                 /* rank 0 wants to measure them */
	uint32_t slow;                  /* calls that took much longer than projected; said? */
	bool slow_said;
	struct plan_table *table;       /* what rank 0 has chosen for every size; NULL: one rank */
	struct plan_table *forced;      /* by comm_force: stands in for it; NULL: nothing is */
	struct plans plans;
	struct tutti_request *idle;     /* requests to use again */
	struct tutti_mem *registered;
	struct tutti_request *persistent;       /* those that keep regions */
	int kept;                       /* how many regions */
	char error[ERR_TEXT];
};

struct tutti_request {
	struct tutti_request *next;     /* idle */
	struct tutti_comm *comm;
	struct plan *plan;
	struct run *run;                /* NULL: not running */
	const void *send;
	void *recv;
	bool persistent, keeps;
	const struct net_mem *regions[2];       /* a persistent one's buffers, which stay until it is freed */
	struct tutti_request *keeping;  /* next on comm->persistent */
};

/* The plan for a call, made (and all but its buffers checked) when it is the first of its kind. */
int plans_get(struct tutti_comm *c, const struct call *k, struct plan_entry **entry);
void plans_drop_idle(struct plans *p);  /* inside the engine: all that nothing uses */
void plans_free(struct plans *p);

/* All but the buffers: TUTTI_OK, or TUTTI_ERR_INVALID with what was expected and what came. */
int call_check(const struct tutti_comm *c, const struct call *k);

/*
 * scene.c: where the ranks are, and what is chosen there. The topology is TUTTI_TOPOLOGY's (a split's: its part of that), or what the ranks have found (a record a
 * rank). Then, collective:
 * rank 0's table for all; and, when rank 0 says so, costs are measured first (the communicator can be used by then) and the table is made anew.
 */
int scene_make(struct tutti_comm *c, const struct topo_record *records);
int scene_agree(struct tutti_comm *c, int64_t deadline);
int scene_calibrate(struct tutti_comm *c);

/* watch.c: is this call to be timed? What it took; and, for TUTTI_EXPLAIN=1, all that was chosen, on stderr. */
static inline bool watch_due(struct plan_entry *e) { return e->calls++ % WATCH_EVERY == WATCH_EVERY - 1 || e->samples; }
void watch_note(struct tutti_comm *c, struct plan_entry *e, int64_t ns);
void watch_explain(struct tutti_comm *c);

/* Keep the sentence of a failure for tutti_last_error(comm); returns status. */
int comm_error(struct tutti_comm *c, int status);

/* Called inside the engine; starts it unless persistent. *req on success only. */
int request_new(struct tutti_comm *c, struct plan *plan, const struct call *k, bool persistent, struct tutti_request **req);
void request_free_all(struct tutti_comm *c);

/*
 * What things cost between these ranks, measured for at most about budget_ms, which rank 0 watches over. Collective, nothing else in flight; all ranks get the same
 * bits, on success only. What the time is too short for stays at costs_default, and is named in the log (info). Outside of the engine.
 */
int comm_calibrate(struct tutti_comm *c, struct costs *costs, int64_t budget_ms);

/* The same for c->costs, kept in rank 0's cache. */
int comm_learn(struct tutti_comm *c, int64_t budget_ms);

/* Rank 0, once the ranks have met: what its cache knows of jobs like this one. c->costs and c->calibrated; *measured is empty when nothing is known. */
void comm_recall(struct tutti_comm *c, struct plan_table *measured);

/* Rank 0: keep c->costs (measured NULL), or a table. path: where, "" when there is no cache. */
int comm_remember(struct tutti_comm *c, const struct plan_table *measured, char *path, size_t cap);

/*
 * From now on every call of the cell's collective goes by it, until the next comm_force; NULL: as the communicator has chosen. Plans that nothing uses are dropped. All
 * ranks with the same cell, at the same place among their calls. What TUTTI_ALGO, _SLICE and _CHANNELS force wins.
 */
int comm_force(struct tutti_comm *c, const struct plan_cell *cell);
#endif
