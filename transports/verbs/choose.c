/* SPDX-License-Identifier: Apache-2.0 */
/* No device is touched here. */
#include "choose.h"
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool mapped_ipv4(const uint8_t g[16])
{
	static const uint8_t prefix[12] = { [10] = 0xff, [11] = 0xff };
	return !memcmp(g, prefix, sizeof(prefix));
}

static bool link_local(const uint8_t g[16]) { return g[0] == 0xfe && (g[1] & 0xc0) == 0x80; }

const char *verbs_gid_text(const uint8_t g[16], char *buf, size_t cap)
{
	if (!inet_ntop(mapped_ipv4(g) ? AF_INET : AF_INET6, mapped_ipv4(g) ? g + 12 : g, buf, (socklen_t)cap))
		snprintf(buf, cap, "?");
	return buf;
}

const char *verbs_apart(bool ib, const uint8_t g[16], bool its_ib, const uint8_t its[16])
{
	if (ib != its_ib)
		return "one is InfiniBand, the other Ethernet";
	if (ib)
		return memcmp(g, its, 8) ? "another InfiniBand subnet" : NULL;
	return mapped_ipv4(g) != mapped_ipv4(its) ? "one has an IPv4 GID, the other an IPv6 GID" : NULL;
}

/* ---- what the user wants -------------------------------------------------------------------------------------------- */

/* "mlx5_0" or "mlx5_0:1" */
static bool names(const char *word, size_t len, const struct verbs_port *p)
{
	char full[80];
	int n = snprintf(full, sizeof(full), "%s:%d", p->device, p->port);
	return (len == strlen(p->device) && !memcmp(word, p->device, len)) || (len == (size_t)n && !memcmp(word, full, len));
}

static bool listed(const char *list, const struct verbs_port *p)
{
	while (*list) {
		size_t len = strcspn(list, ", ");
		if (len && names(list, len, p))
			return true;
		list += len + strspn(list + len, ", ");
	}
	return false;
}

static bool wanted(const struct verbs_wish *w, const struct verbs_port *p)
{
	return !*w->devices || (*w->devices == '^' ? !listed(w->devices + 1, p) : listed(w->devices, p));
}

/* ---- GIDs ----------------------------------------------------------------------------------------------------------- */

/* How good a GID is for reaching others: 0 not at all. */
static int gid_worth(const struct verbs_port *p, const struct verbs_gid *g)
{
	if (p->infiniband)
		return g->type == VERBS_GID_IB ? 1 : 0;
	if (g->type != VERBS_GID_ROCE_V2 || link_local(g->raw))
		return 0;
	return mapped_ipv4(g->raw) ? 3 : 2;
}

static int gid_best(const struct verbs_port *p, int forced)
{
	int best = -1;
	for (int i = 0; i < p->ngids; i++) {
		if (forced >= 0 && p->gids[i].index == forced)
			return i;
		if (forced < 0 && gid_worth(p, &p->gids[i]) > (best < 0 ? 0 : gid_worth(p, &p->gids[best])))
			best = i;
	}
	return best;
}

static void no_gid(struct verbs_port *p, int forced)
{
	bool v2 = false;
	for (int i = 0; i < p->ngids; i++)
		v2 |= p->gids[i].type == VERBS_GID_ROCE_V2;
	if (forced >= 0)
		snprintf(p->why, sizeof(p->why), "it has no GID %d (TUTTI_VERBS_GID)", forced);
	else
		snprintf(p->why, sizeof(p->why), "%s", p->infiniband ? "it has no GID" : v2 ? "only link-local GIDs: give its interface an address" :
		         "no RoCE v2 GID");
}

/* ---- ports ---------------------------------------------------------------------------------------------------------- */

static bool usable(struct verbs_port *p, const struct verbs_wish *w)
{
	p->why[0] = 0;
	p->rail = false;
	if (!wanted(w, p))
		snprintf(p->why, sizeof(p->why), "not wanted (TUTTI_VERBS_DEVICES)");
	else if (!p->active)
		snprintf(p->why, sizeof(p->why), "its port is %s", *p->state ? p->state : "not active");
	else if (p->infiniband && !p->lid)
		snprintf(p->why, sizeof(p->why), "it has no LID: is a subnet manager running?");
	else if ((p->gid = gid_best(p, w->gid)) < 0)
		no_gid(p, w->gid);
	return !p->why[0];
}

static bool near(const struct verbs_port *p, const struct verbs_wish *w) { return w->numa < 0 || p->numa < 0 || p->numa == w->numa; }

int verbs_choose(struct verbs_port *ports, int n, const struct verbs_wish *w, int rail[VERBS_RAILS])
{
	bool some_near = false, fit[VERBS_PORTS] = { false };
	double fastest = 0;
	int rails = 0;
	for (int i = 0; i < n && i < VERBS_PORTS; i++)
		if ((fit[i] = usable(&ports[i], w)))
			some_near |= near(&ports[i], w);
	for (int i = 0; i < n && i < VERBS_PORTS; i++)
		if (fit[i] && near(&ports[i], w) == some_near && ports[i].gbits > fastest)
			fastest = ports[i].gbits;
	for (int i = 0; i < n && i < VERBS_PORTS; i++) {
		struct verbs_port *p = &ports[i];
		if (!fit[i])
			continue;
		if (near(p, w) != some_near)
			snprintf(p->why, sizeof(p->why), "far: on NUMA node %d, this rank on %d", p->numa, w->numa);
		else if (!*w->devices && p->gbits * 4 < fastest)
			snprintf(p->why, sizeof(p->why), "slow: %g Gb/s beside one of %g; name it in TUTTI_VERBS_DEVICES to use it", p->gbits, fastest);
		else if (rails == VERBS_RAILS)
			snprintf(p->why, sizeof(p->why), "there are %d rails already", VERBS_RAILS);
		else {
			snprintf(p->why, sizeof(p->why), "rail %d", rails);
			p->rail = true;
			rail[rails++] = i;
		}
	}
	return rails;
}
