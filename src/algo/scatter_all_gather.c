/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Broadcast as a scatter and a ring all-gather: every link carries about the vector once, however many ranks. Shards are numbered round
 * from the root, which has everything and takes nothing back.
 */
#include <algo/rows.h>

void scatter_all_gather_one(struct recorder *w, const struct problem *p, const struct group *g)
{
	int n = g->n, place = (g->me - root_place(p, g) + n) % n;
	enum sched_buf buf = place ? BUF_OUT : BUF_IN;
	for (int i = 1; i < n && place == 0; i++)
		rec_send(w, peer(g, i), span(BUF_IN, shard(g, i), 1));
	if (place)
		rec_recv(w, p->root, span(BUF_OUT, shard(g, place), 1));
	for (int i = 0; i < n; i++) {
		struct span goes = span(buf, shard(g, (place - i + n) % n), 1);
		if (place < n - 1 && i < n - 1)
			rec_send(w, peer(g, 1), goes);
		done(w, g, goes.chunk - g->chunk0, goes);
		if (place && i < n - 1)
			rec_recv(w, peer(g, -1), span(BUF_OUT, shard(g, (place - i - 1 + n) % n), 1));
	}
	if (place == 0)
		rec_copy(w, span(BUF_OUT, g->chunk0, (uint32_t)n), span(BUF_IN, g->chunk0, (uint32_t)n));
}

void scatter_all_gather_broadcast(struct recorder *w, const struct problem *p, const struct group *g)
{
	each_channel(w, p, g, (uint32_t)g->n, scatter_all_gather_one);
}
