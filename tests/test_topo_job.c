/* SPDX-License-Identifier: Apache-2.0 */
/* From the records of all ranks to the tree of the job; switches from subnets and from a file. */
#include <arpa/inet.h>
#include <base/err.h>
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <topo/topo.h>
#include <unistd.h>

enum { MOST = 64 };

static struct topo_record record(uint64_t machine, const char *host, int package, int numa, int core)
{
	struct topo_record r = { .magic = TOPO_RECORD_MAGIC, .machine = machine, .package = (int16_t)package, .numa = (int16_t)numa, .core = (int16_t)core };

	snprintf(r.host, sizeof r.host, "%s", host);
	return r;
}

static void add_nic(struct topo_record *r, const char *name, int package, int numa, unsigned mbits, const char *addr, int prefix)
{
	struct topo_record_nic *x = &r->nic[r->nnics++];

	*x = (struct topo_record_nic){ .package = (int16_t)package, .numa = (int16_t)numa, .mbits = mbits, .prefix = (uint8_t)prefix };
	snprintf(x->name, sizeof x->name, "%s", name);
	if (addr)
		x->family = strchr(addr, ':') ? '6' : '4';
	if (addr)
		cr_assert_eq(inet_pton(x->family == '6' ? AF_INET6 : AF_INET, addr, x->addr), 1);
}

static void add_gpu(struct topo_record *r, int package)
{
	r->gpu[r->ngpus].package = (int16_t)package;
	r->gpu[r->ngpus++].numa = -1;
}

/* The tree of these records, as it is printed; freed by the next call. */
static const char *tree(const struct topo_record *all, int n, const char *fabric)
{
	static char *text;
	size_t len;
	struct topo *t = NULL;
	FILE *f;

	free(text);
	cr_assert_eq(topo_from_records(&t, all, n, fabric), TUTTI_OK, "%s", err_last());
	cr_assert_eq(t->nranks, n);
	for (int r = 0; r < n; r++)
		cr_assert_eq(t->place[t->rank[r]].kind, TOPO_RANK);
	f = open_memstream(&text, &len);
	topo_print(f, t);
	fclose(f);
	topo_free(t);
	return text;
}

static void is_tree(const struct topo_record *all, int n, const char *fabric, const char *expected)
{
	const char *got = tree(all, n, fabric);

	cr_expect_str_eq(got, expected, "%s", got);
}

/* ---- ranks and machines ----------------------------------------------------------------------------------------- */

Test(topo_job, nodes_stand_in_the_order_of_their_first_ranks)
{
	struct topo_record all[] = { record(9, "b", -1, -1, -1), record(3, "a", -1, -1, -1), record(9, "b", -1, -1, -1), record(5, "c", -1, -1, -1),
	                             record(3, "a", -1, -1, -1), record(9, "b", -1, -1, -1) };

	is_tree(all, 6, "",
		"fabric: ranks 0-5\n  node b: ranks 0,2,5\n    3 x rank: 0,2,5\n  node a: ranks 1,4\n    2 x rank: 1,4\n  node c: ranks 3\n    rank: 3\n");
}

Test(topo_job, ranks_hang_where_they_may_run)
{
	struct topo_record all[] = { record(1, "a", 1, 3, 17), record(1, "a", 0, 0, 2), record(1, "a", 0, 0, 2), record(1, "a", -1, -1, -1),
	                             record(1, "a", 1, -1, -1), record(1, "a", 0, 0, 1), record(1, "a", 0, 1, 1) };

	is_tree(all, 7, "",
		"fabric: ranks 0-6\n"
		"  node a: ranks 0-6\n"
		"    rank: 3\n"
		"    package: ranks 1-2,5-6\n"
		"      numa: ranks 1-2,5\n"
		"        core: ranks 5\n"
		"          rank: 5\n"
		"        core: ranks 1-2\n"
		"          2 x rank: 1-2\n"
		"      numa: ranks 6\n"
		"        core: ranks 6\n"
		"          rank: 6\n"
		"    package: ranks 0,4\n"
		"      rank: 4\n"
		"      numa: ranks 0\n"
		"        core: ranks 0\n"
		"          rank: 0\n");
}

