/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All-to-all. When in place, the block that comes from a peer lies where the block for that peer still waits: somebody must put one
 * aside, or both wait for each other for ever. Which buffers alias is not known here, so half of the blocks are always put aside.
 */
#include <algo/rows.h>

/*
 * Round i: send to the i-th after me, receive from the i-th before me. Up to the middle, what comes is put aside, and copied once its
 * place has been sent, in round n - i; after the middle, the place has been sent already.
 */
static void direct(struct recorder *w, const struct problem *p, const struct group *g)
{
	uint32_t k = k_channels(p);
	int half = g->n / 2;
	rec_scratch(w, (uint32_t)half * k);
	for (int i = 1; i < g->n; i++) {
		uint32_t to = block(p, g, around(g, i)), from = block(p, g, around(g, -i));
		rec_send(w, peer(g, i), span(BUF_IN, to, 1));
		rec_recv(w, peer(g, -i), i <= half ? span(BUF_SCRATCH, g->chunk0 + (uint32_t)(i - 1) * k, 1) : span(BUF_OUT, from, 1));
		if (g->n - i <= half)
			rec_copy(w, span(BUF_OUT, to, 1), span(BUF_SCRATCH, g->chunk0 + (uint32_t)(g->n - i - 1) * k, 1));
	}
	rec_copy(w, span(BUF_OUT, block(p, g, g->me), 1), span(BUF_IN, block(p, g, g->me), 1));
}

void direct_all_to_all(struct recorder *w, const struct problem *p, const struct group *g)
{
	each_channel(w, p, g, 1, direct);
}

/*
 * Round i: exchange with the one partner q for whom me + q = i (mod n). Of each pair one puts aside, so two blocks of scratch are enough
 * for any number of ranks, and no more than two rounds are under way there.
 */
static void pairwise(struct recorder *w, const struct problem *p, const struct group *g)
{
	uint32_t k = k_channels(p), aside = 0;
	rec_scratch(w, 2 * k);
	for (int i = 0; i < g->n; i++) {
		int q = (i - g->me + g->n) % g->n;
		struct span in = span(BUF_IN, block(p, g, q), 1), out = span(BUF_OUT, block(p, g, q), 1);
		struct span tmp = span(BUF_SCRATCH, g->chunk0 + aside % 2 * k, 1);
		if (q == g->me) {
			rec_copy(w, out, in);
			continue;
		}
		rec_send(w, group_rank(g, q), in);
		if ((g->me < q) == (i % 2 == 0)) {
			rec_recv(w, group_rank(g, q), out);
			continue;
		}
		rec_recv(w, group_rank(g, q), tmp);
		rec_copy(w, out, tmp);
		aside++;
	}
}

void pairwise_all_to_all(struct recorder *w, const struct problem *p, const struct group *g)
{
	each_channel(w, p, g, 1, pairwise);
}
