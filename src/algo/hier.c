/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hierarchical algorithms: an algorithm of one level between machines (or racks), and what is near done near.
 *
 *      ranks of a machine        reduce-scatter       all-gather
 *                                   |   |   |         ^   ^   ^
 *      rails, each its shard        v   v   v         |   |   |
 *      between machines           ring ring ring  -- each of its own ranks, one a machine
 *
 * The levels are the shape's. On each, the members of a unit share out the vector: member j answers for its shards, and the units'
 * members that answer for the same shard are a group of the next level. On top stands a builder that knows nothing of this; it says what
 * part of its vector it needs next, and what is done, and there the members' steps are put in: so the levels work at the same time.
 *
 * Everybody in a unit emits the same parts in the same order. Where units have unequally many members, some answer for several shards, in
 * turns that are the same everywhere; who has none in a turn plays the part of one who has, with the top muted. With one shard for all
 * (`leaders`), one member, the root where there is one, answers for its unit alone.
 */
#include <algo/rows.h>

enum tier_kind { SHARDS, BLOCKS };      /* the vector: one, cut up; or a block a rank */

struct tier {
	const struct problem *p;
	const struct shape *shape;
	builder *top;
	enum tier_kind kind;
	bool leaders;
	int channels;
	uint32_t chunk0, width;         /* of this channel; chunks of the top's vector */
	uint8_t from, acc, out;         /* buffers: where a rank's own part is; where parts are reduced; where they are received */
	int ghost;                      /* the nearest level where this rank has no shard in this turn */
	int unit[SHAPE_LEVELS], place[SHAPE_LEVELS];            /* this rank's unit at a level, and its (or its unit's) place there */
	int root_unit[SHAPE_LEVELS], root_place[SHAPE_LEVELS];
	int turn[SHAPE_LEVELS];
	uint32_t shard[SHAPE_LEVELS];   /* which shard of each level is being worked at */
};

/* ---- who answers for what ----------------------------------------------------------------------------------------------- */

static int size_of(const struct shape_level *v, int unit) { return v->first[unit + 1] - v->first[unit]; }

/*
 * Shards of a level. As many as the smallest unit has members load the rest evenly, but leave some idle; as many as the largest has, the
 * other way round: the better of both is where the busiest member answers for least, in not too many turns. Blocks must all have an owner.
 */
enum { TURNS_MOST = 8 };
static int shards_of(const struct shape_level *v, bool blocks)
{
	int per = (v->most + v->least - 1) / v->least;
	return blocks || (per <= TURNS_MOST && per * v->least <= v->most) ? v->most : v->least;
}
static int tier_shards(const struct tier *t, int l) { return t->leaders ? 1 : shards_of(&t->shape->level[l], t->kind == BLOCKS); }

/* Turns: shard s is worked at in turn s mod this, by all units alike, so that nobody has two at once. */
static int turns_of(const struct tier *t, int l)
{
	int n = tier_shards(t, l), least = t->shape->level[l].least;
	return (n + least - 1) / least;
}

static int lead(const struct tier *t, int l, int unit)
{
	return coll_rows[t->p->coll].rooted && t->root_unit[l] == unit ? t->root_place[l] : 0;
}

/* The member of a unit that answers for a shard; a member's first shard, and (with j + 1) where they end. */
static int holder(const struct tier *t, int l, int unit, uint32_t shard)
{
	int n = size_of(&t->shape->level[l], unit);
	return t->leaders ? lead(t, l, unit) : (int)((uint64_t)shard * (uint32_t)n / (uint32_t)tier_shards(t, l));
}
static int first_shard(const struct tier *t, int l, int unit, int j)
{
	int n = size_of(&t->shape->level[l], unit);
	return t->leaders ? j > lead(t, l, unit) : (int)(((int64_t)j * tier_shards(t, l) + n - 1) / n);
}

/* Has member j a shard in this turn? Then which. */
static bool has_turn(const struct tier *t, int l, int unit, int j, uint32_t *shard)
{
	int first = first_shard(t, l, unit, j), turns = turns_of(t, l), s = first + (t->turn[l] - first % turns + turns) % turns;
	*shard = (uint32_t)s;
	return s < first_shard(t, l, unit, j + 1);
}

/* The rank that answers for member x of level l in the shards being worked at. */
static int32_t rank_of(const struct tier *t, int l, int x)
{
	while (l-- > 0) {
		const struct shape_level *v = &t->shape->level[l];
		x = v->member[v->first[x] + holder(t, l, x, t->shard[l])];
	}
	return x;
}

