/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Registered memory. A region (tutti_mem_alloc, tutti_register, buffers of persistent requests) is registered at its first use, on every rail, and forgotten
 * after it was freed, at the next progress. Between the two no device writes it: operations on it have ended before it may be freed, an old advert is not
 * answered any more, and the pages stay pinned, so that they cannot become other memory's.
 */
#include "verbs.h"
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static const struct net_mem *const OURS = NULL;

static struct ibv_mr *reg(struct verbs_iface *s, int rail, const struct net_mem *mem, void *at, size_t len)
{
	int access = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE;
	if (mem == OURS)
		return ibv_reg_mr(s->rail[rail].pd, at, len, access);
	if (s->config->verbs_relaxed)
		access |= IBV_ACCESS_RELAXED_ORDERING;
	if (s->config->verbs_on_demand)
		access |= IBV_ACCESS_ON_DEMAND;
	if (mem->kind == NET_MEM_DMABUF)
		return ibv_reg_dmabuf_mr(s->rail[rail].pd, 0, len, (uintptr_t)at, mem->fd, access);
	return ibv_reg_mr(s->rail[rail].pd, at, len, access);
}

static bool reg_all(struct verbs_iface *s, struct ibv_mr **mr, const struct net_mem *mem, void *at, size_t len)
{
	for (int i = 0; i < s->rails; i++)
		if (!(mr[i] = reg(s, i, mem, at, len)))
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
	if (reg_all(s, b->mr, OURS, b->at, b->len))
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

/* Registered on every rail, or NULL. */
static struct ibv_mr **region_new(struct verbs_iface *s, const struct net_mem *mem)
{
	struct ibv_mr **mr = calloc(VERBS_RAILS, sizeof(*mr));
	if (mr && reg_all(s, mr, mem, mem->base, mem->len))
		return mr;
	if (mr)
		dereg_all(mr);
	free(mr);
	log_msg(LOG_INFO, "verbs: a region of %zu bytes cannot be registered, and is copied (is `ulimit -l` large enough?)", mem->len);
	return NULL;
}

static void region_free(void *mr)
{
	if (mr)
		dereg_all(mr);
	free(mr);
}

struct ibv_mr *const *verbs_region(struct verbs_iface *s, const struct net_mem *mem)
{
	bool new;
	void **place = net_regions_place(&s->regions, mem, &new);
	if (place && new)
		*place = region_new(s, mem);
	return place ? *place : NULL;
}

void verbs_regions_sweep(struct verbs_iface *s)
{
	void *mr;
	while (net_regions_dead(&s->regions, &mr))
		region_free(mr);
}

void verbs_regions_free(struct verbs_iface *s)
{
	void *mr;
	while (net_regions_take(&s->regions, &mr))
		region_free(mr);
}
