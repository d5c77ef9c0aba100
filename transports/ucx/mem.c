/* SPDX-License-Identifier: Apache-2.0 */
/*
 * UCX's handles of regions (tutti_mem_alloc, tutti_register, buffers of persistent requests): with them it need not look for, or make, a
 * registration of its own. Other memory goes without, through UCX's cache of registrations.
 */
#include "ucx.h"

static ucp_mem_h map(struct ucx_iface *s, const struct net_mem *mem)
{
	ucp_mem_map_params_t p = {
		.field_mask = UCP_MEM_MAP_PARAM_FIELD_ADDRESS | UCP_MEM_MAP_PARAM_FIELD_LENGTH, .address = mem->base, .length = mem->len,
	};
	ucp_mem_h handle;
	ucs_status_t status = ucp_mem_map(s->context, &p, &handle);
	if (status == UCS_OK)
		return handle;
	log_msg(LOG_INFO, "ucx: a region of %zu bytes cannot be registered: %s", mem->len, ucs_status_string(status));
	return NULL;
}

ucp_mem_h ucx_mem_of(struct ucx_iface *s, const struct net_mem *mem)
{
	bool new;
	void **place = mem && mem->len ? net_regions_place(&s->regions, mem, &new) : NULL;
	if (!place)
		return NULL;
	if (new)
		*place = map(s, mem);
	return *place;
}

static void unmap(struct ucx_iface *s, ucp_mem_h handle)
{
	if (handle)
		ucp_mem_unmap(s->context, handle);
}

void ucx_mem_sweep(struct ucx_iface *s)
{
	void *handle;
	while (net_regions_dead(&s->regions, &handle))
		unmap(s, handle);
}

void ucx_mem_close(struct ucx_iface *s)
{
	void *handle;
	while (net_regions_take(&s->regions, &handle))
		unmap(s, handle);
}
