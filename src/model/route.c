/* SPDX-License-Identifier: Apache-2.0 */
/* From the topology to resources, and what a message between two ranks crosses. */
#include <base/err.h>
#include <model/inner.h>
#include <stdlib.h>
#include <string.h>

const char *const near_names[NEARS] = { "core", "numa", "package", "node", "network" };

/* ---- cores and nodes ---------------------------------------------------------------------------------------------- */

struct seating {
	int32_t *node_of;               /* of a place: the how manieth node; -1: not seen yet */
	int32_t *core_of;               /* of a place: its core's number; -1 */
	int32_t *turn;                  /* of a node: the core that it last gave to a rank that stands on none; -1: it has none */
};

static int32_t core_place(const struct topo *t, int32_t p)
{
	while (p >= 0 && t->place[p].kind != TOPO_CORE)
		p = t->place[p].parent;
	return p;
}

/* The next core of a node after place `at`, round and round; -1: none is known. */
static int32_t next_core(const struct topo *t, int32_t node, int32_t at)
{
	int32_t end = t->place[node].end, p = at + 1;
	for (int32_t looked = node + 1; looked < end; looked++, p++) {
		if (p >= end)
			p = node + 1;
		if (t->place[p].kind == TOPO_CORE)
			return p;
	}
	return -1;
}

static void seat_rank(struct sim *s, struct seating *z, int r)
{
	const struct topo *t = s->topo;
	int32_t node = t->node[r], core = core_place(t, t->rank[r]);
	if (z->node_of[node] < 0) {
		z->turn[s->nnodes] = node;
		z->node_of[node] = s->nnodes++;
	}
	s->seats[r].node = z->node_of[node];
	int32_t *turn = &z->turn[s->seats[r].node];
	if (core < 0 && *turn >= 0)
		core = *turn = next_core(t, node, *turn);
	if (core >= 0 && z->core_of[core] >= 0) {
		s->seats[r].core = (uint32_t)z->core_of[core];
	} else {
		s->seats[r].core = s->ncores++;
		if (core >= 0)
			z->core_of[core] = (int32_t)s->seats[r].core;
	}
	s->sharers[s->seats[r].core]++;
}

static int seat_all(struct sim *s)
{
	size_t places = (size_t)s->topo->nplaces;
	struct seating z = { malloc(places * sizeof *z.node_of), malloc(places * sizeof *z.core_of),
		calloc((size_t)s->nranks, sizeof *z.turn) };
	bool ready = z.node_of && z.core_of && z.turn;
	if (ready) {
		memset(z.node_of, 0xff, places * sizeof *z.node_of);
		memset(z.core_of, 0xff, places * sizeof *z.core_of);
		for (int r = 0; r < s->nranks; r++)
			seat_rank(s, &z, r);
	}
	free(z.node_of);
	free(z.core_of);
	free(z.turn);
	return ready ? 0 : err_set(TUTTI_ERR_NOMEM, "simulator: no memory for %d ranks", s->nranks);
}

/* ---- resources ---------------------------------------------------------------------------------------------------- */

/* A node's link out; the one in stands behind it. */
static uint32_t link_of(const struct sim *s, int32_t node) { return s->links0 + 2 * (uint32_t)node; }

static void name_owners(struct sim *s)
{
	const struct topo *t = s->topo;
	for (int r = s->nranks - 1; r >= 0; r--) {
		s->who[s->seats[r].core] = r;
		int32_t node = s->seats[r].node, place = t->node[r], nic = t->nic[r];
		s->who[s->memory0 + (uint32_t)node] = s->who[link_of(s, node)] = s->who[link_of(s, node) + 1] = node;
		s->known[node] |= t->place[place].bandwidth > 0 || (nic >= 0 && t->place[nic].bandwidth > 0);
	}
	for (int32_t p = 0; p < t->nplaces; p++)
		if (s->edge[p] != SIM_NONE)
			for (uint32_t i = 0; i < 2; i++) {
				s->who[s->edge[p] + i] = p;
				s->resources[s->edge[p] + i].byte = 1 / t->place[p].bandwidth;
			}
}

