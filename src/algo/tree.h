/* SPDX-License-Identifier: Apache-2.0 */
/* Shapes of trees over the members of a group, and how a chunk goes up and down one. */
#ifndef ALGO_TREE_H
#define ALGO_TREE_H
#include <sched/sched.h>

struct tree {
	int parent, n;                          /* members; -1 at the root; n children, those with most below them first */
	int lo, hi;                             /* halving: the members in and below this one are [lo, hi) ... */
	struct { int at, lo, hi; } child[32];   /* ... and those below a child are [lo, hi) */
};

/*
 * Halve the members again and again; the root, or else the first, of a part answers for it. Binomial for powers of two; every subtree is
 * a range of members, for every root, so folding the children from the last to the first keeps rank order.
 */
void tree_halving(struct tree *t, int n, int root, int me);

/* Binary, member 0 on top; odd members are leaves. */
void tree_binary(struct tree *t, int n, int me);

/* One after the other: root, root + 1, ... */
void tree_chain(struct tree *t, int n, int root, int me);

/*
 * Reduce chunk c of in over the tree into acc of its root (acc also holds partial sums below); send chunk c of src, at the root, down to
 * out of all others.
 */
void tree_up(struct recorder *w, const struct group *g, const struct tree *t, uint32_t c, enum sched_buf acc);
void tree_down(struct recorder *w, const struct group *g, const struct tree *t, uint32_t c, enum sched_buf src);
#endif
