/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All transports of one communicator, and which of them reaches whom.
 *
 *      world_open -> world_blob ~~ all-gather of blobs ~~> world_meet -> world_ep(peer): an endpoint, made when first needed
 *
 * For a pair, the lower rank's order of preference counts: its first transport that the other also opened and that reaches. Both ends compute the same.
 */
#ifndef NET_WORLD_H
#define NET_WORLD_H
#include <net/transport.h>

enum { WORLD_TRANSPORTS = 8 };

struct world_post { int (*post)(void *ctx, int peer, const void *bytes, size_t len); void *ctx; };

struct world {
	int rank, nranks, nifaces;
	struct net_iface *ifaces[WORLD_TRANSPORTS];     /* in order of preference */
	bool used[WORLD_TRANSPORTS];    /* has endpoints */
	struct net_ep **eps;            /* by rank; NULL until needed */
	unsigned char *blobs;           /* nranks * world_blob_size() */
	int on_machine;                 /* ranks on this rank's machine */
	int cores;                      /* the fewest cores any rank may run on */
	struct world_post post;
	bool one_machine;               /* all ranks on one machine, reaching each other without a network */
};

/* transports: comma list, e.g. "shm,tcp". A name that is unknown is an error; one that cannot run here is left out (at info level, with its reason); none left is an error. */
/* post: how letters go; what comes in is handed to world_letter. */
int world_open(struct world *w, int rank, int nranks, const char *transports, const struct auth_key *key, const struct config *c, struct world_post post);
void world_letter(struct world *w, int peer, const void *bytes, size_t len);    /* another rank's bytes */
void world_close(struct world *w);

size_t world_blob_size(void);
int world_blob(struct world *w, void *blob);                    /* this rank's, for the exchange */
int world_meet(struct world *w, const void *all_blobs);         /* takes a copy */

/* The endpoint to peer; fails when no transport reaches it (sentence: every transport and its reason). */
int world_ep(struct world *w, int peer, struct net_ep **ep);
const struct net_transport *world_transport(struct world *w, int peer);        /* which would be used; NULL: none */

/* Does a transport wait for letters? */
static inline bool world_expects(const struct world *w)
{
	int expected = 0;
	for (int i = 0; i < w->nifaces; i++)
		expected += w->ifaces[i]->expected;
	return expected > 0;
}

/* May a peer need calls here even when nothing is posted? */
static inline bool world_is_restless(const struct world *w)
{
	for (int i = 0; i < w->nifaces; i++)
		if (w->used[i] && w->ifaces[i]->restless)
			return true;
	return false;
}

/* A transport without endpoints is looked at when `all` says so, and before a sleep. */
static inline int world_progress(struct world *w, bool all)
{
	int moved = 0;
	for (int i = 0; i < w->nifaces; i++)
		if (w->used[i] || all)
			moved += w->ifaces[i]->t->progress(w->ifaces[i]);
	return moved;
}
#endif
