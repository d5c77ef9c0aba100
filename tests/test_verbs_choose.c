/* SPDX-License-Identifier: Apache-2.0 */
/* Which RDMA ports and GIDs are used, and why the others are not: machines as data, those that are not here too. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <transports/verbs/choose.h>

enum { MOST = 10 };

/*
 * A port: device port link state lid Gb/s node, then its GIDs: index type address. Expected: what stands in `why`, and behind a rail its GID's index.
 */
struct machine {
	const char *name;
	struct verbs_wish wish;
	const char *ports[MOST], *expected[MOST];
};

static const struct machine machines[] = {
	{ "soft-RoCE on a veth pair", { "", -1, -1 },
	  { "rxe0 1 eth up 0 10 -1 | 0 v2 fe80::1 | 1 v2 ::ffff:10.0.0.1", "rxe1 1 eth up 0 10 -1 | 0 v2 fe80::2 | 1 v2 ::ffff:10.0.0.2" },
	  { "rail 0 gid 1", "rail 1 gid 1" } },
	{ "a ConnectX with RoCE v1 and v2, IPv6 and IPv4", { "", -1, 0 },
	  { "mlx5_0 1 eth up 0 100 0 | 0 v1 fe80::1 | 1 v2 fe80::1 | 2 v1 2001:db8::1 | 3 v2 2001:db8::1 | 4 v1 ::ffff:192.0.2.1 | 5 v2 ::ffff:192.0.2.1" },
	  { "rail 0 gid 5" } },
	{ "IPv6 only", { "", -1, 0 }, { "mlx5_0 1 eth up 0 100 0 | 1 v2 fe80::1 | 3 v2 2001:db8::1" }, { "rail 0 gid 3" } },
	{ "no address yet", { "", -1, 0 }, { "mlx5_0 1 eth up 0 100 0 | 0 v1 fe80::1 | 1 v2 fe80::1" },
	  { "only link-local GIDs: give its interface an address" } },
	{ "RoCE v1 only", { "", -1, 0 }, { "mlx4_0 1 eth up 0 40 0 | 0 v1 fe80::1 | 1 v1 ::ffff:192.0.2.1" }, { "no RoCE v2 GID" } },
	{ "the GID is forced", { "", 3, 0 }, { "mlx5_0 1 eth up 0 100 0 | 3 v2 2001:db8::1 | 5 v2 ::ffff:192.0.2.1" }, { "rail 0 gid 3" } },
	{ "a GID is forced that is not there", { "", 7, 0 }, { "mlx5_0 1 eth up 0 100 0 | 3 v2 2001:db8::1" }, { "it has no GID 7 (TUTTI_VERBS_GID)" } },
	{ "eight adapters on two nodes, this rank on the second", { "", -1, 1 },
	  { "mlx5_0 1 ib up 1 200 0 | 0 ib fe80::1", "mlx5_1 1 ib up 2 200 0 | 0 ib fe80::2", "mlx5_2 1 ib up 3 200 0 | 0 ib fe80::3",
	    "mlx5_3 1 ib up 4 200 0 | 0 ib fe80::4", "mlx5_4 1 ib up 5 200 1 | 0 ib fe80::5", "mlx5_5 1 ib up 6 200 1 | 0 ib fe80::6",
	    "mlx5_6 1 ib up 7 200 1 | 0 ib fe80::7", "mlx5_7 1 ib up 8 200 1 | 0 ib fe80::8" },
	  { "far: on NUMA node 0, this rank on 1", "far: on NUMA node 0, this rank on 1", "far: on NUMA node 0, this rank on 1",
	    "far: on NUMA node 0, this rank on 1", "rail 0 gid 0", "rail 1 gid 0", "rail 2 gid 0", "rail 3 gid 0" } },
	{ "none is near: far ones are better than none", { "", -1, 1 }, { "mlx5_0 1 ib up 1 200 0 | 0 ib fe80::1" }, { "rail 0 gid 0" } },
	{ "five of the same", { "", -1, -1 },
	  { "a 1 ib up 1 200 0 | 0 ib fe80::1", "b 1 ib up 2 200 0 | 0 ib fe80::2", "c 1 ib up 3 200 0 | 0 ib fe80::3", "d 1 ib up 4 200 0 | 0 ib fe80::4",
	    "e 1 ib up 5 200 0 | 0 ib fe80::5" },
	  { "rail 0 gid 0", "rail 1 gid 0", "rail 2 gid 0", "rail 3 gid 0", "there are 4 rails already" } },
	{ "a management port beside a fast one", { "", -1, 0 },
	  { "mlx5_0 1 ib up 1 400 0 | 0 ib fe80::1", "mlx5_bond_0 1 eth up 0 25 0 | 3 v2 ::ffff:192.0.2.1" },
	  { "rail 0 gid 0", "slow: 25 Gb/s beside one of 400; name it in TUTTI_VERBS_DEVICES to use it" } },
	{ "ports that are down, or have no subnet manager", { "", -1, 0 },
	  { "mlx5_0 1 ib down 0 0 0 | 0 ib fe80::1", "mlx5_0 2 ib up 0 100 0 | 0 ib fe80::2", "mlx5_1 1 ib initializing 0 100 0 | 0 ib fe80::3" },
	  { "its port is down", "it has no LID: is a subnet manager running?", "its port is initializing" } },
	{ "devices are named, one with its port", { "mlx5_0:2, mlx5_1", -1, 0 },
	  { "mlx5_0 1 ib up 1 100 0 | 0 ib fe80::1", "mlx5_0 2 ib up 2 100 0 | 0 ib fe80::2", "mlx5_1 1 ib up 3 100 0 | 0 ib fe80::3",
	    "mlx5_10 1 ib up 4 100 0 | 0 ib fe80::4" },
	  { "not wanted (TUTTI_VERBS_DEVICES)", "rail 0 gid 0", "rail 1 gid 0", "not wanted (TUTTI_VERBS_DEVICES)" } },
	{ "a device is excluded", { "^mlx5_0", -1, 0 }, { "mlx5_0 1 ib up 1 100 0 | 0 ib fe80::1", "mlx5_1 1 ib up 2 100 0 | 0 ib fe80::2" },
	  { "not wanted (TUTTI_VERBS_DEVICES)", "rail 0 gid 0" } },
	{ "nothing", { "", -1, 0 }, { NULL }, { NULL } },
};

