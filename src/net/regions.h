/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a transport has made of regions of the user's (a registration, a handle), by their ids: made at first use, forgotten after the
 * region was freed. One iface's; few. what: NULL is remembered, too: it could not be made.
 */
#ifndef NET_REGIONS_H
#define NET_REGIONS_H
#include <net/transport.h>
#include <stdlib.h>

struct net_region { uint64_t id; void *what; };
struct net_regions { struct net_region *at; size_t n; uint64_t frees; };

/* The place for mem's; *new: it was not known. NULL: no memory. Valid until the next call. */
static inline void **net_regions_place(struct net_regions *r, const struct net_mem *mem, bool *new)
{
	*new = false;
	for (size_t i = r->n; i--;)
		if (r->at[i].id == mem->id)
			return &r->at[i].what;
	struct net_region *more = realloc(r->at, (r->n + 1) * sizeof(*more));
	if (!more)
		return NULL;
	r->at = more;
	more[r->n] = (struct net_region){ .id = mem->id };
	*new = true;
	return &more[r->n++].what;
}

/* One whose region has been freed, taken out, in *what; false: no (more) such. Call it while no device uses one: its owner may free a
 * region as soon as its operations have ended. */
static inline bool net_regions_dead(struct net_regions *r, void **what)
{
	if (net_mem_frees() == r->frees)
		return false;
	uint64_t frees = net_mem_frees();
	for (size_t i = r->n; i--;)
		if (!net_mem_alive(r->at[i].id)) {
			*what = r->at[i].what;
			r->at[i] = r->at[--r->n];
			return true;
		}
	r->frees = frees;
	return false;
}

/* Any one, at the end. */
static inline bool net_regions_take(struct net_regions *r, void **what)
{
	if (!r->n) {
		free(r->at);
		r->at = NULL;
		return false;
	}
	*what = r->at[--r->n].what;
	return true;
}
#endif
