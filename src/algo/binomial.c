/* SPDX-License-Identifier: Apache-2.0 */
/* Gather and scatter down a halving tree: what is below a rank is a range of ranks, so the blocks of a subtree are one message. */
#include <algo/rows.h>
#include <algo/tree.h>

/* The blocks of child i's subtree, in a buffer that begins with this rank's. */
static struct span below(const struct tree *t, int i, enum sched_buf buf)
{
	return span(buf, (uint32_t)(t->child[i].lo - t->lo), (uint32_t)(t->child[i].hi - t->child[i].lo));
}

void binomial_gather(struct recorder *w, const struct problem *p, const struct group *g)
{
	struct tree t;
	tree_halving(&t, g->n, root_place(p, g), g->me);
	struct span in = span(BUF_IN, 0, 1), all = span(t.parent < 0 ? BUF_OUT : BUF_SCRATCH, 0, (uint32_t)(t.hi - t.lo));
	if (t.n == 0) {
		rec_send(w, group_rank(g, t.parent), in);
		return;
	}
	if (t.parent >= 0)
		rec_scratch(w, all.n);
	rec_copy(w, span(all.buf, (uint32_t)(g->me - t.lo), 1), in);
	for (int i = t.n - 1; i >= 0; i--)
		rec_recv(w, group_rank(g, t.child[i].at), below(&t, i, all.buf));
	if (t.parent >= 0)
		rec_send(w, group_rank(g, t.parent), all);
}

void binomial_scatter(struct recorder *w, const struct problem *p, const struct group *g)
{
	struct tree t;
	tree_halving(&t, g->n, root_place(p, g), g->me);
	struct span out = span(BUF_OUT, 0, 1), all = span(t.parent < 0 ? BUF_IN : BUF_SCRATCH, 0, (uint32_t)(t.hi - t.lo));
	if (t.n == 0) {
		rec_recv(w, group_rank(g, t.parent), out);
		return;
	}
	if (t.parent >= 0) {
		rec_scratch(w, all.n);
		rec_recv(w, group_rank(g, t.parent), all);
	}
	for (int i = 0; i < t.n; i++)
		rec_send(w, group_rank(g, t.child[i].at), below(&t, i, all.buf));
	rec_copy(w, out, span(all.buf, (uint32_t)(g->me - t.lo), 1));
}
