/* SPDX-License-Identifier: Apache-2.0 */
/* Rank 0 leads: it calibrates, orders, and writes; the others do what it orders. */
#include <base/clock.h>
#include <base/err.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <tools/launch.h>
#include <tools/tools.h>
#include <tools/tune.h>
#include <tools/tune_fabric.h>

#define AT(field) offsetof(struct tune_options, field)
static const double WORTH = 1.03;
enum { ROUNDS = 5, CALIBRATE_MS = 2000, SIMULATE_MS = 10000, HOPELESS = 3 };

const struct arg tune_args[] = {
	{ 0, "ranks", "N", "start N ranks on this machine", ARG_INT, AT(ranks), 0, LAUNCH_RANKS_MAX },
	{ 0, "budget", "TIME", "how long it may take, about (2min): sizes that it does not reach are left out", ARG_TIME,
	  AT(budget_ms), 0, 0 },
	{ 'b', "minbytes", "SIZE", "smallest size of the larger buffer (8)", ARG_SIZE, AT(min), 0, 0 },
	{ 'e', "maxbytes", "SIZE", "largest (64M)", ARG_SIZE, AT(max), 0, 0 },
	{ 0, "top", "K", "measure the K candidates that the model thinks the fastest (4), and what the rules would take", ARG_INT,
	  AT(top), 1, TUNE_TRIES_MAX - 1 },
	{ 0, "transport", "LIST", "force transports, as TUTTI_TRANSPORT", ARG_STR, AT(transport), 0, 0 },
	{ 0, "fabric", "FILE", "find out which machines are near each other, and write a file for TUTTI_FABRIC; tunes no collective", ARG_STR,
	  AT(fabric), 0, 0 },
	{ 0, "dry-run", NULL, "measure and print, but keep nothing", ARG_FLAG, AT(dry_run), 0, 1 },
	{ .kind = ARG_END },
};

/* ---- rank 0 ------------------------------------------------------------------------------------------------------------------ */

static int say(struct tune *t, struct tune_order *o) { return tutti_broadcast(o, o, sizeof *o, TUTTI_UINT8, 0, t->comm); }

static int order(struct tune *t, struct tune_order *o, struct try *tries)
{
	for (int i = 0; i < o->n; i++)
		o->cell[i] = tries[i].cell;
	int status = say(t, o);
	if (!status)
		status = tune_try(t, o);
	for (int i = 0; i < o->n; i++)
		tries[i].cell.seconds = o->cell[i].seconds;
	return status;
}

static int by_time(const void *a, const void *b)
{
	const struct try *x = a, *y = b;
	return (x->cell.seconds > y->cell.seconds) - (x->cell.seconds < y->cell.seconds);
}

/* What wins by less than WORTH is chance: then the rules' choice stands. */
static void prefer_rule(struct try *tries, int n)
{
	for (int i = 1; i < n; i++)
		if (tries[i].rule && (double)tries[i].cell.seconds < WORTH * (double)tries[0].cell.seconds) {
			struct try r = tries[i];
			memmove(tries + 1, tries, (size_t)i * sizeof *tries);
			tries[0] = r;
			return;
		}
}

/* Those behind the first `kept` are given up, but never the rules' choice. */
static int keep_rule(struct try *tries, int n, int kept)
{
	for (int i = kept; i < n; i++)
		if (tries[i].rule) {
			tries[kept] = tries[i];
			return kept + 1;
		}
	return kept;
}

