/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Dissemination barrier (Hensgen, Finkel, Manber 1988): in round i tell the rank 2^i after me that everybody up to 2^i before me has come.
 * The messages are empty; reducing each into the chunk that the next round sends is what makes every round wait for all the earlier ones.
 */
#include <algo/rows.h>

void dissemination_barrier(struct recorder *w, const struct problem *p, const struct group *g)
{
	uint32_t rounds = (uint32_t)log2_up(g->n);
	(void)p;
	rec_scratch(w, rounds + 1);
	need(w, g, 0, 1);
	for (uint32_t i = 0; i < rounds; i++) {
		rec_send(w, peer(g, 1 << i), span(BUF_SCRATCH, i, 1));
		rec_recv_reduce(w, peer(g, -(1 << i)), span(BUF_SCRATCH, i + 1, 1), span(BUF_SCRATCH, i, 1), 0);
	}
	done(w, g, 0, span(BUF_SCRATCH, rounds, 1));
}
