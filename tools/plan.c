/* SPDX-License-Identifier: Apache-2.0 */
/* `tutti plan`: which schedules there are, what one looks like, whether they are right, and how long they would take. No network. */
#include <algo/algo.h>
#include <base/config.h>
#include <base/err.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <tools/plan.h>
#include <tools/tools.h>
#include <unistd.h>
#include <verify/verify.h>

#define AT(field) offsetof(struct plan_options, field)

const struct arg plan_args[] = {
	{ 'n', "ranks", "N", "show: how many ranks (4); verify: N, or a range A-B (1-128); simulate, explain: as many as the topology has", ARG_STR, AT(ranks), 0, 0 },
	{ 'r', "rank", "R", "show: whose schedule (0)", ARG_INT, AT(rank), 0, 1 << 20 },
	{ 0, "root", "R", "show, simulate: the root, or the peer of send and recv (0)", ARG_INT, AT(root), 0, 1 << 20 },
	{ 0, "channels", "C", "show, simulate: channels (1)", ARG_INT, AT(channels), 1, SCHED_MAX_CHANNELS },
	{ 0, "pieces", "P", "show, simulate: pieces that trees and chains cut a vector into (1; simulate: one a slice, at most 16)", ARG_INT,
			AT(pieces), 1, 1 << 16 },
	{ 't', "topology", "TEXT", "simulate, explain: where the ranks are, words KIND:COUNT[@BANDWIDTH,LATENCY] from the outside in; or a file's name",
			ARG_STR, AT(topology), 0, 0 },
	{ 's', "size", "BYTES", "simulate: of the larger of the two buffers; explain: up to that (64M)", ARG_SIZE, AT(size), 0, 0 },
	{ 0, "slice", "BYTES", "simulate: bytes that a step moves at a time (128k)", ARG_SIZE, AT(slice), 0, 0 },
	{ 0, "costs", "FILE", "simulate, explain: what messages, bytes and steps cost; without it, round figures of a current machine and TCP", ARG_STR,
			AT(costs), 0, 0 },
	{ 0, "trace", "FILE", "simulate: write every step, for ui.perfetto.dev or chrome://tracing", ARG_STR, AT(trace), 0, 0 },
	{ 0, "svg", "FILE", "simulate: draw every step, a row a rank", ARG_STR, AT(svg), 0, 0 },
	{ .kind = ARG_END },
};

enum { RANKS_MAX = 1 << 16 };

/* "8" or, when to differs from NULL, "1-128". */
static void parse_ranks(const char *cmd, const char *text, long *from, long *to)
{
	char first[32];
	const char *dash = to ? strchr(text, '-') : NULL;
	size_t n = dash ? (size_t)(dash - text) : strlen(text);
	long last = 0;

	snprintf(first, sizeof first, "%.*s", (int)n, text);
	if (n >= sizeof first || parse_int(first, 1, RANKS_MAX, from) || (dash && parse_int(dash + 1, *from, RANKS_MAX, &last)))
		args_refuse(cmd, "--ranks: expected %s in 1..%d, got \"%s\"", to ? "N or A-B" : "N", RANKS_MAX, text);
	if (to)
		*to = dash ? last : *from;
}

static int parse_coll(const char *cmd, const char *name)
{
	const char *names[COLLS + 1] = { NULL }, *near;
	int c = coll_from_name(name);

	for (int i = 0; i < COLLS; i++)
		names[i] = coll_rows[i].name;
	if (c >= 0)
		return c;
	near = args_nearest(name, names);
	if (near)
		args_refuse(cmd, "no collective \"%s\"; did you mean %s?", name, near);
	args_refuse(cmd, "no collective \"%s\"; tutti plan list names them", name);
}

static const struct algo *parse_algo(const char *cmd, int coll, const char *name)
{
	const struct algo *a = algo_find((enum coll)coll, name);
	char have[256] = "";

	if (a)
		return a;
	for (a = algo_table; a->name; a++)
		if (a->coll == (enum coll)coll) {
			size_t at = strlen(have);
			snprintf(have + at, sizeof have - at, "%s%s", at ? ", " : "", a->name);
		}
	args_refuse(cmd, "no algorithm \"%s\" for %s, which has %s", name, coll_rows[coll].name, have);
}

