/* SPDX-License-Identifier: Apache-2.0 */
/* One message between two ranks: a step at either end. */
#include <algo/rows.h>

void p2p_send(struct recorder *w, const struct problem *p, const struct group *g)
{
	rec_send(w, p->root, span(BUF_IN, g->chunk0, 1));
}

void p2p_recv(struct recorder *w, const struct problem *p, const struct group *g)
{
	rec_recv(w, p->root, span(BUF_OUT, g->chunk0, 1));
}
