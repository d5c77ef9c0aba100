/* SPDX-License-Identifier: Apache-2.0 */
/* Topologies from text: the tree, what it says to bad text, and what can be asked. */
#include <base/err.h>
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <topo/topo.h>

static struct topo *parsed(const char *text)
{
	struct topo *t = NULL;

	cr_assert_eq(topo_parse(&t, text), TUTTI_OK, "%s: %s", text, err_last());
	return t;
}

static char *printed(const struct topo *t)
{
	char *text = NULL;
	size_t n;
	FILE *f = open_memstream(&text, &n);

	topo_print(f, t);
	fclose(f);
	return text;
}

/* Whatever topo.h promises of every tree. */
static void check_tree(const struct topo *t)
{
	int ranks = 0;

	cr_assert(t->place[0].kind == TOPO_FABRIC && t->place[0].parent == -1 && t->place[0].end == t->nplaces);
	for (int p = 0; p < t->nplaces; p++) {
		int32_t seen[TOPO_KINDS] = { 0 };

		ranks += t->place[p].kind == TOPO_RANK;
		cr_assert(t->place[p].end > p && t->place[p].end <= t->nplaces);
		cr_assert(memchr(t->place[p].name, 0, TOPO_NAME));
		for (int c = p + 1; c < t->place[p].end; c = t->place[c].end) {
			cr_assert(t->place[c].parent == p && t->place[c].depth == t->place[p].depth + 1 && t->place[c].end <= t->place[p].end);
			cr_assert_eq(t->place[c].index, seen[t->place[c].kind]++);
		}
	}
	cr_assert_eq(ranks, t->nranks);
	for (int r = 0; r < t->nranks; r++) {
		int32_t p = t->rank[r], n = t->node[r];

		cr_assert_eq(t->place[p].kind, TOPO_RANK);
		cr_assert(n <= p && p < t->place[n].end && (!n || t->place[n].kind == TOPO_NODE));
		cr_assert(t->nic[r] == -1 || (t->place[t->nic[r]].kind == TOPO_NIC && t->nic[r] > n && t->nic[r] < t->place[n].end));
	}
}

Test(topo, text_becomes_a_tree)
{
	struct topo *t = parsed(" switch:2@100Gb,1us node:2 # two of them\n nic:2@25Gb,5us\tgpu:1 rank:4@200ns,20GB ");
	const struct topo_place *p = t->place;

	check_tree(t);
	cr_assert_eq(t->nplaces, 1 + 2 + 4 + 4 * 7);
	cr_assert_eq(t->nranks, 16);
	cr_assert(p[1].kind == TOPO_SWITCH && p[1].bandwidth == 12.5e9 && p[1].latency == 1e-6);
	cr_assert(p[2].kind == TOPO_NODE && !(p[2].bandwidth > 0) && !(p[2].latency > 0));
	cr_assert(p[3].kind == TOPO_NIC && p[4].kind == TOPO_NIC && p[5].kind == TOPO_GPU && p[6].kind == TOPO_RANK);
	cr_assert(p[3].parent == 2 && p[6].parent == 2 && p[6].bandwidth == 20e9 && p[6].latency == 200 * 1e-9);
	for (int r = 1; r < 16; r++)
		cr_assert_gt(t->rank[r], t->rank[r - 1]);
	topo_free(t);
}

Test(topo, counts_may_differ)
{
	struct topo *t = parsed("node:3 nic:2,0,1 rank:8,8,4");

	check_tree(t);
	cr_assert_eq(t->nranks, 20);
	cr_assert_eq(t->place[t->node[8]].index, 1);
	cr_assert_eq(t->place[t->node[16]].index, 2);
	cr_assert_eq(t->nic[9], -1);
	cr_assert_eq(t->place[t->nic[3]].index, 1);
	topo_free(t);
}

