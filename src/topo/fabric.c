/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which switches there are: from a file, or guessed from the subnets that nodes share.
 *
 *      switch rack1@100Gb,2us: hostA hostB 10.1.0.0/24         rack1 --- spine --- fabric
 *      switch spine@400Gb: rack1 rack2                         rack2 --'
 *
 * The file describes the cluster, the job may have a part of it: words that are no host of the job are of no concern, and switches without
 * any are left out.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <base/err.h>
#include <base/iface.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <topo/inner.h>

enum { SWITCHES = 4096 };

struct sw {
	char name[TOPO_NAME];
	struct edge edge;
	int line, above;                /* above: the switch that this one is below; -1: none */
	bool used;
	int32_t place;
};

struct fabric {
	const char *path;
	int line;
	struct build *b;
	const struct topo_record *all;
	struct host *hosts;
	int nhosts, nsw;
	struct sw *sw;
	int32_t *by_name;               /* hosts, by the first part of their names */
	struct { int32_t sw; bool named; } *of;         /* each host's switch; named: by its own name, not by a subnet */
	char (*strange)[TOPO_NAME];     /* words that were neither */
	int nstrange, cap;
};

/* ---- words ------------------------------------------------------------------------------------------------------ */

static int bad_line(const struct fabric *f, const char *expected, const char *got)
{
	char word[40];
	size_t n = 0;

	for (; n < sizeof word - 1 && got[n] && !isspace((unsigned char)got[n]); n++)
		word[n] = isprint((unsigned char)got[n]) ? got[n] : '?';
	word[n] = 0;
	if (!n)
		return err_set(TUTTI_ERR_CONFIG, "%.200s:%d: expected %s, got %s", f->path, f->line, expected,
			       *got ? "a blank" : "the end of the line");
	return err_set(TUTTI_ERR_CONFIG, "%.200s:%d: expected %s, got \"%s\"", f->path, f->line, expected, word);
}

static const char *host_name(const struct fabric *f, int host) { return f->all[f->hosts[host].ranks[0]].host; }

/* By the part before the first point */
static int compare_short(const char *a, const char *b)
{
	size_t n = strcspn(a, "."), m = strcspn(b, ".");
	int c = memcmp(a, b, n < m ? n : m);

	return c ? c : (n > m) - (n < m);
}

static int by_short_name(const void *a, const void *b, void *ctx)
{
	return compare_short(host_name(ctx, *(const int32_t *)a), host_name(ctx, *(const int32_t *)b));
}

/* "node7" and "node7.example.org" are one; "node7.a" and "node7.b" are not. */
static bool same_host(const char *a, const char *b)
{
	return !strcmp(a, b) || ((!strchr(a, '.') || !strchr(b, '.')) && !compare_short(a, b));
}

static int find_switch(const struct fabric *f, const char *name)
{
	for (int i = 0; i < f->nsw; i++)
		if (!strcmp(f->sw[i].name, name))
			return i;
	return -1;
}

static int take_switch(struct fabric *f, int below)
{
	int me = f->nsw - 1;
	char text[120];

	if (f->sw[below].above >= 0 || below == me) {
		snprintf(text, sizeof text, "a switch that is not below %s", f->sw[below == me ? me : f->sw[below].above].name);
		return bad_line(f, text, f->sw[below].name);
	}
	f->sw[below].above = me;
	return TUTTI_OK;
}

