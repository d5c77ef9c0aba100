/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the ranks live: an immutable tree of places. Ranks hang at the places they run on, devices at the places they are near to.
 *
 *      fabric -- switch -- node --+-- nic
 *                                 +-- package -- numa -- core -- rank
 *
 * Any floor between the fabric and a rank may be missing, switches may be nested. Every place hangs on its parent by an edge with a latency and a
 * bandwidth. It may come from hwloc's discovery, a file or one line of text; nothing above can tell which.
 *
 * Places stand in the order of a walk through the tree: a parent, then each child with all that is below it. So the places below p are
 * p + 1 ... end - 1, and the children of p are met by  for (c = p + 1; c < place[p].end; c = place[c].end).
 */
#ifndef TOPO_TOPO_H
#define TOPO_TOPO_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum topo_kind { TOPO_FABRIC, TOPO_SWITCH, TOPO_NODE, TOPO_PACKAGE, TOPO_NUMA, TOPO_CORE, TOPO_RANK, TOPO_NIC, TOPO_GPU, TOPO_KINDS };
enum { TOPO_NAME = 32, TOPO_DEPTH = 32, TOPO_RANKS_MAX = 1 << 20, TOPO_PLACES_MAX = 1 << 22 };

struct topo_place {
	uint8_t kind, depth;            /* depth: edges up to the root, below TOPO_DEPTH */
	int32_t parent;                 /* parents stand before their children; -1: the root, place 0 */
	int32_t index;                  /* the how manieth of its kind below its parent, from 0 */
	int32_t end;                    /* one past the last place below this one */
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

extern const char *const topo_kinds[TOPO_KINDS];        /* "fabric" ... */

/* ---- making one: *t on success only; topo_free it --------------------------------------------------------------- */

/*
 * From text: words KIND:COUNT[@FIGURES], outermost first, the last one rank. '#' begins a comment, up to the end of its line.
 *
 *      switch:2@100Gb,1us node:8 nic:2@25Gb,5us rank:8@20GB,200ns
 *
 * means: below the fabric 2 switches, below each 8 nodes, in each 2 NICs and 8 ranks. Kinds: switch (may be repeated), node, package, numa, core,
 * rank; nic and gpu hang beside what the next word says. "rank:8,8,4" gives each parent a count of its own, in order. Figures are those of the edge up to
 * the parent: a bandwidth (kb Mb Gb Tb: bits a second; kB MB GB TB: bytes a second; powers of 1000), a latency (ns us ms s), or both.
 * Ranks are numbered in the order of the tree. TUTTI_ERR_CONFIG for a bad text, with what was expected, what came, and the column.
 */
int topo_parse(struct topo **t, const char *text);
void topo_free(struct topo *t);

/* ---- asking it -------------------------------------------------------------------------------------------------- */

/* The lowest place that both ranks are below. */
int32_t topo_common(const struct topo *t, int a, int b);

/*
 * The edges that a message from rank a to rank b crosses, in order; an edge is named by the place at its lower end. On one node they lead from a's place
 * up to the common one and down to b's; between nodes out of a's NIC (when one is known), from the node up through the switches, and down likewise.
 * Returns how many; 0 for a == b.
 */
struct topo_hop { int32_t place; bool up; };
enum { TOPO_PATH = 2 * TOPO_DEPTH };
int topo_path(const struct topo *t, int a, int b, struct topo_hop hop[TOPO_PATH]);

/*
 * How ranks are grouped: level 0 are the nodes, then each floor of switches outward. A level that says nothing is left out: all ranks in one unit, or
 * each unit the same as one of the level below (below the first: the ranks themselves). unit[r] is rank r's unit; units are numbered in the
 * order of their first ranks, and each lies within one of the next level. Returns how many units the level has; 0: there is no such level;
 * or TUTTI_ERR_NOMEM.
 */
int topo_units(const struct topo *t, int level, int32_t *unit);

/* For people: one line a place, equal neighbours folded into one. The same tree gives the same text. */
void topo_print(FILE *f, const struct topo *t);
#endif
