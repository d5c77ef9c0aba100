/* SPDX-License-Identifier: Apache-2.0 */
/* `tutti plan simulate`: how long it would take there, what would be busiest, and pictures of it. */
#include <base/config.h>
#include <base/err.h>
#include <errno.h>
#include <model/model.h>
#include <perf/inner.h>
#include <stdlib.h>
#include <string.h>
#include <tools/plan.h>
#include <tools/tools.h>

enum { COSTS_MOST = 1 << 16, PIECES_MOST = 16, RULE = 104 };

struct job {
	const char *cmd;
	const struct plan_options *o;
	struct topo *topo;
	struct shape *shape;
	struct costs costs;
	struct problem problem;
	uint64_t bytes;                 /* of one rank's count: o->size is that of the larger buffer */
	double bus;                     /* bytes over each link, as nccl-tests count them */
};

struct row { const struct algo *algo; struct sim_result r; };

/* ---- input ------------------------------------------------------------------------------------------------------ */

static void read_costs(const char *cmd, const char *name, struct costs *costs)
{
	static char text[COSTS_MOST + 1];

	costs_default(costs);
	if (!name)
		return;
	FILE *f = fopen(name, "r");
	if (!f)
		args_refuse(cmd, "--costs: %s: %s", name, strerror(errno));
	size_t n = fread(text, 1, sizeof text, f);
	bool bad = ferror(f);
	fclose(f);
	if (bad || n > COSTS_MOST || memchr(text, 0, n))
		args_refuse(cmd, "--costs: %s: expected a text of at most %d bytes", name, COSTS_MOST);
	text[n] = 0;
	if (costs_parse(costs, text))
		args_refuse(cmd, "--costs: %s: %s", name, err_last());
}

void plan_scene(const char *cmd, const struct plan_options *o, struct topo **topo, struct shape **shape, struct costs *costs)
{
	long ranks = 0;

	if (!o->topology)
		args_refuse(cmd, "expected --topology, as in --topology \"node:4 nic:1@25Gb,5us rank:8\"");
	if (o->ranks && parse_int(o->ranks, 1, TOPO_RANKS_MAX, &ranks))
		args_refuse(cmd, "--ranks: expected N in 1..%d, got \"%s\"", TOPO_RANKS_MAX, o->ranks);
	read_costs(cmd, o->costs, costs);
	if (topo_open(topo, o->topology, (int)ranks) || sim_shape(shape, *topo))
		args_refuse(cmd, "--topology: %s", err_last());
}

static void prepare(struct job *j, int coll)
{
	const struct plan_options *o = j->o;
	int n = j->topo->nranks;
	const struct coll_row *row = &coll_rows[coll];
	const struct perf_coll *perf = perf_coll_find(row->name);

	if (row->rooted && o->root >= n)
		args_refuse(j->cmd, "%s: expected a root in 0..%d, got %d", row->name, n - 1, o->root);
	j->bytes = row->in_n || row->out_n ? o->size / (size_t)n : o->size;
	if (coll == COLL_BARRIER)
		j->bytes = 0;
	j->bus = perf ? perf_busbw_factor(perf->factor, n) * (double)o->size : 0;
	uint64_t pieces = j->bytes / o->slice;          /* as the planner does */
	j->problem = (struct problem){ (enum coll)coll, n, o->root,
		o->pieces ? o->pieces : pieces < 1 ? 1 : pieces > PIECES_MOST ? PIECES_MOST : (int)pieces, o->channels, j->shape };
}

/* ---- output ----------------------------------------------------------------------------------------------------- */

static void rule(void)
{
	for (int i = 0; i < RULE; i++)
		putchar('-');
	putchar('\n');
}

static void print_size(double bytes)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB" };
	int u = 0;

	for (; bytes >= 1024 && u < 5; u++)
		bytes /= 1024;
	printf("%.4g %s", bytes, units[u]);
}

static void print_head(const struct job *j, const char *algo)
{
	int nodes = 0;

	for (int p = 0; p < j->topo->nplaces; p++)
		nodes += j->topo->place[p].kind == TOPO_NODE;
	printf("%s%s%s: %d ranks", coll_rows[j->problem.coll].name, *algo ? " " : "", algo, j->problem.nranks);
	if (nodes)
		printf(" on %d node%s", nodes, nodes == 1 ? "" : "s");
	if (j->bytes) {
		printf(", ");
		print_size((double)j->o->size);
	}
	printf(", slices of ");
	print_size((double)j->o->slice);
	printf(", %d channel%s, %d piece%s; costs: %s\n", j->problem.channels, j->problem.channels == 1 ? "" : "s", j->problem.pieces,
			j->problem.pieces == 1 ? "" : "s", j->o->costs ? j->o->costs : "default");
	rule();
}

static double busbw(const struct job *j, const struct sim_result *r)
{
	return r->seconds > 0 ? j->bus / r->seconds / 1e9 : 0;
}

static void print_one(const struct job *j, const struct sim_result *r)
{
	printf("%-28s %.3f us\n", "projected time", r->seconds * 1e6);
	if (j->bus > 0)
		printf("%-28s %.3f GB/s\n", "bus bandwidth", busbw(j, r));
	printf("%-28s %s, %.0f %% of the time\n", "busiest", r->busiest, r->busy * 100);
	printf("%-28s %llu\n", "messages", (unsigned long long)r->messages);
	printf("%-28s ", "out of the busiest node");
	print_size((double)r->node_bytes);
	printf("\n%-28s %.2f\n", "passes over memory, at most", r->passes);
	rule();
}