static int take_host(struct fabric *f, const char *word)
{
	int lo = 0, hi = f->nhosts;
	bool any = false;

	while (lo < hi) {
		int mid = (lo + hi) / 2;

		if (compare_short(host_name(f, f->by_name[mid]), word) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	for (; lo < f->nhosts && !compare_short(host_name(f, f->by_name[lo]), word); lo++) {
		int h = f->by_name[lo];
		char text[120];

		if (!same_host(host_name(f, h), word))
			continue;
		any = true;
		if (f->of[h].named && f->of[h].sw != f->nsw - 1) {
			snprintf(text, sizeof text, "a host that is not below %s", f->sw[f->of[h].sw].name);
			return bad_line(f, text, word);
		}
		f->of[h].sw = f->nsw - 1;
		f->of[h].named = true;
	}
	if (any || strlen(word) >= TOPO_NAME)
		return TUTTI_OK;
	if (f->nstrange == f->cap) {
		int cap = f->cap ? 2 * f->cap : 64;
		char (*more)[TOPO_NAME] = realloc(f->strange, (size_t)cap * sizeof *more);

		if (!more)
			return err_set(TUTTI_ERR_NOMEM, "no memory for a fabric of %d names", cap);
		f->strange = more;
		f->cap = cap;
	}
	snprintf(f->strange[f->nstrange++], TOPO_NAME, "%.31s", word);
	return TUTTI_OK;
}

static bool in_net(const struct topo_record_nic *x, const struct iface_net *net)
{
	int family = x->family == '4' ? AF_INET : x->family == '6' ? AF_INET6 : -1;

	return family == net->family && iface_same_net(x->addr, net->bytes, net->prefix);
}

static int take_subnet(struct fabric *f, const char *word)
{
	const struct topo_record_nic *nic[HOST_NICS];
	struct iface_net net;

	if (!iface_net_parse(word, &net))
		return bad_line(f, "a switch, a host or a subnet (10.1.0.0/24)", word);
	for (int h = 0; h < f->nhosts; h++) {
		int n = f->of[h].sw < 0 ? host_nics(f->all, &f->hosts[h], nic) : 0;

		for (int i = 0; i < n; i++)
			if (in_net(nic[i], &net))
				f->of[h].sw = f->nsw - 1;
	}
	return TUTTI_OK;
}

/* ---- lines ------------------------------------------------------------------------------------------------------ */

static const char *blanks(const char *p) { return p + strspn(p, " \t\r"); }

/* "switch NAME@FIGURES:", and what follows */
static int read_head(struct fabric *f, const char **line)
{
	const char *p = blanks(*line + strlen("switch")), *wrong;
	size_t n = strcspn(p, "@: \t\r");
	struct sw *s = &f->sw[f->nsw];
	char name[TOPO_NAME];

	if (!n || n >= sizeof name || memchr(p, '/', n))
		return bad_line(f, "the name of a switch (at most 31 characters, no slash)", p);
	snprintf(name, sizeof name, "%.*s", (int)n, p);
	if (find_switch(f, name) >= 0)
		return bad_line(f, "a name that no other switch has", name);
	for (int i = 0; i < f->nstrange; i++)
		if (!strcmp(f->strange[i], name))
			return bad_line(f, "a switch to stand above the lines that name it, which this does not", name);
	if (f->nsw == SWITCHES)
		return err_set(TUTTI_ERR_CONFIG, "%.200s:%d: expected at most %d switches", f->path, f->line, SWITCHES);
	*s = (struct sw){ .line = f->line, .above = -1 };
	memcpy(s->name, name, sizeof name);
	p += n;
	if (*p == '@' && (wrong = parse_figures(p + 1, &p, &s->edge)))
		return bad_line(f, wrong, p);
	if (*(p = blanks(p)) != ':')
		return bad_line(f, "a colon behind the switch", p);
	f->nsw++;
	*line = p + 1;
	return TUTTI_OK;
}

static int read_line(struct fabric *f, const char *line)
{
	const char *p = blanks(line);
	int status, sw;

	if (!*p)
		return TUTTI_OK;
	if (strncmp(p, "switch", 6) || !strchr(" \t", p[6]))
		return bad_line(f, "\"switch NAME: ...\"", p);
	if ((status = read_head(f, &p)))
		return status;
	for (p = blanks(p); *p && !status; p = blanks(p)) {
		char word[TOPO_RECORD_HOST];
		size_t n = strcspn(p, " \t\r");

		if (n >= sizeof word)
			return bad_line(f, "a word of at most 63 characters", p);
		snprintf(word, sizeof word, "%.*s", (int)n, p);
		sw = find_switch(f, word);
		status = sw >= 0 ? take_switch(f, sw) : strchr(word, '/') ? take_subnet(f, word) : take_host(f, word);
		p += n;
	}
	return status;
}

static int read_lines(struct fabric *f, char *text)
{
	int status = TUTTI_OK;

	for (char *p = text, *next; p && !status; p = next) {
		next = strchr(p, '\n');
		if (next)
			*next++ = 0;
		p[strcspn(p, "#")] = 0;
		f->line++;
		status = read_line(f, p);
	}
	return status;
}

/* ---- places ----------------------------------------------------------------------------------------------------- */

/* Those below are named above, so their numbers are smaller. */
static void add_switch(struct fabric *f, int i, int parent)
{
	f->sw[i].place = build_add(f->b, parent, TOPO_SWITCH, f->sw[i].name, f->sw[i].edge);
	for (int k = 0; k < i && !f->b->status; k++)
		if (f->sw[k].above == i && f->sw[k].used)
			add_switch(f, k, f->sw[i].place);
}

static int add_switches(struct fabric *f)
{
	for (int h = 0; h < f->nhosts; h++)
		if (f->of[h].sw >= 0)
			f->sw[f->of[h].sw].used = true;
	for (int i = 0; i < f->nsw; i++)
		if (f->sw[i].used && f->sw[i].above >= 0)
			f->sw[f->sw[i].above].used = true;
	for (int i = 0; i < f->nsw && !f->b->status; i++)
		if (f->sw[i].above < 0 && f->sw[i].used)
			add_switch(f, i, 0);
	for (int h = 0; h < f->nhosts; h++)
		f->hosts[h].parent = f->of[h].sw >= 0 ? f->sw[f->of[h].sw].place : 0;
	return f->b->status;
}

static int from_file(struct fabric *f)
{
	char *text = NULL;
	int status;

	f->sw = calloc(SWITCHES, sizeof *f->sw);
	f->of = calloc((size_t)f->nhosts, sizeof *f->of);
	f->by_name = malloc((size_t)f->nhosts * sizeof *f->by_name);
	status = f->sw && f->of && f->by_name ? read_text(f->path, &text) :
						err_set(TUTTI_ERR_NOMEM, "no memory for a fabric of %d hosts", f->nhosts);
	if (!status) {
		for (int h = 0; h < f->nhosts; h++) {
			f->of[h].sw = -1;
			f->by_name[h] = h;
		}
		qsort_r(f->by_name, (size_t)f->nhosts, sizeof *f->by_name, by_short_name, f);
		status = read_lines(f, text);
	}
	if (!status)
		status = add_switches(f);
	free(text);
	free(f->sw);
	free(f->of);
	free(f->by_name);
	free(f->strange);
	return status;
}

/* ---- subnets ---------------------------------------------------------------------------------------------------- */

struct key { uint8_t family, prefix, addr[16]; int32_t host; };

static int by_net(const void *a, const void *b)
{
	const struct key *x = a, *y = b;
	int c = memcmp(x, y, offsetof(struct key, host));

	return c ? c : (x->host > y->host) - (x->host < y->host);
}

/* One's own choice of address (169.254, fe80) says nothing about neighbours; InfiniBand's subnet prefix does. */
static bool tells(const struct topo_record_nic *x)
{
	bool own4 = x->family == '4' && x->addr[0] == 169 && x->addr[1] == 254, own6 = x->family == '6' && x->addr[0] == 0xfe;

	return x->family && x->prefix && !own4 && !own6;
}

static int host_keys(const struct topo_record *all, const struct host *h, int host, struct key *key)
{
	const struct topo_record_nic *nic[HOST_NICS];
	int n = host_nics(all, h, nic), k = 0;
	uint32_t fastest = 0;

	for (int i = 0; i < n; i++)
		fastest = nic[i]->mbits > fastest ? nic[i]->mbits : fastest;
	for (int i = 0; i < n; i++) {
		struct key *x = &key[k];

		if (!tells(nic[i]) || (nic[i]->mbits && nic[i]->mbits < fastest / 4))
			continue;
		*x = (struct key){ .family = nic[i]->family, .prefix = nic[i]->prefix, .host = host };
		for (int bit = 0; bit < nic[i]->prefix; bit++)
			x->addr[bit / 8] |= nic[i]->addr[bit / 8] & (uint8_t)(0x80 >> bit % 8);
		k++;
	}
	return k;
}

static int32_t find(int32_t *up, int32_t h)
{
	while (up[h] != h)
		h = up[h] = up[up[h]];
	return h;
}

static const char *net_name(const struct key *k, char text[TOPO_NAME])
{
	char addr[INET6_ADDRSTRLEN] = "";

	if (k->family != 'I')
		inet_ntop(k->family == '4' ? AF_INET : AF_INET6, k->addr, addr, sizeof addr);
	if (k->family == 'I' || strlen(addr) + 5 > TOPO_NAME)
		snprintf(text, TOPO_NAME, k->family == 'I' ? "InfiniBand" : "IPv6");
	else
		snprintf(text, TOPO_NAME, "%.26s/%d", addr, k->prefix);
	return text;
}

/* Join hosts with equal keys; then each set of several hosts gets a switch, unless there is one set only. name[root]: a key of it. */
static void join(struct build *b, struct host *hosts, int n, struct key *key, int nkeys, int32_t *up, int32_t *name, int32_t *size)
{
	int sets = n;

	qsort(key, (size_t)nkeys, sizeof *key, by_net);
	for (int i = 0; i < n; i++) {
		up[i] = i;
		name[i] = -1;
		size[i] = 0;
	}
	for (int i = 1; i < nkeys; i++) {
		int32_t x = find(up, key[i - 1].host), y = find(up, key[i].host);

		if (memcmp(&key[i - 1], &key[i], offsetof(struct key, host)) || x == y)
			continue;
		up[x > y ? x : y] = x < y ? x : y;
		name[x < y ? x : y] = i;
		sets--;
	}
	for (int i = 0; i < n; i++)
		size[find(up, i)]++;
	for (int i = 0; i < n && sets > 1; i++) {
		int32_t root = find(up, i);
		char text[TOPO_NAME];

		if (size[root] < 2)
			continue;
		if (root == i)
			hosts[i].parent = build_add(b, 0, TOPO_SWITCH, net_name(&key[name[i]], text), (struct edge){ 0, 0 });
		else
			hosts[i].parent = hosts[root].parent;
	}
}

static int from_subnets(struct build *b, const struct topo_record *all, struct host *hosts, int nhosts)
{
	int nkeys = 0;
	struct key *key = malloc((size_t)nhosts * HOST_NICS * sizeof *key);
	int32_t *scratch = malloc(3 * (size_t)nhosts * sizeof *scratch);
	int status = key && scratch ? TUTTI_OK : err_set(TUTTI_ERR_NOMEM, "no memory for a fabric of %d hosts", nhosts);

	for (int h = 0; h < nhosts && !status; h++) {
		hosts[h].parent = 0;
		nkeys += host_keys(all, &hosts[h], h, key + nkeys);
	}
	if (!status)
		join(b, hosts, nhosts, key, nkeys, scratch, scratch + nhosts, scratch + 2 * (size_t)nhosts);
	free(key);
	free(scratch);
	return status ? status : b->status;
}

int fabric_attach(struct build *b, const char *path, const struct topo_record *all, struct host *hosts, int nhosts)
{
	struct fabric f = { .path = path, .b = b, .all = all, .hosts = hosts, .nhosts = nhosts };

	return *path ? from_file(&f) : from_subnets(b, all, hosts, nhosts);
}
