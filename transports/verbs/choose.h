/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which ports, and which GID of each? A pure function of what was found and what is wanted, so that machines that are not here can be tested as data.
 *
 *      device.c: ports[] as found  --->  verbs_choose  --->  order of rails, a GID each, and the reason for each port that is not one
 */
#ifndef VERBS_CHOOSE_H
#define VERBS_CHOOSE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { VERBS_RAILS = 4, VERBS_PORTS = 64, VERBS_GIDS = 64 };

enum verbs_gid_type { VERBS_GID_IB, VERBS_GID_ROCE_V1, VERBS_GID_ROCE_V2 };
struct verbs_gid { int index; enum verbs_gid_type type; uint8_t raw[16]; };

struct verbs_port {
	char device[64];
	int port;
	bool infiniband;                /* the link layer; else Ethernet */
	bool active;
	char state[16];                 /* "down", when not active */
	int lid, mtu;                   /* mtu: active, bytes */
	double gbits;                   /* 0: unknown */
	int numa;                       /* -1: unknown */
	int ngids;
	struct verbs_gid gids[VERBS_GIDS];
	/* verbs_choose's */
	bool rail;
	int gid;                        /* index into gids, when it is one */
	char why[160];                  /* why it is a rail, or is not */
};

struct verbs_wish {
	const char *devices;            /* "mlx5_0:1,mlx5_2" or "^mlx5_1"; "": all */
	int gid;                        /* index; -1: choose */
	int numa;                       /* where this rank runs; -1: anywhere */
};

/* rail[i] = index of the i-th rail's port; returns how many (0: none, every port says why). */
int verbs_choose(struct verbs_port *ports, int n, const struct verbs_wish *w, int rail[VERBS_RAILS]);

/* Can these two talk? NULL: yes; else why not. */
const char *verbs_apart(bool infiniband, const uint8_t gid[16], bool its_infiniband, const uint8_t its_gid[16]);

/* "10.0.0.1" for a mapped IPv4 address, else IPv6 */
const char *verbs_gid_text(const uint8_t raw[16], char *buf, size_t cap);
#endif