static int32_t group_member(const struct group *g, int i)
{
	const struct tier *t = g->tier;
	if (g->level == t->shape->nlevels)
		return rank_of(t, g->level, i);
	const struct shape_level *v = &t->shape->level[g->level];
	return rank_of(t, g->level, v->member[v->first[g->unit] + i]);
}

static struct group unit_group(const struct tier *t, int l)
{
	const struct shape_level *v = &t->shape->level[l];
	return (struct group){ .n = size_of(v, t->unit[l]), .me = t->place[l], .rank = group_member, .tier = t, .level = l, .unit = t->unit[l] };
}

/* ---- where a part is --------------------------------------------------------------------------------------------------- */

/* The rank whose block the top's member x has in these shards: every rank's in its first only. */
static bool block_of(const struct tier *t, int x, uint32_t *rank)
{
	for (int l = t->shape->nlevels; l-- > 0;) {
		const struct shape_level *v = &t->shape->level[l];
		int j = holder(t, l, x, t->shard[l]);
		if ((uint32_t)first_shard(t, l, x, j) != t->shard[l])
			return false;
		x = v->member[v->first[x] + j];
	}
	*rank = (uint32_t)x;
	return true;
}

/* Parts of the shards of levels from `l` on, together; and where among them part x lies of those being worked at. */
static uint32_t parts(const struct tier *t, int l)
{
	uint32_t n = t->width;
	for (; l < t->shape->nlevels; l++)
		n *= (uint32_t)tier_shards(t, l);
	return n;
}
static uint32_t nested(const struct tier *t, int l, uint32_t x)
{
	for (; l < t->shape->nlevels; l++)
		x += t->shard[l] * parts(t, l + 1);
	return x;
}

/* The chunk of part x in in and out; false: there is no such part (a block that nobody has). */
static bool chunk_of(const struct tier *t, uint32_t x, uint32_t *chunk)
{
	bool has = true;
	*chunk = nested(t, 0, x);
	if (t->kind == BLOCKS) {
		has = block_of(t, (int)x, chunk);
		*chunk *= k_channels(t->p);
	}
	*chunk += t->chunk0;
	return has;
}

/* Where this rank has part x before level l: blocks that have been reduced are in scratch, a slot each; all else is at its chunk. */
static struct span at_level(const struct tier *t, int l, uint32_t x, uint32_t n)
{
	uint32_t chunk;
	enum sched_buf buf = t->from;
	chunk_of(t, x, &chunk);
	for (int m = 0; m < l; m++)
		if (size_of(&t->shape->level[m], t->unit[m]) > 1)
			buf = t->acc;
	if (buf == BUF_SCRATCH && t->kind == BLOCKS)
		chunk = t->chunk0 + ((uint32_t)t->turn[0] * parts(t, 1) + nested(t, 1, x)) * k_channels(t->p);
	return span(buf, chunk, n);
}

struct span tier_source(const struct group *g, uint32_t x, uint32_t n) { return at_level(g->tier, g->tier->shape->nlevels, x, n); }
bool tier_has(const struct group *g, int i, uint32_t *block) { return g->tier->kind != BLOCKS || block_of(g->tier, i, block); }

uint32_t tier_scratch(const struct group *g)
{
	const struct tier *t = g->tier;
	return t->kind == BLOCKS ? (uint32_t)turns_of(t, 0) * parts(t, 1) * k_channels(t->p) : 0;
}

/* ---- what members do for a part ----------------------------------------------------------------------------------------- */

/* The shard of member j in this turn is the one being worked at; false: it has none, or not this part. */
static bool take(struct tier *t, int l, int j, uint32_t x, uint32_t *chunk)
{
	return has_turn(t, l, t->unit[l], j, &t->shard[l]) && chunk_of(t, x, chunk);
}

/*
 * Reduce part x of every shard of this turn, up to level l, to the members that answer for them. The nearer level is through with all of
 * them before anything is sent here: with one open step, a send that waits for a member who waits for what is behind it would never end.
 */
