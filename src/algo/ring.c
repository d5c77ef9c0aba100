/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ring: every rank sends to the next and receives from the one before, n - 1 rounds a phase, each link carrying the least volume there is.
 *
 *      reduce-scatter   in round i, chunk me - i goes on, and chunk me - i - 1 comes and is reduced
 *      all-gather       the same without reducing
 */
#include <algo/rows.h>

static void all_reduce(struct recorder *w, const struct problem *p, const struct group *g)
{
	(void)p;
	for (int i = 0; i < g->n - 1; i++) {
		uint32_t goes = shard(g, around(g, -i)), comes = shard(g, around(g, -i - 1));
		rec_send(w, peer(g, 1), span(i ? BUF_OUT : BUF_IN, goes, 1));
		rec_recv_reduce(w, peer(g, -1), span(BUF_OUT, comes, 1), span(BUF_IN, comes, 1), i == g->n - 2 ? STEP_FINAL : 0);
	}
	for (int i = 0; i < g->n - 1; i++) {
		rec_send(w, peer(g, 1), span(BUF_OUT, shard(g, around(g, 1 - i)), 1));
		rec_recv(w, peer(g, -1), span(BUF_OUT, shard(g, around(g, -i)), 1));
	}
}

void ring_all_reduce(struct recorder *w, const struct problem *p, const struct group *g)
{
	each_channel(w, p, g, (uint32_t)g->n, all_reduce);
}

/* Partial sums live in scratch, two blocks in turn: in is constant, and out takes only the last. */
static void reduce_scatter(struct recorder *w, const struct problem *p, const struct group *g)
{
	uint32_t k = k_channels(p);
	rec_scratch(w, 2 * k);
	for (int i = 0; i < g->n - 1; i++) {
		struct span to = span(BUF_SCRATCH, g->chunk0 + (uint32_t)(i % 2) * k, 1);
		struct span from = span(BUF_SCRATCH, g->chunk0 + (uint32_t)((i + 1) % 2) * k, 1);
		bool last = i == g->n - 2;
		rec_send(w, peer(g, 1), i ? from : span(BUF_IN, block(p, g, around(g, -1)), 1));
		if (last)
			to = span(BUF_OUT, g->chunk0, 1);
		rec_recv_reduce(w, peer(g, -1), to, span(BUF_IN, block(p, g, around(g, -i - 2)), 1), last ? STEP_FINAL : 0);
	}
}

void ring_reduce_scatter(struct recorder *w, const struct problem *p, const struct group *g)
{
	each_channel(w, p, g, 1, reduce_scatter);
}

/*
 * The own block is copied last: when in place, a copy before the first receive would wait for the first send, and that for the
 * neighbour's copy.
 */
static void all_gather(struct recorder *w, const struct problem *p, const struct group *g)
{
	struct span mine = span(BUF_IN, g->chunk0, 1);
	for (int i = 0; i < g->n - 1; i++) {
		rec_send(w, peer(g, 1), i ? span(BUF_OUT, block(p, g, around(g, -i)), 1) : mine);
		rec_recv(w, peer(g, -1), span(BUF_OUT, block(p, g, around(g, -i - 1)), 1));
	}
	rec_copy(w, span(BUF_OUT, block(p, g, g->me), 1), mine);
}

void ring_all_gather(struct recorder *w, const struct problem *p, const struct group *g)
{
	each_channel(w, p, g, 1, all_gather);
}