int route_open(struct sim *s)
{
	const struct topo *t = s->topo;
	s->seats = calloc((size_t)s->nranks, sizeof *s->seats);
	s->sharers = calloc((size_t)s->nranks, sizeof *s->sharers);
	s->edge = malloc((size_t)t->nplaces * sizeof *s->edge);
	if (!s->seats || !s->sharers || !s->edge)
		return err_set(TUTTI_ERR_NOMEM, "simulator: no memory for %d ranks", s->nranks);
	int status = seat_all(s);
	if (status)
		return status;
	s->memory0 = s->ncores;
	s->links0 = s->memory0 + (uint32_t)s->nnodes;
	s->edges0 = s->nresources = s->links0 + 2 * (uint32_t)s->nnodes;
	for (int32_t p = 0; p < t->nplaces; p++) {
		bool limits = t->place[p].parent >= 0 && t->place[p].bandwidth > 0;
		s->edge[p] = limits ? s->nresources : SIM_NONE;
		s->nresources += limits ? 2 : 0;
	}
	s->resources = calloc(s->nresources, sizeof *s->resources);
	s->who = calloc(s->nresources, sizeof *s->who);
	s->sent = calloc((size_t)s->nnodes, sizeof *s->sent);
	s->known = calloc((size_t)s->nnodes, sizeof *s->known);
	if (!s->resources || !s->who || !s->sent || !s->known)
		return err_set(TUTTI_ERR_NOMEM, "simulator: no memory for %u resources", s->nresources);
	name_owners(s);
	return 0;
}

void sim_resource_name(const struct sim *s, int i, char *buf, size_t cap)
{
	const struct topo *t = s->topo;
	if (i < 0 || (uint32_t)i >= s->nresources) {
		snprintf(buf, cap, "nothing");
	} else if ((uint32_t)i < s->memory0) {
		snprintf(buf, cap, "core of rank %d", s->who[i]);
	} else if ((uint32_t)i < s->links0) {
		snprintf(buf, cap, "memory of node %d", s->who[i]);
	} else if ((uint32_t)i < s->edges0) {
		snprintf(buf, cap, "link of node %d %s", s->who[i], ((uint32_t)i - s->links0) % 2 ? "in" : "out");
	} else {
		const struct topo_place *p = &t->place[s->who[i]], *up = &t->place[p->parent];
		bool in = (uint32_t)i != s->edge[s->who[i]];
		char where[24] = "";
		if (up->parent >= 0)
			snprintf(where, sizeof where, "%s%d/", topo_kinds[up->kind], up->index);
		snprintf(buf, cap, "%s %s%s%.*d %s", topo_kinds[p->kind], where, p->name, *p->name ? 0 : 1, *p->name ? 0 : p->index,
				p->kind == TOPO_NIC ? in ? "in" : "out" : in ? "down" : "up");
	}
}

/* ---- messages ------------------------------------------------------------------------------------------------------- */

enum near near_of(const struct topo *t, int a, int b)
{
	if (t->node[a] != t->node[b])
		return NEAR_NETWORK;
	switch (t->place[topo_common(t, a, b)].kind) {
	case TOPO_CORE: return NEAR_CORE;
	case TOPO_NUMA: return NEAR_NUMA;
	case TOPO_PACKAGE: return NEAR_PACKAGE;
	default: return NEAR_NODE;
	}
}

int route_message(struct sim *s, struct message *m, int from, int to)
{
	struct topo_hop hops[TOPO_PATH];
	int n = topo_path(s->topo, from, to, hops),
	    status = sim_grow(&s->paths, &s->cap_paths, (uint64_t)s->npaths + TOPO_PATH + 2, sizeof *s->paths);
	double latency = 0;
	if (status)
		return status;
	m->near = (uint8_t)near_of(s->topo, from, to);
	m->path = s->npaths;
	if (m->near == NEAR_NETWORK)
		s->paths[s->npaths++] = link_of(s, s->seats[from].node);
	for (int i = 0; i < n; i++) {
		latency += s->topo->place[hops[i].place].latency;
		if (s->edge[hops[i].place] != SIM_NONE)
			s->paths[s->npaths++] = s->edge[hops[i].place] + !hops[i].up;
	}
	if (m->near == NEAR_NETWORK)
		s->paths[s->npaths++] = link_of(s, s->seats[to].node) + 1;
	m->latency = (float)latency;
	m->hops = (uint8_t)(s->npaths - m->path);
	return 0;
}
