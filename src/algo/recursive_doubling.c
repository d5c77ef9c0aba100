/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recursive doubling: in round i exchange everything with the partner whose place differs in bit i. Ranks beyond a power of two first
 * fold into their neighbour, and get the result from it at the end. Every partial result covers a range of ranks, and of two partners the
 * lower range is the left operand on both: rank order, and the same bits everywhere.
 *
 * An exchange may not receive where it sends from: partial results change between two chunks of scratch, and the last goes to out.
 */
#include <algo/rows.h>

void recursive_doubling_one(struct recorder *w, const struct problem *p, const struct group *g)
{
	int rounds = log2_up(g->n + 1) - 1, rest = g->n - (1 << rounds), folded = g->me < 2 * rest;
	int place = folded ? g->me / 2 : g->me - rest;
	uint32_t k = rec_k(w);
	struct span tmp[2] = { span(BUF_SCRATCH, g->chunk0, 1), span(BUF_SCRATCH, g->chunk0 + k, 1) };
	struct span cur = sources(g, 0, 1), out = span(BUF_OUT, g->chunk0, 1);
	(void)p;
	need(w, g, 0, 1);
	if (folded && g->me % 2) {
		rec_send(w, peer(g, -1), cur);
		rec_recv(w, peer(g, -1), out);
		done(w, g, 0, out);
		return;
	}
	rec_scratch(w, 2 * k);
	if (folded)
		rec_recv_reduce(w, peer(g, 1), tmp[1], cur, 0);
	else if (rounds == 1)
		rec_copy(w, tmp[1], cur);
	if (folded || rounds == 1)
		cur = tmp[1];
	for (int i = 0; i < rounds; i++) {
		int q = place ^ 1 << i, last = i == rounds - 1;
		int rank = group_rank(g, q < rest ? 2 * q : q + rest);
		struct span next = last ? out : tmp[i % 2];
		rec_send(w, rank, cur);
		rec_recv_reduce(w, rank, next, cur, (q < place ? STEP_REVERSED : 0) | (last ? STEP_FINAL : 0));
		cur = next;
	}
	if (folded)
		rec_send(w, peer(g, 1), out);
	done(w, g, 0, out);
}

void recursive_doubling_all_reduce(struct recorder *w, const struct problem *p, const struct group *g)
{
	each_channel(w, p, g, 1, recursive_doubling_one);
}
