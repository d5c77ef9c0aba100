/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which of UCX's transports cannot wake a sleeper: ucp leaves them out when it is asked for wake-up, and does not say so. Its lower floor,
 * uct, knows: each interface is opened for a moment. For people (tutti info), so what cannot be found out is passed over.
 */
#include "ucx.h"
#include <stdio.h>
#include <string.h>
#include <ucs/async/async_fwd.h>
#include <uct/api/uct.h>

struct finder { uct_worker_h worker; const char *among; char *list; size_t cap; };

bool ucx_is_among(const char *list, const char *name)
{
	size_t n = strlen(name);
	for (const char *p = list; (p = strstr(p, name)); p += n)
		if ((p == list || p[-1] == ' ') && (!p[n] || p[n] == ','))
			return true;
	return false;
}

static void note(struct finder *f, const char *name)
{
	size_t at = strlen(f->list);
	if (ucx_is_among(f->among, name) && !ucx_is_among(f->list, name) && at + strlen(name) + 3 < f->cap)
		snprintf(f->list + at, f->cap - at, "%s%s", at ? ", " : "", name);
}

static void look_at(struct finder *f, uct_md_h md, const uct_tl_resource_desc_t *tl)
{
	const uint64_t carries = UCT_IFACE_FLAG_AM_SHORT | UCT_IFACE_FLAG_AM_BCOPY | UCT_IFACE_FLAG_AM_ZCOPY;
	const uint64_t receives = UCT_IFACE_FLAG_EVENT_RECV | UCT_IFACE_FLAG_EVENT_RECV_SIG;
	uct_iface_params_t p = {
		.field_mask = UCT_IFACE_PARAM_FIELD_OPEN_MODE | UCT_IFACE_PARAM_FIELD_DEVICE, .open_mode = UCT_IFACE_OPEN_MODE_DEVICE,
		.mode.device = { .tl_name = tl->tl_name, .dev_name = tl->dev_name },
	};
	uct_iface_config_t *config;
	uct_iface_attr_t attr;
	uct_iface_h iface;
	char name[UCT_TL_NAME_MAX + UCT_DEVICE_NAME_MAX + 2];
	if (uct_md_iface_config_read(md, tl->tl_name, NULL, NULL, &config) != UCS_OK)
		return;
	ucs_status_t status = uct_iface_open(md, f->worker, &p, config, &iface);
	uct_config_release(config);
	if (status != UCS_OK)
		return;
	status = uct_iface_query(iface, &attr);
	uct_iface_close(iface);
	snprintf(name, sizeof(name), "%s/%s", tl->tl_name, tl->dev_name);
	if (status == UCS_OK && (attr.cap.flags & carries) && !(attr.cap.event_flags & receives))
		note(f, name);
}

static void look_at_domain(struct finder *f, uct_component_h component, const char *name)
{
	uct_tl_resource_desc_t *tls;
	uct_md_config_t *config;
	uct_md_h md;
	unsigned n;
	if (uct_md_config_read(component, NULL, NULL, &config) != UCS_OK)
		return;
	ucs_status_t status = uct_md_open(component, name, config, &md);
	uct_config_release(config);
	if (status != UCS_OK)
		return;
	if (uct_md_query_tl_resources(md, &tls, &n) == UCS_OK) {
		for (unsigned i = 0; i < n; i++)
			look_at(f, md, &tls[i]);
		uct_release_tl_resource_list(tls);
	}
	uct_md_close(md);
}

static void look_at_component(struct finder *f, uct_component_h component)
{
	enum { MOST = 64 };
	uct_md_resource_desc_t domains[MOST];
	uct_component_attr_t attr = { .field_mask = UCT_COMPONENT_ATTR_FIELD_MD_RESOURCE_COUNT };
	if (uct_component_query(component, &attr) != UCS_OK || attr.md_resource_count > MOST)
		return;
	attr.field_mask |= UCT_COMPONENT_ATTR_FIELD_MD_RESOURCES;
	attr.md_resources = domains;
	if (uct_component_query(component, &attr) != UCS_OK)
		return;
	for (unsigned i = 0; i < attr.md_resource_count; i++)
		look_at_domain(f, component, domains[i].md_name);
}

void ucx_sleepless(const char *among, char *list, size_t cap)
{
	struct finder f = { .among = among, .list = list, .cap = cap };
	ucs_async_context_t *async;
	uct_component_h *components;
	unsigned n;
	*list = 0;
	if (ucs_async_context_create(UCS_ASYNC_MODE_THREAD_SPINLOCK, &async) != UCS_OK)
		return;
	if (uct_worker_create(async, UCS_THREAD_MODE_SINGLE, &f.worker) == UCS_OK) {
		if (uct_query_components(&components, &n) == UCS_OK) {
			for (unsigned i = 0; i < n; i++)
				look_at_component(&f, components[i]);
			uct_release_component_list(components);
		}
		uct_worker_destroy(f.worker);
	}
	ucs_async_context_destroy(async);
}