/* A first look at all; then, those that are not hopeless, as often as `seconds` allow. Sorted, what is chosen first. */
static int measure(struct tune *t, enum coll coll, int size, struct try *tries, int *n, double seconds)
{
	struct tune_order o = { .coll = (int32_t)coll, .size = size, .n = *n, .rounds = 2, .iters = 3, .glance = 1 };
	double sum = 0;
	int status = order(t, &o, tries), kept = 0;
	if (status)
		return status;
	qsort(tries, (size_t)*n, sizeof *tries, by_time);
	while (kept < *n && tries[kept].cell.seconds <= HOPELESS * tries[0].cell.seconds)
		kept++;
	kept = keep_rule(tries, *n, kept);
	for (int i = 0; i < kept; i++)
		sum += (double)tries[i].cell.seconds;
	int iters = sum > 0 ? (int)(seconds / sum / ROUNDS) : 1;
	o.n = kept;
	o.glance = 0;
	o.rounds = ROUNDS;
	o.iters = iters < 1 ? 1 : iters > TUNE_SAMPLES / ROUNDS ? TUNE_SAMPLES / ROUNDS : iters;
	status = order(t, &o, tries);
	qsort(tries, (size_t)kept, sizeof *tries, by_time);
	prefer_rule(tries, kept);
	*n = kept;
	return status;
}

/* The first of those allowed, and the first that is another algorithm. */
static void write_cell(struct plan_cell *cell, const struct try *tries, int n, bool ordered)
{
	const struct try *first = NULL, *second = NULL;
	for (int i = 0; i < n; i++) {
		if (ordered && !plan_cell_algo(&tries[i].cell)->ordered)
			continue;
		if (!first)
			first = &tries[i];
		else if (!second && tries[i].cell.algo != first->cell.algo)
			second = &tries[i];
	}
	if (!first)
		return;
	*cell = first->cell;
	cell->runner_up = second ? second->cell.algo : 0;
	double loss = second ? 1000 * ((double)second->cell.seconds / (double)first->cell.seconds - 1) : UINT16_MAX;
	cell->loss = loss < 0 ? 0 : loss < UINT16_MAX ? (uint16_t)loss : UINT16_MAX;   /* the rules' choice is preferred to what is a little faster */
}

static int note_errors(struct tune *t, const struct try *tries, int n)
{
	if (t->nerrors + n > t->cap_errors) {
		t->cap_errors = 2 * t->cap_errors + n;
		double *p = realloc(t->errors, (size_t)t->cap_errors * sizeof *p);
		if (!p)
			return err_set(TUTTI_ERR_NOMEM, "no memory for %d errors", t->cap_errors);
		t->errors = p;
	}
	for (int i = 0; i < n; i++)
		if (tries[i].projected > 0 && tries[i].cell.seconds > 0) {
			double e = tries[i].projected / (double)tries[i].cell.seconds - 1;
			t->errors[t->nerrors++] = e < 0 ? -e : e;
		}
	return TUTTI_OK;
}

static bool in_range(const struct tune *t, enum coll coll, int size)
{
	uint64_t bytes = tune_bytes(coll, t->comm->nranks, size);
	return coll == COLL_BARRIER ? size == 0 : bytes >= t->o->min && bytes <= t->o->max;
}

/* cells: how many are still to come, this one among them. */
static int tune_size(struct tune *t, const struct candidate *list, int nlist, enum coll coll, int size, int cells)
{
	struct try tries[TUNE_TRIES_MAX];
	int n = tune_pick(t, list, nlist, coll, size, tries);
	double left = (double)(t->deadline - clock_ns()) * 1e-9;
	if (left <= 0 || !n) {
		t->left_out++;
		return TUTTI_OK;
	}
	int status = measure(t, coll, size, tries, &n, left / cells / 2);       /* half of the time goes to touching the memory */
	if (!status)
		status = note_errors(t, tries, n);
	if (status)
		return status;
	for (int ordered = 0; ordered < 2; ordered++)
		write_cell(&t->table.cell[coll][ordered][size], tries, n, ordered);
	tune_print_row(t, size, tries, n);
	t->measured++;
	return TUTTI_OK;
}

