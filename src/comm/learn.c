/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What rank 0 remembers of jobs of this kind, and what the ranks learn when it remembers nothing; and plans that are forced while they
 * are measured. Only rank 0 touches the cache.
 */
#include <base/clock.h>
#include <base/log.h>
#include <comm/comm.h>
#include <limits.h>
#include <plan/cache.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What joins rank 0 to the first rank of each class. */
static void find_transports(struct tutti_comm *c, const char *transport[NEARS])
{
	memset(transport, 0, NEARS * sizeof *transport);
	for (int r = 1; r < c->nranks; r++) {
		const char **name = &transport[near_of(c->topo, 0, r)];
		const struct net_transport *t = *name ? NULL : world_transport(&c->world, r);
		*name = t ? t->name : *name;
	}
}

static uint64_t key_of(struct tutti_comm *c)
{
	const char *transport[NEARS];
	find_transports(c, transport);
	return cache_key(c->topo, transport);
}

void comm_recall(struct tutti_comm *c, struct plan_table *measured)
{
	char folder[PATH_MAX];
	memset(measured, 0, sizeof *measured);
	if (!config_cache(&c->config, folder, sizeof folder))
		return;
	uint64_t key = key_of(c);
	c->calibrated = cache_load_costs(folder, key, &c->costs);
	bool table = cache_load_table(folder, key, measured);
	log_msg(LOG_INFO, "the cache %s knows %s%s of jobs like this one (%016llx)", folder, c->calibrated ? "costs" : "no costs",
	        table ? " and plans" : "", (unsigned long long)key);
}

/* "4 ranks on 2 machines; node shm, network tcp" */
static void about(struct tutti_comm *c, char *text, size_t cap)
{
	const char *transport[NEARS];
	int nodes = 0;
	for (int32_t p = 0; p < c->topo->nplaces; p++)
		nodes += c->topo->place[p].kind == TOPO_NODE;
	int n = snprintf(text, cap, "%d ranks on %d machine%s", c->nranks, nodes ? nodes : 1, nodes > 1 ? "s" : "");
	find_transports(c, transport);
	for (int i = 0, first = 1; i < NEARS; i++)
		if (transport[i] && n >= 0 && (size_t)n < cap) {
			n += snprintf(text + n, cap - (size_t)n, "%s%s %s", first ? "; " : ", ", near_names[i], transport[i]);
			first = 0;
		}
}

int comm_remember(struct tutti_comm *c, const struct plan_table *measured, char *path, size_t cap)
{
	char folder[PATH_MAX], text[160];
	*path = 0;
	if (!config_cache(&c->config, folder, sizeof folder))
		return TUTTI_OK;
	uint64_t key = key_of(c);
	about(c, text, sizeof text);
	int status = measured ? cache_save_table(folder, key, text, measured) : cache_save_costs(folder, key, text, &c->costs);
	cache_path(path, cap, folder, key, measured ? CACHE_PLANS : CACHE_COSTS);
	return status;
}

int comm_learn(struct tutti_comm *c, int64_t budget_ms)
{
	char path[PATH_MAX];
	int status = comm_calibrate(c, &c->costs, budget_ms);
	if (status)
		return status;
	c->calibrated = true;
	if (c->rank == 0 && comm_remember(c, NULL, path, sizeof path))
		log_msg(LOG_WARN, "what was measured is not kept: %s", err_last());
	return TUTTI_OK;
}

int comm_force(struct tutti_comm *c, const struct plan_cell *cell)
{
	const struct algo *a = cell ? plan_cell_algo(cell) : NULL;
	engine_enter(&c->engine);
	/* a call may be over for its caller while it still sends from scratch: its plan would stay, on this rank and not on another */
	int status = engine_wait(&c->engine, NULL, CLOCK_NEVER);
	if (!status)
		engine_reap(&c->engine);
	plans_drop_idle(&c->plans);
	if (status < 0)
		comm_error(c, status);
	engine_leave(&c->engine);
	free(c->forced);
	c->forced = NULL;
	if (!a || status)
		return status;
	c->forced = calloc(1, sizeof *c->forced);
	if (!c->forced)
		return err_set(TUTTI_ERR_NOMEM, "no memory for a table of plans");
	for (int i = 0; i < PLAN_SIZES; i++)
		for (int ordered = 0; ordered < 1 + a->ordered; ordered++)
			c->forced->cell[a->coll][ordered][i] = *cell;
	status = plan_table_check(c->forced);
	if (status) {
		free(c->forced);
		c->forced = NULL;
	}
	return status;
}
