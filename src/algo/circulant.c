/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Circulant (Traeff, "Optimal, Non-pipelined Reduce-scatter and Allreduce Algorithms", arXiv 2410.14234): n is halved, rounding up, to 1:
 * n = s0 > s1 > ... > 1. With R[j] the chunk (or block) of the rank j places after me, a round of the reduce-scatter is
 *
 *      send R[s(i+1) ... s(i)) to the rank s(i+1) after me;   reduce what comes from the rank s(i+1) before me into R[0 ... s(i) - s(i+1))
 *
 * and the all-gather takes the same rounds back. R wraps round at n: a range that does is two messages, cut at the same chunk on both
 * sides.
 */
#include <algo/rows.h>

/* Round i of n members: skip = s(i+1), count = s(i) - s(i+1). */
struct round { int skip, count; };

static struct round round_of(int n, int i)
{
	int s = n;
	for (; i > 0; i--)
		s = (s + 1) / 2;
	return (struct round){ (s + 1) / 2, s / 2 };
}

/* Members [at, at + count) round n as one or two ranges; len[1] is 0 when it does not wrap. */
struct ranges { int at[2], len[2]; };

static struct ranges wrap(const struct group *g, int at, int count)
{
	int from = around(g, at), over = from + count - g->n;
	return (struct ranges){ { from, 0 }, { over > 0 ? count - over : count, over > 0 ? over : 0 } };
}

/* From where the group finds its vector, or from out. */
static void send_from(struct recorder *w, const struct group *g, int to, bool source, int at, int count)
{
	struct ranges r = wrap(g, at, count);
	for (int i = 0; i < 2 && r.len[i]; i++) {
		uint32_t x = (uint32_t)r.at[i], len = (uint32_t)r.len[i];
		rec_send(w, peer(g, to), source ? sources(g, x, len) : span(BUF_OUT, g->chunk0 + x, len));
	}
}

static void send(struct recorder *w, const struct group *g, int to, int at, int count)
{
	send_from(w, g, to, false, at, count);
}

static void recv(struct recorder *w, const struct group *g, int from, int at, int count)
{
	struct ranges r = wrap(g, at, count);
	for (int i = 0; i < 2 && r.len[i]; i++)
		rec_recv(w, peer(g, from), span(BUF_OUT, shard(g, r.at[i]), (uint32_t)r.len[i]));
}

static void recv_reduce(struct recorder *w, const struct group *g, int from, bool source, int count, unsigned flags)
{
	struct ranges r = wrap(g, 0, count);
	for (int i = 0; i < 2 && r.len[i]; i++) {
		uint32_t x = (uint32_t)r.at[i], len = (uint32_t)r.len[i];
		struct span out = span(BUF_OUT, g->chunk0 + x, len);
		rec_recv_reduce(w, peer(g, from), out, source ? sources(g, x, len) : out, flags);
	}
}

/* Members [at, at + count) are needed, or done in out. */
static void each_range(struct recorder *w, const struct group *g, int at, int count, bool out)
{
	struct ranges r = wrap(g, at, count);
	for (int i = 0; i < 2 && r.len[i]; i++) {
		uint32_t x = (uint32_t)r.at[i], len = (uint32_t)r.len[i];
		if (out)
			done(w, g, x, span(BUF_OUT, g->chunk0 + x, len));
		else
			need(w, g, x, len);
	}
}

static void gather(struct recorder *w, const struct group *g)
{
	for (int i = log2_up(g->n) - 1; i >= 0; i--) {
		struct round r = round_of(g->n, i);
		send(w, g, -r.skip, 0, r.count);
		recv(w, g, r.skip, r.skip, r.count);
		each_range(w, g, r.skip, r.count, true);
	}
}

/*
 * R is out, after the first round. When n is odd, the chunk in the middle is sent on in the second round with nothing reduced into it:
 * it is copied.
 */
void circulant_all_reduce_one(struct recorder *w, const struct problem *p, const struct group *g)
{
	int rounds = log2_up(g->n);
	uint32_t middle = (uint32_t)around(g, g->n / 2);
	(void)p;
	for (int i = 0; i < rounds; i++) {
		struct round r = round_of(g->n, i);
		if (i == 0)
			each_range(w, g, 0, g->n, false);
		send_from(w, g, r.skip, i == 0, r.skip, r.count);
		recv_reduce(w, g, -r.skip, i == 0, r.count, i == rounds - 1 ? STEP_FINAL : 0);
		if (i == 0 && g->n % 2 && sources(g, middle, 1).buf != BUF_OUT)
			rec_copy(w, span(BUF_OUT, g->chunk0 + middle, 1), sources(g, middle, 1));
	}
	each_range(w, g, 0, 1, true);
	gather(w, g);
}

void circulant_all_reduce(struct recorder *w, const struct problem *p, const struct group *g)
{
	each_channel(w, p, g, (uint32_t)g->n, circulant_all_reduce_one);
}

/*
 * The first round: blocks of in go out, and are reduced with what comes into R, which is scratch and does not wrap; with two ranks that
 * is all.
 */
static void first_round(struct recorder *w, const struct group *g)
{
	struct round r = round_of(g->n, 0);
	struct ranges mine = wrap(g, 0, r.count);
	send_from(w, g, r.skip, true, r.skip, r.count);
	for (int i = 0, j = 0; i < 2 && mine.len[i]; j += mine.len[i++]) {
		struct span src = span(BUF_IN, (uint32_t)mine.at[i], (uint32_t)mine.len[i]);
		struct span dst = g->n == 2 ? span(BUF_OUT, 0, 1) : span(BUF_SCRATCH, (uint32_t)j, src.n);
		rec_recv_reduce(w, peer(g, -r.skip), dst, src, g->n == 2 ? STEP_FINAL : 0);
	}
	if (g->n % 2)
		rec_copy(w, span(BUF_SCRATCH, (uint32_t)r.count, 1), span(BUF_IN, (uint32_t)around(g, r.count), 1));
}

void circulant_reduce_scatter(struct recorder *w, const struct problem *p, const struct group *g)
{
	int rounds = log2_up(g->n);
	(void)p;
	rec_scratch(w, (uint32_t)(g->n + 1) / 2);
	first_round(w, g);
	for (int i = 1; i < rounds; i++) {
		struct round r = round_of(g->n, i);
		struct span src = span(BUF_SCRATCH, 0, (uint32_t)r.count);
		bool last = i == rounds - 1;
		rec_send(w, peer(g, r.skip), span(BUF_SCRATCH, (uint32_t)r.skip, (uint32_t)r.count));
		rec_recv_reduce(w, peer(g, -r.skip), last ? span(BUF_OUT, 0, 1) : src, src, last ? STEP_FINAL : 0);
	}
}

void circulant_all_gather(struct recorder *w, const struct problem *p, const struct group *g)
{
	(void)p;
	rec_copy(w, span(BUF_OUT, shard(g, g->me), 1), span(BUF_IN, 0, 1));
	gather(w, g);
}
