/* SPDX-License-Identifier: Apache-2.0 */
/* Time one case, then check it. The time printed comes from one pair of clock readings around all iterations; only the distribution reads the clock in between. */
#include <base/clock.h>
#include <base/type.h>
#include <perf/inner.h>
#include <perf/touch.h>
#include <stdlib.h>
#include <string.h>

enum { POISON = 0x5a, LONG_MS = 5000 };

static volatile uint64_t sink;          /* results are read for good */

static size_t block(const struct perf_case *k)
{
	return k->count * type_bytes(k->type);
}

static size_t send_bytes(const struct perf *p, const struct perf_case *k)
{
	return block(k) * (p->coll->send_n ? (size_t)p->nranks : 1);
}

static size_t recv_bytes(const struct perf *p, const struct perf_case *k)
{
	return block(k) * (p->coll->recv_n ? (size_t)p->nranks : 1);
}

static struct perf_call call_of(const struct perf *p, const struct perf_case *k, bool in_place, int copy)
{
	char *send = p->send + (size_t)copy * p->room, *recv = p->recv + (size_t)copy * p->room;
	size_t mine = block(k) * (size_t)p->rank;

	if (in_place)
		send = recv + (p->coll->place == PLACE_SEND_IN_RECV ? mine : 0);
	if (in_place && p->coll->place == PLACE_RECV_IN_SEND)
		recv += mine;
	return (struct perf_call){ send, recv, k->count, (enum tutti_type)k->type, k->op, k->root, p->comm };
}

/* One iteration: a blocking call, or o->agg at the same time. */
static int once(struct perf *p, const struct perf_case *k, bool in_place)
{
	int status = TUTTI_OK, n = p->o->agg;

	if (n == 1 && p->o->blocking) {
		struct perf_call c = call_of(p, k, in_place, 0);
		return p->coll->call(&c);
	}
	for (int i = 0; i < n && !status; i++) {
		struct perf_call c = call_of(p, k, in_place, i);
		status = p->coll->start(&c, p->reqs + i * PERF_REQUESTS);
	}
	for (int i = 0; i < n * PERF_REQUESTS; i++) {
		int s = tutti_wait(&p->reqs[i], -1);
		status = status ? status : s;
	}
	return status;
}

static void write_inputs(struct perf *p, const struct perf_case *k, bool in_place, unsigned turn)
{
	for (int i = 0; i < p->o->agg; i++)
		touch_write((void *)(uintptr_t)call_of(p, k, in_place, i).send, send_bytes(p, k), turn);
}

static void read_results(struct perf *p, const struct perf_case *k, bool in_place)
{
	for (int i = 0; i < p->o->agg; i++)
		sink += touch_read(call_of(p, k, in_place, i).recv, recv_bytes(p, k));
}

/* ---- time --------------------------------------------------------------------------------------------------------- */

static int loop_whole(struct perf *p, const struct perf_case *k, bool in_place, int iters, double *us)
{
	int status = TUTTI_OK;
	int64_t start = clock_ns();

	for (int i = 0; i < iters && !status; i++)
		status = once(p, k, in_place);
	*us = (double)(clock_ns() - start) / 1e3;
	return status;
}

/* Fills p->times. In the application's mode writing and reading are not counted. */
static int loop_each(struct perf *p, const struct perf_case *k, bool in_place)
{
	int status = TUTTI_OK;

	for (int i = 0; i < p->o->iters && !status; i++) {
		int64_t start;

		if (p->o->touch)
			write_inputs(p, k, in_place, (unsigned)i);
		start = clock_ns();
		status = once(p, k, in_place);
		p->times[i] = (double)(clock_ns() - start) / 1e3;
		if (p->o->touch)
			read_results(p, k, in_place);
	}
	return status;
}

