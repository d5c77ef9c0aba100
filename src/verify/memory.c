/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is in the buffers before, what steps do to it, and what must be in them after. The world owns the heap; filled anew for each case.
 */
#include <verify/world.h>
#include <base/err.h>
#include <stdlib.h>

static uint64_t blocks_of(const struct sched *s, int buf)
{
	if (buf == BUF_IN)
		return coll_reads(s->coll, s->root, s->rank) ? coll_in_blocks(s->coll, s->nranks) : 0;
	return coll_writes(s->coll, s->root, s->rank) ? coll_out_blocks(s->coll, s->nranks) : 0;
}

/* Element i of in at rank r. */
static struct elem input(const struct world *w, int r, uint64_t i)
{
	uint64_t x = scramble(w->seed + (uint64_t)r * 0x9e3779b97f4a7c15u + i * 0xd1b54a32d192ed03u);
	return (struct elem){ x, scramble(x + 1) | 1, scramble(x + 2), scramble(x + 3) };
}

static bool aliased(const struct world *w, int r)
{
	return w->in_place[r] && blocks_of(w->s[r], BUF_IN) && blocks_of(w->s[r], BUF_OUT);
}

/* Lay out rank r's rows from `at`; the number of elements they take. */
static uint64_t lay_out(struct world *w, int r, struct elem *at)
{
	const struct sched *s = w->s[r];
	const struct coll_row *row = &coll_rows[s->coll];
	uint64_t in = blocks_of(s, BUF_IN) * w->count, out = blocks_of(s, BUF_OUT) * w->count, shift = (uint64_t)r * w->count,
			io = in + out;
	if (aliased(w, r))
		io = in > out ? in : out;
	if (at) {
		w->mem[BUF_IN][r] = at + (aliased(w, r) && row->in_shift ? shift : 0);
		w->mem[BUF_OUT][r] = at + (!aliased(w, r) ? in : row->out_shift ? shift : 0);
		w->mem[BUF_SCRATCH][r] = at + io;
	}
	return io + elem_at(w, r, s->scratch_chunks);
}

int memory_fill(struct world *w)
{
	uint64_t total = 0, at = 0;
	for (int r = 0; r < w->n; r++)
		total += lay_out(w, r, NULL);
	free(w->heap);
	w->heap = malloc((total + 1) * sizeof *w->heap);
	if (!w->heap)
		return err_set(TUTTI_ERR_NOMEM, "verify: no memory for %llu elements", (unsigned long long)total);
	for (uint64_t i = 0; i < total; i++)
		w->heap[i] = (struct elem){ ~i, i, ~i, i };             /* what nobody has written */
	for (int r = 0; r < w->n; r++) {
		at += lay_out(w, r, w->heap + at);
		for (uint64_t i = 0; i < blocks_of(w->s[r], BUF_IN) * w->count; i++)
			w->mem[BUF_IN][r][i] = input(w, r, i);
	}
	return 0;
}

static struct elem combine(struct elem x, struct elem y)
{
	return (struct elem){ x.sum + y.sum, x.a * y.a, x.a * y.b + x.b, scramble(x.expr * 3 + scramble(y.expr)) };
}

static struct elem final(struct elem x)
{
	x.sum = scramble(x.sum + 5);
	x.expr = scramble(x.expr + 5);
	return x;
}

/* Left fold over the members and this rank, in rank order. */
static struct elem fold(const struct world *w, uint32_t g, uint64_t i, const struct elem *own, struct elem *const *from)
{
	struct elem acc = { 0 };
	bool begun = false, mine = !own;
	for (uint32_t e = 0; e <= msgs_of(w, g); e++) {
		bool end = e == msgs_of(w, g);
		if (!mine && (end || w->msgs[w->ends[w->first_end[g] + e]].from > w->rank[g])) {
			acc = begun ? combine(acc, own[i]) : own[i];
			begun = mine = true;
		}
		if (!end)
			acc = begun ? combine(acc, from[e][i]) : from[e][i];
		begun = true;
	}
	return acc;
}

