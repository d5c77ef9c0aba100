/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Registered memory. A region of tutti_mem_alloc's or tutti_register's is registered at its first use, on every rail, and forgotten after it was freed.
 * Between the two nobody writes it: operations on it have ended before it may be freed, and pages stay pinned until then.
 */
#include "verbs.h"
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static struct ibv_mr *reg(struct verbs_iface *s, int rail, void *at, size_t len, int more)
{
	return ibv_reg_mr(s->rail[rail].pd, at, len, IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | more);
}

static bool reg_all(struct verbs_iface *s, struct ibv_mr **mr, void *at, size_t len, int more)
{
	for (int i = 0; i < s->rails; i++)
		if (!(mr[i] = reg(s, i, at, len, more)))
			return false;
	return true;
}

static void dereg_all(struct ibv_mr **mr)
{
	for (int i = 0; i < VERBS_RAILS; i++)
		if (mr[i])
			ibv_dereg_mr(mr[i]);
	memset(mr, 0, VERBS_RAILS * sizeof(*mr));
}

/* ---- buffers -------------------------------------------------------------------------------------------------------- */

int verbs_buf_new(struct verbs_iface *s, struct verbs_buf *b, size_t len)
{
	enum { HUGE_PAGE = 2 << 20, PAGE = 4096 };
	size_t align = len >= HUGE_PAGE ? HUGE_PAGE : PAGE;
	*b = (struct verbs_buf){ .len = (len + align - 1) / align * align };
	if (!(b->at = aligned_alloc(align, b->len)))
		return err_set(TUTTI_ERR_NOMEM, "no memory for a buffer of %zu bytes", len);
	madvise(b->at, b->len, MADV_HUGEPAGE);
	memset(b->at, 0, b->len);
	if (reg_all(s, b->mr, b->at, b->len, 0))
		return TUTTI_OK;
	int status = err_sys("cannot register %zu bytes (is `ulimit -l` large enough?)", len);
	verbs_buf_free(b);
	return status;
}

void verbs_buf_free(struct verbs_buf *b)
{
	dereg_all(b->mr);
	free(b->at);
	*b = (struct verbs_buf){ 0 };
}

/* ---- the user's regions --------------------------------------------------------------------------------------------- */

struct ibv_mr *const *verbs_region(struct verbs_iface *s, const struct net_mem *mem)
{
	for (size_t i = s->nregions; i--;)
		if (s->regions[i].id == mem->id)
			return s->regions[i].mr[0] ? s->regions[i].mr : NULL;
	struct verbs_region *more = realloc(s->regions, (s->nregions + 1) * sizeof(*more)), *r;
	if (!more)
		return NULL;
	s->regions = more;
	r = &more[s->nregions++];
	*r = (struct verbs_region){ .id = mem->id };
	if (reg_all(s, r->mr, mem->base, mem->len, s->config->verbs_relaxed ? IBV_ACCESS_RELAXED_ORDERING : 0))
		return r->mr;
	dereg_all(r->mr);               /* remembered as one that cannot be */
	log_msg(LOG_INFO, "verbs: a region of %zu bytes cannot be registered, and is copied (is `ulimit -l` large enough?)", mem->len);
	return NULL;
}

void verbs_regions_sweep(struct verbs_iface *s)
{
	uint64_t frees = net_mem_frees();
	if (frees == s->frees)
		return;
	s->frees = frees;
	for (size_t i = 0; i < s->nregions;) {
		if (net_mem_alive(s->regions[i].id)) {
			i++;
			continue;
		}
		dereg_all(s->regions[i].mr);
		s->regions[i] = s->regions[--s->nregions];
	}
}

void verbs_regions_free(struct verbs_iface *s)
{
	while (s->nregions)
		dereg_all(s->regions[--s->nregions].mr);
	free(s->regions);
	s->regions = NULL;
}
