/* SPDX-License-Identifier: Apache-2.0 */
/* The `tutti` command: one table drives dispatch, help and the man page. */
#include <base/config.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <tools/tools.h>
#include <tutti/tutti.h>

struct command {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *summary;
	const char *usage;              /* what stands behind the name */
	const char *text;               /* paragraphs, separated by empty lines; a line that begins with a blank is an example */
	const struct arg *args;
};

static const struct command commands[] = {
	{ "run", tool_run, "start ranks on this machine", "-n N [OPTION...] [--] PROG [ARG...]",
	  "Starts PROG N times, with RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE, GROUP_RANK, MASTER_ADDR and MASTER_PORT set as torchrun names "
	  "them, and with TUTTI_ROOT and a random TUTTI_SECRET. Rank 0 gets the standard input, the others an empty one. "
	  "Output is passed on by whole lines.\n\n"
	  "When a rank fails, the others are ended, first by SIGTERM, two seconds later by SIGKILL. SIGINT, SIGTERM, SIGHUP, SIGUSR1 and SIGUSR2 "
	  "are passed on to the ranks. Processes that ranks leave behind are killed at the end, and all of them when tutti run itself is killed. "
	  "The exit status is that of the first rank that failed (128 + the signal's number when one killed it), 124 after --timeout, 127 "
	  "when PROG cannot be started, 0 when all is well.\n\n"
	  "For many machines use mpirun, srun or torchrun.\n\n"
	  "  tutti run -n 4 -- ./train --steps 100", run_args },
	{ "perf", tool_perf, "measure and check collectives", "[OPTION...] COLLECTIVE",
	  "COLLECTIVE is all_reduce, reduce_scatter, all_gather, broadcast, reduce, gather, scatter, all_to_all, barrier or sendrecv. With --ranks it "
	  "starts its own ranks on this machine; without, it is one rank of a job that a launcher has started.\n\n"
	  "Options and columns are those of nccl-tests. The size is that of the larger of the two buffers. time is the average over the iterations, "
	  "of the slowest rank; algbw is size / time; busbw is algbw times the factor by which the collective moves more bytes over each link: "
	  "2(n-1)/n for all_reduce; (n-1)/n for reduce_scatter, all_gather, gather, scatter and all_to_all; 1 otherwise. #wrong counts the elements "
	  "that differ from the expected ones, over all ranks; N/A stands where a collective has no such variant. Wrong results give the exit "
	  "status 1.\n\n"
	  "  tutti perf --ranks 4 all_reduce -b 8 -e 64M -f 4\n"
	  "  mpirun -np 8 tutti perf all_reduce -b 8 -e 1G -f 2 -d bfloat16", perf_args },
	{ "plan", tool_plan, "list, show, verify, simulate and choose schedules",
	  "list [COLLECTIVE] | show COLLECTIVE ALGORITHM [OPTION...] | verify [COLLECTIVE [ALGORITHM]] | "
	  "simulate COLLECTIVE [ALGORITHM] --topology TEXT [OPTION...] | explain COLLECTIVE --topology TEXT [OPTION...] | document",
	  "What each rank does in a collective is a schedule, a list of steps that an algorithm writes. No network is needed to read one, nor to verify "
	  "that the schedules of all ranks together give the right result, without races and deadlocks, in place and out of place.\n\n"
	  "show prints one rank's steps: what is sent to whom or received, the chunks of which buffer, and the steps that must be done before. "
	  "verify tries all algorithms, all roots up to 16 ranks and two beyond; the exit status is 1 when one is wrong.\n\n"
	  "simulate says how long a collective would take on a machine or a cluster that need not exist, what would be busiest, and how much would be "
	  "sent; without ALGORITHM it compares all that the collective has. bus bandwidth is tutti perf's busbw. A trace or a drawing shows which step waits for "
	  "which. Streams of bytes share cores, memory, NICs and links; what the model leaves out stands in src/model/model.h.\n\n"
	  "explain says what the planner would choose there for each size: algorithm, channels (ch), pieces (pc) and slice; what the model projects, the next "
	  "best algorithm and by how much it loses, how often each byte passes through memory, and what limits it. document writes docs/algorithms.md.\n\n"
	  "  tutti plan list all_reduce\n"
	  "  tutti plan show all_reduce ring --ranks 8 --rank 3\n"
	  "  tutti plan verify --ranks 1-128\n"
	  "  tutti plan simulate all_reduce --size 64M --topology \"node:16 nic:2@100Gb,2us numa:2 rank:4\"\n"
	  "  tutti plan explain all_reduce --topology \"node:8 nic:1@25Gb,5us rank:8\"\n"
	  "  tutti plan simulate broadcast chain --topology \"node:4 nic:1@25Gb,5us rank:1\" --svg chain.svg", plan_args },
	{ "tune", tool_tune, "measure costs, and which algorithm is the fastest", "[OPTION...] [COLLECTIVE...] | --fabric FILE [OPTION...]",
	  "Measures latencies and rates between the ranks, then, for each COLLECTIVE (all_reduce, reduce_scatter, all_gather, broadcast and reduce, when none is "
	  "named) and size, the candidates that the model thinks the fastest. What it finds is kept in the folder that TUTTI_CACHE names; later jobs with as "
	  "many ranks, placed in the same way, on the same kind of machine and with the same transports find it there when they start. With --ranks it starts "
	  "its own ranks on this machine; without, it is one rank of a job that a launcher has started. Tune a job as it will run: bound to cores in the same way, "
	  "and with nothing else on the machines.\n\n"
	  "Each call is preceded by writing the input and followed by reading the result, which is not counted; before one that has a root, all ranks meet. Sizes are 8 bytes times a power of 4, of one rank's "
	  "count; a row has the fastest candidate, by how much it wins against the next, what the model had projected for it, and the others. A star marks what the "
	  "rules would have taken: it stands unless another is faster by 3 %, which may be chance. An algorithm's channels (ch), pieces (pc) and slice (k) stand behind its name "
	  "when they are not the usual ones.\n\n"
	  "--fabric FILE is for those who do not know how their network is made. It measures between the machines of the job, 64 at most, each "
	  "pair alone, how long 8 bytes take, and 1 MiB both ways at once. Where machines are near each other and, by the long message, at least "
	  "twice as far from all others, they are a group. Groups are written to FILE, with the times, as TUTTI_FABRIC reads it: a switch a group, "
	  "and behind the @ what one pair got on the way out of it. Without a clear gap nothing is written, and the exit status is 0. One pair alone "
	  "does not see an uplink that is only short for many at once. No collective is tuned; do that with TUTTI_FABRIC=FILE, because what is found "
	  "is kept for the topology that the file makes.\n\n"
	  "  tutti tune --ranks 4 all_reduce -e 16M\n"
	  "  mpirun -np 8 tutti tune --budget 10min\n"
	  "  mpirun -np 8 --map-by node tutti tune --fabric cluster.fabric", tune_args },
	{ "info", tool_info, "show version, configuration, transports and topology", "[OPTION...]",
	  "Without an option, all of it, this machine's topology last.\n\n"
	  "A topology in words says from the outside to the inside how many of each there are in one of the former: switch (may be repeated), node, package, "
	  "numa, core, rank; nic and gpu hang beside what the next word says. rank:8,8,4 gives each its own number. Behind an @ stand bandwidth (Gb, Mb: bits a "
	  "second; GB, MB: bytes a second) and latency (ns, us, ms) of the way up from each.\n\n"
	  "The file that TUTTI_FABRIC names has a line a switch, with the hosts, subnets and switches (those named above it) that are below it, and the figures of "
	  "the way up from it (tutti tune --fabric can write it):\n\n"
	  "  switch rack1@100Gb,2us: hostA hostB 10.1.0.0/24\n"
	  "  switch rack2@100Gb,2us: hostC hostD\n"
	  "  switch spine@400Gb: rack1 rack2\n\n"
	  "  tutti info --topology\n"
	  "  tutti info --topology --of \"switch:2@100Gb,1us node:8 nic:2@25Gb,5us rank:8\"\n"
	  "  tutti info --svg --of cluster.topo >cluster.svg\n"
	  "  tutti info --topology --of machine.xml --ranks 8", info_args },
};
enum { COMMANDS = sizeof commands / sizeof *commands };

