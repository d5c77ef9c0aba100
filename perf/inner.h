/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the suite share. struct perf lives in perf_run; a case is one row of the table; each is measured out of place, then in place. */
#ifndef PERF_INNER_H
#define PERF_INNER_H
#include <perf/perf.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <tutti/tutti.h>

/* ---- coll.c: the collectives ------------------------------------------------------------------------------------ */

struct perf_call {
	const void *send;
	void *recv;
	size_t count;
	enum tutti_type type;
	int op, root;
	struct tutti_comm *comm;
};

enum { PERF_REQUESTS = 2 };             /* that one call may start */

enum perf_place { PLACE_SAME, PLACE_SEND_IN_RECV, PLACE_RECV_IN_SEND, PLACE_NONE };     /* in place: where the smaller buffer lies, at block `rank` */
enum perf_factor { FACTOR_NONE, FACTOR_ONE, FACTOR_SHARE, FACTOR_TWICE };               /* busbw / algbw: 1, (n-1)/n, 2(n-1)/n; none: no bandwidth */
enum perf_from { FROM_ALL, FROM_BLOCK, FROM_ROOT, FROM_LEFT };                          /* whose input is in block b: everybody's, rank b's, ... */

struct perf_coll {
	const char *name;
	bool send_n, recv_n;            /* buffers of one block a rank */
	bool reduces, rooted;
	enum perf_place place;
	enum perf_factor factor;
	enum perf_from from;
	bool own_block;                 /* which block of that input: this rank's, or the first */
	bool at_root;                   /* results at the root only */
	int (*call)(const struct perf_call *c);
	int (*start)(const struct perf_call *c, struct tutti_request **req);    /* fills up to PERF_REQUESTS */
};

const struct perf_coll *perf_coll_find(const char *name);      /* NULL when there is none */
double perf_busbw_factor(enum perf_factor f, int nranks);

/* ---- data.c: inputs, and the results they must give --------------------------------------------------------------- */

/* The numbers of one call. Values depend on rank and index, and are small enough that every result is exact, whatever the order. */
struct perf_data { int type, op, nranks; uint64_t seed; };

enum { DATA_ALL = -1 };

/* Elements [first, first + count) of what rank `from` sends, or (DATA_ALL) of the reduction of it over all ranks. */
void perf_data_make(void *buf, const struct perf_data *d, int from, size_t first, size_t count);

/* How many of the elements at buf differ from these */
size_t perf_data_wrong(const void *buf, const struct perf_data *d, int from, size_t first, size_t count);

/* ---- measure.c ---------------------------------------------------------------------------------------------------- */

struct perf_case {
	size_t size, count;             /* bytes of the larger buffer; elements of the call */
	int type, op, root;
};

struct perf_result {
	bool none;                      /* the collective has no such variant */
	double us;                      /* average over the iterations of the slowest rank */
	double min, median, p99;        /* with JSON only */
	int64_t wrong;                  /* over all ranks; -1: not checked */
	char plan[96];                  /* what ran: "all_reduce ring, 12 steps, ..." */
};

struct perf {
	const struct perf_options *o;
	const struct perf_coll *coll;
	struct tutti_comm *comm;
	int rank, nranks;
	char *send, *recv;              /* o->agg buffers of `room` bytes each */
	size_t room;
	struct tutti_request **reqs;    /* o->agg * PERF_REQUESTS */
	double *times;                  /* of each iteration, microseconds */
	FILE *json;
	char *routes;                   /* how the peers are reached */
	int rows;
	double busbw;                   /* sum over bandwidths measured, and how many */
	int bandwidths;
	int64_t wrong;
};

/* Collective. TUTTI_OK, or the status of the call that failed. */
int perf_measure(struct perf *p, const struct perf_case *k, bool in_place, struct perf_result *r);

/* ---- report.c: does nothing on ranks other than 0 ------------------------------------------------------------------- */

int report_open(struct perf *p);        /* -1 after a sentence */
void report_describe(struct perf *p, struct perf_result *r);    /* keep what the library says of its last operation */
void report_row(struct perf *p, const struct perf_case *k, const struct perf_result *out, const struct perf_result *in);
int report_close(struct perf *p, int status);   /* -1 after a sentence: the JSON file could not be written */
#endif