Test(topo_job, devices_of_all_ranks_are_there_once)
{
	struct topo_record all[] = { record(1, "a", 0, -1, -1), record(1, "a", 1, -1, -1), record(1, "a", 1, -1, -1) };
	struct topo *t = NULL;

	add_nic(&all[0], "mlx5_0:1", 0, -1, 100000, NULL, 0);
	for (int r = 1; r < 3; r++) {
		add_nic(&all[r], "mlx5_1:1", 1, -1, 100000, NULL, 0);
		add_nic(&all[r], "mlx5_0:1", 0, -1, 100000, NULL, 0);
		add_nic(&all[r], "eno1", -1, -1, 1000, NULL, 0);
	}
	add_gpu(&all[2], 1);
	is_tree(all, 3, "",
		"fabric: ranks 0-2\n"
		"  node a: ranks 0-2\n"
		"    nic eno1 (1 Gb/s)\n"
		"    package: ranks 0\n"
		"      nic mlx5_0:1 (100 Gb/s)\n"
		"      rank: 0\n"
		"    package: ranks 1-2\n"
		"      nic mlx5_1:1 (100 Gb/s)\n"
		"      gpu\n"
		"      2 x rank: 1-2\n");
	cr_assert_eq(topo_from_records(&t, all, 3, ""), TUTTI_OK);
	cr_expect_str_eq(t->place[t->nic[0]].name, "mlx5_0:1");
	cr_expect_str_eq(t->place[t->nic[1]].name, "mlx5_1:1");
	topo_free(t);
}

Test(topo_job, units_of_ranks_in_any_order)
{
	static const int32_t expected[] = { 0, 1, 0, 2, 1 };
	struct topo_record all[] = { record(9, "b", -1, -1, -1), record(3, "a", -1, -1, -1), record(9, "b", -1, -1, -1), record(5, "c", -1, -1, -1),
	                             record(3, "a", -1, -1, -1) };
	struct topo *t = NULL;
	int32_t unit[5];

	cr_assert_eq(topo_from_records(&t, all, 5, ""), TUTTI_OK);
	cr_assert_eq(topo_units(t, 0, unit), 3);
	cr_assert_arr_eq(unit, expected, sizeof expected);
	cr_assert_eq(topo_units(t, 1, unit), 0);
	topo_free(t);
}

Test(topo_job, the_digest_is_of_everything)
{
	struct topo_record all[] = { record(1, "a", -1, -1, -1), record(1, "a", -1, -1, -1), record(2, "b", -1, -1, -1), record(2, "b", -1, -1, -1) };
	struct topo *t[4];

	cr_assert_eq(topo_from_records(&t[0], all, 4, ""), TUTTI_OK);
	for (int r = 0; r < 4; r++)
		all[r].machine += 77;                   /* another boot */
	cr_assert_eq(topo_from_records(&t[1], all, 4, ""), TUTTI_OK);
	snprintf(all[0].host, sizeof all[0].host, "A");
	cr_assert_eq(topo_from_records(&t[2], all, 4, ""), TUTTI_OK);
	snprintf(all[0].host, sizeof all[0].host, "a");
	all[1].machine = all[2].machine;
	all[3].machine = all[0].machine;                /* the same tree, but for the ranks' numbers */
	snprintf(all[3].host, sizeof all[3].host, "a");
	cr_assert_eq(topo_from_records(&t[3], all, 4, ""), TUTTI_OK);
	cr_expect_eq(topo_digest(t[0]), topo_digest(t[1]));
	cr_expect_neq(topo_digest(t[0]), topo_digest(t[2]));
	cr_expect_neq(topo_digest(t[0]), topo_digest(t[3]));
	for (int i = 0; i < 4; i++)
		topo_free(t[i]);
}

