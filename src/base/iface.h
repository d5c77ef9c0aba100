/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The addresses of this machine, as TUTTI_IFACE wants them.
 *
 *      ""                every address of an interface that is up: first those of the default route's, then others, 169.254.*, loopback
 *      "eth0"            those of one interface
 *      "10.0.0.0/8"      those within one subnet ("fd00::/8")
 *
 * Link-local IPv6 addresses are left out: they mean nothing on another machine without the name of its interface.
 */
#ifndef BASE_IFACE_H
#define BASE_IFACE_H
#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#define IFACE_TEXT 64

struct iface {
	struct sockaddr_storage addr;   /* port 0 */
	socklen_t len;
	unsigned prefix;                /* bits of its subnet */
	bool loopback;
	char name[16];
	char text[IFACE_TEXT];          /* "10.0.0.5" */
};

/* Up to max (at least 1) of them into list: how many; or TUTTI_ERR_CONFIG with what there is instead. */
int iface_list(const char *want, struct iface *list, int max);

/* The first of them. TUTTI_OK, or as above; text may be NULL. */
int iface_address(const char *want, struct sockaddr_storage *addr, socklen_t *len, char *text, size_t cap);

/* "10.0.0.0/8", "fd00::/8": false when text is no subnet. bytes: in network byte order, as many as the family has. */
struct iface_net { int family; unsigned char bytes[16]; unsigned prefix; };
bool iface_net_parse(const char *text, struct iface_net *net);

/* Are the first `bits` bits of two addresses (network byte order) equal? */
bool iface_same_net(const void *a, const void *b, unsigned bits);
#endif
