/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What builders share: how many chunks a block has, and how a vector is dealt out to channels.
 *
 *      k_shards:   c0r0 c0r1 c0r2 | c1r0 c1r1 c1r2        one shard a rank on each channel: channel c works on its own n chunks
 *      k_channels: c0 c1 | c0 c1 | c0 c1 ...              blocks of a rank each: channel c works on chunk c of every block
 */
#ifndef ALGO_PARTS_H
#define ALGO_PARTS_H
#include <sched/sched.h>

typedef void builder(struct recorder *w, const struct problem *p, const struct group *g);

uint32_t k_one(const struct problem *p);
uint32_t k_pieces(const struct problem *p);
uint32_t k_channels(const struct problem *p);
uint32_t k_shards(const struct problem *p);

/* Run build once a channel, each on its own chunks, `width` apart. */
void each_channel(struct recorder *w, const struct problem *p, const struct group *g, uint32_t width, builder *build);

/* The rank that is i places after (before: negative) this one, round the group. */
static inline int around(const struct group *g, int i)
{
	return ((g->me + i) % g->n + g->n) % g->n;
}
static inline int peer(const struct group *g, int i)
{
	return group_rank(g, around(g, i));
}
/* Member i's shard of a vector cut by k_shards; its block's chunk in a buffer of blocks cut by k_channels. */
static inline uint32_t shard(const struct group *g, int i)
{
	return g->chunk0 + (uint32_t)i;
}
static inline uint32_t block(const struct problem *p, const struct group *g, int i)
{
	return g->chunk0 + (uint32_t)group_rank(g, i) * k_channels(p);
}
/* The root's place in the group. */
static inline int root_place(const struct problem *p, const struct group *g)
{
	int i = 0;
	while (i < g->n - 1 && group_rank(g, i) != p->root)
		i++;
	return i;
}
static inline int log2_up(int n)
{
	int q = 0;
	while (1 << q < n)
		q++;
	return q;
}
#endif