Test(topo_job, bad_records_are_refused)
{
	struct topo_record good = record(1, "a", 0, 0, 0), all[3], *bad = &all[2];
	struct topo *t = NULL;
	int cases = 0;

	add_nic(&good, "eth0", 0, 0, 1000, "10.0.0.1", 24);
	add_gpu(&good, 0);
#define REFUSED(change) do { \
		all[0] = all[1] = all[2] = good; \
		change; \
		cr_expect_eq(topo_from_records(&t, all, 3, ""), TUTTI_ERR_MISMATCH, #change); \
		cr_expect(strstr(err_last(), "rank 2 sent"), "%s", err_last()); \
		cases++; \
	} while (0)
	REFUSED(bad->magic++);
	REFUSED(bad->nnics = TOPO_RECORD_NICS + 1);
	REFUSED(bad->ngpus = TOPO_RECORD_GPUS + 1);
	REFUSED(bad->package = -2);
	REFUSED(bad->numa = INT16_MIN);
	REFUSED(bad->core = -2);
	REFUSED(memset(bad->host, 'x', sizeof bad->host));
	REFUSED(memset(bad->nic[0].name, 'x', sizeof bad->nic[0].name));
	REFUSED(bad->nic[0].package = -2);
	REFUSED(bad->nic[0].numa = -9);
	REFUSED(bad->nic[0].prefix = 33);
	REFUSED(bad->nic[0].family = 'x');
	REFUSED((bad->nic[0].family = '6', bad->nic[0].prefix = 129));
	REFUSED((bad->nic[0].family = 'I', bad->nic[0].prefix = 65));
	REFUSED(bad->gpu[0].package = -2);
	REFUSED(bad->gpu[0].numa = -2);
	cr_assert_eq(cases, 16);
	all[2] = good;
	cr_assert_eq(topo_from_records(&t, all, 3, ""), TUTTI_OK);
	topo_free(t);
	cr_assert_eq(topo_from_records(&t, all, 0, ""), TUTTI_ERR_INVALID);
}

/* ---- switches from subnets -------------------------------------------------------------------------------------- */

/* n machines of one rank: host0 ... */
static void machines(struct topo_record *all, int n)
{
	for (int i = 0; i < n; i++) {
		char name[16];

		snprintf(name, sizeof name, "host%d", i);
		all[i] = record((uint64_t)i + 1, name, -1, -1, -1);
	}
}

Test(topo_job, nodes_that_share_a_subnet_share_a_switch)
{
	static const char *const addr[] = { "10.1.0.1", "10.1.0.2", "10.2.0.1", "10.9.0.1", "10.2.0.2", "10.1.0.9" };
	struct topo_record all[6];

	machines(all, 6);
	for (int i = 0; i < 6; i++)
		add_nic(&all[i], "eth0", -1, -1, 0, addr[i], 24);
	is_tree(all, 6, "",
		"fabric: ranks 0-5\n"
		"  switch 10.1.0.0/24: ranks 0-1,5\n"
		"    3 x node host0, host1, host5: ranks 0, 1, 5\n"
		"      nic eth0\n"
		"      rank: 0\n"
		"  switch 10.2.0.0/24: ranks 2,4\n"
		"    2 x node host2, host4: ranks 2, 4\n"
		"      nic eth0\n"
		"      rank: 2\n"
		"  node host3: ranks 3\n"
		"    nic eth0\n"
		"    rank: 3\n");
}

Test(topo_job, one_subnet_says_nothing_nor_do_a_slow_one_and_ones_own_addresses)
{
	struct topo_record all[4];

	machines(all, 4);
	for (int i = 0; i < 4; i++)
		add_nic(&all[i], "eth0", -1, -1, 10000, "10.0.0.1", 8);
	cr_expect_not(strstr(tree(all, 4, ""), "switch"));
	machines(all, 4);
	for (int i = 0; i < 4; i++) {
		add_nic(&all[i], "eth0", -1, -1, 1000, "10.0.0.1", 8);
		add_nic(&all[i], "eth1", -1, -1, 25000, i < 2 ? "192.168.1.1" : "192.168.2.1", 24);
	}
	cr_expect(strstr(tree(all, 4, ""), "2 x switch 192.168.1.0/24, 192.168.2.0/24: ranks 0-1, 2-3\n"));
	machines(all, 4);
	for (int i = 0; i < 2; i++)
		add_nic(&all[i], "eth0", -1, -1, 0, "169.254.0.1", 16);
	cr_expect_not(strstr(tree(all, 4, ""), "switch"));
	machines(all, 4);
	for (int i = 0; i < 2; i++)
		add_nic(&all[i], "eth0", -1, -1, 0, "fd00:1:2::1", 48);
	cr_expect(strstr(tree(all, 4, ""), "switch fd00:1:2::/48: ranks 0-1\n"));
}

Test(topo_job, subnets_join_nodes_through_others)
{
	struct topo_record all[5];

	machines(all, 5);
	add_nic(&all[0], "a", -1, -1, 0, "10.0.0.1", 24);
	add_nic(&all[4], "a", -1, -1, 0, "10.0.0.2", 24);
	add_nic(&all[4], "b", -1, -1, 0, "10.0.1.2", 24);
	add_nic(&all[2], "a", -1, -1, 0, "10.0.1.1", 24);
	cr_expect(strstr(tree(all, 5, ""), "switch 10.0.1.0/24: ranks 0,2,4\n") || strstr(tree(all, 5, ""), "switch 10.0.0.0/24: ranks 0,2,4\n"));
}

