/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Regions. The owner sends a region's descriptor once, before the first message that points into it, and a DROP after it was freed. The
 * borrower maps it when it comes and unmaps it after the DROP, when no message still reads it. Ids are never used again, so a late DROP is
 * harmless.
 */
#define _GNU_SOURCE
#include "shm.h"
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { REGIONS_MAX = 1 << 16 };         /* of one peer */

/* The first row with row->id >= id. */
static size_t lower(const struct shm_regions *t, uint64_t id)
{
	size_t lo = 0, hi = t->n;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (t->row[mid]->id < id)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

struct shm_region *shm_region_find(struct shm_regions *t, uint64_t id)
{
	size_t i = lower(t, id);
	return i < t->n && t->row[i]->id == id ? t->row[i] : NULL;
}

static struct shm_region *region_add(struct shm_regions *t, uint64_t id, size_t len)
{
	if (t->n == t->cap) {
		size_t cap = t->cap ? 2 * t->cap : 8;
		struct shm_region **row = cap > REGIONS_MAX ? NULL : realloc(t->row, cap * sizeof(*row));
		if (!row)
			return NULL;
		t->row = row;
		t->cap = cap;
	}
	struct shm_region *r = calloc(1, sizeof(*r));
	if (!r)
		return NULL;
	r->id = id;
	r->len = len;
	size_t i = lower(t, id);
	memmove(t->row + i + 1, t->row + i, (t->n++ - i) * sizeof(*t->row));
	return t->row[i] = r;
}

static void region_del(struct shm_regions *t, struct shm_region *r)
{
	size_t i = lower(t, r->id);
	memmove(t->row + i, t->row + i + 1, (--t->n - i) * sizeof(*t->row));
	if (r->base)
		munmap(r->base, r->len);
	free(r);
}

void shm_regions_free(struct shm_regions *t)
{
	while (t->n)
		region_del(t, t->row[t->n - 1]);
	free(t->row);
	*t = (struct shm_regions){ 0 };
}

bool shm_lend(struct shm_ep *e, const struct net_mem *mem)
{
	if (shm_region_find(&e->lent, mem->id))
		return true;
	struct shm_region *r = region_add(&e->lent, mem->id, mem->len);
	if (!r)
		return false;
	struct shm_frame f = { .type = SHM_LEND, .a = mem->id, .b = mem->len };
	if (shm_frame_send(e->watch.fd, &f, &mem->fd, 1) == 0)
		return true;
	region_del(&e->lent, r);
	return false;
}

bool shm_lent_sweep(struct shm_ep *e)
{
	bool all = true;
	for (size_t i = e->lent.n; i--;) {
		struct shm_region *r = e->lent.row[i];
		struct shm_frame f = { .type = SHM_DROP, .a = r->id };
		if (net_mem_alive(r->id))
			continue;
		if (shm_frame_send(e->watch.fd, &f, NULL, 0) == 0)
			region_del(&e->lent, r);
		else
			all = false;
	}
	return all;
}

int shm_borrow(struct shm_ep *e, uint64_t id, size_t len, int fd)
{
	void *base = shm_region_find(&e->borrowed, id) ? NULL : shm_map(fd, len, false);
	struct shm_region *r = base ? region_add(&e->borrowed, id, len) : NULL;
	if (r)
		r->base = base;
	else if (base)
		munmap(base, len);
	return r ? TUTTI_OK : TUTTI_ERR_NOMEM;
}

void shm_borrow_drop(struct shm_ep *e, uint64_t id)
{
	struct shm_region *r = shm_region_find(&e->borrowed, id);
	if (r && r->users)
		r->dropped = true;
	else if (r)
		region_del(&e->borrowed, r);
}

void shm_region_unuse(struct shm_ep *e, uint64_t id)
{
	struct shm_region *r = shm_region_find(&e->borrowed, id);
	if (r && !--r->users && r->dropped)
		region_del(&e->borrowed, r);
}
