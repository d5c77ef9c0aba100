/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses: as 24 bytes on the wire, as text for people, from names; and a listening socket at one. */
#include <arpa/inet.h>
#include <base/config.h>
#include <base/iface.h>
#include <boot/inner.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static struct sockaddr_in *v4(const struct place *p) { return (struct sockaddr_in *)&p->addr; }
static struct sockaddr_in6 *v6(const struct place *p) { return (struct sockaddr_in6 *)&p->addr; }

static void make(struct place *p, int family, const void *ip, int port, uint32_t scope)
{
	*p = (struct place){ 0 };
	p->addr.ss_family = (sa_family_t)family;
	if (family == AF_INET) {
		memcpy(&v4(p)->sin_addr, ip, 4);
		p->len = sizeof(struct sockaddr_in);
	} else {
		memcpy(&v6(p)->sin6_addr, ip, 16);
		v6(p)->sin6_scope_id = scope;
		p->len = sizeof(struct sockaddr_in6);
	}
	place_set_port(p, port);
}

int place_from(struct place *p, const void *addr, size_t len)
{
	struct place s = { .len = 0 };

	memcpy(&s.addr, addr, len < sizeof s.addr ? len : sizeof s.addr);
	if (s.addr.ss_family == AF_INET && len >= sizeof(struct sockaddr_in))
		make(p, AF_INET, &v4(&s)->sin_addr, place_port(&s), 0);
	else if (s.addr.ss_family != AF_INET6 || len < sizeof(struct sockaddr_in6))
		return err_set(TUTTI_ERR_INVALID, "address: expected IPv4 or IPv6, got family %d", s.addr.ss_family);
	else if (IN6_IS_ADDR_V4MAPPED(&v6(&s)->sin6_addr))
		make(p, AF_INET, v6(&s)->sin6_addr.s6_addr + 12, place_port(&s), 0);
	else
		make(p, AF_INET6, &v6(&s)->sin6_addr, place_port(&s), v6(&s)->sin6_scope_id);
	return TUTTI_OK;
}

void place_put(unsigned char *out, const struct place *p)
{
	bool four = p->addr.ss_family == AF_INET;

	memset(out, 0, PLACE_BYTES);
	out[0] = four ? 4 : 6;
	le_put(out + 2, (uint64_t)place_port(p), 2);
	le_put(out + 4, four ? 0 : v6(p)->sin6_scope_id, 4);
	if (four)
		memcpy(out + 8, &v4(p)->sin_addr, 4);
	else
		memcpy(out + 8, &v6(p)->sin6_addr, 16);
}

int place_get(struct place *p, const unsigned char *in)
{
	int port = (int)le_get(in + 2, 2);

	if ((in[0] != 4 && in[0] != 6) || in[1] || !port)
		return err_set(TUTTI_ERR_INVALID, "address: expected IPv4 or IPv6 with a port, got family %d, port %d", in[0], port);
	make(p, in[0] == 4 ? AF_INET : AF_INET6, in + 8, port, (uint32_t)le_get(in + 4, 4));
	return TUTTI_OK;
}

int place_port(const struct place *p)
{
	return ntohs(p->addr.ss_family == AF_INET ? v4(p)->sin_port : v6(p)->sin6_port);
}

void place_set_port(struct place *p, int port)
{
	*(p->addr.ss_family == AF_INET ? &v4(p)->sin_port : &v6(p)->sin6_port) = htons((uint16_t)port);
}

int nth_port(int first, int i)
{
	return first + i <= 65535 ? first + i : first + i - 65536 + 1024;
}

bool place_loopback(const struct place *p)
{
	if (p->addr.ss_family == AF_INET)
		return ntohl(v4(p)->sin_addr.s_addr) >> 24 == 127;
	return IN6_IS_ADDR_LOOPBACK(&v6(p)->sin6_addr);
}

void place_any(struct place *p, int family, int port)
{
	make(p, family, &in6addr_any, port, 0);
}

const char *place_text(const struct place *p, char *buf, size_t cap)
{
	char ip[INET6_ADDRSTRLEN] = "?";
	bool four = p->addr.ss_family == AF_INET;

	inet_ntop(p->addr.ss_family, four ? (void *)&v4(p)->sin_addr : (void *)&v6(p)->sin6_addr, ip, sizeof ip);
	snprintf(buf, cap, four ? "%s:%d" : "[%s]:%d", ip, place_port(p));
	return buf;
}

int place_resolve(const char *host, struct place *places, int max)
{
	struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM }, *list;
	int rc = getaddrinfo(host, NULL, &hints, &list), n = 0;

	if (rc)
		return err_set(TUTTI_ERR_CONFIG, "host \"%s\": %s", host, rc == EAI_SYSTEM ? strerror(errno) : gai_strerror(rc));
	for (struct addrinfo *a = list; a && n < max; a = a->ai_next)
		n += place_from(&places[n], a->ai_addr, a->ai_addrlen) == TUTTI_OK;
	freeaddrinfo(list);
	return n ? n : err_set(TUTTI_ERR_CONFIG, "host \"%s\": no IPv4 or IPv6 address", host);
}

int place_listen(const struct place *p, int *fd)
{
	int one = 1, only = p->addr.ss_family == AF_INET6 && !IN6_IS_ADDR_UNSPECIFIED(&v6(p)->sin6_addr), code;
	int s = socket(p->addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	char text[PLACE_TEXT];

	if (s < 0)
		return err_sys("socket");
	setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (p->addr.ss_family == AF_INET6)
		setsockopt(s, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof only);
	if (bind(s, (const struct sockaddr *)&p->addr, p->len) || listen(s, SOMAXCONN)) {
		code = errno;
		close(s);
		errno = code;
		err_sys("cannot listen at %s", place_text(p, text, sizeof text));
		errno = code;
		return TUTTI_ERR_SYSTEM;
	}
	*fd = s;
	return TUTTI_OK;
}

bool place_of_socket(struct place *p, int fd)
{
	struct sockaddr_storage addr;
	socklen_t len = sizeof addr;

	return !getsockname(fd, (struct sockaddr *)&addr, &len) && !place_from(p, &addr, len);
}

int boot_local_address(void *addr, unsigned *len, char *text, size_t cap)
{
	const struct config *cfg = config_get();
	struct sockaddr_storage best;
	socklen_t n;
	int rc = cfg ? iface_address(cfg->iface, &best, &n, text, cap) : TUTTI_ERR_CONFIG;

	if (rc)
		return rc;
	memcpy(addr, &best, n);
	*len = n;
	return TUTTI_OK;
}
