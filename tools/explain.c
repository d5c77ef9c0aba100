/* SPDX-License-Identifier: Apache-2.0 */
/* `tutti plan explain`: what the planner would choose there, for each size, and why. */
#include <base/clock.h>
#include <base/config.h>
#include <base/err.h>
#include <perf/inner.h>
#include <plan/explain.h>
#include <stdlib.h>
#include <string.h>
#include <tools/plan.h>
#include <tools/tools.h>

enum { RULE = 168 };

struct table {
	enum coll coll;
	struct scene scene;
	struct candidate *list;
	int n;
};

static void rule(void)
{
	for (int i = 0; i < RULE; i++)
		putchar('-');
	putchar('\n');
}

static const char *bytes_text(char *buf, size_t cap, double bytes)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB" };
	int u = 0;

	for (; bytes >= 1024 && u < 3; u++)
		bytes /= 1024;
	snprintf(buf, cap, "%.4g %s", bytes, units[u]);
	return buf;
}

static const char *time_text(char *buf, size_t cap, double s)
{
	snprintf(buf, cap, s < 1e-3 ? "%.2f us" : s < 1 ? "%.3f ms" : "%.3f s", s < 1e-3 ? s * 1e6 : s < 1 ? s * 1e3 : s);
	return buf;
}

/* Bytes of one rank's count when the larger buffer is plan_size(i): what the columns' size means for collectives with a block a rank. */
static double whole(const struct table *t, int i)
{
	const struct coll_row *row = &coll_rows[t->coll];

	return (double)plan_size(i) * (row->in_n || row->out_n ? t->scene.topo->nranks : 1);
}

static void print_line(const struct table *t, int i)
{
	const struct candidate *c = project_best(t->list, t->n, i, false, NULL), *second = project_best(t->list, t->n, i, false, c);
	const struct perf_coll *perf = perf_coll_find(coll_rows[t->coll].name);
	char size[24], slice[24], time[24], limit[128], runner[48] = "none";
	double bus = c->seconds[i] > 0 ? perf_busbw_factor(perf->factor, t->scene.topo->nranks) * whole(t, i) / c->seconds[i] / 1e9 : 0;

	if (second && second->seconds[i] > c->seconds[i] * 1.005)
		snprintf(runner, sizeof runner, "%s +%.0f %%", second->algo->name, 100 * (second->seconds[i] / c->seconds[i] - 1));
	else if (second)
		snprintf(runner, sizeof runner, "%s +0 %%", second->algo->name);
	explain_limit(limit, sizeof limit, &c->result[i], t->coll == COLL_BARRIER ? 0 : plan_size(i), t->scene.topo);
	printf("%10s  %-20s %2d %2d %8s %12s %9.3f  %-30s %6.2f  %s\n", bytes_text(size, sizeof size, whole(t, i)), c->algo->name, c->channels,
	       c->pieces, bytes_text(slice, sizeof slice, (double)c->slice), time_text(time, sizeof time, c->seconds[i]), bus, runner,
	       c->result[i].passes, limit);
}

/* Which transport a pair takes is decided by what reaches it, in the order of TUTTI_TRANSPORT: not by size. */
static void print_table(const struct table *t, const struct plan_options *o)
{
	const struct config *config = config_get();
	char nodes[64] = "";

	if (t->scene.shape && t->scene.shape->nlevels)
		snprintf(nodes, sizeof nodes, " on %d nodes", t->scene.shape->level[0].n);
	printf("%s, %d ranks%s: %s; costs: %s; transport: the first of %s that reaches\n", coll_rows[t->coll].name, t->scene.topo->nranks, nodes,
	       o->topology, o->costs ? o->costs : "default", config ? config->transport : "shm,verbs,tcp");
	rule();
	printf("%10s  %-20s %2s %2s %8s %12s %9s  %-30s %6s  %s\n", "size", "algorithm", "ch", "pc", "slice", "projected", "bus GB/s", "runner-up",
	       "passes", "what limits it");
	rule();
	for (int i = 0; i < PLAN_SIZES && (i == 0 || (whole(t, i) <= (double)o->size && t->coll != COLL_BARRIER)); i++)
		print_line(t, i);
	rule();
}

int plan_explain(const char *cmd, const struct plan_options *o, int coll)
{
	struct topo *topo;
	struct shape *shape;
	struct costs costs;

	if (coll == COLL_SEND || coll == COLL_RECV)
		args_refuse(cmd, "explain: expected a collective, got %s, which is half an operation", coll_rows[coll].name);
	plan_scene(cmd, o, &topo, &shape, &costs);
	struct table t = { .coll = (enum coll)coll, .scene = { topo, shape, &costs } };
	int status = project_candidates(&t.list, &t.n, t.coll, &t.scene, 1, CLOCK_NEVER);
	if (!status && !t.n)
		status = err_set(TUTTI_ERR_UNSUPPORTED, "no algorithm for %s on %d ranks is small enough to simulate", coll_rows[coll].name, topo->nranks);
	if (status)
		fprintf(stderr, "tutti %s: %s\n", cmd, err_last());
	else
		print_table(&t, o);
	free(t.list);
	shape_free(shape);
	topo_free(topo);
	return status ? EXIT_FAILURE : EXIT_SUCCESS;
}
