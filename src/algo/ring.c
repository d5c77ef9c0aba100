/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ring: every rank sends to the next and receives from the one before, n - 1 rounds a phase, each link carrying the least volume there is.
 *
 *      reduce-scatter   in round i, chunk me - i goes on, and chunk me - i - 1 comes and is reduced
 *      all-gather       the same without reducing
 */
#include <algo/rows.h>

void ring_all_reduce_one(struct recorder *w, const struct problem *p, const struct group *g)
{
	(void)p;
	need(w, g, (uint32_t)g->me, 1);
	for (int i = 0; i < g->n - 1; i++) {
		uint32_t goes = (uint32_t)around(g, -i), comes = (uint32_t)around(g, -i - 1);
		need(w, g, comes, 1);
		rec_send(w, peer(g, 1), i ? span(BUF_OUT, g->chunk0 + goes, 1) : sources(g, goes, 1));
		rec_recv_reduce(w, peer(g, -1), span(BUF_OUT, g->chunk0 + comes, 1), sources(g, comes, 1), i == g->n - 2 ? STEP_FINAL : 0);
	}
	for (int i = 0; i < g->n; i++) {
		struct span goes = span(BUF_OUT, shard(g, around(g, 1 - i)), 1), comes = span(BUF_OUT, shard(g, around(g, -i)), 1);
		if (i < g->n - 1) {
			rec_send(w, peer(g, 1), goes);
			rec_recv(w, peer(g, -1), comes);
		}
		done(w, g, goes.chunk - g->chunk0, goes);
	}
}

void ring_all_reduce(struct recorder *w, const struct problem *p, const struct group *g)
{
	each_channel(w, p, g, (uint32_t)g->n, ring_all_reduce_one);
}

/* Partial sums live in scratch, two blocks in turn: in is constant, and out takes only the last. */
void ring_reduce_scatter_one(struct recorder *w, const struct problem *p, const struct group *g)
{
	uint32_t k = k_channels(p), tmp = scratch0(g) + g->chunk0;
	rec_scratch(w, scratch0(g) + 2 * k);
	need(w, g, (uint32_t)around(g, -1), 1);
	for (int i = 0; i < g->n - 1; i++) {
		int goes = around(g, -i - 1), comes = around(g, -i - 2);
		struct span to = span(BUF_SCRATCH, tmp + (uint32_t)(i % 2) * k, 1), from = span(BUF_SCRATCH, tmp + (uint32_t)((i + 1) % 2) * k, 1);
		bool last = i == g->n - 2;
		need(w, g, (uint32_t)comes, 1);
		if (has_block(g, goes))
			rec_send(w, peer(g, 1), i ? from : source_block(p, g, goes));
		if (has_block(g, comes))
			rec_recv_reduce(w, peer(g, -1), last ? span(BUF_OUT, g->chunk0, 1) : to, source_block(p, g, comes), last ? STEP_FINAL : 0);
	}
}

void ring_reduce_scatter(struct recorder *w, const struct problem *p, const struct group *g)
{
	each_channel(w, p, g, 1, ring_reduce_scatter_one);
}

/*
 * The own block is copied last: when in place, a copy before the first receive would wait for the first send, and that for the
 * neighbour's copy.
 */
void ring_all_gather_one(struct recorder *w, const struct problem *p, const struct group *g)
{
	struct span mine = span(BUF_IN, g->chunk0, 1);
	for (int i = 0; i < g->n; i++) {
		int goes = around(g, -i), comes = around(g, -i - 1);
		struct span at = i ? span(BUF_OUT, block(p, g, goes), 1) : mine;
		if (has_block(g, goes) && i < g->n - 1)
			rec_send(w, peer(g, 1), at);
		if (has_block(g, comes) && i < g->n - 1)
			rec_recv(w, peer(g, -1), span(BUF_OUT, block(p, g, comes), 1));
		done(w, g, (uint32_t)goes, at);
	}
	if (has_block(g, g->me))
		rec_copy(w, span(BUF_OUT, block(p, g, g->me), 1), mine);
}

void ring_all_gather(struct recorder *w, const struct problem *p, const struct group *g)
{
	each_channel(w, p, g, 1, ring_all_gather_one);
}
