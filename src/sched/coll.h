/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The collectives: one row each, with shapes, aliasing and postcondition, read by the recorder, the verifier, the run-time tests and the
 * API.
 *
 * A buffer is a row of blocks of `count` elements. `in` has in_blocks of them and `out` has out_blocks: 1, or N for one block a rank.
 * When a rank is in place, in's block 0 lies on out's block in_shift (all-gather: its own), or out's block 0 on in's block out_shift.
 */
#ifndef SCHED_COLL_H
#define SCHED_COLL_H
#include <stdbool.h>
#include <stdint.h>

/*      X(NAME, name, in N blocks?, out N blocks?, is in shifted to the rank's block?, is out?, reduces?, has a root?) */
#define COLL_ROWS(X) \
	X(ALL_REDUCE,     all_reduce,     0, 0, 0, 0, 1, 0) \
	X(REDUCE_SCATTER, reduce_scatter, 1, 0, 0, 1, 1, 0) \
	X(ALL_GATHER,     all_gather,     0, 1, 1, 0, 0, 0) \
	X(BROADCAST,      broadcast,      0, 0, 0, 0, 0, 1) \
	X(REDUCE,         reduce,         0, 0, 0, 0, 1, 1) \
	X(GATHER,         gather,         0, 1, 1, 0, 0, 1) \
	X(SCATTER,        scatter,        1, 0, 0, 1, 0, 1) \
	X(ALL_TO_ALL,     all_to_all,     1, 1, 0, 0, 0, 0) \
	X(BARRIER,        barrier,        0, 0, 0, 0, 0, 0) \
	X(SEND,           send,           0, 0, 0, 0, 0, 1) \
	X(RECV,           recv,           0, 0, 0, 0, 0, 1)

enum coll {
#define X(NAME, ...) COLL_##NAME,
	COLL_ROWS(X)
#undef X
	COLLS
};

struct coll_row { const char *name; bool in_n, out_n, in_shift, out_shift, reduces, rooted; };
extern const struct coll_row coll_rows[COLLS];          /* for SEND and RECV, root is the peer */

int coll_from_name(const char *name);                   /* -1 when not a name */

static inline uint32_t coll_in_blocks(enum coll c, int nranks) { return coll_rows[c].in_n ? (uint32_t)nranks : 1; }
static inline uint32_t coll_out_blocks(enum coll c, int nranks) { return coll_rows[c].out_n ? (uint32_t)nranks : 1; }

/* Does this rank read in, write out? (broadcast: only the root reads; reduce: only the root has an out) */
bool coll_reads(enum coll c, int root, int rank);
bool coll_writes(enum coll c, int root, int rank);

/*
 * The postcondition: out block b of `rank` equals block `block` of in at rank `from`, or (from == COLL_ALL) the reduction of that block
 * over all ranks in rank order, or (COLL_NONE) is not written.
 */
enum { COLL_ALL = -1, COLL_NONE = -2 };
struct coll_expect { int from; uint32_t block; };
struct coll_expect coll_expect(enum coll c, int nranks, int root, int rank, uint32_t b);
#endif