Test(topo, bad_text_is_refused_in_words)
{
	static const struct { const char *text, *sentence; } bad[] = {
		{ "", "topology, column 1: expected switch, node, package, numa, core, rank, nic or gpu: a topology ends with ranks, got the end" },
		{ "nod:3", "topology, column 1: expected switch, node, package, numa, core, rank, nic or gpu below fabric, got \"nod:3\"" },
		{ "node:2 switch:3", "topology, column 8: expected package, numa, core, rank, nic or gpu below node, got \"switch:3\"" },
		{ "switch:2 rank:3", "topology, column 10: expected switch or node below switch, got \"rank:3\"" },
		{ "fabric:1 rank:3", "topology, column 1: expected switch, node, package, numa, core, rank, nic or gpu below fabric, got \"fabric:1\"" },
		{ "node:2", "topology, column 7: expected package, numa, core, rank, nic or gpu: a topology ends with ranks, got the end" },
		{ "rank:2 nic:1", "topology, column 8: expected nothing after rank, got \"nic:1\"" },
		{ "node rank:1", "topology, column 5: expected a colon and a count behind node, got a blank" },
		{ "node:x", "topology, column 6: expected a count of 1..1048576, got \"x\"" },
		{ "node:-1 rank:1", "topology, column 6: expected a count of 1..1048576, got \"-1\"" },
		{ "node:0 rank:1", "topology, column 6: expected a count of 1..1048576, got \"0\"" },
		{ "rank:1048577", "topology, column 6: expected a count of 1..1048576, got \"1048577\"" },
		{ "rank:99999999999999999999999", "topology, column 6: expected a count of 1..1048576, got \"99999999999999999999999\"" },
		{ "node:1024 rank:1025", "topology, column 16: expected 1..1048576 of rank in all, and at most 4194304 places, not 1049600, got \"1025\"" },
		{ "node:1048576 nic:8 rank:1", "topology, column 18: expected 1..1048576 of nic in all, and at most 4194304 places, not 8388608, got \"8\"" },
		{ "node:2 rank:0,0", "topology, column 13: expected 1..1048576 of rank in all, and at most 4194304 places, not 0, got \"0,0\"" },
		{ "node:3 rank:8,8", "topology, column 13: expected one count, or one for each node (3), not 2, got \"8,8\"" },
		{ "rank:8,8", "topology, column 6: expected one count, not 2, got \"8,8\"" },
		{ "rank:8,", "topology, column 8: expected a count of 1..1048576, got the end" },
		{ "rank:8@", "topology, column 8: expected a bandwidth (100Gb, 20GB) or a latency (200ns, 1.5us), got the end" },
		{ "rank:8@100", "topology, column 8: expected a bandwidth (100Gb, 20GB) or a latency (200ns, 1.5us), got \"100\"" },
		{ "rank:8@1e3Gb", "topology, column 8: expected a bandwidth (100Gb, 20GB) or a latency (200ns, 1.5us), got \"1e3Gb\"" },
		{ "rank:8@0Gb", "topology, column 8: expected a bandwidth (100Gb, 20GB) or a latency (200ns, 1.5us), got \"0Gb\"" },
		{ "rank:8@1Gb,2GB", "topology, column 12: expected one bandwidth only, got \"2GB\"" },
		{ "rank:8@1us,2ms", "topology, column 12: expected one latency only, got \"2ms\"" },
		{ "rank:8@1us;", "topology, column 11: expected a blank, got \";\"" },
		{ "rank:8\x01", "topology, column 7: expected a blank, got \"?\"" },
		{ "# all\n", "topology, column 1: expected switch, node, package, numa, core, rank, nic or gpu: a topology ends with ranks, got the end" },
	};

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct topo *t = NULL;

		cr_expect_eq(topo_parse(&t, bad[i].text), TUTTI_ERR_CONFIG, "%s", bad[i].text);
		cr_expect_str_eq(err_last(), bad[i].sentence, "%s", bad[i].text);
		cr_expect_null(t, "stored on success only");
	}
}

Test(topo, a_hundred_thousand_ranks)
{
	struct topo *t = parsed("node:12500 nic:1 rank:8");

	check_tree(t);
	cr_assert_eq(t->nranks, 100000);
	cr_assert_eq(t->place[t->node[99999]].index, 12499);
	topo_free(t);
	t = parsed("rank:1048576");
	cr_assert_eq(t->nranks, 1 << 20);
	topo_free(t);
}

/* ---- NICs ------------------------------------------------------------------------------------------------------- */

/* The nth NIC of the whole tree */
static int nic_number(const struct topo *t, int r)
{
	int n = 0;

	for (int p = 0; p < t->nic[r]; p++)
		n += t->place[p].kind == TOPO_NIC;
	return t->nic[r] < 0 ? -1 : n;
}

