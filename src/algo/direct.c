/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Direct: everybody talks to everybody in one round. Fewest rounds; the choice for small messages and for ranks that share memory.
 *
 * Sends that feed a recv_reduce from a set go in rank order on every rank, not round from this one: a set that is folded in one pass
 * needs all its members' messages at once, and with one open send a rank the round-from-me order hangs at three ranks.
 */
#include <algo/rows.h>

/* Straight from in it would need buffering when in place: everybody's in would have to be sent before it may be overwritten. */
void direct_all_reduce_one(struct recorder *w, const struct problem *p, const struct group *g)
{
	struct span out = span(BUF_OUT, g->chunk0, 1), mine = span(BUF_SCRATCH, g->chunk0, 1);
	(void)p;
	rec_scratch(w, rec_k(w));
	need(w, g, 0, 1);
	rec_copy(w, mine, sources(g, 0, 1));
	rec_send_set(w, g, mine);
	rec_recv_reduce_set(w, g, out, mine, STEP_FINAL);
	done(w, g, 0, out);
}

void direct_all_reduce(struct recorder *w, const struct problem *p, const struct group *g)
{
	each_channel(w, p, g, 1, direct_all_reduce_one);
}

void direct_rs_ag_one(struct recorder *w, const struct problem *p, const struct group *g)
{
	struct span mine = span(BUF_OUT, shard(g, g->me), 1);
	(void)p;
	for (int i = 0; i < g->n; i++)
		need(w, g, (uint32_t)i, 1);
	for (int i = 0; i < g->n; i++)
		if (i != g->me)
			rec_send(w, group_rank(g, i), sources(g, (uint32_t)i, 1));
	rec_recv_reduce_set(w, g, mine, sources(g, (uint32_t)g->me, 1), STEP_FINAL);
	rec_send_set(w, g, mine);
	for (int i = 1; i < g->n; i++)
		rec_recv(w, peer(g, -i), span(BUF_OUT, shard(g, around(g, -i)), 1));
	for (int i = 0; i < g->n; i++)
		done(w, g, (uint32_t)around(g, -i), span(BUF_OUT, shard(g, around(g, -i)), 1));
}

void direct_rs_ag_all_reduce(struct recorder *w, const struct problem *p, const struct group *g)
{
	each_channel(w, p, g, (uint32_t)g->n, direct_rs_ag_one);
}

void direct_reduce_scatter_one(struct recorder *w, const struct problem *p, const struct group *g)
{
	for (int i = 0; i < g->n; i++)
		need(w, g, (uint32_t)i, 1);
	for (int i = 0; i < g->n; i++)
		if (i != g->me && has_block(g, i))
			rec_send(w, group_rank(g, i), source_block(p, g, i));
	if (has_block(g, g->me))
		rec_recv_reduce_set(w, g, span(BUF_OUT, g->chunk0, 1), source_block(p, g, g->me), STEP_FINAL);
}

void direct_reduce_scatter(struct recorder *w, const struct problem *p, const struct group *g)
{
	each_channel(w, p, g, 1, direct_reduce_scatter_one);
}

void direct_all_gather_one(struct recorder *w, const struct problem *p, const struct group *g)
{
	struct span mine = span(BUF_IN, g->chunk0, 1);
	if (has_block(g, g->me))
		rec_send_set(w, g, mine);
	for (int i = 1; i < g->n; i++)
		if (has_block(g, around(g, -i)))
			rec_recv(w, peer(g, -i), span(BUF_OUT, block(p, g, around(g, -i)), 1));
	done(w, g, (uint32_t)g->me, mine);
	for (int i = 1; i < g->n; i++)
		done(w, g, (uint32_t)around(g, -i), span(BUF_OUT, block(p, g, around(g, -i)), 1));
	if (has_block(g, g->me))
		rec_copy(w, span(BUF_OUT, block(p, g, g->me), 1), mine);
}

void direct_all_gather(struct recorder *w, const struct problem *p, const struct group *g)
{
	each_channel(w, p, g, 1, direct_all_gather_one);
}

static void broadcast(struct recorder *w, const struct problem *p, const struct group *g)
{
	struct span in = span(BUF_IN, g->chunk0, 1), out = span(BUF_OUT, g->chunk0, 1);
	if (group_rank(g, g->me) != p->root) {
		rec_recv(w, p->root, out);
		return;
	}
	rec_send_set(w, g, in);
	rec_copy(w, out, in);
}

void direct_broadcast(struct recorder *w, const struct problem *p, const struct group *g)
{
	each_channel(w, p, g, 1, broadcast);
}

static void reduce(struct recorder *w, const struct problem *p, const struct group *g)
{
	struct span in = span(BUF_IN, g->chunk0, 1);
	if (group_rank(g, g->me) == p->root)
		rec_recv_reduce_set(w, g, span(BUF_OUT, g->chunk0, 1), in, STEP_FINAL);
	else
		rec_send(w, p->root, in);
}

void direct_reduce(struct recorder *w, const struct problem *p, const struct group *g)
{
	each_channel(w, p, g, 1, reduce);
}

static void gather(struct recorder *w, const struct problem *p, const struct group *g)
{
	struct span in = span(BUF_IN, g->chunk0, 1);
	if (group_rank(g, g->me) != p->root) {
		rec_send(w, p->root, in);
		return;
	}
	for (int i = 1; i < g->n; i++)
		rec_recv(w, peer(g, i), span(BUF_OUT, block(p, g, around(g, i)), 1));
	rec_copy(w, span(BUF_OUT, block(p, g, g->me), 1), in);
}

void direct_gather(struct recorder *w, const struct problem *p, const struct group *g)
{
	each_channel(w, p, g, 1, gather);
}

static void scatter(struct recorder *w, const struct problem *p, const struct group *g)
{
	struct span out = span(BUF_OUT, g->chunk0, 1);
	if (group_rank(g, g->me) != p->root) {
		rec_recv(w, p->root, out);
		return;
	}
	for (int i = 1; i < g->n; i++)
		rec_send(w, peer(g, i), span(BUF_IN, block(p, g, around(g, i)), 1));
	rec_copy(w, out, span(BUF_IN, block(p, g, g->me), 1));
}

void direct_scatter(struct recorder *w, const struct problem *p, const struct group *g)
{
	each_channel(w, p, g, 1, scatter);
}