/* ---- switches from a file --------------------------------------------------------------------------------------- */

static char path[] = "/tmp/tutti-fabric-XXXXXX";

static const char *file(const char *text)
{
	int fd;

	strcpy(path + strlen(path) - 6, "XXXXXX");
	fd = mkstemp(path);
	cr_assert(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text) && !close(fd));
	return path;
}

static void file_is_tree(const struct topo_record *all, int n, const char *text, const char *expected)
{
	is_tree(all, n, file(text), expected);
	unlink(path);
}

Test(topo_job, a_file_says_which_switches_there_are)
{
	struct topo_record all[6];

	machines(all, 6);
	snprintf(all[4].host, TOPO_RECORD_HOST, "host4.example.org");
	add_nic(&all[2], "eth0", -1, -1, 0, "10.1.0.77", 16);
	add_nic(&all[3], "eth0", -1, -1, 0, "10.1.1.77", 16);
	file_is_tree(all, 6,
		"# the cluster\n"
		"switch rack1@100Gb,2us: host0 host9 host4\n"
		"\n"
		"  switch empty: host8\n"
		"switch rack2: 10.1.0.0/24 host1.example.org   # by address\r\n"
		"switch spine@400Gb: rack2 empty rack1\n",
		"fabric: ranks 0-5\n"
		"  switch spine (400 Gb/s): ranks 0-2,4\n"
		"    switch rack1 (100 Gb/s, 2 us): ranks 0,4\n"
		"      2 x node host0, host4.example.org: ranks 0, 4\n"
		"        rank: 0\n"
		"    switch rack2: ranks 1-2\n"
		"      node host1: ranks 1\n"
		"        rank: 1\n"
		"      node host2: ranks 2\n"
		"        nic eth0\n"
		"        rank: 2\n"
		"  node host3: ranks 3\n"
		"    nic eth0\n"
		"    rank: 3\n"
		"  node host5: ranks 5\n"
		"    rank: 5\n");
}

/* Outward of a node at the fabric is nothing: it is a unit of its own on each level. */
Test(topo_job, units_of_nodes_with_and_without_switches)
{
	static const int32_t expected[3][5] = { { 0, 1, 2, 3, 4 }, { 0, 1, 2, 3, 0 }, { 0, 1, 2, 0, 0 } };
	struct topo_record all[10];
	struct topo *t = NULL;
	int32_t unit[10];

	for (int r = 0; r < 10; r++) {
		char name[16];

		snprintf(name, sizeof name, "host%d", r % 5);
		all[r] = record((uint64_t)(r % 5) + 1, name, -1, -1, -1);
	}
	cr_assert_eq(topo_from_records(&t, all, 10, file("switch a: host0 host4\nswitch b: a host3\n")), TUTTI_OK, "%s", err_last());
	unlink(path);
	for (int level = 0; level < 3; level++) {
		cr_assert_eq(topo_units(t, level, unit), 5 - level);
		cr_expect_arr_eq(unit, expected[level], sizeof expected[level]);
		cr_expect_arr_eq(unit + 5, expected[level], sizeof expected[level]);
	}
	cr_assert_eq(topo_units(t, 3, unit), 0);
	topo_free(t);
}

Test(topo_job, names_are_shown_as_what_they_are)
{
	struct topo_record r = record(1, "<a&b>\x1b\xff", -1, -1, -1);
	struct topo *t = NULL;
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	cr_assert_eq(topo_from_records(&t, &r, 1, ""), TUTTI_OK);
	topo_svg(f, t);
	topo_print(f, t);
	fclose(f);
	topo_free(t);
	cr_assert(strstr(text, ">node &lt;a&amp;b&gt;?" "?<"), "%s", text);
	cr_assert(strstr(text, "node <a&b>?\xff: ranks 0"), "%s", text);
	free(text);
}

