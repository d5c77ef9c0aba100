/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between the sources of topologies and the tree.
 *
 *      parse, file, hwloc, records  --- build_add, build_rank --->  struct build  --- build_finish --->  struct topo
 *
 * Places may be added in any order, as long as a parent is there before its children; siblings keep their order. A failure sticks.
 */
#ifndef TOPO_INNER_H
#define TOPO_INNER_H
#include <topo/topo.h>

struct build {
	struct topo_place *place;       /* until it is finished, a rank's index is its number */
	int n, cap, nranks;
	int status;
};

struct edge { double bandwidth, latency; };

/* Each returns the new place; -1 after a failure. The first place added is the root: TOPO_FABRIC, parent -1. */
int build_add(struct build *b, int parent, enum topo_kind kind, const char *name, struct edge edge);
int build_rank(struct build *b, int parent, int rank, struct edge edge);

/* Checks it (ranks 0 ... nranks - 1, each once), and frees b's memory whatever happens. */
int build_finish(struct build *b, struct topo **t);

/* topo_parse; where: the file it comes from, or NULL. */
int parse_text(struct topo **t, const char *text, const char *where);

/* "100 Gb/s, 1 us", as the kind is used to; "" when nothing is known. */
enum { FIGURES = 48 };
const char *figures(char text[FIGURES], enum topo_kind kind, double bandwidth, double latency);

/* What folds: a number a place, equal for places that differ in nothing but rank numbers and names that do not matter. free it; NULL: no memory. */
uint64_t *topo_shapes(const struct topo *t);

/* How many places from p on, siblings up to place end, are equal to p: at least 1. */
int topo_fold(const struct topo *t, const uint64_t *shape, int32_t p, int32_t end);
#endif
