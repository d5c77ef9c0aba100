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

/*
 * When builders compose (hier.c), the group's vector is made by what the levels below do, and has to be taken back to them. A builder
 * says, at the right moments and for every part x ... x + n of the vector (a shard; a member's block) once:
 *
 *      need    from here on it is read, at sources(), source_block()
 *      done    here it is whole, at that span
 */
void tier_need(struct recorder *w, const struct group *g, uint32_t x, uint32_t n);
void tier_done(struct recorder *w, const struct group *g, uint32_t x, struct span at);
struct span tier_source(const struct group *g, uint32_t x, uint32_t n);
bool tier_has(const struct group *g, int i, uint32_t *block);
uint32_t tier_scratch(const struct group *g);

static inline void need(struct recorder *w, const struct group *g, uint32_t x, uint32_t n)
{
	if (g->tier)
		tier_need(w, g, x, n);
}
static inline void done(struct recorder *w, const struct group *g, uint32_t x, struct span at)
{
	if (g->tier)
		tier_done(w, g, x, at);
}

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
	uint32_t b = (uint32_t)group_rank(g, i);
	return g->tier && !tier_has(g, i, &b) ? UINT32_MAX : g->chunk0 + b * k_channels(p);
}
/* Has member i a block? (Where machines have unequally many ranks, not all that take part have.) */
static inline bool has_block(const struct group *g, int i)
{
	uint32_t b;
	return !g->tier || tier_has(g, i, &b);
}
/* Where the group finds shards x ... x + n of its vector, or member i's block, before it has touched them. */
static inline struct span sources(const struct group *g, uint32_t x, uint32_t n)
{
	return g->tier ? tier_source(g, x, n) : span(BUF_IN, g->chunk0 + x, n);
}
static inline struct span source_block(const struct problem *p, const struct group *g, int i)
{
	return g->tier ? tier_source(g, (uint32_t)i, 1) : span(BUF_IN, block(p, g, i), 1);
}
/* The first chunk of scratch that the levels below do not use. */
static inline uint32_t scratch0(const struct group *g)
{
	return g->tier ? tier_scratch(g) : 0;
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