Test(topo, ranks_use_the_nearest_nic_in_turn)
{
	static const struct { const char *text, *nics; } cases[] = {
		{ "rank:3", "-1 -1 -1" },
		{ "nic:1 rank:3", "0 0 0" },
		{ "node:2 nic:2 rank:3", "0 1 0 2 3 2" },
		{ "node:2 rank:2", "-1 -1 -1 -1" },
		{ "node:1 package:2 nic:1 rank:2", "0 0 1 1" },
		{ "node:1 package:2 numa:2 nic:1,0,0,0 rank:2", "0 0 0 0 0 0 0 0" },           /* far is better than none */
		{ "node:1 package:2 numa:2 nic:1,1,1,0 rank:2", "0 0 1 1 2 2 2 2" },
		{ "node:1 nic:1 package:2 nic:1,0 rank:2", "1 1 0 1" },                        /* the second package has both equally near */
		{ "nic:1@1Gb nic:2@100Gb rank:4", "1 2 1 2" },                                  /* one for administration */
		{ "nic:1@25Gb nic:1@100Gb rank:4", "0 1 0 1" },
		{ "nic:1 nic:1@100Gb rank:2", "0 1" },                                          /* not known is not slow */
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct topo *t = parsed(cases[i].text);
		char got[256] = "";

		check_tree(t);
		for (int r = 0; r < t->nranks; r++)
			snprintf(got + strlen(got), sizeof got - strlen(got), "%s%d", r ? " " : "", nic_number(t, r));
		cr_expect_str_eq(got, cases[i].nics, "%s: %s", cases[i].text, got);
		topo_free(t);
	}
}

/* ---- paths ------------------------------------------------------------------------------------------------------ */

/* "rank up, core up, ..." */
static void path_text(const struct topo *t, int a, int b, char *text, size_t cap)
{
	struct topo_hop hop[TOPO_PATH];
	int n = topo_path(t, a, b, hop);
	size_t at = 0;

	*text = 0;
	for (int i = 0; i < n; i++) {
		const struct topo_place *p = &t->place[hop[i].place];

		at += (size_t)snprintf(text + at, cap - at, "%s%s%d %s", i ? ", " : "", topo_kinds[p->kind], p->index, hop[i].up ? "up" : "down");
	}
}

Test(topo, common_places_and_paths)
{
	static const struct { const char *text; int a, b; const char *common, *path; } cases[] = {
		{ "rank:2", 0, 0, "rank", "" },
		{ "rank:2", 0, 1, "fabric", "rank0 up, rank1 down" },
		{ "nic:1 rank:2", 0, 1, "fabric", "rank0 up, rank1 down" },
		{ "node:2 core:2 rank:1", 1, 2, "fabric", "node0 up, node1 down" },
		{ "node:2 nic:2 rank:2", 1, 2, "fabric", "nic1 up, node0 up, node1 down, nic0 down" },
		{ "package:2 numa:2 core:2 rank:1", 0, 3, "package", "rank0 up, core0 up, numa0 up, numa1 down, core1 down, rank0 down" },
		{ "package:2 numa:2 core:2 rank:1", 0, 1, "numa", "rank0 up, core0 up, core1 down, rank0 down" },
		{ "switch:2 switch:2 node:2 numa:2 nic:1 rank:1", 0, 2, "switch", "nic0 up, node0 up, node1 down, nic0 down" },
		{ "switch:2 switch:2 node:2 numa:2 nic:1 rank:1", 3, 4, "switch", "nic0 up, node1 up, switch0 up, switch1 down, node0 down, nic0 down" },
		{ "switch:2 switch:2 node:2 numa:2 nic:1 rank:1", 0, 15, "fabric",
		  "nic0 up, node0 up, switch0 up, switch0 up, switch1 down, switch1 down, node1 down, nic0 down" },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct topo *t = parsed(cases[i].text);
		char got[512];

		path_text(t, cases[i].a, cases[i].b, got, sizeof got);
		cr_expect_str_eq(got, cases[i].path, "%s: %s", cases[i].text, got);
		cr_expect_str_eq(topo_kinds[t->place[topo_common(t, cases[i].a, cases[i].b)].kind], cases[i].common, "%s", cases[i].text);
		cr_expect_eq(topo_common(t, cases[i].a, cases[i].b), topo_common(t, cases[i].b, cases[i].a));
		topo_free(t);
	}
}

/* ---- units ------------------------------------------------------------------------------------------------------ */

