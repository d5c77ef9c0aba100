/* SPDX-License-Identifier: Apache-2.0 */
/* What this machine has: ports and GIDs from libibverbs, rates and NUMA nodes from sysfs. */
#define _GNU_SOURCE
#include "verbs.h"
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static double sysfs_number(const char *path, double otherwise)
{
	FILE *f = fopen(path, "re");
	double v;
	if (!f || fscanf(f, "%lf", &v) != 1)
		v = otherwise;
	if (f)
		fclose(f);
	return v;
}

static void read_gids(struct verbs_port *p, struct ibv_context *ctx)
{
	enum { MOST = 1024 };           /* of all ports of a device; with less room than it needs the call fails, and with more than 64 KiB */
	struct ibv_gid_entry *e = calloc(MOST, sizeof(*e));
	ssize_t n = e ? ibv_query_gid_table(ctx, e, MOST, 0) : 0;
	for (ssize_t i = 0; i < n && p->ngids < VERBS_GIDS; i++) {
		if (e[i].port_num != (uint32_t)p->port)
			continue;
		struct verbs_gid *g = &p->gids[p->ngids++];
		g->index = (int)e[i].gid_index;
		g->type = e[i].gid_type == IBV_GID_TYPE_ROCE_V2 ? VERBS_GID_ROCE_V2 : e[i].gid_type == IBV_GID_TYPE_ROCE_V1 ? VERBS_GID_ROCE_V1 : VERBS_GID_IB;
		memcpy(g->raw, e[i].gid.raw, sizeof(g->raw));
	}
	free(e);
}

static void read_port(struct verbs_port *p, struct ibv_context *ctx, int port)
{
	struct ibv_port_attr a = { 0 };
	char path[256];
	*p = (struct verbs_port){ .port = port, .numa = -1 };
	snprintf(p->device, sizeof(p->device), "%s", ibv_get_device_name(ctx->device));
	if (ibv_query_port(ctx, (uint8_t)port, &a)) {
		snprintf(p->state, sizeof(p->state), "unreadable");
		return;
	}
	p->infiniband = a.link_layer == IBV_LINK_LAYER_INFINIBAND;
	p->active = a.state == IBV_PORT_ACTIVE;
	snprintf(p->state, sizeof(p->state), "%s", a.state == IBV_PORT_DOWN ? "down" : a.state == IBV_PORT_INIT ? "initializing" : "not active");
	p->lid = a.lid;
	p->mtu = 128 << a.active_mtu;
	snprintf(path, sizeof(path), "/sys/class/infiniband/%s/ports/%d/rate", p->device, port);
	p->gbits = sysfs_number(path, 0);
	snprintf(path, sizeof(path), "/sys/class/infiniband/%s/device/numa_node", p->device);
	p->numa = (int)sysfs_number(path, -1);
	read_gids(p, ctx);
}

int verbs_find(struct verbs_port *ports, int most, int *found)
{
	int ndevices = 0;
	struct ibv_device **list = ibv_get_device_list(&ndevices);
	*found = 0;
	if (!list || !ndevices) {
		if (list)
			ibv_free_device_list(list);
		return err_set(TUTTI_ERR_UNSUPPORTED, "no RDMA device");
	}
	for (int i = 0; i < ndevices; i++) {
		struct ibv_context *ctx = ibv_open_device(list[i]);
		struct ibv_device_attr a;
		if (!ctx)
			log_msg(LOG_INFO, "verbs: %s cannot be opened", ibv_get_device_name(list[i]));
		for (int port = 1; ctx && !ibv_query_device(ctx, &a) && port <= a.phys_port_cnt && *found < most; port++)
			read_port(&ports[(*found)++], ctx, port);
		if (ctx)
			ibv_close_device(ctx);
	}
	ibv_free_device_list(list);
	return *found ? TUTTI_OK : err_set(TUTTI_ERR_UNSUPPORTED, "%d RDMA devices, none of which can be opened", ndevices);
}

/* The NUMA node that all processors of this thread belong to; -1: several, or unknown. */
int verbs_my_numa(void)
{
	cpu_set_t set;
	int node = -1;
	char path[96];
	if (sched_getaffinity(0, sizeof(set), &set))
		return -1;
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &set))
			continue;
		int here = -1;
		for (int n = 0; n < 64 && here < 0; n++) {
			snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%d/node%d", cpu, n);
			here = access(path, F_OK) ? -1 : n;
		}
		if (here < 0 || (node >= 0 && node != here))
			return -1;
		node = here;
	}
	return node;
}

static struct ibv_context *open_named(const char *name)
{
	struct ibv_device **list = ibv_get_device_list(NULL);
	struct ibv_context *ctx = NULL;
	for (struct ibv_device **d = list; d && *d && !ctx; d++)
		if (!strcmp(ibv_get_device_name(*d), name))
			ctx = ibv_open_device(*d);
	if (list)
		ibv_free_device_list(list);
	return ctx;
}

static int no_wait(int fd) { return fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK); }

int verbs_rail_open(struct verbs_rail *l, int cqe)
{
	struct ibv_device_attr a;
	l->ctx = open_named(l->port.device);
	if (!l->ctx || ibv_query_device(l->ctx, &a) || !(l->pd = ibv_alloc_pd(l->ctx)) || !(l->wake = ibv_create_comp_channel(l->ctx)))
		return err_sys("cannot open %s", l->port.device);
	l->most_cqe = a.max_cqe;
	l->cqe = cqe < a.max_cqe ? cqe : a.max_cqe;
	if (!(l->cq = ibv_create_cq(l->ctx, l->cqe, l, l->wake, 0)))
		return err_sys("cannot make a completion queue on %s (is `ulimit -l` large enough?)", l->port.device);
	l->cqe = l->cq->cqe;
	if (no_wait(l->wake->fd) < 0 || no_wait(l->ctx->async_fd) < 0)
		return err_sys("%s", l->port.device);
	return TUTTI_OK;
}

void verbs_rail_close(struct verbs_rail *l)
{
	if (l->cq)
		ibv_destroy_cq(l->cq);
	if (l->wake)
		ibv_destroy_comp_channel(l->wake);
	if (l->pd)
		ibv_dealloc_pd(l->pd);
	if (l->ctx)
		ibv_close_device(l->ctx);
	l->cq = NULL;
	l->wake = NULL;
	l->pd = NULL;
	l->ctx = NULL;
}