static const struct command *find(const char *name)
{
	for (int i = 0; i < COMMANDS; i++)
		if (!strcmp(commands[i].name, name))
			return &commands[i];
	return NULL;
}

static int unknown(const char *name)
{
	const char *names[COMMANDS + 1] = { NULL }, *near;

	for (int i = 0; i < COMMANDS; i++)
		names[i] = commands[i].name;
	near = args_nearest(name, names);
	fprintf(stderr, "tutti: unknown command \"%s\"", name);
	fprintf(stderr, near ? "; did you mean %s?\n" : "\n", near);
	fprintf(stderr, "Try: tutti --help\n");
	return EXIT_USAGE;
}

static int help_all(FILE *f)
{
	fprintf(f, "usage: tutti COMMAND [OPTION...]\n\n");
	for (int i = 0; i < COMMANDS; i++)
		fprintf(f, "  %-8s %s\n", commands[i].name, commands[i].summary);
	fprintf(f, "\ntutti help COMMAND says more; tutti info --config lists the TUTTI_* variables.\n");
	return f == stdout ? EXIT_SUCCESS : EXIT_USAGE;
}

void tool_help(const char *name)
{
	const struct command *c = find(name);

	printf("tutti %s: %s\n\nusage: tutti %s %s\n\n", c->name, c->summary, c->name, c->usage);
	args_wrap(stdout, 0, c->text);
	printf("\noptions:\n");
	args_print(stdout, c->args);
}

