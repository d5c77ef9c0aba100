/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An application's loop: write the input, call, read the result. Candidates take turns, so that what drifts drifts for all. Where a root
 * sends or gathers, all meet before each call: otherwise it would run ahead, and throughput be measured in place of time.
 */
#include <base/clock.h>
#include <base/type.h>
#include <perf/touch.h>
#include <stdlib.h>
#include <tools/tune.h>

static volatile uint64_t sink;          /* results are read for good */

/* A barrier's calls carry nothing. */
static uint64_t block(enum coll coll, int size) { return coll == COLL_BARRIER ? 0 : plan_size(size); }

static uint64_t blocks(enum coll coll, int nranks)
{
	uint64_t in = coll_in_blocks(coll, nranks), out = coll_out_blocks(coll, nranks);
	return in > out ? in : out;
}

uint64_t tune_bytes(enum coll coll, int nranks, int size) { return block(coll, size) * blocks(coll, nranks); }

static int make_room(struct tune *t, size_t bytes)
{
	void *send, *recv;
	if (bytes <= t->room)
		return TUTTI_OK;
	tutti_mem_free(t->send);
	tutti_mem_free(t->recv);
	t->send = t->recv = NULL;
	t->room = 0;
	int status = tutti_mem_alloc(&send, bytes);
	if (status)
		return status;
	t->send = send;
	status = tutti_mem_alloc(&recv, bytes);
	if (status)
		return status;
	t->recv = recv;
	t->room = bytes;
	return TUTTI_OK;
}

/* One candidate's turn: a call that makes its plan, then those that count. */
static int turn(struct tune *t, const struct tune_order *o, const struct plan_cell *cell, double *times)
{
	const struct perf_coll *coll = perf_coll_find(coll_rows[o->coll].name);
	const int n = t->comm->nranks;
	const enum coll which = (enum coll)o->coll;
	const size_t bytes = block(which, o->size), in = bytes * coll_in_blocks(which, n), out = bytes * coll_out_blocks(which, n);
	const struct perf_call call = { t->send, t->recv, bytes / sizeof(float), TUTTI_FLOAT32, TUTTI_SUM, 0, t->comm };
	const bool meets = coll_rows[o->coll].rooted;
	int status = comm_force(t->comm, cell);
	for (int i = -1; i < o->iters && !status; i++) {
		touch_write(t->send, in, (unsigned)i);
		status = meets ? tutti_barrier(t->comm) : TUTTI_OK;
		int64_t start = clock_ns();
		if (!status)
			status = coll->call(&call);
		if (i >= 0)
			times[i] = (double)(clock_ns() - start) * 1e-9;
		sink += touch_read(t->recv, out);
	}
	return status;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

/* times[i]: the slowest rank's counts. */
static int agree(struct tune *t, double *times, int n, bool glance, float *seconds)
{
	int status = tutti_all_reduce(times, times, (size_t)n, TUTTI_FLOAT64, TUTTI_MAX, t->comm);
	qsort(times, (size_t)n, sizeof *times, by_value);
	*seconds = (float)(glance ? times[0] : (times[(n - 1) / 2] + times[n / 2]) / 2);
	return status;
}

int tune_try(struct tune *t, struct tune_order *o)
{
	const int samples = o->rounds * o->iters;
	int status = make_room(t, (size_t)tune_bytes((enum coll)o->coll, t->comm->nranks, o->size) + sizeof(float));
	if (!status && (samples < 1 || samples > TUNE_SAMPLES || o->n > TUNE_TRIES_MAX))
		status = err_set(TUTTI_ERR_INTERNAL, "tune: %d samples of %d candidates were ordered", samples, o->n);
	for (int r = 0; r < o->rounds && !status; r++)
		for (int k = 0; k < o->n && !status; k++) {
			int i = (k + r) % o->n;
			status = turn(t, o, &o->cell[i], t->times + i * TUNE_SAMPLES + r * o->iters);
		}
	if (!status)
		status = comm_force(t->comm, NULL);
	for (int i = 0; i < o->n && !status; i++)
		status = agree(t, t->times + i * TUNE_SAMPLES, samples, o->glance, &o->cell[i].seconds);
	return status;
}