void step_apply(const struct world *w, uint32_t g, uint64_t lo, uint64_t hi, struct elem *const *from)
{
	const struct step *x = step_at(w, g);
	struct elem *dst = locate(w, w->rank[g], x->dst);
	const struct elem *src = locate(w, w->rank[g], x->src);
	bool reversed = x->flags & STEP_REVERSED;
	for (uint64_t i = lo; dst && i < hi; i++) {
		struct elem v;
		if (x->op == STEP_COPY)
			v = src[i];
		else if (x->op == STEP_RECV)
			v = from[0][i];
		else if (x->flags & STEP_SET)
			v = fold(w, g, i, src, from);
		else if (x->op == STEP_RECV_REDUCE)
			v = reversed ? combine(from[0][i], src[i]) : combine(src[i], from[0][i]);
		else
			v = reversed ? combine(src[i], dst[i]) : combine(dst[i], src[i]);
		dst[i] = x->flags & STEP_FINAL ? final(v) : v;
	}
}

int run_order(const struct world *w)
{
	struct elem **from = malloc((size_t)w->n * sizeof *from);
	if (!from)
		return err_set(TUTTI_ERR_NOMEM, "verify: no memory for %d ranks", w->n);
	for (uint32_t i = 0; i < w->nsteps; i++) {
		uint32_t g = w->order[i];
		const struct step *x = step_at(w, g);
		for (uint32_t e = 0; receives(x) && e < msgs_of(w, g); e++) {
			const struct msg *m = &w->msgs[w->ends[w->first_end[g] + e]];
			from[e] = locate(w, m->from, step_at(w, m->send)->src);
		}
		step_apply(w, g, 0, elems(w, w->rank[g], x->dst), from);
	}
	free(from);
	return 0;
}

/* What coll_expect says of element i of a block. */
static struct elem expected(const struct world *w, struct coll_expect x, uint64_t i)
{
	uint64_t at = x.block * w->count + i;
	if (x.from >= 0)
		return input(w, x.from, at);
	struct elem v = input(w, 0, at);
	for (int r = 1; r < w->n; r++)
		v = combine(v, input(w, r, at));
	if (w->n > 1)
		v = final(v);
	return v;
}

/* Does the element hold what it should? The first in the same place is where all ranks must have evaluated the same expression. */
static bool right(const struct sched *s, struct coll_expect x, struct elem want, struct elem got, struct elem first)
{
	if (got.sum != want.sum)
		return false;
	if (x.from != COLL_ALL)
		return got.expr == want.expr;
	return (!s->algo->ordered || (got.a == want.a && got.b == want.b)) && (s->coll != COLL_ALL_REDUCE || got.expr == first.expr);
}

static int check_block(const struct world *w, int r, uint32_t b, struct coll_expect x, const struct elem *want)
{
	const struct sched *s = w->s[r];
	for (uint64_t i = 0; i < w->count; i++)
		if (!right(s, x, want[i], w->mem[BUF_OUT][r][b * w->count + i], w->mem[BUF_OUT][0][i]))
			return refute(w, "rank %d: wrong result at element %llu of block %u (count %llu, %s)", r, (unsigned long long)i, b,
				(unsigned long long)w->count, aliased(w, r) ? "in place" : "out of place");
	return 0;
}

int memory_check(const struct world *w)
{
	struct elem *want = malloc((w->count + 1) * sizeof *want);
	struct coll_expect last = { COLL_NONE, 0 };
	int status = want ? 0 : err_set(TUTTI_ERR_NOMEM, "verify: no memory for %llu elements", (unsigned long long)w->count);
	for (int r = 0; r < w->n && !status; r++)
		for (uint32_t b = 0; b < coll_out_blocks(w->s[r]->coll, w->n) && !status; b++) {
			struct coll_expect x = coll_expect(w->s[r]->coll, w->n, w->s[r]->root, r, b);
			if (x.from == COLL_NONE)
				continue;
			for (uint64_t i = 0; (x.from != last.from || x.block != last.block) && i < w->count; i++)
				want[i] = expected(w, x, i);
			last = x;
			status = check_block(w, r, b, x, want);
		}
	free(want);
	return status;
}
