/* SPDX-License-Identifier: Apache-2.0 */
/* Reads the machine's interfaces anew at every call; keeps nothing. Any thread. */
#include <arpa/inet.h>
#include <base/config.h>
#include <base/err.h>
#include <base/iface.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* The address within a sockaddr, in network byte order; NULL when it is neither IPv4 nor IPv6. */
static const void *bytes_of(const struct sockaddr *sa, size_t *n)
{
	*n = sa->sa_family == AF_INET ? 4 : 16;
	return sa->sa_family == AF_INET    ? (const void *)&((const struct sockaddr_in *)sa)->sin_addr
	       : sa->sa_family == AF_INET6 ? (const void *)&((const struct sockaddr_in6 *)sa)->sin6_addr
	                                   : NULL;
}

bool iface_same_net(const void *a, const void *b, unsigned bits)
{
	const unsigned char *x = a, *y = b;
	unsigned whole = bits / 8, rest = bits % 8;

	return !memcmp(x, y, whole) && (!rest || !((x[whole] ^ y[whole]) >> (8 - rest)));
}

static unsigned mask_bits(const struct sockaddr *mask)
{
	size_t n;
	const unsigned char *p = mask ? bytes_of(mask, &n) : NULL;
	unsigned bits = 0;

	for (size_t i = 0; p && i < n; i++)
		bits += (unsigned)__builtin_popcount(p[i]);
	return bits;
}

bool iface_net_parse(const char *text, struct iface_net *s)
{
	char host[IFACE_TEXT];
	const char *slash = strchr(text, '/');
	long prefix;

	if (!slash || (size_t)(slash - text) >= sizeof(host))
		return false;
	memcpy(host, text, (size_t)(slash - text));
	host[slash - text] = '\0';
	s->family = strchr(host, ':') ? AF_INET6 : AF_INET;
	if (inet_pton(s->family, host, s->bytes) != 1 || parse_int(slash + 1, 0, s->family == AF_INET ? 32 : 128, &prefix))
		return false;
	s->prefix = (unsigned)prefix;
	return true;
}

static bool wanted(const struct iface *f, const char *want, const struct iface_net *s)
{
	size_t n;
	const struct sockaddr *sa = (const struct sockaddr *)&f->addr;

	if (!*want)
		return true;
	return s ? s->family == sa->sa_family && iface_same_net(bytes_of(sa, &n), s->bytes, s->prefix) : !strcmp(f->name, want);
}

/* A row from the kernel's; false when nobody could use it. */
static bool usable(const struct ifaddrs *a, struct iface *f)
{
	size_t n;
	const void *bytes = a->ifa_addr ? bytes_of(a->ifa_addr, &n) : NULL;

	if (!bytes || !(a->ifa_flags & IFF_UP) || (n == 16 && IN6_IS_ADDR_LINKLOCAL((const struct in6_addr *)bytes)))
		return false;
	memset(f, 0, sizeof(*f));
	f->len = n == 4 ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
	memcpy(&f->addr, a->ifa_addr, f->len);
	f->prefix = mask_bits(a->ifa_netmask);
	f->loopback = a->ifa_flags & IFF_LOOPBACK;
	snprintf(f->name, sizeof(f->name), "%s", a->ifa_name);
	return inet_ntop(a->ifa_addr->sa_family, bytes, f->text, sizeof(f->text));
}

/* The interface of the default route (IPv4, least metric), or "". */
static void default_route(char name[16])
{
	char line[256], one[16];
	unsigned to, mask;
	int metric, least = INT_MAX;
	FILE *f = fopen("/proc/net/route", "re");

	name[0] = 0;
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "%15s %x %*x %*x %*d %*d %d %x", one, &to, &metric, &mask) == 4 && !to && !mask && metric < least) {
			least = metric;
			memcpy(name, one, sizeof(one));
		}
	if (f)
		fclose(f);
}

enum { CLASSES = 4 };

/* Others are most likely reached by the default route's; an IPv4 address of one's own choice is a service processor's network, or nobody's. */
static int class_of(const struct iface *f, const char *route)
{
	const struct sockaddr_in *in = (const struct sockaddr_in *)&f->addr;

	if (f->loopback)
		return 3;
	if (in->sin_family == AF_INET && ntohl(in->sin_addr.s_addr) >> 16 == 0xa9fe)
		return 2;
	return strcmp(f->name, route) ? 1 : 0;
}

static int none_found(const char *want, const struct ifaddrs *all)
{
	char have[256] = "none";
	size_t used = 0;
	struct iface f;

	for (const struct ifaddrs *a = all; a && used < sizeof(have); a = a->ifa_next)
		if (usable(a, &f))
			used += (size_t)snprintf(have + used, sizeof(have) - used, "%s%s %s", used ? ", " : "", f.name, f.text);
	return err_set(TUTTI_ERR_CONFIG, "TUTTI_IFACE: expected an interface or a subnet of this machine (%s), got \"%s\"", have, want);
}

int iface_list(const char *want, struct iface *list, int max)
{
	struct iface_net s;
	bool subnet = iface_net_parse(want, &s);
	struct ifaddrs *all = NULL;
	struct iface f;
	char route[16];
	int n = 0;

	if (getifaddrs(&all) < 0)
		return err_sys("cannot list the network interfaces");
	default_route(route);
	for (int class = 0; class < CLASSES; class++)
		for (const struct ifaddrs *a = all; a && n < max; a = a->ifa_next)
			if (usable(a, &f) && class_of(&f, route) == class && wanted(&f, want, subnet ? &s : NULL))
				list[n++] = f;
	if (!n)
		n = none_found(want, all);
	freeifaddrs(all);
	return n;
}

int iface_address(const char *want, struct sockaddr_storage *addr, socklen_t *len, char *text, size_t cap)
{
	struct iface f;
	int n = iface_list(want, &f, 1);

	if (n < 0)
		return n;
	*addr = f.addr;
	*len = f.len;
	if (text)
		snprintf(text, cap, "%s", f.text);
	return TUTTI_OK;
}
