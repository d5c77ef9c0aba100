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
#include <base/iface.h>
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

/* ---- text ---- */

/* topo_parse; where: the file it comes from, or NULL. */
int parse_text(struct topo **t, const char *text, const char *where);

/*
 * "100Gb,1us", comma-separated, into e (0: not said). *end: what follows; NULL: it is as should be; else what should have stood there, at
 * *end.
 */
const char *parse_figures(const char *text, const char **end, struct edge *e);

/* A whole file; free *text. */
int read_text(const char *path, char **text);

/* ---- machines ---- */

/* Where to look. xml: hwloc's file instead of this machine; sys: "/sys", or NULL; ifaces: addresses. */
struct source {
	const char *xml, *sys;
	const struct iface *ifaces;
	int nifaces;
};

/* A core that this process may use, as records number it. */
struct spot { int16_t package, numa, core; };

/* Fills all of r but machine and host. free *spots. */
int discover(const struct source *from, struct topo_record *r, struct spot **spots, int *nspots);

/* nranks (0: one each) on the spots in turn. */
int machine_tree(struct topo **t, const struct source *from, const char *host, int nranks);

/* ---- records ---- */

int record_check(const struct topo_record *r, int rank);

/* One machine of a job: its ranks' records are all[ranks[0]] ... */
struct host {
	uint64_t machine;
	const int32_t *ranks;
	int nranks;
	int32_t parent;                 /* for fabric_attach to say */
};

/* The NICs that the ranks of a host have found, each once: how many. */
enum { HOST_NICS = 64 };
int host_nics(const struct topo_record *all, const struct host *h, const struct topo_record_nic *list[HOST_NICS]);

/* Adds the switches to b, which has the root, and says below which place each host is. path: topo_from_records' fabric. */
int fabric_attach(struct build *b, const char *path, const struct topo_record *all, struct host *hosts, int nhosts);

/* ---- printing ---- */

/* "100 Gb/s, 1 us", as the kind is used to; "" when nothing is known. */
enum { FIGURES = 48 };
const char *figures(char text[FIGURES], enum topo_kind kind, double bandwidth, double latency);

/*
 * What folds: a number a place, equal for places that differ in nothing but rank numbers and names that do not matter. free it; NULL: no
 * memory.
 */
uint64_t *topo_shapes(const struct topo *t);

/* How many places from p on, siblings up to place end, are equal to p: at least 1. */
int topo_fold(const struct topo *t, const uint64_t *shape, int32_t p, int32_t end);
#endif