static int plan_list(int coll)
{
	for (const struct algo *a = algo_table; a->name; a++)
		if (coll < 0 || a->coll == (enum coll)coll) {
			bool first = a == algo_table || a[-1].coll != a->coll || coll >= 0;
			printf("%-15s %-20s %-8s ", first ? coll_rows[a->coll].name : "", a->name, a->ordered ? "ordered" : "");
			args_wrap(stdout, 46, a->help);
		}
	printf("\nordered: reduces in rank order, as operators that do not commute need.\n");
	return EXIT_SUCCESS;
}

static int plan_show(const char *cmd, const struct plan_options *o, const struct algo *a)
{
	struct problem p = { a->coll, 0, o->root, o->pieces ? o->pieces : 1, o->channels, NULL };
	struct sched *s;
	long ranks;

	parse_ranks(cmd, o->ranks ? o->ranks : "4", &ranks, NULL);
	p.nranks = (int)ranks;
	int status = sched_build(&s, a, &p, o->rank);
	if (status == TUTTI_ERR_INVALID)
		args_refuse(cmd, "%s", err_last());
	if (status) {
		fprintf(stderr, "tutti %s: %s\n", cmd, err_last());
		return EXIT_FAILURE;
	}
	sched_print(stdout, s);
	sched_free(s);
	return EXIT_SUCCESS;
}

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* One line an algorithm; on a terminal it counts the ranks up while it works. */
static bool verify_algo(const struct algo *a, long from, long to, unsigned *cases)
{
	bool live = isatty(STDERR_FILENO);
	unsigned before = *cases;
	double start = seconds();
	char why[2 * ERR_TEXT];
	int status = 0;

	for (long n = from; n <= to && !status; n++) {
		if (live)
			fprintf(stderr, "\r%-15s %-20s %ld ranks", coll_rows[a->coll].name, a->name, n);
		status = verify_ranks(a, (int)n, cases, why, sizeof why);
	}
	if (live)
		fprintf(stderr, "\r%60s\r", "");
	printf("%-15s %-20s %5u cases %7.2f s  %s\n", coll_rows[a->coll].name, a->name, *cases - before, seconds() - start,
		status ? why : "right");
	fflush(stdout);
	return !status;
}

static int plan_verify(const char *cmd, const struct plan_options *o, int coll, const struct algo *one)
{
	double start = seconds();
	unsigned cases = 0, right = 0, tried = 0;
	long from, to;

	parse_ranks(cmd, o->ranks ? o->ranks : "1-128", &from, &to);
	for (const struct algo *a = algo_table; a->name; a++)
		if ((coll < 0 || a->coll == (enum coll)coll) && (!one || a == one)) {
			tried++;
			right += verify_algo(a, from, to, &cases);
		}
	printf("\n%u of %u algorithms right for %ld to %ld ranks: %u cases in %.2f s\n", right, tried, from, to, cases, seconds() - start);
	return right == tried ? EXIT_SUCCESS : EXIT_FAILURE;
}

int tool_plan(int argc, char **argv)
{
	struct plan_options o = { .channels = 1, .size = 64 << 20, .slice = 128 << 10 };
	int first = args_parse(plan_args, argc, argv, false, &o), words = argc - first;
	char **word = argv + first;

	if (words < 1)
		args_refuse(argv[0], "expected list, show, verify, simulate, explain or document");
	int coll = words > 1 ? parse_coll(argv[0], word[1]) : -1;
	const struct algo *a = words > 2 ? parse_algo(argv[0], coll, word[2]) : NULL;
	if (words > 3)
		args_refuse(argv[0], "expected no more after \"%s\", got \"%s\"", word[2], word[3]);
	if (!strcmp(word[0], "list") && !a)
		return plan_list(coll);
	if (!strcmp(word[0], "show") && a)
		return plan_show(argv[0], &o, a);
	if (!strcmp(word[0], "document") && words == 1)
		return plan_document(argv[0]);
	if (!strcmp(word[0], "verify"))
		return plan_verify(argv[0], &o, coll, a);
	if (!strcmp(word[0], "simulate") && coll >= 0)
		return plan_simulate(argv[0], &o, coll, a);
	if (!strcmp(word[0], "explain") && coll >= 0 && !a)
		return plan_explain(argv[0], &o, coll);
	args_refuse(argv[0], "expected list [COLLECTIVE], show COLLECTIVE ALGORITHM, verify [COLLECTIVE [ALGORITHM]] or "
			"simulate COLLECTIVE [ALGORITHM], explain COLLECTIVE or document, got \"%s\"", word[0]);
}
