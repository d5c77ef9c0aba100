/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All ranks' schedules as one graph, and their memory.
 *
 *      steps     numbered through: base[rank] + step                  ends[first_end[step] ...]: the messages of a step, in the order of
 *                its peers
 *      messages  from (rank, send step) to (rank, recv step)
 *      memory    three rows of elements a rank; in place: in and out lie in one row, shifted as the collective's row says
 *
 * verify.c owns the world of a call; the parts below each judge it, write why once, and return 0 or a status.
 */
#ifndef VERIFY_WORLD_H
#define VERIFY_WORLD_H
#include <verify/verify.h>

/*
 * An element. sum: wrapping, what commuting operators see. (a, b): the map x -> a x + b under composition, associative and not
 * commutative, what operators that need rank order see. expr: a hash of the very expression; equal only where the same bits are certain
 * for floats.
 */
struct elem { uint64_t sum, a, b, expr; };

struct msg { uint32_t send, recv, next; int32_t from, to; };

struct world {
	int n;
	const struct sched *const *s;
	char *why;
	size_t cap;
	uint32_t nsteps, nmsgs, *base, *first_end, *ends;
	int32_t *rank;                          /* of a step */
	const struct step **step;
	struct msg *msgs;
	/* memory, for one case */
	uint64_t count, seed;
	bool *in_place;
	struct elem *heap, **mem[4];            /* mem[buf][rank] */
	uint32_t *order;                        /* steps as block.c completed them */
};

int refute(const struct world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static inline const struct step *step_at(const struct world *w, uint32_t g)
{
	return w->step[g];
}
static inline uint32_t msgs_of(const struct world *w, uint32_t g)
{
	return w->first_end[g + 1] - w->first_end[g];
}
static inline bool receives(const struct step *x)
{
	return x->op == STEP_RECV || x->op == STEP_RECV_REDUCE;
}
/* First element and length of a span, when a block has w->count. */
static inline uint64_t elem_at(const struct world *w, int rank, uint32_t chunk)
{
	return sched_elem(w->count, w->s[rank]->k, chunk);
}
static inline uint64_t elems(const struct world *w, int rank, struct span x)
{
	return x.buf ? elem_at(w, rank, x.chunk + x.n) - elem_at(w, rank, x.chunk) : 0;
}
static inline struct elem *locate(const struct world *w, int rank, struct span x)
{
	return x.buf ? w->mem[x.buf][rank] + elem_at(w, rank, x.chunk) : NULL;
}

int check_rank(const struct world *w, int rank);        /* legal.c */
int check_races(const struct world *w, int rank);       /* race.c */
int world_match(struct world *w);                       /* match.c */
int run_blocking(struct world *w);                      /* block.c: sets order */
int run_order(const struct world *w);                   /* memory.c: the steps in that order */
int run_chaos(const struct world *w, uint64_t seed);    /* chaos.c */
int check_barrier(const struct world *w);               /* match.c: after run_blocking, everybody has heard of everybody */

/* memory.c */
int memory_fill(struct world *w);
int memory_check(const struct world *w);
/* Do elements [lo, hi) of step g; from: for each message, where its element 0 arrives. */
void step_apply(const struct world *w, uint32_t g, uint64_t lo, uint64_t hi, struct elem *const *from);

static inline uint64_t scramble(uint64_t x)
{
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
	x = (x ^ x >> 27) * 0x94d049bb133111ebu;
	return x ^ x >> 31;
}
#endif