static int slowest(struct perf *p, double *us, size_t n)
{
	return tutti_all_reduce(us, us, n, TUTTI_FLOAT64, TUTTI_MAX, p->comm);
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void distribution(const struct perf *p, struct perf_result *r)
{
	int n = p->o->iters;

	qsort(p->times, (size_t)n, sizeof *p->times, by_value);
	r->min = p->times[0];
	r->median = (p->times[(n - 1) / 2] + p->times[n / 2]) / 2;
	r->p99 = p->times[(n - 1) * 99 / 100];
}

static double mean(const double *v, int n)
{
	double sum = 0;

	for (int i = 0; i < n; i++)
		sum += v[i];
	return sum / n;
}

static void announce(const struct perf *p, const struct perf_case *k, double each_us)
{
	double s = each_us * p->o->iters / 1e6;

	if (p->rank == 0 && s * 1000 > LONG_MS)
		fprintf(stderr, "tutti perf: %zu bytes: %d iterations will take about %.0f s\n", k->size, p->o->iters, s);
}

static int measure_time(struct perf *p, const struct perf_case *k, bool in_place, struct perf_result *r)
{
	const struct perf_options *o = p->o;
	double us;
	int status = loop_whole(p, k, in_place, o->warmup, &us);

	if (!status && o->warmup)
		announce(p, k, us / o->warmup);
	if (!status)
		status = tutti_barrier(p->comm);
	if (!status && !o->touch)
		status = loop_whole(p, k, in_place, o->iters, &us);
	report_describe(p, r);
	if (!status && !o->touch)
		status = slowest(p, &us, 1);
	r->us = us / o->iters / o->agg;
	if (status || (!o->touch && !o->json))
		return status;
	status = loop_each(p, k, in_place);
	if (!status)
		status = slowest(p, p->times, (size_t)o->iters);
	if (o->touch)
		r->us = mean(p->times, o->iters) / o->agg;
	distribution(p, r);
	return status;
}

/* ---- results ------------------------------------------------------------------------------------------------------ */

static void prepare(struct perf *p, const struct perf_case *k, bool in_place, const struct perf_data *d)
{
	for (int i = 0; i < p->o->agg; i++) {
		struct perf_call c = call_of(p, k, in_place, i);

		memset(c.recv, POISON, recv_bytes(p, k));
		perf_data_make((void *)(uintptr_t)c.send, d, p->rank, 0, send_bytes(p, k) / type_bytes(k->type));
	}
}

static size_t not_poison(const void *buf, size_t bytes)
{
	const unsigned char *p = buf;
	size_t n = 0;

	for (size_t i = 0; i < bytes; i++)
		n += p[i] != POISON;
	return n;
}

/* Block b of what this rank has received */
static size_t wrong_block(const struct perf *p, const struct perf_case *k, const struct perf_data *d, const void *recv, int b)
{
	int left = (p->rank + p->nranks - 1) % p->nranks;
	int from = p->coll->from == FROM_ALL ? DATA_ALL : p->coll->from == FROM_BLOCK ? b : p->coll->from == FROM_ROOT ? k->root : left;
	size_t first = p->coll->own_block ? k->count * (size_t)p->rank : 0;

	return perf_data_wrong((const char *)recv + (size_t)b * block(k), d, from, first, k->count);
}

/* Results are right, what is nobody's result is unwritten, and inputs are as they were. */
static size_t wrong_here(const struct perf *p, const struct perf_case *k, bool in_place, const struct perf_data *d, int copy)
{
	struct perf_call c = call_of(p, k, in_place, copy);
	bool has_result = !p->coll->at_root || p->rank == k->root;
	int blocks = !has_result ? 0 : p->coll->recv_n ? p->nranks : 1;
	size_t wrong = 0;

	for (int b = 0; b < blocks; b++)
		wrong += wrong_block(p, k, d, c.recv, b);
	if (in_place)
		return wrong;
	if (!has_result)
		wrong += not_poison(c.recv, recv_bytes(p, k));
	return wrong + perf_data_wrong(c.send, d, p->rank, 0, send_bytes(p, k) / type_bytes(k->type));
}

static int measure_wrong(struct perf *p, const struct perf_case *k, bool in_place, struct perf_result *r)
{
	struct perf_data d = { k->type, k->op, p->nranks, 0 };
	int status = TUTTI_OK;

	r->wrong = p->o->check ? 0 : -1;
	if (p->coll->factor == FACTOR_NONE)
		return status;
	for (int turn = 0; turn < p->o->check && !status; turn++) {
		d.seed = ((uint64_t)turn << 1 | in_place) << 52;
		prepare(p, k, in_place, &d);
		status = once(p, k, in_place);
		for (int i = 0; i < p->o->agg && !status; i++)
			r->wrong += (int64_t)wrong_here(p, k, in_place, &d, i);
	}
	if (p->o->check && !status)
		status = tutti_all_reduce(&r->wrong, &r->wrong, 1, TUTTI_INT64, TUTTI_SUM, p->comm);
	return status;
}

int perf_measure(struct perf *p, const struct perf_case *k, bool in_place, struct perf_result *r)
{
	struct perf_data d = { k->type, k->op, p->nranks, 0 };
	int status;

	*r = (struct perf_result){ .none = in_place && p->coll->place == PLACE_NONE };
	if (r->none)
		return TUTTI_OK;
	prepare(p, k, in_place, &d);
	status = measure_time(p, k, in_place, r);
	return status ? status : measure_wrong(p, k, in_place, r);
}
