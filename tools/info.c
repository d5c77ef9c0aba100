/* SPDX-License-Identifier: Apache-2.0 */
/* `tutti info`: what this build is, what the environment says, what this machine can do. */
#include <algo/algo.h>
#include <base/config.h>
#include <base/err.h>
#include <base/type.h>
#include <boot/boot.h>
#include <net/transport.h>
#include <stdlib.h>
#include <string.h>
#include <tools/tools.h>
#include <topo/topo.h>
#include <unistd.h>

struct info { int version, config, transports, topology, svg, ranks; const char *of; };

const struct arg info_args[] = {
	{ 0, "version", NULL, "version, kernels in use, algorithms of each collective, launcher", ARG_FLAG, offsetof(struct info, version), 0, 1 },
	{ 'c', "config", NULL, "every TUTTI_* variable: value in force, where it comes from, default, help", ARG_FLAG,
	  offsetof(struct info, config), 0, 1 },
	{ 't', "transports", NULL, "every transport: what it found here, or why it cannot run", ARG_FLAG, offsetof(struct info, transports), 0, 1 },
	{ 0, "topology", NULL, "where ranks are: this machine's tree, with a rank on each core that may be used (or TUTTI_TOPOLOGY's)",
	  ARG_FLAG, offsetof(struct info, topology), 0, 1 },
	{ 0, "svg", NULL, "the same, as a drawing", ARG_FLAG, offsetof(struct info, svg), 0, 1 },
	{ 0, "of", "WHAT", "a topology other than this machine's: a text such as \"switch:2@100Gb,1us node:8 nic:2@25Gb,5us rank:8\"; a file "
	  "of such text; or hwloc's XML of a machine (lstopo FILE.xml)", ARG_STR, offsetof(struct info, of), 0, 0 },
	{ 0, "ranks", "N", "so many ranks, on a machine's cores in turn", ARG_INT, offsetof(struct info, ranks), 1, TOPO_RANKS_MAX },
	{ .kind = ARG_END },
};

static void show_version(void)
{
	int total = 0;

	while (algo_table[total].name)
		total++;
	printf("tutti %s\nkernels %s\ncores %ld\n%d algorithms\n", tutti_version(), reduce_isa(), sysconf(_SC_NPROCESSORS_ONLN), total);
	for (int c = 0; c < COLLS; c++) {
		int n = 0;

		printf("  %-15s", coll_rows[c].name);
		for (const struct algo *a = algo_table; a->name; a++)
			if (a->coll == (enum coll)c)
				printf("%s%s", n++ ? " " : "", a->name);
		printf("\n");
	}
}

static void show_launcher(void)
{
	const char *source = boot_env_source();
	char pmix[64] = "";

	printf("ranks from %s\n", source ? source : "nowhere: a bad value");
	printf("libpmix: %s\n", boot_pmix_version(pmix, sizeof pmix) ? err_last() : pmix);
}

static void show_rows(void)
{
	struct config_line line;

	for (int i = 0; config_line(i, &line); i++) {
		bool given = strcmp(line.from, "default");

		printf("%-18s = %s  (%s", line.name, *line.value ? line.value : "\"\"", line.from);
		if (given)
			printf("; default %s", *line.dflt ? line.dflt : "\"\"");
		printf(")%s\n    ", line.affects_plan ? "  equal on all ranks" : "");
		args_wrap(stdout, 4, line.help);
	}
}

/* The parser stops at the first bad value: forget it, and look for the next. */
static int show_bad(void)
{
	struct config c;
	char name[64];
	int bad = 0;

	for (; config_parse(&c); bad++) {
		snprintf(name, sizeof name, "%.*s", (int)strcspn(err_last(), ":"), err_last());
		printf("bad value: %s\n", err_last());
		if (!getenv(name))
			return bad + 1;
		unsetenv(name);
	}
	return bad;
}

/* What it found may be several lines. */
static void show_found(const char *found)
{
	for (size_t len; (len = strcspn(found, "\n")); found += len + (found[len] == '\n')) {
		fputs("       ", stdout);
		fwrite(found, 1, len, stdout);
		putchar('\n');
	}
}

static void show_transport(const char *name, const struct config *c)
{
	const struct net_transport *t = net_find(name);
	char found[NET_FOUND_MAX] = "";
	int status = t ? t->probe(c, found, sizeof found) : TUTTI_ERR_UNSUPPORTED;

	printf("%-6s %s\n", name, t ? t->help : "a loadable module");
	if (status)
		printf("       cannot run here: %s\n", err_last());
	if (!status || strcmp(found, err_last()))
		show_found(found);
}

static int show_transports(void)
{
	const struct config *c = config_get();

	if (!c) {
		fprintf(stderr, "tutti info: %s\n", err_last());
		return EXIT_FAILURE;
	}
	for (int i = 0; net_name(i); i++)
		show_transport(net_name(i), c);
	return EXIT_SUCCESS;
}

static int show_topology(const char *cmd, const struct info *i)
{
	const struct config *c = i->of ? NULL : config_get();
	const char *of = i->of ? i->of : c ? c->topology : "";
	struct topo *t = NULL;
	int status = !i->of && !c ? TUTTI_ERR_CONFIG : *of || i->of ? topo_open(&t, of, i->ranks) : topo_machine(&t, i->ranks);

	if (status && i->of)
		args_refuse(cmd, "%s", err_last());
	if (status) {
		fprintf(stderr, "tutti %s: %s\n", cmd, err_last());
		return EXIT_FAILURE;
	}
	(i->svg ? topo_svg : topo_print)(stdout, t);
	topo_free(t);
	return EXIT_SUCCESS;
}

int tool_info(int argc, char **argv)
{
	struct info i = { 0 };
	int first = args_parse(info_args, argc, argv, false, &i), bad;
	bool said = i.version || i.config || i.transports || i.topology || i.svg;

	if (first < argc)
		args_refuse(argv[0], "expected options only, got \"%s\"", argv[first]);
	if ((i.of || i.ranks) && !i.topology && !i.svg)
		args_refuse(argv[0], "%s: expected --topology or --svg, too", i.of ? "--of" : "--ranks");
	if (i.svg && (i.version || i.config || i.transports || i.topology))
		args_refuse(argv[0], "--svg: expected nothing else to show");
	if (!said)
		i.version = i.config = i.transports = i.topology = 1;
	if (i.version)
		show_version(), show_launcher();
	if (i.config)
		show_rows();
	bad = i.config ? show_bad() : 0;
	if (i.transports && show_transports())
		return EXIT_FAILURE;
	if ((i.topology || i.svg) && show_topology(argv[0], &i))
		return EXIT_FAILURE;
	return bad ? EXIT_FAILURE : EXIT_SUCCESS;
}
