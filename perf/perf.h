/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The perf suite behind `tutti perf`: measures and checks one collective over sizes, types, operators and roots.
 *
 *      perf.c  ->  measure.c  ->  coll.c     call one collective
 *                     |      ->  data.c     what goes in, what must come out
 *                     +-> report.c          rows, JSON
 *
 * It uses the library as any program does, by its public header. Options mean what they mean in nccl-tests.
 */
#ifndef PERF_PERF_H
#define PERF_PERF_H
#include <stddef.h>

struct perf_options {
	const char *coll;               /* the collective's name */
	int ranks;                      /* ranks to start; 0: this process is a rank, or the only one */
	size_t min, max, step;          /* bytes; max 0: min */
	int factor;                     /* > 1: sizes are multiplied by it, else step is added */
	int iters, warmup, agg, check, blocking, touch;
	const char *types, *ops;        /* a name or "all" */
	int root;                       /* -1: all */
	const char *memory;             /* shared or private */
	const char *json;               /* file name, NULL: none */
	const char *transport, *algo;   /* NULL: not forced */
	size_t slice;
	int channels;
};
#define PERF_DEFAULTS { .min = 32 << 20, .step = 1 << 20, .factor = 1, .iters = 20, .warmup = 5, .agg = 1, .check = 1, .blocking = 1, \
	.types = "float", .ops = "sum", .memory = "shared" }

/* Is all of it legal? TUTTI_OK, or TUTTI_ERR_INVALID with a sentence (base/err.h). */
int perf_check(const struct perf_options *o);

/* Run as one rank. The exit status: 0, or 1 after wrong results or an error, which was said on stderr. o has passed perf_check. */
int perf_run(const struct perf_options *o);
#endif