static int by_time(const void *a, const void *b)
{
	const struct row *x = a, *y = b;

	if (x->r.seconds != y->r.seconds)
		return x->r.seconds < y->r.seconds ? -1 : 1;
	return (x->algo > y->algo) - (x->algo < y->algo);
}

static void print_rows(const struct job *j, const struct row *rows, int n)
{
	printf("%-24s %14s %10s %6s  %-24s %10s %8s\n", "algorithm", "time, us", "bus, GB/s", "busy", "busiest", "messages", "passes");
	rule();
	for (int i = 0; i < n; i++) {
		const struct sim_result *r = &rows[i].r;
		printf("%-24s %14.3f %10.3f %5.0f%%  %-24s %10llu %8.2f\n", rows[i].algo->name, r->seconds * 1e6, busbw(j, r),
			r->busy * 100, r->busiest, (unsigned long long)r->messages, r->passes);
	}
	rule();
}

static int write_file(const struct job *j, const struct algo *a, struct sim *s, const char *name, bool svg)
{
	char title[256];
	FILE *f = fopen(name, "w");

	if (!f)
		args_refuse(j->cmd, "--%s: %s: %s", svg ? "svg" : "trace", name, strerror(errno));
	snprintf(title, sizeof title, "%s %s, %zu bytes, %d ranks: %s", coll_rows[j->problem.coll].name, a->name, j->o->size,
		j->problem.nranks, j->o->topology);
	int status = svg ? sim_write_svg(s, j->bytes, j->o->slice, title, f) : sim_write_json(s, j->bytes, j->o->slice, f);
	if (status)
		fprintf(stderr, "tutti %s: %s\n", j->cmd, err_last());
	bool full = ferror(f);
	if ((fclose(f) || full) && !status) {
		fprintf(stderr, "tutti %s: %s: %s\n", j->cmd, name, strerror(errno));
		status = -1;
	}
	if (!status)
		printf("written: %s\n", name);
	return status;
}

/* Whose ranks all do the same, counted from themselves: with very many, one schedule stands for all. */
static const char *const alike[] = { "ring", "circulant", "dissemination" };

static int open_sim(const struct job *j, const struct algo *a, struct sim **s)
{
	const struct sim_job job = { a, j->problem };
	int status = sim_open(s, &job, j->topo, &j->costs);

	for (size_t i = 0; i < sizeof alike / sizeof *alike && status == TUTTI_ERR_UNSUPPORTED; i++)
		if (!strcmp(a->name, alike[i]) && !coll_rows[a->coll].rooted)
			return sim_open_alike(s, &job, j->topo, &j->costs);
	return status;
}

/* ---- the verb --------------------------------------------------------------------------------------------------- */

static int simulate_one(const struct job *j, const struct algo *a)
{
	struct sim *s;
	struct sim_result r;

	if (open_sim(j, a, &s))
		args_refuse(j->cmd, "%s", err_last());
	int status = sim_run(s, j->bytes, j->o->slice, &r);
	if (status) {
		fprintf(stderr, "tutti %s: %s\n", j->cmd, err_last());
	} else {
		print_head(j, a->name);
		print_one(j, &r);
		fflush(stdout);
	}
	if (!status && j->o->trace)
		status = write_file(j, a, s, j->o->trace, false);
	if (!status && j->o->svg)
		status = write_file(j, a, s, j->o->svg, true);
	sim_close(s);
	return status ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* What is left out is said at once, on stderr. */
static int simulate_all(const struct job *j)
{
	struct row rows[64];
	int n = 0;

	for (const struct algo *a = algo_table; a->name && n < (int)(sizeof rows / sizeof *rows); a++) {
		struct sim *s = NULL;
		if (a->coll != j->problem.coll || (a->shaped && !j->shape))
			continue;
		rows[n].algo = a;
		if (open_sim(j, a, &s) || sim_run(s, j->bytes, j->o->slice, &rows[n].r))
			fprintf(stderr, "left out: %s\n", err_last());
		else
			n++;
		sim_close(s);
	}
	print_head(j, "");
	qsort(rows, (size_t)n, sizeof *rows, by_time);
	print_rows(j, rows, n);
	return n ? EXIT_SUCCESS : EXIT_FAILURE;
}

int plan_simulate(const char *cmd, const struct plan_options *o, int coll, const struct algo *one)
{
	struct job j = { .cmd = cmd, .o = o };
	int status;

	if (coll == COLL_SEND || coll == COLL_RECV)
		args_refuse(cmd, "simulate: expected a collective, got %s, which is half an operation", coll_rows[coll].name);
	if (!one && (o->trace || o->svg))
		args_refuse(cmd, "simulate: --trace and --svg draw one algorithm: expected COLLECTIVE ALGORITHM");
	if (!o->slice)
		args_refuse(cmd, "--slice: expected a size above 0");
	plan_scene(cmd, o, &j.topo, &j.shape, &j.costs);
	prepare(&j, coll);
	status = one ? simulate_one(&j, one) : simulate_all(&j);
	shape_free(j.shape);
	topo_free(j.topo);
	return status;
}