static int tune_coll(struct tune *t, enum coll coll, int *cells)
{
	const struct scene scene = { t->comm->topo, t->comm->shape, &t->comm->costs };
	struct candidate *list = NULL;
	int n = 0, status = project_candidates(&list, &n, coll, &scene, 1, clock_after_ms(SIMULATE_MS));
	if (status == TUTTI_ERR_TIMEOUT)
		status = project_candidates(&list, &n, coll, &scene, 0, CLOCK_NEVER);
	tune_print_head(coll);
	for (int i = 0; i < PLAN_SIZES && !status; i++)
		if (in_range(t, coll, i))
			status = tune_size(t, list, n, coll, i, (*cells)--);
	free(list);
	return status;
}

static int keep(struct tune *t, const struct plan_table *table)
{
	char path[PATH_MAX];
	int status = t->o->dry_run ? TUTTI_OK : comm_remember(t->comm, table, path, sizeof path);
	if (status)
		return status;
	if (t->o->dry_run || !*path)
		printf("# %s are not kept: %s\n", table ? "plans" : "costs", t->o->dry_run ? "--dry-run" : "TUTTI_CACHE names no folder");
	else
		printf("# %s are kept in %s\n", table ? "plans" : "costs", path);
	return TUTTI_OK;
}

static int lead(struct tune *t, const int *colls, int ncolls)
{
	struct tune_order stop = { 0 };
	int cells = 0, status;
	for (int k = 0; k < ncolls; k++)
		for (int i = 0; i < PLAN_SIZES; i++)
			cells += in_range(t, (enum coll)colls[k], i);
	tune_print_costs(t);
	status = keep(t, NULL);
	for (int k = 0; k < ncolls && !status; k++)
		status = tune_coll(t, (enum coll)colls[k], &cells);
	if (!status)
		status = say(t, &stop);
	if (status)
		return status;
	tune_print_end(t);
	return t->measured ? keep(t, &t->table) : TUTTI_OK;
}

/* ---- all ranks ----------------------------------------------------------------------------------------------------------------- */

static int follow(struct tune *t)
{
	struct tune_order o = { 0 };
	int status = say(t, &o);
	while (!status && o.n) {
		status = tune_try(t, &o);
		if (!status)
			status = say(t, &o);
	}
	return status;
}

static int calibrate(struct tune *t)
{
	int64_t ms = t->o->budget_ms / 4 < CALIBRATE_MS ? t->o->budget_ms / 4 : CALIBRATE_MS;
	if (t->comm->rank == 0)
		comm_recall(t->comm, &t->table);        /* other collectives' plans stay */
	return comm_calibrate(t->comm, &t->comm->costs, ms);
}

static int tune(struct tune *t, const int *colls, int ncolls)
{
	int status = calibrate(t);
	if (!status)
		status = t->comm->rank == 0 ? lead(t, colls, ncolls) : follow(t);
	return status;
}

