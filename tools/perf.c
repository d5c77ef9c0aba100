/* SPDX-License-Identifier: Apache-2.0 */
/* `tutti perf`: the options of perf_run(), and with --ranks the start of its own ranks: this program again, as tutti run would. */
#include <algo/algo.h>
#include <base/err.h>
#include <perf/perf.h>
#include <stdlib.h>
#include <string.h>
#include <tools/launch.h>
#include <tools/tools.h>

#define AT(field) offsetof(struct perf_options, field)

const struct arg perf_args[] = {
	{ 0, "ranks", "N", "start N ranks on this machine", ARG_INT, AT(ranks), 0, LAUNCH_RANKS_MAX },
	{ 'b', "minbytes", "SIZE", "smallest size (32M)", ARG_SIZE, AT(min), 0, 0 },
	{ 'e', "maxbytes", "SIZE", "largest size (as -b)", ARG_SIZE, AT(max), 0, 0 },
	{ 'i', "stepbytes", "SIZE", "from size to size: add this (1M)", ARG_SIZE, AT(step), 0, 0 },
	{ 'f', "stepfactor", "N", "or multiply by this", ARG_INT, AT(factor), 1, 1 << 30 },
	{ 'n', "iters", "N", "iterations (20)", ARG_INT, AT(iters), 1, 100000000 },
	{ 'w', "warmup_iters", "N", "iterations before that, not counted (5)", ARG_INT, AT(warmup), 0, 100000000 },
	{ 'm', "agg_iters", "N", "calls in flight in each iteration, each with buffers of its own (1); the time is that of one", ARG_INT, AT(agg), 1, 1024 },
	{ 'c', "check", "N", "check every element on every rank, N times with other data (1); 0 does not", ARG_INT, AT(check), 0, 1000000 },
	{ 'd', "datatype", "TYPE", "float (default), half, bfloat16, double, int8, uint8, ..., uint64, or all", ARG_STR, AT(types), 0, 0 },
	{ 'o', "op", "OP", "sum (default), prod, min, max, avg, band, bor, bxor, or all", ARG_STR, AT(ops), 0, 0 },
	{ 'r', "root", "RANK", "root of broadcast, reduce, gather and scatter (0); -1: one after another", ARG_INT, AT(root), -1, 1 << 30 },
	{ 'z', "blocking", "0|1", "1 (default): blocking calls; 0: start and wait", ARG_INT, AT(blocking), 0, 1 },
	{ 'J', "json", "FILE", "write the results to FILE, with minimum, median and 99th percentile of the iterations, timed one by one", ARG_STR,
	  AT(json), 0, 0 },
	{ 0, "touch", "0|1", "1: write the inputs before and read the results after each call, which is not counted; 0 (default): back to back", ARG_INT,
	  AT(touch), 0, 1 },
	{ 0, "memory", "KIND", "shared (default): from tutti_mem_alloc; private: ordinary memory", ARG_STR, AT(memory), 0, 0 },
	{ 0, "transport", "LIST", "force transports, as TUTTI_TRANSPORT", ARG_STR, AT(transport), 0, 0 },
	{ 0, "algo", "NAME", "force an algorithm, as TUTTI_ALGO", ARG_STR, AT(algo), 0, 0 },
	{ 0, "slice", "SIZE", "bytes a step moves at a time, as TUTTI_SLICE", ARG_SIZE, AT(slice), 0, 0 },
	{ 0, "channels", "N", "channels, as TUTTI_CHANNELS", ARG_INT, AT(channels), 0, 8 },
	{ .kind = ARG_END },
};

/* tutti perf COLLECTIVE OPTION... --ranks=0: operands behind the first stand in argv from `first` on, which may be behind a "--" */
static int start_ranks(const struct perf_options *o, int first, char **argv)
{
	char *again[2 * ARGS_MAX + 8] = { "/proc/self/exe", argv[0], argv[first] };
	int n = 3;

	for (int i = 1; i < first && strcmp(argv[i], "--"); i++) {
		if (n > 2 * ARGS_MAX)
			args_refuse(argv[0], "more options than there are");
		again[n++] = argv[i];
	}
	again[n] = "--ranks=0";
	return launch(&(struct launch){ .cmd = argv[0], .nranks = o->ranks, .argv = again });
}

/* The library takes the name of any algorithm, and leaves the collectives alone that do not have it; who forces one here means this collective. */
static void check_algo(const struct perf_options *o)
{
	int coll = coll_from_name(o->coll);
	char names[512] = "none to choose";
	size_t n = 0;

	if (!o->algo || (coll >= 0 && algo_find((enum coll)coll, o->algo)))
		return;
	for (const struct algo *a = algo_table; a->name && n < sizeof names; a++)
		if ((int)a->coll == coll)
			n += (size_t)snprintf(names + n, sizeof names - n, "%s%s", n ? ", " : "", a->name);
	args_refuse("perf", "--algo: expected one that %s has (%s), got \"%s\"", o->coll, names, o->algo);
}

int tool_perf(int argc, char **argv)
{
	struct perf_options o = PERF_DEFAULTS;
	int first = args_parse(perf_args, argc, argv, false, &o);

	if (argc - first > 1)
		args_refuse(argv[0], "expected one COLLECTIVE, got \"%s\" and \"%s\"", argv[first], argv[first + 1]);
	o.coll = first < argc ? argv[first] : NULL;
	if (perf_check(&o))
		args_refuse(argv[0], "%s", err_last());
	check_algo(&o);
	return o.ranks ? start_ranks(&o, first, argv) : perf_run(&o);
}
