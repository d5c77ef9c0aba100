/* SPDX-License-Identifier: Apache-2.0 */
/* Is every step of a rank well formed, whatever the others do? */
#include <verify/world.h>

/* What an op has: dst, src (2: may), a peer, a set, and the flags it may carry. */
static const struct { uint8_t dst, src, peer, set, flags; } shape[] = {
	[STEP_NOP] = { 0, 0, 0, 0, 0 },
	[STEP_SEND] = { 0, 1, 1, 1, 0 },
	[STEP_RECV] = { 1, 0, 1, 0, 0 },
	[STEP_RECV_REDUCE] = { 1, 1, 1, 1, STEP_REVERSED | STEP_FINAL },
	[STEP_REDUCE] = { 1, 1, 0, 0, STEP_REVERSED | STEP_FINAL },
	[STEP_COPY] = { 1, 1, 0, 0, 0 },
};

static const char *legal_shape(const struct sched *s, const struct step *x)
{
	if (x->op > STEP_COPY)
		return "no such op";
	bool set = x->flags & STEP_SET, own_optional = set && x->op == STEP_RECV_REDUCE;
	if (set && !shape[x->op].set)
		return "this op has no set";
	if (x->flags & ~(shape[x->op].flags | STEP_SET) || (set && x->flags & STEP_REVERSED))
		return "flag not allowed here";
	if (x->flags & STEP_FINAL && !coll_rows[s->coll].reduces)
		return "final in a collective that does not reduce";
	if ((x->dst.buf != BUF_NONE) != shape[x->op].dst || ((x->src.buf != BUF_NONE) != shape[x->op].src && !own_optional))
		return "an operand is missing or too much";
	if (x->channel >= s->nchannels || s->nchannels > SCHED_MAX_CHANNELS)
		return "no such channel";
	return NULL;
}

static const char *legal_peer(const struct sched *s, const struct step *x)
{
	if (!shape[x->op].peer)
		return x->peer == -1 ? NULL : "a local step with a peer";
	if (!(x->flags & STEP_SET))
		return x->peer >= 0 && x->peer < s->nranks && x->peer != s->rank ? NULL : "no such peer";
	if (x->peer < 0 || (uint32_t)x->peer >= s->nsets || s->sets[x->peer].n == 0 ||
			s->sets[x->peer].first + s->sets[x->peer].n > s->nmembers)
		return "no such set";
	const int32_t *m = s->members + s->sets[x->peer].first;
	for (uint32_t i = 0; i < s->sets[x->peer].n; i++)
		if (m[i] < 0 || m[i] >= s->nranks || m[i] == s->rank || (i && m[i] <= m[i - 1]))
			return "a set is not ascending, or names this rank or none";
	return NULL;
}

static const char *legal_span(const struct sched *s, struct span x, bool written)
{
	uint64_t blocks = 0, chunks;
	if (x.buf == BUF_NONE)
		return NULL;
	if (x.buf > BUF_SCRATCH)
		return "no such buffer";
	if (x.buf == BUF_IN && written)
		return "in is constant";
	if (x.buf == BUF_IN && coll_reads(s->coll, s->root, s->rank))
		blocks = coll_in_blocks(s->coll, s->nranks);
	if (x.buf == BUF_OUT && coll_writes(s->coll, s->root, s->rank))
		blocks = coll_out_blocks(s->coll, s->nranks);
	chunks = x.buf == BUF_SCRATCH ? s->scratch_chunks : blocks * s->k;
	if (chunks == 0)
		return "the buffer is not used at this rank";
	return x.n >= 1 && (uint64_t)x.chunk + x.n <= chunks ? NULL : "span out of range";
}

static const char *legal_operands(const struct sched *s, const struct step *x)
{
	struct span a = x->dst, b = x->src;
	if (a.buf == BUF_NONE || b.buf == BUF_NONE)
		return NULL;
	if (a.n != b.n || a.chunk % s->k != b.chunk % s->k)
		return "dst and src differ in length";
	int64_t far = (int64_t)sched_alias_chunk(s, a) - (int64_t)sched_alias_chunk(s, b);
	return !sched_same_line(a, b) || far == 0 || far >= a.n || -far >= a.n ? NULL : "dst overlaps a part of src";
}

static const char *legal_waits(const struct step *x, uint32_t i)
{
	for (int j = 0; j < SCHED_MAX_WAITS; j++)
		if (x->wait[j] < -1 || x->wait[j] >= (int32_t)i)
			return "waits for no earlier step";
	return NULL;
}

static const char *legal_step(const struct sched *s, uint32_t i)
{
	const struct step *x = &s->steps[i];
	const char *bad = legal_shape(s, x);
	if (!bad)
		bad = legal_peer(s, x);
	if (!bad)
		bad = legal_span(s, x->dst, true);
	if (!bad)
		bad = legal_span(s, x->src, false);
	if (!bad)
		bad = legal_operands(s, x);
	return bad ? bad : legal_waits(x, i);
}

int check_rank(const struct world *w, int rank)
{
	const struct sched *s = w->s[rank], *other = w->s[(rank + 1) % w->n];
	if (s->rank != rank || s->nranks != w->n || s->k != other->k || s->k < 1)
		return refute(w, "rank %d: its schedule is for rank %d of %d with %u chunks a block; rank %d has %u", rank, s->rank,
				s->nranks, s->k, other->rank, other->k);
	if (s->nsteps && other->nsteps && s->hash != other->hash)
		return refute(w, "rank %d: schedule id differs from rank %d's", rank, other->rank);
	for (uint32_t i = 0; i < s->nsteps; i++) {
		const char *bad = legal_step(s, i);
		if (bad)
			return refute(w, "rank %d step %u: %s", rank, i, bad);
	}
	return 0;
}