static void parse_gid(struct verbs_port *p, const char *text)
{
	struct verbs_gid *g = &p->gids[p->ngids++];
	char type[8], address[64];

	cr_assert_eq(sscanf(text, " %d %7s %63s", &g->index, type, address), 3, "%s", text);
	g->type = !strcmp(type, "v2") ? VERBS_GID_ROCE_V2 : !strcmp(type, "v1") ? VERBS_GID_ROCE_V1 : VERBS_GID_IB;
	cr_assert_eq(inet_pton(AF_INET6, address, g->raw), 1, "%s", address);
}

static void parse_port(struct verbs_port *p, const char *text)
{
	char link[8], state[16];

	*p = (struct verbs_port){ .port = 0 };
	cr_assert_eq(sscanf(text, "%63s %d %7s %15s %d %lf %d", p->device, &p->port, link, state, &p->lid, &p->gbits, &p->numa), 7, "%s", text);
	p->infiniband = !strcmp(link, "ib");
	p->active = !strcmp(state, "up");
	snprintf(p->state, sizeof p->state, "%s", p->active ? "" : state);
	for (const char *gid = strchr(text, '|'); gid; gid = strchr(gid + 1, '|'))
		parse_gid(p, gid + 1);
}

static void judge(const struct machine *m)
{
	struct verbs_port ports[MOST];
	int n = 0, rails = 0, rail[VERBS_RAILS], got;

	for (; n < MOST && m->ports[n]; n++)
		parse_port(&ports[n], m->ports[n]);
	got = verbs_choose(ports, n, &m->wish, rail);
	for (int i = 0; i < n; i++) {
		char said[256];

		snprintf(said, sizeof said, "%s", ports[i].why);
		if (!strncmp(said, "rail", 4)) {
			snprintf(said, sizeof said, "%s gid %d", ports[i].why, ports[i].gids[ports[i].gid].index);
			cr_expect_eq(rail[rails++], i, "%s: %s", m->name, ports[i].device);
		}
		cr_expect_str_eq(said, m->expected[i], "%s, %s:%d: expected \"%s\", got \"%s\"", m->name, ports[i].device, ports[i].port, m->expected[i], said);
	}
	cr_expect_eq(got, rails, "%s: %d rails, %d of them said so", m->name, got, rails);
}

Test(verbs_choose, machines)
{
	for (size_t i = 0; i < sizeof machines / sizeof *machines; i++)
		judge(&machines[i]);
}

Test(verbs_choose, who_can_talk)
{
	static const struct { const char *mine, *its; bool ib, its_ib; const char *apart; } pairs[] = {
		{ "::ffff:10.0.0.1", "::ffff:10.9.9.9", false, false, NULL },           /* RoCE v2 is routed */
		{ "::ffff:10.0.0.1", "2001:db8::1", false, false, "one has an IPv4 GID, the other an IPv6 GID" },
		{ "fe80::1", "fe80::2", true, true, NULL },
		{ "fe80::1", "fe80:0:0:1::2", true, true, "another InfiniBand subnet" },
		{ "fe80::1", "::ffff:10.0.0.1", true, false, "one is InfiniBand, the other Ethernet" },
	};

	for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
		uint8_t a[16], b[16];
		const char *there, *back;

		inet_pton(AF_INET6, pairs[i].mine, a);
		inet_pton(AF_INET6, pairs[i].its, b);
		there = verbs_apart(pairs[i].ib, a, pairs[i].its_ib, b);
		back = verbs_apart(pairs[i].its_ib, b, pairs[i].ib, a);
		cr_expect((!there && !pairs[i].apart) || (there && pairs[i].apart && !strcmp(there, pairs[i].apart)), "%s and %s: %s", pairs[i].mine,
			pairs[i].its, there ? there : "together");
		cr_expect(!there == !back && (!there || !strcmp(there, back)), "both ends say the same");
	}
}
