/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A schedule: what one rank must do. No pointers to data, no bytes, no sockets: numbered chunks of three buffers.
 *
 *      step   op           peer    dst                src                waits
 *      0      send         1                          in    [0,1)
 *      1      recv_reduce  3       out     [3,4)      in    [3,4)
 *      2      send         1                          out   [3,4)        1
 *      ...                                                               (all-reduce, ring, 4 ranks, rank 0)
 *
 * Buffers and chunks. A buffer is a row of blocks of `count` elements (coll.h); each block is cut into k chunks as evenly as can be (the
 * first count % k are one longer). Chunk c is piece c % k of block c / k, so a span of chunks is one contiguous range of elements. All
 * operands of a step, and both ends of a message, have the same number of elements for every count: spans must start at the same piece
 * (mod k) and be equally long. `scratch` has scratch_chunks chunks by the same rule. The same schedule serves every count, in place or
 * not.
 *
 * Order. A channel has two queues a rank: sends, and everything else, each in step order. The i-th message sent to p on channel c meets
 * p's i-th receive from this rank on c.
 *
 * The wait rule. Before a step touches element e, every step it waits for must have finished with e; or, if that step never touches e, be
 * complete: its own elements done and every step *it* waits for complete. "Touches" is judged as if the rank were in place. Waits are
 * derived by the recorder, never written by a builder. A step that has no elements (a nop; a count below k; a barrier) is done, and its
 * empty message sent, only when every step it waits for is complete.
 */
#ifndef SCHED_SCHED_H
#define SCHED_SCHED_H
#include <sched/coll.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum step_op { STEP_NOP, STEP_SEND, STEP_RECV, STEP_RECV_REDUCE, STEP_REDUCE, STEP_COPY };
enum sched_buf { BUF_NONE, BUF_IN, BUF_OUT, BUF_SCRATCH };

enum step_flag {
	STEP_SET = 1,           /* peer is a set of ranks (sends and recv_reduce) */
	STEP_REVERSED = 2,      /* the operands change sides, see the table below */
	STEP_FINAL = 4          /* dst holds the whole reduction: avg divides here */
};

enum { SCHED_MAX_CHANNELS = 8, SCHED_MAX_WAITS = 2 };

struct span { uint8_t buf; uint32_t chunk, n; };        /* chunks [chunk, chunk + n) of buf; n >= 1 unless buf is BUF_NONE */

/*
 *      send          src -> peer, or to each of the set
 *      recv          peer -> dst
 *      recv_reduce   dst = src (op) arriving; REVERSED: arriving (op) src. Set: left fold over the members and this rank in rank order,
 *                    src (if any) at this rank's place
 *      reduce        dst = dst (op) src; REVERSED: src (op) dst
 *      copy          dst = src
 *      nop           carries waits
 */
struct step {
	uint8_t op, flags, channel;
	int32_t peer;                   /* a rank; with STEP_SET an index into sched.sets; -1 for local steps */
	struct span dst, src;
	int32_t wait[SCHED_MAX_WAITS];  /* earlier steps of this rank; -1: none */
};

struct sched_set { uint32_t first, n; };                /* sched.members[first ... first + n), ascending, without this rank */

struct sched {                      /* immutable once finished */
	enum coll coll;
	const struct algo *algo;
	int nranks, rank, root;
	uint32_t k;                     /* chunks a block */
	uint32_t scratch_chunks;
	int nchannels;
	uint32_t nsteps, nsets, nmembers;
	const struct step *steps;
	const struct sched_set *sets;
	const int32_t *members;
	uint64_t hash;                  /* over coll, algo, nranks, root, k: equal on all ranks of one operation */
};

/* ---- making one (src/sched/record.c) -------------------------------------------------------------------------- */

struct recorder;

/* What a builder is asked for. */
struct problem {
	enum coll coll;
	int nranks, root;
	/* pipeline depth wanted, for builders that cut finer (trees): chunks a block are a multiple of what they need */
	int pieces;
	int channels;                   /* channels wanted, 1..SCHED_MAX_CHANNELS */
	const struct shape *shape;      /* who is near to whom, for hierarchical builders; NULL: all the same. Needed while building only */
};

/*
 * Who is near to whom: levels of units from the nearest out (machines, then racks). A level joins the units of the one before it, level 0
 * the ranks:
 *
 *      level 1        0         |    1               member  0 1 | 2        machines
 *      level 0     0     1      |    2               member  0 1 2 | 3 4 | 5 6 7       ranks
 *
 * Every level has two or more units, and joins something: levels that do not are left out. Units are numbered by their first ranks.
 */
