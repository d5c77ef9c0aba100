/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `tutti tune --fabric FILE`: from times between machines to a file for TUTTI_FABRIC.
 *
 *      tune_fabric.c         all ranks: rank 0 orders, pairs of machines measure; rank 0 looks for groups
 *      tune_fabric_file.c    rank 0: the file, and what is said about it
 */
#ifndef TOOLS_TUNE_FABRIC_H
#define TOOLS_TUNE_FABRIC_H
#include <tools/tune.h>

enum { FABRIC_MACHINES = 64, FABRIC_SMALL = 8, FABRIC_LARGE = 1 << 20, FABRIC_FACTOR = 2 };

struct fabric_times { double small, large; };   /* seconds: one way, 8 bytes; both ways at once, 1 MiB */

/* Rank 0's. */
struct fabric_map {
	const struct topo_record *records;      /* of all ranks */
	int nranks, n, groups;                  /* n: machines */
	int rank[FABRIC_MACHINES];              /* the first of each machine */
	int32_t group[FABRIC_MACHINES];         /* each machine's, from 0 */
	struct fabric_times times[FABRIC_MACHINES * FABRIC_MACHINES];   /* [a * n + b] */
};

/* Before anything is measured: can a file be written there, and its words tell the machines apart? */
int fabric_check(const struct fabric_map *m, const struct tune_options *o);

/* Print what was measured; when there are groups write o->fabric, whole or not at all. */
int fabric_write(const struct fabric_map *m, const struct tune_options *o);
#endif