static int run(const struct tune_options *o, const int *colls, int ncolls)
{
	struct tutti_config config = TUTTI_CONFIG_INIT;
	struct tune t = { .o = o };
	config.transport = o->transport;
	int status = tutti_comm_init_env(&t.comm, &config);
	if (status) {
		fprintf(stderr, "tutti tune: %s\n", tutti_last_error(NULL));
		return EXIT_FAILURE;
	}
	t.deadline = clock_after_ms(o->budget_ms);
	t.times = calloc((size_t)TUNE_TRIES_MAX * TUNE_SAMPLES, sizeof *t.times);
	if (!t.times)
		status = err_set(TUTTI_ERR_NOMEM, "no memory for %d times", TUNE_TRIES_MAX * TUNE_SAMPLES);
	else if (t.comm->nranks == 1 && !o->fabric)
		status = err_set(TUTTI_ERR_INVALID, "expected at least 2 ranks, got 1: start it with a launcher, or with --ranks N");
	if (!status && o->fabric)
		status = tune_fabric(&t);
	else if (!status)
		status = tune(&t, colls, ncolls);
	if (status < 0) {
		const char *own = tutti_last_error(t.comm);
		fprintf(stderr, "tutti tune: rank %d: %s\n", t.comm->rank, own);
		tutti_comm_abort(t.comm);
	}
	tutti_mem_free(t.send);
	tutti_mem_free(t.recv);
	free(t.times);
	free(t.errors);
	tutti_comm_destroy(t.comm);
	return status ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* ---- the command line ---------------------------------------------------------------------------------------------------------- */

/* tutti tune OPTION... --ranks=0 -- COLLECTIVE... */
static int start_ranks(const struct tune_options *o, int first, int argc, char **argv)
{
	char *again[2 * ARGS_MAX + TUNE_COLLS_MAX + 8] = { "/proc/self/exe", argv[0] };
	int n = 2;

	for (int i = 1; i < first && strcmp(argv[i], "--"); i++) {
		if (n > 2 * ARGS_MAX)
			args_refuse(argv[0], "more options than there are");
		again[n++] = argv[i];
	}
	again[n++] = "--ranks=0";
	again[n++] = "--";
	for (int i = first; i < argc; i++)
		again[n++] = argv[i];
	return launch(&(struct launch){ .cmd = argv[0], .nranks = o->ranks, .argv = again });
}

static int parse_colls(const char *cmd, int n, char **words, int *colls)
{
	static const int usual[] = { COLL_ALL_REDUCE, COLL_REDUCE_SCATTER, COLL_ALL_GATHER, COLL_BROADCAST, COLL_REDUCE };
	const char *names[COLLS + 1] = { NULL };

	for (int i = 0; i < COLL_SEND; i++)
		names[i] = coll_rows[i].name;
	if (n > TUNE_COLLS_MAX)
		args_refuse(cmd, "expected at most %d collectives, got %d", TUNE_COLLS_MAX, n);
	for (int i = 0; i < n; i++) {
		const char *near = args_nearest(words[i], names);
		colls[i] = coll_from_name(words[i]);
		if (colls[i] >= 0 && colls[i] < COLL_SEND)
			continue;
		if (near)
			args_refuse(cmd, "no collective \"%s\"; did you mean %s?", words[i], near);
		args_refuse(cmd, "expected a collective (all_reduce, broadcast, ...), got \"%s\"", words[i]);
	}
	if (!n)
		memcpy(colls, usual, sizeof usual);
	return n ? n : (int)(sizeof usual / sizeof *usual);
}

/* What is forced would be measured in place of the candidates. */
static void check_config(const char *cmd)
{
	const struct config *c = config_get();

	if (!c)
		args_refuse(cmd, "%s", err_last());
	if (*c->algo || c->slice || c->channels)
		args_refuse(cmd, "expected TUTTI_ALGO, TUTTI_SLICE and TUTTI_CHANNELS to force nothing, got %s",
		            *c->algo ? c->algo : c->slice ? "a slice" : "channels");
}

/* What is tuned is kept for a topology, and the file makes another one. */
static void check_fabric(const char *cmd, const struct tune_options *o, int noperands, char **operands)
{
	if (!o->fabric)
		return;
	if (noperands)
		args_refuse(cmd, "--fabric: expected no collective, got %s: tune collectives in jobs that use the file", operands[0]);
	if (*config_get()->topology)
		args_refuse(cmd, "--fabric: expected no TUTTI_TOPOLOGY, which says where ranks are and leaves no word to TUTTI_FABRIC, got \"%.60s\"",
		            config_get()->topology);
}

int tool_tune(int argc, char **argv)
{
	struct tune_options o = { .min = 8, .max = 64 << 20, .top = 4, .budget_ms = 120000 };
	int first = args_parse(tune_args, argc, argv, false, &o), colls[TUNE_COLLS_MAX];
	int n = parse_colls(argv[0], argc - first, argv + first, colls);

	if (o.max < o.min)
		args_refuse(argv[0], "--maxbytes: expected at least --minbytes, %zu, got %zu", o.min, o.max);
	check_config(argv[0]);
	check_fabric(argv[0], &o, argc - first, argv + first);
	return o.ranks ? start_ranks(&o, first, argc, argv) : run(&o, colls, n);
}