enum { SHAPE_LEVELS = 3 };
struct shape_level {
	int n, least, most;             /* units; members of the smallest, of the largest */
	const int32_t *first, *member;  /* unit u has member[first[u] ... first[u + 1]), ascending */
	const int32_t *of, *place;      /* member m is number place[m] of unit of[m] */
};
struct shape { int nranks, nlevels; struct shape_level level[SHAPE_LEVELS]; uint64_t hash; };

/* unit[l][r]: any number that says in which unit of level l rank r is. *s on success only; TUTTI_ERR_INVALID when a level cuts a unit. */
int shape_make(struct shape **s, int nranks, int nlevels, const int32_t *const *unit);
void shape_free(struct shape *s);

/* Who takes part, and in which chunks: lets builders compose. The plain call is all ranks, all chunks. */
struct tier;
struct group {
	int n, me;                      /* members; this rank's place */
	uint32_t chunk0;                /* the group's chunk 0 in every buffer */
	int32_t (*rank)(const struct group *g, int i);          /* of member i; NULL: i */
	const struct tier *tier;        /* the hierarchy that the group is a part of (src/algo/hier.c); NULL: none */
	int level, unit;                /* there */
};
static inline int group_rank(const struct group *g, int i) { return g->rank ? g->rank(g, i) : i; }

/*
 * Algorithms: one file in src/algo and one row in src/algo/algo.c. A builder is a pure function that writes as if its steps ran one after
 * another. k_of says how many chunks a block the builder needs.
 */
struct algo {
	const char *name;               /* "ring" */
	enum coll coll;
	uint32_t (*k_of)(const struct problem *p);
	void (*build)(struct recorder *w, const struct problem *p, const struct group *g);
	bool ordered;                   /* keeps rank order: operators that do not commute */
	const char *help;               /* one line: when it is good, rounds and volume, source */
	bool shaped;                    /* looks at problem.shape */
};

/*
 * Emit steps. Errors (bad spans, too many channels, out of memory) stick to the recorder and come out of sched_build.
 * A set is a group's members, in any order, but this rank.
 */
void rec_channel(struct recorder *w, int channel);      /* of the steps that follow; 0 at first */
void rec_scratch(struct recorder *w, uint32_t chunks);  /* scratch wanted, in chunks (the largest call counts) */
void rec_send(struct recorder *w, int peer, struct span src);
void rec_send_set(struct recorder *w, const struct group *g, struct span src);
void rec_recv(struct recorder *w, int peer, struct span dst);
void rec_recv_reduce(struct recorder *w, int peer, struct span dst, struct span src, unsigned flags);
void rec_recv_reduce_set(struct recorder *w, const struct group *g, struct span dst, struct span src, unsigned flags);
void rec_reduce(struct recorder *w, struct span dst, struct span src, unsigned flags);
void rec_copy(struct recorder *w, struct span dst, struct span src);
bool rec_mute(struct recorder *w, bool muted);          /* steps that follow are not written down; what was before */
uint32_t rec_k(const struct recorder *w);               /* chunks a block */

static inline struct span span(enum sched_buf buf, uint32_t chunk, uint32_t n) { return (struct span){ (uint8_t)buf, chunk, n }; }

/*
 * Build rank's schedule. *s on success only; sched_free it. TUTTI_ERR_UNSUPPORTED when the algorithm cannot do p (sentence).
 * One rank alone needs no algorithm: its schedule is a copy, and the builder is not asked.
 */
int sched_build(struct sched **s, const struct algo *a, const struct problem *p, int rank);
void sched_free(struct sched *s);

/* ---- reading one ---------------------------------------------------------------------------------------------- */

/* First element of chunk c when a block has count elements cut in k (c may be one past the last chunk of the buffer). */
static inline uint64_t sched_elem(uint64_t count, uint32_t k, uint32_t c)
{
	uint64_t block = c / k, piece = c % k, q = count / k, m = count % k;
	return block * count + piece * q + (piece < m ? piece : m);
}

/* Where a span lies if the rank were in place: one line of elements for in and out together, another for scratch. */
static inline uint32_t sched_alias_chunk(const struct sched *s, struct span x)
{
	const struct coll_row *r = &coll_rows[s->coll];
	bool shifted = x.buf == BUF_IN ? r->in_shift : x.buf == BUF_OUT ? r->out_shift : false;
	return x.chunk + (shifted ? (uint32_t)s->rank * s->k : 0);
}
static inline bool sched_same_line(struct span a, struct span b) { return (a.buf == BUF_SCRATCH) == (b.buf == BUF_SCRATCH); }

extern const char *const step_names[], *const buf_names[];      /* "recv_reduce", "scratch" */
void sched_print(FILE *f, const struct sched *s);       /* the picture above */
void sched_print_step(FILE *f, const struct sched *s, uint32_t i);

#endif
