/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one measuring loop that every library is compiled into: all-reduce, float32, sum.
 *
 *      for each size, mode and place:   ROUNDS x ( barrier, iterations, stop the clock )   ->   median of the rounds, each that of its slowest rank
 *
 *  modes   back to back   the same call again and again: buffers stay where the last call left them
 *          application    write the input, reduce, read the result; and the same without reducing, to be subtracted
 *  places  in, out        in place, out of place
 *
 * Rank 0 prints one line a measurement: mode place bytes iterations us base_us. Each size is first checked to be reduced at all.
 */
#ifndef VERSUS_LOOP_H
#define VERSUS_LOOP_H
#include "common.h"
#include <perf/touch.h>
#include <stdio.h>

struct peer {
	int rank, nranks;
	void *(*alloc)(size_t bytes);                                   /* the library's own allocation; NULL on failure */
	int (*all_reduce)(const void *in, void *out, size_t count);     /* float32, sum; in == out: in place. 0, or a failure that it has printed */
	int (*slowest)(double *value);                                  /* the largest over all ranks, which also serves as a barrier */
};

enum { ROUNDS = 5, WARMUP = 3, BYTES_A_ROUND = 32 << 20, ITERS_MIN = 2, ITERS_MAX = 1000 };

static volatile uint64_t loop_sink;

/* The same for every library: by bytes alone. */
static int iterations(size_t bytes, int divide)
{
	size_t n = BYTES_A_ROUND / bytes / (size_t)divide;

	return n < ITERS_MIN ? ITERS_MIN : n > ITERS_MAX ? ITERS_MAX : (int)n;
}

struct measure { int application, reduces, iters; char *in, *out; size_t bytes; };

static int turns(const struct peer *p, const struct measure *m, int n)
{
	for (int i = 0; i < n; i++) {
		if (m->application)
			touch_write(m->in, m->bytes, 0);
		if (m->reduces && p->all_reduce(m->in, m->out, m->bytes / sizeof(float)))
			return -1;
		if (m->application)
			loop_sink += touch_read(m->out, m->bytes);
	}
	return 0;
}

/* Median over rounds of the slowest rank's time of one iteration; negative after a failure */
static double measure(const struct peer *p, const struct measure *m)
{
	double us[ROUNDS], barrier = 0, start;

	if (turns(p, m, WARMUP < m->iters ? WARMUP : m->iters))
		return -1;
	for (int r = 0; r < ROUNDS; r++) {
		if (p->slowest(&barrier))
			return -1;
		start = now_us();
		if (turns(p, m, m->iters))
			return -1;
		us[r] = (now_us() - start) / m->iters;
		if (p->slowest(&us[r]))
			return -1;
	}
	return median(us, ROUNDS);
}

static int is_right(const struct peer *p, const struct measure *m)
{
	float *in = (float *)m->in, *out = (float *)m->out;
	size_t n = m->bytes / sizeof(float);

	for (size_t i = 0; i < n; i++)
		in[i] = (float)(p->rank + (int)(i % 7));
	if (p->all_reduce(in, out, n))
		return 0;
	for (size_t i = 0; i < n; i++)
		if (out[i] != (float)(p->nranks * (p->nranks - 1) / 2 + p->nranks * (int)(i % 7))) {
			fprintf(stderr, "versus: rank %d: element %zu of %zu is %g\n", p->rank, i, n, (double)out[i]);
			return 0;
		}
	memset(in, 0, m->bytes);        /* sums of zeros stay zeros, however often */
	memset(out, 0, m->bytes);
	return 1;
}

/* VERSUS_ONLY="back-to-back in": this mode and place alone */
static int is_wanted(const char *mode, const char *place)
{
	const char *only = getenv("VERSUS_ONLY");
	char this[32];

	snprintf(this, sizeof this, "%s %s", mode, place);
	return !only || !*only || !strcmp(only, this);
}

static int sweep_size(const struct peer *p, char *a, char *b, size_t bytes, int divide)
{
	for (int out = 0; out < 2; out++)
		for (int application = 0; application < 2; application++) {
			const char *mode = application ? "application" : "back-to-back", *place = out ? "out" : "in";
			struct measure m = { application, 1, iterations(bytes, divide), a, out ? b : a, bytes };
			double us, base = 0;

			if (!is_wanted(mode, place))
				continue;
			if (!is_right(p, &m) || (us = measure(p, &m)) < 0)
				return -1;
			m.reduces = 0;
			if (application && (base = measure(p, &m)) < 0)
				return -1;
			if (p->rank == 0)
				printf("%s %s %zu %d %.3f %.3f\n", mode, place, bytes, m.iters, us, base);
			fflush(stdout);
		}
	return 0;
}

/* argv: the divisor of the iterations, then sizes in bytes */
static int sweep(const struct peer *p, int argc, char **argv)
{
	int divide = argc > 1 ? atoi(argv[1]) : 0;
	size_t most = 0;
	char *a, *b;

	for (int i = 2; i < argc; i++)
		most = strtoull(argv[i], NULL, 10) > most ? strtoull(argv[i], NULL, 10) : most;
	if (divide < 1 || most < sizeof(float)) {
		fprintf(stderr, "usage: %s DIVISOR BYTES...\n", argv[0]);
		return -1;
	}
	pin(p->rank, p->nranks);
	a = p->alloc(most);
	b = p->alloc(most);
	if (!a || !b) {
		fprintf(stderr, "versus: no memory for twice %zu bytes\n", most);
		return -1;
	}
	for (int i = 2; i < argc; i++)
		if (sweep_size(p, a, b, strtoull(argv[i], NULL, 10), divide))
			return -1;
	return 0;
}
#endif
