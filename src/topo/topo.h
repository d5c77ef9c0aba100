/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the ranks live: an immutable tree of places. Ranks hang at the places they run on, devices at the places they are near to.
 *
 *      fabric -- switch -- node --+-- nic
 *                                 +-- package -- numa -- core -- rank
 *
 * Any floor between the fabric and a rank may be missing, switches may be nested. Every place hangs on its parent by an edge with a latency
 * and a bandwidth. It may come from hwloc's discovery, a file or one line of text; nothing above can tell which.
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
	const int32_t *nic;             /* the NIC of its node that rank r uses: the nearest, equally near ones in turn; -1: none */
};

extern const char *const topo_kinds[TOPO_KINDS];        /* "fabric" ... */

/* ---- making one: *t on success only; topo_free it --------------------------------------------------------------- */

/*
 * From text: words KIND:COUNT[@FIGURES], outermost first, the last one rank. '#' begins a comment, up to the end of its line.
 *
 *      switch:2@100Gb,1us node:8 nic:2@25Gb,5us rank:8@20GB,200ns
 *
 * means: below the fabric 2 switches, below each 8 nodes, in each 2 NICs and 8 ranks. Kinds: switch (may be repeated), node, package, numa,
 * core, rank; nic and gpu hang beside what the next word says. "rank:8,8,4" gives each parent a count of its own, in order. Figures are
 * those of the edge up to the parent: a bandwidth (kb Mb Gb Tb: bits a second; kB MB GB TB: bytes a second; powers of 1000), a latency (ns
 * us ms s), or both. Ranks are numbered in the order of the tree. TUTTI_ERR_CONFIG for a bad text, with what was expected, what came, and
 * the column.
 */
int topo_parse(struct topo **t, const char *text);

/*
 * From wherever a topology is described: text as above, or a file when the word begins with '@', contains '/' or ends in ".xml" or ".topo".
 * A file holds text as above, or hwloc's XML of one machine, whose cores then get a rank each in turn. nranks: how many ranks it must have;
 * 0: as many as it says, a machine one a core. A mistake in a file comes with the file's name and the line.
 */
int topo_open(struct topo **t, const char *source, int nranks);

/* This machine, with the cores that this process may use: nranks on them in turn (0: one each). */
int topo_machine(struct topo **t, int nranks);

/*
 * From what the ranks of a job find out, each for itself:
 *
 *      rank 0: topo_discover --> record \
 *      rank 1: topo_discover --> record  --- all-gather --->  topo_from_records, on every rank: the same tree
 *      ...                             /
 *
 * A record is bytes from another rank: topo_from_records checks all of them (TUTTI_ERR_MISMATCH, naming the rank). Packages, NUMA nodes and
 * cores are numbered as the whole machine has them, whatever part of it a rank may use; -1: not known, or the rank may use several.
 */
enum { TOPO_RECORD_MAGIC = 0x54550001, TOPO_RECORD_NICS = 8, TOPO_RECORD_GPUS = 8, TOPO_RECORD_HOST = 64, TOPO_RECORD_NIC = 20 };

struct topo_record_nic {
	char name[TOPO_RECORD_NIC];     /* "eth0", "mlx5_0:1" */
	int16_t package, numa;          /* near to these */
	uint32_t mbits;                 /* a second; 0: not known */
	uint8_t family, prefix;         /* of its subnet: '4', '6', 'I' (InfiniBand: the subnet prefix); 0: none known */
	uint8_t addr[16];
};

struct topo_record {
	uint32_t magic;                 /* TOPO_RECORD_MAGIC; its low half is the version */
	uint16_t nnics, ngpus;
	uint64_t machine;               /* equal for ranks of one machine */
	int16_t package, numa, core;    /* the only one that this rank may run on */
	int16_t packages, numas, cores; /* how many this rank may run on */
	char host[TOPO_RECORD_HOST];    /* TUTTI_NODE, or the host's name */
	struct topo_record_nic nic[TOPO_RECORD_NICS];   /* the fastest, should there be more */
	struct { int16_t package, numa; } gpu[TOPO_RECORD_GPUS];
};
_Static_assert(sizeof(struct topo_record) <= 512, "every rank holds one of every rank for a while");

int topo_discover(struct topo_record *mine);

/*
 * Ranks are grouped by machine, nodes stand in the order of their first ranks. fabric: a file that says which switches there are, "" for
 * none:
 *
 *      switch rack1@100Gb,2us: hostA hostB 10.1.0.0/24
 *      switch spine@400Gb: rack1 rack2
 *
 * A word behind the colon is a switch named above, a host's name (TUTTI_NODE's, too), or a subnet that one of the host's addresses is in.
 * Without a file, nodes whose NICs share a subnet are below one switch, if not all of them do.
 */
int topo_from_records(struct topo **t, const struct topo_record *all, int nranks, const char *fabric);

/*
 * The part of a tree where n of its ranks are: rank i of the part is rank ranks[i] of t. What has none of them below it is left out; the
 * devices of a place that stays, stay.
 */
int topo_part(struct topo **part, const struct topo *t, const int *ranks, int n);

void topo_free(struct topo *t);

/* Equal for equal trees, names and all: what ranks compare. */
uint64_t topo_digest(const struct topo *t);

/* ---- asking it -------------------------------------------------------------------------------------------------- */

/* The lowest place that both ranks are below. */
int32_t topo_common(const struct topo *t, int a, int b);

/*
 * The edges that a message from rank a to rank b crosses, in order; an edge is named by the place at its lower end. On one node they lead
 * from a's place up to the common one and down to b's; between nodes out of a's NIC (when one is known), from the node up through the
 * switches, and down likewise. Returns how many; 0 for a == b.
 */
struct topo_hop { int32_t place; bool up; };
enum { TOPO_PATH = 2 * TOPO_DEPTH };
int topo_path(const struct topo *t, int a, int b, struct topo_hop hop[TOPO_PATH]);

/*
 * How ranks are grouped: level 0 are the nodes, then each floor of switches outward. A level that says nothing is left out: all ranks in
 * one unit, or each unit the same as one of the level below (below the first: the ranks themselves). unit[r] is rank r's unit; units are
 * numbered in the order of their first ranks, and each lies within one of the next level. Returns how many units the level has; 0: there is
 * no such level; or TUTTI_ERR_NOMEM.
 */
int topo_units(const struct topo *t, int level, int32_t *unit);

/* For people: one line a place, equal neighbours folded into one. The same tree gives the same text. */
void topo_print(FILE *f, const struct topo *t);

/* A drawing: boxes in boxes, equal ones folded when there are many. Self-contained SVG. */
void topo_svg(FILE *f, const struct topo *t);

/* ---- finding groups in what was measured ------------------------------------------------------------------------ */

/*
 * n nodes, distance(ctx, a, b) from a to b (seconds, say; of two directions the longer counts; not above 0, or not a number: not known,
 * far). Nodes are in one group when a chain of near neighbours joins them: near is what is below the widest gap among the distances that
 * join everything (single linkage), provided that beyond the gap they are at least `factor` (2 is good) times as long, and that most nodes
 * have a neighbour. group[i]: from 0, in order of first nodes. Returns how many groups; 1: there is no clear gap; or TUTTI_ERR_NOMEM.
 */
int topo_group(int n, double (*distance)(void *ctx, int a, int b), void *ctx, double factor, int32_t *group);
#endif
