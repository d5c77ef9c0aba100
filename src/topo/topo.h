/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the ranks live: an immutable tree of places. Ranks hang at the places they run on, devices at the places they are near to.
 *
 *      fabric -- switch -- node --+-- nic
 *                                 +-- package -- numa -- core -- rank
 *
 * Any floor between the fabric and a rank may be missing, switches may be nested. Every place hangs on its parent by an edge with a latency and a
 * bandwidth. It may come from hwloc's discovery, a file or one line of text; nothing above can tell which.
 */
#ifndef TOPO_TOPO_H
#define TOPO_TOPO_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum topo_kind { TOPO_FABRIC, TOPO_SWITCH, TOPO_NODE, TOPO_PACKAGE, TOPO_NUMA, TOPO_CORE, TOPO_RANK, TOPO_NIC, TOPO_GPU, TOPO_KINDS };
enum { TOPO_NAME = 32 };

struct topo_place {
	uint8_t kind;
	int32_t parent;                 /* parents stand before their children; -1: the root, place 0 */
	int32_t index;                  /* the how manieth of its kind below its parent, from 0 */
	double latency;                 /* of the edge to the parent, one way, seconds; 0: not known */
	double bandwidth;               /* of that edge, each way, bytes a second; 0: not known, or no limit */
	char name[TOPO_NAME];           /* "mlx5_0:1"; "" when it has none */
};

struct topo {
	int nplaces, nranks;
	const struct topo_place *place;
	const int32_t *rank;            /* rank r's place, of kind TOPO_RANK */
	const int32_t *node;            /* the node that rank r is on (the root when there is none) */
	const int32_t *nic;             /* the NIC of its node that rank r uses: the nearest, in turn among equally near ones; -1: none is known */
};