static void reduce_in(struct recorder *w, struct tier *t, int l, uint32_t x, uint32_t n)
{
	struct group g = unit_group(t, l);
	uint32_t was = t->shard[l], chunk;
	for (int j = 0; j < g.n && l > 0; j++)
		if (has_turn(t, l, t->unit[l], j, &t->shard[l]))
			reduce_in(w, t, l - 1, x, n);
	bool muted = rec_mute(w, t->ghost < l);
	for (int j = 0; j < g.n; j++)
		if (j != g.me && take(t, l, j, x, &chunk))
			rec_send(w, group_rank(&g, j), at_level(t, l, x, n));
	if (g.n > 1 && take(t, l, g.me, x, &chunk))
		rec_recv_reduce_set(w, &g, at_level(t, l + 1, x, n), at_level(t, l, x, n), 0);
	rec_mute(w, muted);
	t->shard[l] = was;
}

/*
 * Part x of the shard being worked at is done, at `at`: tell the other members of level l and hear theirs, and then the same on the
 * nearer level.
 */
static void spread(struct recorder *w, struct tier *t, int l, uint32_t x, struct span at)
{
	struct group g = unit_group(t, l);
	uint32_t was = t->shard[l], chunk = at.chunk;
	bool muted = rec_mute(w, t->ghost < l);
	if (take(t, l, g.me, x, &chunk))
		rec_send_set(w, &g, at);
	for (int i = 1; i < g.n; i++)
		if (take(t, l, around(&g, i), x, &chunk))
			rec_recv(w, peer(&g, i), span(t->out, t->out == BUF_SCRATCH ? at.chunk : chunk, at.n));
	rec_mute(w, muted);
	for (int i = 0; i < g.n && l > 0; i++)
		if (has_turn(t, l, t->unit[l], around(&g, i), &t->shard[l])) {  /* even where this rank's part is missing: another's may not be */
			chunk_of(t, x, &chunk);
			spread(w, t, l - 1, x, i == 0 ? at : span(t->out, t->out == BUF_SCRATCH ? at.chunk : chunk, at.n));
		}
	t->shard[l] = was;
}

/* The hooks of parts.h: a group sees its hierarchy as constant; which shard is at hand is ours to change, and to change back. */
void tier_need(struct recorder *w, const struct group *g, uint32_t x, uint32_t n)
{
	struct tier t = *g->tier;
	reduce_in(w, &t, t.shape->nlevels - 1, x, n);
}

void tier_done(struct recorder *w, const struct group *g, uint32_t x, struct span at)
{
	struct tier t = *g->tier;
	spread(w, &t, t.shape->nlevels - 1, x, at);
}

/* ---- the whole --------------------------------------------------------------------------------------------------------- */

static void run(struct recorder *w, struct tier *t, int l)
{
	if (l == t->shape->nlevels) {
		struct group g = { .n = t->shape->level[l - 1].n, .me = t->unit[l - 1], .rank = group_member, .tier = t, .level = l };
		g.chunk0 = t->kind == BLOCKS ? t->chunk0 : t->chunk0 + nested(t, 0, 0);
		if (t->acc == BUF_SCRATCH)
			rec_scratch(w, t->kind == BLOCKS ? tier_scratch(&g) : rec_k(w));
		rec_mute(w, t->ghost < l);
		t->top(w, t->p, &g);
		rec_mute(w, false);
		return;
	}
	int ghost = t->ghost;
	for (t->turn[l] = 0; t->turn[l] < turns_of(t, l); t->turn[l]++) {
		if (!has_turn(t, l, t->unit[l], t->place[l], &t->shard[l])) {
			t->shard[l] = (uint32_t)t->turn[l];     /* as the member who has this one would */
			t->ghost = l < ghost ? l : ghost;
		}
		run(w, t, l + 1);
		t->ghost = ghost;
	}
	t->turn[l] = 0;
}

static void locate(const struct shape *s, int rank, int *unit, int *place)
{
	for (int l = 0; l < s->nlevels; rank = unit[l++]) {
		unit[l] = s->level[l].of[rank];
		place[l] = s->level[l].place[rank];
	}
}

/* Once a channel, whose vector of `width` parts on top is this much of a block; without a hierarchy, the top alone. */
static void hier(struct recorder *w, const struct problem *p, const struct group *g, struct tier t)
{
	bool flat = !p->shape || !p->shape->nlevels, blocks = t.kind == BLOCKS;
	t.p = p;
	t.shape = p->shape;
	if (!flat) {
		t.ghost = p->shape->nlevels;
		locate(p->shape, group_rank(g, g->me), t.unit, t.place);
		locate(p->shape, coll_rows[p->coll].rooted ? p->root : 0, t.root_unit, t.root_place);
	}
	for (int c = 0; c < t.channels; c++) {
		struct group part = *g;
		t.chunk0 = part.chunk0 = blocks ? (uint32_t)c : (uint32_t)c * (flat ? t.width : parts(&t, 0));
		rec_channel(w, c);
		if (flat)
			t.top(w, p, &part);
		else
			run(w, &t, 0);
	}
}

