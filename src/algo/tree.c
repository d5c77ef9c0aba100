/* SPDX-License-Identifier: Apache-2.0 */
/* Tree shapes, and the collectives that are nothing but a tree: all-reduce, broadcast, reduce. */
#include <algo/rows.h>
#include <algo/tree.h>

static void add_child(struct tree *t, int at, int lo, int hi)
{
	t->child[t->n].at = at;
	t->child[t->n].lo = lo;
	t->child[t->n++].hi = hi;
}

static int head(int lo, int hi, int root)
{
	return root >= lo && root < hi ? root : lo;
}

void tree_halving(struct tree *t, int n, int root, int me)
{
	*t = (struct tree){ .parent = -1, .hi = n };
	for (int lo = 0, hi = n; hi - lo > 1;) {
		int mid = lo + (hi - lo + 1) / 2, top = head(lo, hi, root);
		int mlo = me < mid ? lo : mid, mhi = me < mid ? mid : hi, olo = me < mid ? mid : lo, ohi = me < mid ? hi : mid;
		if (top == me)
			add_child(t, head(olo, ohi, root), olo, ohi);
		else if (head(mlo, mhi, root) == me)
			*t = (struct tree){ .parent = top, .lo = mlo, .hi = mhi };
		lo = mlo;
		hi = mhi;
	}
}

void tree_binary(struct tree *t, int n, int me)
{
	int bit = me ? me & -me : 1 << log2_up(n), low = bit / 2;
	*t = (struct tree){ .parent = -1 };
	if (me) {
		t->parent = (me ^ bit) | bit << 1;
		if (t->parent >= n)
			t->parent = me ^ bit;
		if (low)
			add_child(t, me - low, 0, 0);
	}
	while (low && me + low >= n)
		low /= 2;
	if (low)
		add_child(t, me + low, 0, 0);
}

void tree_chain(struct tree *t, int n, int root, int me)
{
	int place = (me - root + n) % n;
	*t = (struct tree){ .parent = place ? (me - 1 + n) % n : -1 };
	if (place < n - 1)
		add_child(t, (me + 1) % n, 0, 0);
}

void tree_up(struct recorder *w, const struct group *g, const struct tree *t, uint32_t c, enum sched_buf acc)
{
	struct span src = sources(g, c - g->chunk0, 1);
	need(w, g, c - g->chunk0, 1);
	for (int i = t->n - 1; i >= 0; i--) {
		unsigned flags = (t->child[i].at < g->me ? STEP_REVERSED : 0) | (t->parent < 0 && i == 0 ? STEP_FINAL : 0);
		rec_recv_reduce(w, group_rank(g, t->child[i].at), span(acc, c, 1), src, flags);
		src = span(acc, c, 1);
	}
	if (t->parent >= 0)
		rec_send(w, group_rank(g, t->parent), src);
}

void tree_down(struct recorder *w, const struct group *g, const struct tree *t, uint32_t c, enum sched_buf src)
{
	struct span at = span(t->parent < 0 ? src : BUF_OUT, c, 1);
	if (t->parent >= 0)
		rec_recv(w, group_rank(g, t->parent), at);
	for (int i = 0; i < t->n; i++)
		rec_send(w, group_rank(g, t->child[i].at), at);
	done(w, g, c - g->chunk0, at);
}

/*
 * Chunk i goes up while chunk i - lag comes down: by then it has been to the root and back, and neither direction stands behind the
 * other in a queue.
 */
void tree_all_reduce(struct recorder *w, const struct problem *p, const struct group *g)
{
	struct tree t;
	int lag = 2 * log2_up(g->n);
	tree_halving(&t, g->n, 0, g->me);
	for (int i = 0; i < p->pieces + lag; i++) {
		if (i < p->pieces)
			tree_up(w, g, &t, shard(g, i), BUF_OUT);
		if (i >= lag)
			tree_down(w, g, &t, shard(g, i - lag), BUF_OUT);
	}
}

/*
 * Two binary trees, each for half of the vector on a channel of its own; who is inside one tree is a leaf of the other, but for one rank
 * when n is odd, so nobody has more than two children in both together (Sanders, Speck, Traeff 2009).
 */
void double_tree_all_reduce(struct recorder *w, const struct problem *p, const struct group *g)
{
	struct tree t[2];
	int n = g->n, lag = 2 * log2_up(n), odd = n % 2;
	tree_binary(&t[0], n, g->me);
	tree_binary(&t[1], n, odd ? around(g, -1) : n - 1 - g->me);
	if (t[1].parent >= 0)
		t[1].parent = odd ? (t[1].parent + 1) % n : n - 1 - t[1].parent;
	for (int i = 0; i < t[1].n; i++)
		t[1].child[i].at = odd ? (t[1].child[i].at + 1) % n : n - 1 - t[1].child[i].at;
	for (int i = 0; i < p->pieces + lag; i++)
		for (int c = 0; c < 2; c++) {
			rec_channel(w, c);
			if (i < p->pieces)
				tree_up(w, g, &t[c], shard(g, c * p->pieces + i), BUF_OUT);
			if (i >= lag)
				tree_down(w, g, &t[c], shard(g, c * p->pieces + i - lag), BUF_OUT);
		}
}

uint32_t k_two_pieces(const struct problem *p)
{
	return 2 * (uint32_t)p->pieces;
}

static void broadcast(struct recorder *w, const struct problem *p, const struct group *g, const struct tree *t)
{
	for (int i = 0; i < p->pieces; i++)
		tree_down(w, g, t, shard(g, i), BUF_IN);
	if (t->parent < 0)
		rec_copy(w, span(BUF_OUT, g->chunk0, k_pieces(p)), span(BUF_IN, g->chunk0, k_pieces(p)));
}

static void reduce(struct recorder *w, const struct problem *p, const struct group *g, const struct tree *t)
{
	if (t->parent >= 0 && t->n)
		rec_scratch(w, g->chunk0 + k_pieces(p));
	for (int i = 0; i < p->pieces; i++)
		tree_up(w, g, t, shard(g, i), t->parent < 0 ? BUF_OUT : BUF_SCRATCH);
}

void binomial_broadcast(struct recorder *w, const struct problem *p, const struct group *g)
{
	struct tree t;
	tree_halving(&t, g->n, root_place(p, g), g->me);
	broadcast(w, p, g, &t);
}

void chain_broadcast(struct recorder *w, const struct problem *p, const struct group *g)
{
	struct tree t;
	tree_chain(&t, g->n, root_place(p, g), g->me);
	broadcast(w, p, g, &t);
}

void binomial_reduce(struct recorder *w, const struct problem *p, const struct group *g)
{
	struct tree t;
	tree_halving(&t, g->n, root_place(p, g), g->me);
	reduce(w, p, g, &t);
}

void chain_reduce(struct recorder *w, const struct problem *p, const struct group *g)
{
	struct tree t;
	tree_chain(&t, g->n, root_place(p, g), g->me);
	reduce(w, p, g, &t);
}
