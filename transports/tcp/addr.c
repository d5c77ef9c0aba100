/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who am I, and how does one reach the other.
 *
 *      blob:  "tcp1" | place 44 | port 2 | n 1 | n times: family 1 (4 or 6), prefix 1, loopback 1, address 16
 *
 * The port is one for all addresses. Two ranks reach one another when they are in one place (same boot of a machine, same network
 * namespace), or when both have an address of one family that is not loopback. Which one is dialled is the dialler's choice: loopback in
 * one place, else a common subnet first; an address that the dialler has too (of a bridge that every machine has) comes last.
 */
#include "tcp.h"
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { PLACE = 4, PORT = PLACE + sizeof(struct tcp_place), COUNT = PORT + 2, ROWS = COUNT + 1, ROW = 19 };
_Static_assert(ROWS + TCP_CANDIDATES * ROW <= NET_ADDR_MAX, "the blob fits");

static const unsigned char *raw(const struct sockaddr_storage *sa)
{
	return sa->ss_family == AF_INET ? (const unsigned char *)&((const struct sockaddr_in *)sa)->sin_addr
	                                : (const unsigned char *)&((const struct sockaddr_in6 *)sa)->sin6_addr;
}

static size_t raw_len(const struct sockaddr_storage *sa) { return sa->ss_family == AF_INET ? 4 : 16; }

/* Unknown is unlike everything. */
static int find_place(struct tcp_place *p)
{
	struct stat st;
	FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");
	size_t n = f ? fread(p->bytes, 1, 36, f) : 0;
	if (f)
		fclose(f);
	if (n < 36 || stat("/proc/self/ns/net", &st) < 0)
		return auth_random(p->bytes, sizeof(p->bytes));
	memcpy(p->bytes + 36, &st.st_ino, 8);
	return TUTTI_OK;
}

int tcp_addr_open(struct tcp_iface *f, const char *want)
{
	f->naddr = iface_list(want, f->addr, TCP_CANDIDATES);
	return f->naddr < 0 ? f->naddr : find_place(&f->place);
}

int tcp_addr_put(const struct tcp_iface *f, void *buf, size_t *len)
{
	size_t need = ROWS + (size_t)f->naddr * ROW;
	unsigned char *p = buf, *row = p + ROWS;
	if (*len < need)
		return err_set(TUTTI_ERR_INVALID, "tcp: expected room for an address of %zu bytes, got %zu", need, *len);
	memset(p, 0, need);
	memcpy(p, "tcp1", 4);
	memcpy(p + PLACE, f->place.bytes, sizeof(f->place));
	memcpy(p + PORT, &f->port, 2);
	p[COUNT] = (unsigned char)f->naddr;
	for (const struct iface *a = f->addr; a < f->addr + f->naddr; a++, row += ROW) {
		row[0] = a->addr.ss_family == AF_INET ? 4 : 6;
		row[1] = (unsigned char)a->prefix;
		row[2] = a->loopback;
		memcpy(row + 3, raw(&a->addr), raw_len(&a->addr));
	}
	*len = need;
	return TUTTI_OK;
}

static int check_blob(const unsigned char *p, size_t len)
{
	if (len < ROWS || memcmp(p, "tcp1", 4) || p[COUNT] > TCP_CANDIDATES || len != ROWS + (size_t)p[COUNT] * ROW)
		return err_set(TUTTI_ERR_UNSUPPORTED, "expected a tcp address of %d bytes and %d a row, got %zu bytes", (int)ROWS,
		               (int)ROW, len);
	for (const unsigned char *row = p + ROWS; row < p + len; row += ROW)
		if ((row[0] != 4 && row[0] != 6) || row[1] > (row[0] == 4 ? 32 : 128))
			return err_set(TUTTI_ERR_UNSUPPORTED, "expected an IPv4 or IPv6 address, got family %d with a prefix of %d", row[0],
			               row[1]);
	return TUTTI_OK;
}

/* 0: no use */
static int score(const struct tcp_iface *f, const unsigned char *row, bool same_place)
{
	int best = 0, family = row[0] == 4 ? AF_INET : AF_INET6;
	if (same_place)
		return 1 + row[2];
	for (const struct iface *a = f->addr; a < f->addr + f->naddr && !row[2]; a++) {
		if (a->loopback || a->addr.ss_family != family)
			continue;
		if (!memcmp(raw(&a->addr), row + 3, raw_len(&a->addr)))
			return 1;
		int s = row[1] == a->prefix && iface_same_net(raw(&a->addr), row + 3, a->prefix) ? 3 : 2;
		if (s > best)
			best = s;
	}
	return best;
}

static void fill(struct tcp_addr *to, const unsigned char *row, const unsigned char *port)
{
	memset(to, 0, sizeof(*to));
	if (row[0] == 4) {
		struct sockaddr_in *sa = (struct sockaddr_in *)&to->sa;
		sa->sin_family = AF_INET;
		memcpy(&sa->sin_addr, row + 3, 4);
		memcpy(&sa->sin_port, port, 2);
		to->len = sizeof(*sa);
	} else {
		struct sockaddr_in6 *sa = (struct sockaddr_in6 *)&to->sa;
		sa->sin6_family = AF_INET6;
		memcpy(&sa->sin6_addr, row + 3, 16);
		memcpy(&sa->sin6_port, port, 2);
		to->len = sizeof(*sa);
	}
}

int tcp_addr_candidates(const struct tcp_iface *f, const void *blob, size_t len, struct tcp_addr *to)
{
	const unsigned char *p = blob;
	int n = 0, status = check_blob(p, len);
	if (status < 0)
		return status;
	bool same_place = !memcmp(p + PLACE, f->place.bytes, sizeof(f->place));
	for (int s = 3; s; s--)
		for (const unsigned char *row = p + ROWS; row < p + len; row += ROW)
			if (score(f, row, same_place) == s)
				fill(&to[n++], row, p + PORT);
	return n ? n : err_set(TUTTI_ERR_UNSUPPORTED, "another machine, and both have no addresses of one family beyond loopback");
}

int tcp_addr_text(const struct tcp_addr *a, char *buf, size_t cap)
{
	char host[INET6_ADDRSTRLEN] = "?";
	bool v4 = a->sa.ss_family == AF_INET;
	inet_ntop(a->sa.ss_family, raw(&a->sa), host, sizeof(host));
	return snprintf(buf, cap, v4 ? "%s:%d" : "[%s]:%d", host, ntohs(((const struct sockaddr_in *)&a->sa)->sin_port));
}