/* ---- the man page --------------------------------------------------------------------------------------------- */

/* Text as roff takes it: no line begins with a control character, backslash and hyphen stand for themselves. */
static void roff(const char *text)
{
	for (const char *p = text; *p; p++) {
		if ((p == text || p[-1] == '\n') && (*p == '.' || *p == '\''))
			printf("\\&");
		if (*p == '\\')
			printf("\\e");
		else if (*p == '-')
			printf("\\-");
		else
			putchar(*p);
	}
}

/* Paragraphs; lines that begin with a blank are examples. */
static void roff_text(const char *text)
{
	bool example = false;

	while (*text) {
		int len = (int)strcspn(text, "\n");
		char line[2048];

		snprintf(line, sizeof line, "%.*s", len, text);
		if ((*line == ' ') != example)
			printf(example ? ".EE\n" : ".PP\n.EX\n");
		example = *line == ' ';
		if (len) {
			roff(line);
			putchar('\n');
		} else {
			printf(".PP\n");
		}
		text += len + (text[len] == '\n');
	}
	if (example)
		printf(".EE\n");
}

static void roff_args(const struct arg *a)
{
	for (; a->kind != ARG_END; a++) {
		printf(".TP\n\\fB");
		if (a->letter)
			printf("\\-%c\\fR, \\fB", a->letter);
		roff("--");
		roff(a->name);
		printf("\\fR");
		if (a->meta)
			printf(" \\fI%s\\fR", a->meta);
		putchar('\n');
		roff(a->help);
		putchar('\n');
	}
}

static void roff_config(void)
{
	struct config_line line;

	printf(".SH ENVIRONMENT\n");
	for (int i = 0; config_line(i, &line); i++) {
		printf(".TP\n\\fB%s\\fR", line.name);
		if (*line.dflt) {
			printf(" (");
			roff(line.dflt);
			putchar(')');
		}
		putchar('\n');
		roff(line.help);
		printf("%s\n", line.affects_plan ? "; must be equal on all ranks" : "");
	}
}

static int man(void)
{
	printf(".TH TUTTI 1 \"\" \"tutti %s\" \"User Commands\"\n", tutti_version());
	printf(".SH NAME\ntutti \\- start, measure and inspect collective communication\n.SH SYNOPSIS\n");
	for (int i = 0; i < COMMANDS; i++) {
		printf("%s.B tutti %s\n", i ? ".br\n" : "", commands[i].name);
		roff(commands[i].usage);
		putchar('\n');
	}
	for (int i = 0; i < COMMANDS; i++) {
		printf(".SH \"");
		for (const char *p = commands[i].name; *p; p++)
			putchar(toupper((unsigned char)*p));
		printf("\"\n.B tutti %s\n", commands[i].name);
		printf("\\- %s\n.PP\n", commands[i].summary);
		roff_text(commands[i].text);
		roff_args(commands[i].args);
	}
	roff_config();
	return EXIT_SUCCESS;
}

/* ---- dispatch ------------------------------------------------------------------------------------------------- */

static int help(const char *name)
{
	if (!name)
		return help_all(stdout);
	if (!find(name))
		return unknown(name);
	tool_help(name);
	return EXIT_SUCCESS;
}

static int dispatch(int argc, char **argv)
{
	const struct command *c = find(argv[0]);

	if (!c)
		return unknown(argv[0]);
	if (argc > 1 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")))
		return help(c->name);
	return c->run(argc, argv);
}

int main(int argc, char **argv)
{
	const char *word = argc > 1 ? argv[1] : NULL;
	int status;

	if (!word)
		return help_all(stderr);
	if (!strcmp(word, "--help") || !strcmp(word, "-h") || !strcmp(word, "help"))
		status = help(argv[2]);
	else if (!strcmp(word, "--version"))
		status = printf("tutti %s\n", tutti_version()) > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
	else if (!strcmp(word, "--man"))
		status = man();
	else
		status = dispatch(argc - 1, argv + 1);
	if (fflush(stdout) || ferror(stdout)) {
		perror("tutti: standard output");
		return EXIT_FAILURE;
	}
	return status;
}