Test(topo_job, a_name_says_more_than_a_subnet)
{
	struct topo_record all[2];

	machines(all, 2);
	for (int i = 0; i < 2; i++)
		add_nic(&all[i], "eth0", -1, -1, 0, "10.1.0.77", 16);
	for (int turn = 0; turn < 2; turn++) {
		const char *got = tree(all, 2, file(turn ? "switch a: host1\nswitch b: 10.0.0.0/8\n" : "switch b: 10.0.0.0/8\nswitch a: host1\n"));

		unlink(path);
		cr_expect(strstr(got, turn ? "2 x switch a, b: ranks 1, 0\n" : "2 x switch b, a: ranks 0, 1\n"), "%s", got);
	}
}

Test(topo_job, bad_lines_are_told_with_file_and_line)
{
	static const struct { const char *text, *sentence; } bad[] = {
		{ "rack1: a\n", ":1: expected \"switch NAME: ...\", got \"rack1:\"" },
		{ "# x\n\nswitches: a\n", ":3: expected \"switch NAME: ...\", got \"switches:\"" },
		{ "switch : a\n", ":1: expected the name of a switch (at most 31 characters, no slash), got \":\"" },
		{ "switch\n", ":1: expected the name of a switch (at most 31 characters, no slash), got the end of the line" },
		{ "switch a/b: c\n", ":1: expected the name of a switch (at most 31 characters, no slash), got \"a/b:\"" },
		{ "switch rack1 host0\n", ":1: expected a colon behind the switch, got \"host0\"" },
		{ "switch rack1@: host0\n", ":1: expected a bandwidth (100Gb, 20GB) or a latency (200ns, 1.5us), got \":\"" },
		{ "switch rack1@1Gb,2Gb: host0\n", ":1: expected one bandwidth only, got \"2Gb:\"" },
		{ "switch a: host0\nswitch a: host1\n", ":2: expected a name that no other switch has, got \"a\"" },
		{ "switch a: host0\nswitch b: host0\n", ":2: expected a host that is not below a, got \"host0\"" },
		{ "switch a: host0\nswitch b: a\nswitch c: a\n", ":3: expected a switch that is not below b, got \"a\"" },
		{ "switch a: a\n", ":1: expected a switch that is not below a, got \"a\"" },
		{ "switch a: b\nswitch b: host0\n", ":2: expected a switch to stand above the lines that name it, which this does not, got \"b\"" },
		{ "switch a: 10.0.0.0/33\n", ":1: expected a switch, a host or a subnet (10.1.0.0/24), got \"10.0.0.0/33\"" },
	};
	struct topo_record all[2];

	machines(all, 2);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct topo *t = NULL;
		char expected[256];

		snprintf(expected, sizeof expected, "%s%s", file(bad[i].text), bad[i].sentence);
		cr_expect_eq(topo_from_records(&t, all, 2, path), TUTTI_ERR_CONFIG, "%s", bad[i].text);
		cr_expect_str_eq(err_last(), expected, "%s", err_last());
		unlink(path);
	}
	struct topo *t = NULL;
	cr_expect_eq(topo_from_records(&t, all, 2, "/nowhere/fabric"), TUTTI_ERR_SYSTEM);
	cr_expect(strstr(err_last(), "cannot read /nowhere/fabric: "), "%s", err_last());
}

Test(topo_job, many_ranks_in_a_moment)
{
	enum { HOSTS = 4000, EACH = 8 };
	struct topo_record *all = calloc(HOSTS * EACH, sizeof *all);
	char *text = malloc(HOSTS * 24), *p = text;
	struct topo *t = NULL;
	int32_t *unit = calloc(HOSTS * EACH, sizeof *unit);

	for (int h = 0; h < HOSTS; h++) {
		p += sprintf(p, h % 40 ? " node%d" : "\nswitch rack%d: node%d", h % 40 ? h : h / 40, h);
		for (int i = 0; i < EACH; i++) {
			char name[16];

			snprintf(name, sizeof name, "node%d", h);
			all[i * HOSTS + h] = record((uint64_t)h * 7919 + 5, name, i % 2, i % 2, i);
		}
	}
	cr_assert_eq(topo_from_records(&t, all, HOSTS * EACH, file(text)), TUTTI_OK, "%s", err_last());
	unlink(path);
	cr_assert_eq(topo_units(t, 0, unit), HOSTS);
	cr_assert_eq(topo_units(t, 1, unit), HOSTS / 40);
	cr_assert_eq(unit[41], 1);
	topo_free(t);
	free(all);
	free(text);
	free(unit);
}