/* How many members the top has. */
static int top_n(const struct problem *p)
{
	return p->shape && p->shape->nlevels ? p->shape->level[p->shape->nlevels - 1].n : p->nranks;
}

/* 0, which no schedule has, when they are too many to count: uneven machines in uneven racks multiply. */
static uint32_t rails(const struct problem *p, int top)
{
	uint64_t n = (uint64_t)top * k_channels(p);
	for (int l = 0; p->shape && l < p->shape->nlevels && n <= UINT32_MAX; l++)
		n *= (uint64_t)shards_of(&p->shape->level[l], false);
	return n <= UINT32_MAX ? (uint32_t)n : 0;
}

uint32_t k_rails(const struct problem *p) { return rails(p, 1); }
uint32_t k_rail_shards(const struct problem *p) { return rails(p, top_n(p)); }
uint32_t k_top_shards(const struct problem *p) { return k_channels(p) * (uint32_t)top_n(p); }

static void all_reduce(struct recorder *w, const struct problem *p, const struct group *g, builder *top, int width, bool leaders)
{
	hier(w, p, g, (struct tier){ .top = top, .leaders = leaders, .channels = p->channels, .width = (uint32_t)width,
	                             .from = BUF_IN, .acc = BUF_OUT, .out = BUF_OUT });
}

static void blocks(struct recorder *w, const struct problem *p, const struct group *g, builder *top)
{
	hier(w, p, g, (struct tier){ .top = top, .kind = BLOCKS, .channels = p->channels, .width = (uint32_t)top_n(p),
	                             .from = BUF_IN, .acc = BUF_SCRATCH, .out = BUF_OUT });
}

/* One channel, a leader a unit, the vector in pieces as the trees want them. */
static void pieces(struct recorder *w, const struct problem *p, const struct group *g, builder *top)
{
	hier(w, p, g, (struct tier){ .top = top, .leaders = true, .channels = 1, .width = k_pieces(p),
	                             .from = BUF_IN, .acc = BUF_SCRATCH, .out = BUF_OUT });
}

static void scatter_broadcast(struct recorder *w, const struct problem *p, const struct group *g)
{
	hier(w, p, g, (struct tier){ .top = scatter_all_gather_one, .leaders = true, .channels = p->channels, .width = (uint32_t)top_n(p),
	                             .from = BUF_IN, .acc = BUF_OUT, .out = BUF_OUT });
}

static void barrier(struct recorder *w, const struct problem *p, const struct group *g)
{
	hier(w, p, g, (struct tier){ .top = dissemination_barrier, .leaders = true, .channels = 1, .width = 1,
	                             .from = BUF_SCRATCH, .acc = BUF_SCRATCH, .out = BUF_SCRATCH });
}

/* name_coll is how the levels are composed, with these arguments */
#define HIER(name, coll, compose, ...) \
	void name##_##coll(struct recorder *w, const struct problem *p, const struct group *g) { compose(w, p, g, ##__VA_ARGS__); }

HIER(hier_ring, all_reduce, all_reduce, ring_all_reduce_one, top_n(p), false)
HIER(hier_circulant, all_reduce, all_reduce, circulant_all_reduce_one, top_n(p), false)
HIER(hier_direct, all_reduce, all_reduce, direct_rs_ag_one, top_n(p), false)
HIER(hier_doubling, all_reduce, all_reduce, recursive_doubling_one, 1, false)
HIER(leaders_doubling, all_reduce, all_reduce, recursive_doubling_one, 1, true)
HIER(leaders_direct, all_reduce, all_reduce, direct_all_reduce_one, 1, true)
HIER(hier_ring, reduce_scatter, blocks, ring_reduce_scatter_one)
HIER(hier_direct, reduce_scatter, blocks, direct_reduce_scatter_one)
HIER(hier_ring, all_gather, blocks, ring_all_gather_one)
HIER(hier_direct, all_gather, blocks, direct_all_gather_one)
HIER(hier_binomial, broadcast, pieces, binomial_broadcast)
HIER(hier_chain, broadcast, pieces, chain_broadcast)
HIER(hier_scatter_all_gather, broadcast, scatter_broadcast)
HIER(hier_binomial, reduce, pieces, binomial_reduce)
HIER(hier_chain, reduce, pieces, chain_reduce)
HIER(hier_dissemination, barrier, barrier)
