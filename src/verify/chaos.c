/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The loosest execution that is allowed: every step of every rank is open at once, messages are buffered without bound and overtake each
 * other, and slices are done in random order wherever the wait rule lets them, element by element:
 *
 *      before a step touches element e, each step it waits for has finished with e or, if it never touches e, is complete.
 */
#include <verify/world.h>
#include <base/err.h>
#include <stdlib.h>
#include <string.h>

struct progress { uint64_t front, len; struct elem *sent; bool done, complete; };

struct chaos {
	const struct world *w;
	struct progress *at;                             /* one a step */
	uint32_t *live, nlive;                           /* steps not done */
	struct elem *heap, **from;
	uint64_t random;
};

static uint64_t draw(struct chaos *c, uint64_t below)
{
	return scramble(c->random++) % below;
}

static bool complete(struct chaos *c, uint32_t g)
{
	struct progress *p = &c->at[g];
	const struct step *x = step_at(c->w, g);
	uint32_t base = c->w->base[c->w->rank[g]];
	for (int j = 0; p->done && !p->complete && j < SCHED_MAX_WAITS; j++)
		if (x->wait[j] >= 0 && !complete(c, base + (uint32_t)x->wait[j]))
			return false;
	p->complete = p->done;
	return p->complete;
}

/* Where a span lies if the rank were in place: elements [*lo, *hi) of line 1 (scratch) or 0; an empty range when there is none. */
static int line(const struct world *w, int rank, struct span x, uint64_t *lo, uint64_t *hi)
{
	uint32_t chunk = x.buf == BUF_SCRATCH ? x.chunk : sched_alias_chunk(w->s[rank], x);
	*lo = x.buf ? elem_at(w, rank, chunk) : 0;
	*hi = x.buf ? elem_at(w, rank, chunk + x.n) : 0;
	return x.buf == BUF_SCRATCH;
}

/* May the step touch element e of this line, as far as `wait` is concerned? */
static bool may_touch(struct chaos *c, uint32_t wait, int where, uint64_t e)
{
	const struct world *w = c->w;
	const struct step *y = step_at(w, wait);
	const struct span spans[] = { y->dst, y->src };
	bool touches = false;
	for (int i = 0; i < 2; i++) {
		uint64_t lo, hi;
		if (line(w, w->rank[wait], spans[i], &lo, &hi) != where || e < lo || e >= hi)
			continue;
		touches = true;
		if (c->at[wait].front <= e - lo)
			return false;
	}
	return touches || complete(c, wait);
}

static bool may_do(struct chaos *c, uint32_t g, uint64_t from, uint64_t to)
{
	const struct world *w = c->w;
	const struct step *x = step_at(w, g);
	const struct span spans[] = { x->dst, x->src };
	for (int j = 0; j < SCHED_MAX_WAITS; j++) {
		uint32_t wait = w->base[w->rank[g]] + (uint32_t)x->wait[j];
		if (x->wait[j] < 0 || complete(c, wait))
			continue;
		if (from == to)
			return false;
		for (int i = 0; i < 2; i++) {
			uint64_t lo, hi;
			int where = line(w, w->rank[g], spans[i], &lo, &hi);
			for (uint64_t e = lo + from; hi > lo && e < lo + to; e++)
				if (!may_touch(c, wait, where, e))
					return false;
		}
	}
	return true;
}

static bool arrived(struct chaos *c, uint32_t g, uint64_t to)
{
	const struct world *w = c->w;
	for (uint32_t e = 0; e < msgs_of(w, g); e++) {
		const struct progress *sender = &c->at[w->msgs[w->ends[w->first_end[g] + e]].send];
		if (sender->front < to || (to == 0 && !sender->done))
			return false;
		c->from[e] = sender->sent;
	}
	return true;
}

/* Do a random slice of step g, if it may be done now. */
static bool try_slice(struct chaos *c, uint32_t g)
{
	const struct world *w = c->w;
	const struct step *x = step_at(w, g);
	struct progress *p = &c->at[g];
	uint64_t to = p->front + 1 + draw(c, 3);
	if (to > p->len)
		to = p->len;
	if (!may_do(c, g, p->front, to) || (receives(x) && !arrived(c, g, to)))
		return false;
	if (x->op == STEP_SEND && to > p->front)
		memcpy(p->sent + p->front, locate(w, w->rank[g], x->src) + p->front, (to - p->front) * sizeof *p->sent);
	step_apply(w, g, p->front, to, c->from);
	p->front = to;
	p->done = to == p->len;
	return true;
}

static bool try_live(struct chaos *c, uint32_t i)
{
	uint32_t g = c->live[i];
	if (!try_slice(c, g))
		return false;
	if (c->at[g].done)
		c->live[i] = c->live[--c->nlive];
	return true;
}

static bool try_any(struct chaos *c)
{
	for (uint32_t i = 0; i < c->nlive; i++)
		if (try_live(c, i))
			return true;
	return false;
}

static int roll(struct chaos *c)
{
	for (uint32_t misses = 0; c->nlive;) {
		if (try_live(c, (uint32_t)draw(c, c->nlive)))
			misses = 0;
		else if (++misses > 4 * c->nlive && !try_any(c))
			return refute(c->w, "deadlock with everything open: rank %d never gets past step %u", c->w->rank[c->live[0]],
				c->live[0] - c->w->base[c->w->rank[c->live[0]]]);
	}
	return 0;
}

int run_chaos(const struct world *w, uint64_t seed)
{
	struct chaos c = { .w = w, .random = scramble(seed) };
	uint64_t sent = 0;
	c.at = calloc((size_t)w->nsteps + 1, sizeof *c.at);
	c.live = malloc(((size_t)w->nsteps + 1) * sizeof *c.live);
	c.from = malloc((size_t)w->n * sizeof *c.from);
	for (uint32_t g = 0; c.at && c.live && g < w->nsteps; g++) {
		const struct step *x = step_at(w, g);
		c.at[g].len = elems(w, w->rank[g], x->dst.buf ? x->dst : x->src);
		sent += x->op == STEP_SEND ? c.at[g].len : 0;
		c.live[c.nlive++] = g;
	}
	c.heap = malloc((sent + 1) * sizeof *c.heap);
	int status = c.at && c.live && c.from && c.heap ? 0 : err_set(TUTTI_ERR_NOMEM, "verify: no memory for %u steps", w->nsteps);
	for (uint32_t g = 0; !status && g < w->nsteps; g++) {
		c.at[g].sent = c.heap + sent;
		if (step_at(w, g)->op == STEP_SEND)
			c.at[g].sent = c.heap + (sent -= c.at[g].len);
	}
	if (!status)
		status = roll(&c);
	free(c.at);
	free(c.live);
	free(c.from);
	free(c.heap);
	return status;
}
