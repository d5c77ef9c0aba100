/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the ranks are, and what is chosen there. Of a cell of the table, the first that says something counts:
 *
 *      measured by `tutti tune`        the cache of rank 0
 *      projected by the model          where there are several machines: within one, the rules know more
 *      nothing                         the rules (src/plan/choose.c)
 */
#include <base/clock.h>
#include <base/err.h>
#include <base/log.h>
#include <comm/comm.h>
#include <plan/project.h>
#include <stdlib.h>

/* TUTTI_TOPOLOGY speaks of the ranks that a job begins with: those of a split have the places that they have there. */
static int find_places(struct tutti_comm *c, const struct topo_record *records, struct topo **t)
{
	if (!*c->config.topology)
		return topo_from_records(t, records, c->nranks, c->config.fabric);
	return c->split_from ? topo_part(t, c->split_from->topo, c->split_ranks, c->nranks) : topo_open(t, c->config.topology, c->nranks);
}

int scene_make(struct tutti_comm *c, const struct topo_record *records)
{
	struct topo *t;
	int status = find_places(c, records, &t);
	if (status)
		return status;
	c->topo = t;
	costs_default(&c->costs);
	return sim_shape(&c->shape, t);
}

static void overlay(struct plan_table *t, const struct plan_table *measured)
{
	for (int k = 0; k < COLLS; k++)
		for (int o = 0; o < 2; o++)
			for (int i = 0; i < PLAN_SIZES; i++)
				if (measured->cell[k][o][i].algo)
					t->cell[k][o][i] = measured->cell[k][o][i];
}

static bool one_machine(const struct topo *t)
{
	for (int r = 1; r < t->nranks; r++)
		if (t->node[r] != t->node[0])
			return false;
	return true;
}

/* The others wait meanwhile, until `deadline`: half of that is rank 0's. */
static int64_t plan_until(const struct tutti_comm *c, int64_t deadline)
{
	int64_t wanted = clock_after_ms(c->config.plan_ms), now = clock_ns(), most = now + (deadline - now) / 2;
	return wanted < most ? wanted : most;
}

/* Rank 0's. What has just been measured is no worse than what the cache holds of it, rounded, if it could be written at all. */
static void table_make(struct tutti_comm *c, struct plan_table *t, int64_t deadline)
{
	const struct scene scene = { c->topo, c->shape, &c->costs };
	const struct costs found = c->costs;
	struct plan_table measured;
	bool known = c->calibrated;
	int status = TUTTI_OK;
	comm_recall(c, &measured);
	if (known) {
		c->costs = found;
		c->calibrated = true;
	}
	c->calibrate = !c->calibrated && c->config.calibrate_ms > 0;
	if (!one_machine(c->topo) && !c->calibrate)
		status = project_table(t, &scene, 0, plan_until(c, deadline));
	if (status) {   /* it is advice, no more */
		log_msg(LOG_WARN, "nothing is projected, the rules choose: %s", err_last());
		*t = (struct plan_table){ 0 };
	}
	overlay(t, &measured);
}

/* calibrate: milliseconds, 0 for no. */
struct agreed { uint64_t digest; int64_t calibrated, calibrate; struct costs costs; struct plan_table table; };

/* Rank 0's is for all; and everybody's topology must be the same. */
static int take(struct tutti_comm *c, const struct agreed *all)
{
	for (int r = 1; r < c->nranks; r++)
		if (all[r].digest != all[0].digest)
			return err_set(TUTTI_ERR_MISMATCH, "ranks 0 and %d see different topologies: TUTTI_TOPOLOGY and TUTTI_FABRIC must say the same everywhere", r);
	int status = plan_table_check(&all[0].table);
	if (status)
		return status;
	*c->table = all[0].table;
	c->costs = all[0].costs;
	c->calibrated = all[0].calibrated;
	c->calibrate = all[0].calibrate > 0;
	c->config.calibrate_ms = all[0].calibrate;
	return TUTTI_OK;
}

int scene_agree(struct tutti_comm *c, int64_t deadline)
{
	if (c->nranks == 1)
		return TUTTI_OK;
	struct agreed *all = calloc((size_t)c->nranks + 1, sizeof(*all)), *mine = all ? &all[c->nranks] : NULL;
	c->table = c->table ? c->table : calloc(1, sizeof(*c->table));
	int status = all && c->table ? TUTTI_OK : err_set(TUTTI_ERR_NOMEM, "no memory for the plans of %d ranks", c->nranks);
	if (!status) {
		mine->digest = topo_digest(c->topo);
		if (c->rank == 0)
			table_make(c, &mine->table, deadline);
		mine->costs = c->costs;
		mine->calibrated = c->calibrated;
		mine->calibrate = c->calibrate ? c->config.calibrate_ms : 0;
	}
	if (!status)
		status = boot_allgather(c->boot, mine, all, sizeof(*mine), deadline);
	if (!status)
		status = take(c, all);
	free(all);
	return status;
}

/* Measuring takes as long as it was told to: then the time begins anew. */
int scene_calibrate(struct tutti_comm *c)
{
	if (!c->calibrate)
		return TUTTI_OK;
	int status = comm_learn(c, c->config.calibrate_ms);
	if (!status)
		status = scene_agree(c, clock_after_ms(c->config.timeout_ms));
	return status ? status : comm_force(c, NULL);   /* drops the measurement's own plans, on every rank all of them */
}