Test(topo, levels_that_say_something)
{
	static const struct { const char *text, *units; } cases[] = {
		{ "rank:4", "" },
		{ "node:1 rank:4", "" },
		{ "node:4 rank:1", "" },
		{ "node:2 rank:2", "0011" },
		{ "switch:2 node:1 rank:2", "0011" },
		{ "switch:2 node:2 rank:1", "0011" },
		{ "switch:1 node:2 rank:2", "0011" },
		{ "switch:2 node:2 rank:2", "00112233 00001111" },
		{ "switch:2 switch:2 node:2 rank:1", "00112233 00001111" },
		{ "switch:2 switch:1 node:2 rank:2", "00112233 00001111" },
		{ "switch:1 switch:2 node:2 rank:2", "00112233 00001111" },
		{ "switch:2 node:2,1 rank:2,1,1", "0012 0001" },
		{ "switch:2 node:2 rank:2,0,1,1", "0012 0011" },
		{ "switch:2 node:2 rank:2,0,0,0", "" },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct topo *t = parsed(cases[i].text);
		int32_t unit[64];
		char got[256] = "";

		for (int level = 0, n; (n = topo_units(t, level, unit)) != 0; level++) {
			cr_assert(n > 1, "%s", err_last());
			snprintf(got + strlen(got), sizeof got - strlen(got), "%s", level ? " " : "");
			for (int r = 0; r < t->nranks; r++)
				snprintf(got + strlen(got), sizeof got - strlen(got), "%d", unit[r]);
		}
		cr_expect_str_eq(got, cases[i].units, "%s: %s", cases[i].text, got);
		cr_expect_eq(topo_units(t, -1, unit), 0);
		topo_free(t);
	}
}

/* ---- printing --------------------------------------------------------------------------------------------------- */

Test(topo, prints_as_a_folded_tree)
{
	static const struct { const char *text, *tree; } cases[] = {
		{ "rank:1", "fabric: ranks 0\n  rank: 0\n" },
		{ "switch:2@100Gb,1us node:8 nic:2@25Gb,5us rank:8@20GB,200ns",
		  "fabric: ranks 0-127\n"
		  "  2 x switch (100 Gb/s, 1 us): ranks 0-63, 64-127\n"
		  "    8 x node: ranks 0-7, 8-15, 16-23, ... 56-63\n"
		  "      2 x nic (25 Gb/s, 5 us)\n"
		  "      8 x rank (20 GB/s, 200 ns): 0-7\n" },
		{ "node:4@1.5ms rank:2,2,1,0",
		  "fabric: ranks 0-4\n"
		  "  2 x node (1.5 ms): ranks 0-1, 2-3\n"
		  "    2 x rank: 0-1\n"
		  "  node (1.5 ms): ranks 4\n"
		  "    rank: 4\n"
		  "  node (1.5 ms): ranks none\n" },
		{ "nic:1@100Gb nic:1@1Gb rank:1", "fabric: ranks 0\n  nic (100 Gb/s)\n  nic (1 Gb/s)\n  rank: 0\n" },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct topo *t = parsed(cases[i].text);
		char *got = printed(t);

		cr_expect_str_eq(got, cases[i].tree, "%s", got);
		free(got);
		topo_free(t);
	}
}

/* What ranks[0 ... n) of a text see of it is another text. */
Test(topo, a_part_is_what_some_ranks_see_of_it)
{
	static const struct { const char *text; int n, ranks[8]; const char *part; } cases[] = {
		{ "node:2 rank:2", 4, { 0, 1, 2, 3 }, "node:2 rank:2" },
		{ "switch:2@100Gb,2us node:2@10Gb nic:2@25Gb,5us rank:2@1GB", 4, { 0, 1, 6, 7 }, "switch:2@100Gb,2us node:1@10Gb nic:2@25Gb,5us rank:2@1GB" },
		{ "switch:2 node:2 gpu:1 package:2 core:2 rank:1", 4, { 1, 4, 5, 6 }, "switch:1 node:2 gpu:1 package:1,2 core:1,2,1 rank:1" },
		{ "node:3 nic:1 rank:2", 3, { 0, 2, 4 }, "node:3 nic:1 rank:1" },
		{ "node:3 nic:1 rank:2", 1, { 5 }, "node:1 nic:1 rank:1" },
		{ "rank:4", 2, { 1, 3 }, "rank:2" },
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct topo *t = parsed(cases[i].text), *want = parsed(cases[i].part), *part;
		cr_assert_eq(topo_part(&part, t, cases[i].ranks, cases[i].n), TUTTI_OK, "%s", cases[i].text);
		cr_assert_eq(topo_digest(part), topo_digest(want), "%s of %s", cases[i].part, cases[i].text);
		topo_free(part);
		topo_free(want);
		topo_free(t);
	}
}

Test(topo, ranks_of_a_part_have_its_numbers)
{
	struct topo *t = parsed("node:3 rank:2"), *part;
	cr_assert_eq(topo_part(&part, t, (const int[]){ 5, 0, 4 }, 3), TUTTI_OK);
	cr_assert_eq(part->nranks, 3);
	cr_assert_eq(part->node[0], part->node[2]);
	cr_assert_neq(part->node[0], part->node[1]);
	cr_assert_lt(part->rank[1], part->rank[2]);
	cr_assert_lt(part->rank[2], part->rank[0]);
	topo_free(part);
	topo_free(t);
}
