/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What things cost here, measured.
 *
 *      rank 0:  order ---> all      what is to be done next, and by whom
 *               a pair does it, the others wait for the next order
 *               result <--- the one who held the watch
 *               ... until the budget is over: "stop", and the costs
 *
 * Rank 0 alone decides, by its own clock; the others follow its orders. Every figure is the median of some samples. How a figure becomes
 * one of struct costs is read off the simulator: for n bytes, alone and one way,
 *
 *      half a ping-pong    start + latency (edges', too) + 2 (overhead + step)
 *      back to back        start + overhead + step a message, n byte a long one's
 *      both ways at once   2 n byte_core, when cores are what is short
 */
#include <base/clock.h>
#include <base/log.h>
#include <base/type.h>
#include <comm/comm.h>
#include <model/model.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MI ((size_t)1 << 20)
enum { SMALL = 8, LONG = 512 << 10, BEYOND = 8 << 20, SAMPLES = 9, NETWORK_PAIRS = 3, LOOK_AT = 64 };
enum what { STOP, PING, FLOW, BOTH, MEMORY, LINK };

/* b: the other of the pair; of a link, any rank of the other node. */
struct order { int32_t what, a, b, samples, iters, bytes; };

struct lab {
	struct tutti_comm *c;
	char *out, *in;                 /* LONG bytes each */
	double results[SAMPLES];
	double writing;                 /* seconds of a sample that do not count */
	/* rank 0 */
	int64_t deadline;
	int left;                       /* figures still to be measured, which share the time that is left */
};

static double above(double x, double least) { return x > least ? x : least; }
static double seconds_since(int64_t start) { return (double)(clock_ns() - start) * 1e-9; }

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static double median(double *v, int n)
{
	qsort(v, (size_t)n, sizeof *v, by_value);
	return (v[(n - 1) / 2] + v[n / 2]) / 2;
}

/* ---- what a pair does ----------------------------------------------------------------------------------------------------- */

static int put(struct lab *l, int to, size_t bytes) { return tutti_send(l->out, bytes, TUTTI_UINT8, to, l->c); }
static int get(struct lab *l, int from, size_t bytes) { return tutti_recv(l->in, bytes, TUTTI_UINT8, from, l->c); }

static int ping(struct lab *l, const struct order *o, int peer, bool first)
{
	size_t n = (size_t)o->bytes;
	int status = TUTTI_OK;
	for (int i = 0; i < o->iters && !status; i++) {
		status = first ? put(l, peer, n) : get(l, peer, n);
		if (!status)
			status = first ? get(l, peer, n) : put(l, peer, n);
	}
	return status;
}

/* What is sent has just been written, or a receiver on the same machine would find it in its own cache. */
static void write_out(struct lab *l, size_t bytes, int turn)
{
	if (bytes <= SMALL)
		return;
	int64_t start = clock_ns();
	memset(l->out, turn, bytes);
	l->writing += seconds_since(start);
}

/* One way; the last word is the receiver's. */
static int flow(struct lab *l, const struct order *o, int peer, bool first)
{
	int status = TUTTI_OK;
	for (int i = 0; i < o->iters && !status; i++) {
		if (first)
			write_out(l, (size_t)o->bytes, i);
		status = first ? put(l, peer, (size_t)o->bytes) : get(l, peer, (size_t)o->bytes);
	}
	if (!status)
		status = first ? get(l, peer, 0) : put(l, peer, 0);
	return status;
}

static int both(struct lab *l, const struct order *o, int peer, bool first)
{
	int status = TUTTI_OK;
	(void)first;
	for (int i = 0; i < o->iters && !status; i++) {
		struct tutti_request *req[2] = { NULL, NULL };
		write_out(l, (size_t)o->bytes, i);
		status = tutti_recv_async(l->in, (size_t)o->bytes, TUTTI_UINT8, peer, l->c, &req[0]);
		if (!status)
			status = tutti_send_async(l->out, (size_t)o->bytes, TUTTI_UINT8, peer, l->c, &req[1]);
		for (int k = 0; k < 2; k++) {
			int s = tutti_wait(&req[k], -1);
			status = status ? status : s;
		}
	}
	return status;
}

/* Samples of something, after one that does not count: it connects, and warms up. *result: of one iteration. */
static int sampled(struct lab *l, const struct order *o, int peer, bool first, double *result)
{
	static int (*const does[])(struct lab *, const struct order *, int, bool) = {
		[PING] = ping, [FLOW] = flow, [BOTH] = both, [LINK] = flow
	};
	int status = TUTTI_OK, n = o->samples < SAMPLES ? o->samples : SAMPLES;
	for (int i = -1; i < n && !status; i++) {
		l->writing = 0;
		int64_t start = clock_ns();
		status = does[o->what](l, o, peer, first);
		if (i >= 0)
			l->results[i] = above(seconds_since(start) - l->writing, 1e-12) / o->iters;
	}
	*result = median(l->results, n);
	return status;
}

/* ---- what more than a pair do ----------------------------------------------------------------------------------------------- */

/* The how manieth rank of its node, and how many there are. */
static int seat_of(const struct topo *t, int rank, int *n)
{
	int seat = 0;
	*n = 0;
	for (int r = 0; r < t->nranks; r++)
		if (t->node[r] == t->node[rank]) {
			seat += r < rank;
			++*n;
		}
	return seat;
}

static int pairs_between(const struct topo *t, int a, int b)
{
	int na, nb;
	seat_of(t, a, &na);
	seat_of(t, b, &nb);
	return na < nb ? na : nb;
}

/* Who sits on b's node as rank does on its own. */
static int opposite(const struct topo *t, int rank, int b)
{
	int n, seat = seat_of(t, rank, &n);
	for (int r = 0; r < t->nranks; r++)
		if (t->node[r] == t->node[b] && seat-- == 0)
			return r;
	return -1;
}

/* All ranks of a node copy what no cache of a core holds, at once. No median: ranks that share cores take turns. */
static int copy_all(const struct order *o, double *result)
{
	char *from = malloc((size_t)o->bytes), *to = malloc((size_t)o->bytes);
	if (from && to) {
		memset(from, 1, (size_t)o->bytes);
		memset(to, 1, (size_t)o->bytes);
		int64_t start = clock_ns();
		for (int i = 0; i < o->iters; i++)
			copy_bytes(to, from, (size_t)o->bytes);
		*result = seconds_since(start) / o->iters;
	}
	free(from);
	free(to);
	return from && to ? TUTTI_OK : err_set(TUTTI_ERR_NOMEM, "no memory for 2 buffers of %d bytes", o->bytes);
}

/* Results go to rank 0, in the order of the ranks that hold a watch; it keeps the longest. */
static int report(struct lab *l, int watcher, double *result)
{
	double theirs = 0;
	int status = TUTTI_OK, me = l->c->rank;
	if (me == watcher && me != 0)
		status = tutti_send(result, 1, TUTTI_FLOAT64, 0, l->c);
	if (me == 0 && watcher != 0) {
		status = tutti_recv(&theirs, 1, TUTTI_FLOAT64, watcher, l->c);
		*result = theirs > *result ? theirs : *result;
	}
	return status;
}

static int obey_link(struct lab *l, const struct order *o, double *result)
{
	const struct topo *t = l->c->topo;
	int me = l->c->rank, n = pairs_between(t, o->a, o->b), mine, status = TUTTI_OK;
	bool first = t->node[me] == t->node[o->a], second = t->node[me] == t->node[o->b];
	if ((first || second) && seat_of(t, me, &mine) < n)
		status = sampled(l, o, opposite(t, me, first ? o->b : o->a), first, result);
	if (!first)
		*result = 0;
	for (int r = 0, left = n; r < t->nranks && left > 0 && !status; r++)
		if (t->node[r] == t->node[o->a]) {
			status = report(l, r, result);
			left--;
		}
	return status;
}

/* Do my part. *result: rank 0's to keep. */
static int obey(struct lab *l, const struct order *o, double *result)
{
	int me = l->c->rank, status = TUTTI_OK;
	*result = 0;
	if (o->what == LINK)
		return obey_link(l, o, result);
	if (o->what == MEMORY)
		return l->c->topo->node[me] == l->c->topo->node[0] ? copy_all(o, result) : TUTTI_OK;
	if (me == o->a || me == o->b)
		status = sampled(l, o, me == o->a ? o->b : o->a, me == o->a, result);
	if (me == 0 && o->a != 0)
		*result = 0;
	return status ? status : report(l, o->a, result);
}

static int say(struct lab *l, struct order *o) { return tutti_broadcast(o, o, sizeof *o, TUTTI_UINT8, 0, l->c); }

static int ask(struct lab *l, struct order o, double *result)
{
	int status = say(l, &o);
	return status ? status : obey(l, &o, result);
}

/* ---- rank 0: how long for what ---------------------------------------------------------------------------------------------- */

/* Seconds for the next figure; 0: the time is over. */
static double share(struct lab *l)
{
	double left = (double)(l->deadline - clock_ns()) * 1e-9;
	return left > 0 && l->left > 0 ? left / l->left-- : 0;
}

static int miss(const char *what)
{
	log_msg(LOG_INFO, "calibration: the time was over before %s: the default stands", what);
	return TUTTI_PENDING;
}

/* A short try tells how many iterations fit; when none do, its own figure is taken. TUTTI_PENDING: the time was over before. */
static int figure(struct lab *l, enum what what, int a, int b, int bytes, double *result)
{
	double time = share(l), total;
	struct order o = { (int32_t)what, a, b, 1, bytes > SMALL ? 1 : 4, bytes };
	char name[64];
	snprintf(name, sizeof name, "rank %d and rank %d were through with %d bytes", a, b, bytes);
	if (time <= 0)
		return miss(name);
	int64_t start = clock_ns();
	int status = ask(l, o, result);
	total = (time - seconds_since(start)) / (*result > 1e-9 ? *result : 1e-9);
	if (status || total < SAMPLES + 1)
		return status;
	o.samples = SAMPLES;
	o.iters = total < 400 * (SAMPLES + 1) ? (int)(total / (SAMPLES + 1)) : 400;
	o.iters = bytes > SMALL && o.iters > 20 ? 20 : o.iters;
	return ask(l, o, result);
}

/* ---- rank 0: by itself ------------------------------------------------------------------------------------------------------- */

/* Copy (or reduce) n bytes; seconds a byte of one operand. */
static double kernel(char *mem, size_t n, bool reduces, double time)
{
	const void *const operands[] = { mem + n, mem + 2 * n };
	double samples[SAMPLES];
	int got = 0;
	int64_t end = clock_ns() + (int64_t)(time * 1e9);
	for (int i = -1; i < SAMPLES && (i < 1 || clock_ns() < end); i++) {
		int64_t start = clock_ns();
		for (size_t done = 0; done < MI; done += n)     /* long enough for the clock */
			if (reduces)
				reduce_k(mem, operands, 2, n / sizeof(float), TUTTI_FLOAT32, TUTTI_SUM, 1);
			else
				copy_bytes(mem, mem + n, n);
		if (i >= 0)
			samples[got++] = seconds_since(start) / (double)(n * ((MI + n - 1) / n));
	}
	return median(samples, got) / (reduces ? 3 : 2);
}

static int kernels(struct lab *l, struct costs *costs)
{
	const size_t cached = costs->cache / 8 / 64 * 64;
	struct { double *rate; size_t n; bool reduces; const char *what; } all[] = {
		{ &costs->copy.cached, cached, false, "copies in the cache" },
		{ &costs->reduce.cached, cached, true, "reductions in the cache" },
		{ &costs->copy.memory, BEYOND, false, "copies in memory" },
		{ &costs->reduce.memory, BEYOND, true, "reductions in memory" },
	};
	char *mem = malloc(3 * (size_t)BEYOND);
	if (!mem)
		return err_set(TUTTI_ERR_NOMEM, "no memory for %d bytes", 3 * BEYOND);
	memset(mem, 0, 3 * (cached < BEYOND ? cached : BEYOND));
	for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
		double time = share(l);
		if (i == 2 && time > 0)
			memset(mem, 0, 3 * (size_t)BEYOND);
		if (time > 0)
			*all[i].rate = kernel(mem, all[i].n, all[i].reduces, time);
		else
			miss(all[i].what);
	}
	free(mem);
	return TUTTI_OK;
}

static int memory(struct lab *l, struct costs *costs)
{
	double time = share(l), result, one = costs->copy.memory * 2 * BEYOND;
	int n, iters = one > 0 ? (int)(time / one) : 1;
	seat_of(l->c->topo, 0, &n);
	if (time <= 0 || iters < 2)
		return miss("all ranks of a node copied at once");
	int status = ask(l, (struct order){ MEMORY, 0, 0, 1, iters / 2 < 20 ? iters / 2 : 20, BEYOND }, &result);
	if (!status)
		costs->memory = result / (2.0 * BEYOND * n);
	return status;
}

/* ---- rank 0: pairs ------------------------------------------------------------------------------------------------------------- */

struct pair { int a, b; };

/* The lowest ranks of each class; nodes far apart for the network. A class that only ranks beyond the first LOOK_AT have is not found. */
static int find_pairs(const struct topo *t, struct pair pair[NEARS], struct pair far[NETWORK_PAIRS])
{
	int found = 0, n = 0, step, last = t->node[0];
	for (int i = 0; i < NEARS; i++)
		pair[i] = (struct pair){ -1, -1 };
	for (int a = 0; a < t->nranks && a < LOOK_AT && found < NEARS; a++)
		for (int b = a + 1; b < t->nranks && found < NEARS; b++) {
			struct pair *p = &pair[near_of(t, a, b)];
			if (p->a < 0) {
				*p = (struct pair){ a, b };
				found++;
			}
		}
	step = t->nranks / NETWORK_PAIRS > 0 ? t->nranks / NETWORK_PAIRS : 1;
	for (int b = pair[NEAR_NETWORK].b; b > 0 && b < t->nranks && n < NETWORK_PAIRS; b += step)
		if (t->node[b] != t->node[0] && t->node[b] != last) {
			far[n++] = (struct pair){ 0, b };
			last = t->node[b];
		}
	return n;
}

static double edges_latency(const struct topo *t, int a, int b)
{
	struct topo_hop hop[TOPO_PATH];
	double sum = 0;
	for (int i = topo_path(t, a, b, hop); i-- > 0;)
		sum += t->place[hop[i].place].latency;
	return sum;
}

static double least_of(double a, double b) { return a < b ? a : b; }

static int short_messages(struct lab *l, const struct costs *c, struct pair p, struct loggp *g)
{
	double half, gap;
	int status = figure(l, PING, p.a, p.b, SMALL, &half);
	if (status)
		return status;
	half /= 2;
	g->latency = above(half - c->start - 2 * (g->overhead + c->step) - edges_latency(l->c->topo, p.a, p.b), 1e-9);
	status = figure(l, FLOW, p.a, p.b, SMALL, &gap);
	if (status)
		return status;
	g->overhead = above(least_of(gap - c->start - c->step, half / 2), 1e-9);
	g->latency = above(half - c->start - 2 * (g->overhead + c->step) - edges_latency(l->c->topo, p.a, p.b), 1e-9);
	return TUTTI_OK;
}

/* Two ranks on one core do the work of both ends there. */
static int long_messages(struct lab *l, struct pair p, enum near near, struct loggp *g)
{
	double one, two;
	int status = figure(l, FLOW, p.a, p.b, LONG, &one);
	if (status)
		return status;
	g->byte = near == NEAR_CORE ? 0 : one / LONG;
	g->byte_core = one / LONG / (near == NEAR_CORE ? 2 : 1);
	status = figure(l, BOTH, p.a, p.b, LONG, &two);
	if (!status && near != NEAR_CORE)       /* both ways take as long as one, or at most twice as long */
		g->byte_core = least_of(above(two - g->latency, one), 2 * one) / 2 / LONG;
	return status;
}

/* The time being over (TUTTI_PENDING) is no failure, and what is not measured stays. */
static int pair_costs(struct lab *l, const struct costs *c, struct pair p, enum near near, struct loggp *g)
{
	int status = short_messages(l, c, p, g);
	if (status >= 0)
		status = long_messages(l, p, near, g);
	return status < 0 ? status : TUTTI_OK;
}

static int network(struct lab *l, struct costs *c, const struct pair *far, int n)
{
	struct loggp g[NETWORK_PAIRS], *all = &c->pair[NEAR_NETWORK];
	double v[4][NETWORK_PAIRS];
	int status = TUTTI_OK;
	for (int i = 0; i < n && !status; i++) {
		g[i] = *all;
		status = pair_costs(l, c, far[i], NEAR_NETWORK, &g[i]);
		v[0][i] = g[i].latency;
		v[1][i] = g[i].overhead;
		v[2][i] = g[i].byte;
		v[3][i] = g[i].byte_core;
	}
	if (status || !n)
		return status;
	*all = (struct loggp){ median(v[0], n), median(v[1], n), median(v[3], n), median(v[2], n), all->eager };
	return status;
}

/* All ranks of one node to those of another, at once. */
static int link_costs(struct lab *l, struct costs *c, struct pair p)
{
	double result;
	int status = figure(l, LINK, p.a, p.b, LONG, &result);
	if (!status)
		c->link_measured = result / LONG / pairs_between(l->c->topo, p.a, p.b);
	return status < 0 ? status : TUTTI_OK;
}

/* ---- the whole --------------------------------------------------------------------------------------------------------------- */

static int measure(struct lab *l, struct costs *c, int64_t budget_ms)
{
	struct pair pair[NEARS], far[NETWORK_PAIRS];
	int nfar = find_pairs(l->c->topo, pair, far), status;
	l->deadline = clock_after_ms(budget_ms);
	l->left = 5 + (nfar > 0) + 4 * nfar;
	for (int i = 0; i < NEAR_NETWORK; i++)
		l->left += pair[i].a < 0 ? 0 : 4;
	status = kernels(l, c);
	for (int i = 0; i < NEAR_NETWORK && !status; i++)
		if (pair[i].a >= 0)
			status = pair_costs(l, c, pair[i], (enum near)i, &c->pair[i]);
	if (!status)
		status = network(l, c, far, nfar);
	if (!status && nfar)
		status = link_costs(l, c, far[0]);
	if (!status)
		status = memory(l, c);
	return status < 0 ? status : TUTTI_OK;
}

static int lead(struct lab *l, struct costs *c, int64_t budget_ms)
{
	long cache = sysconf(_SC_LEVEL2_CACHE_SIZE);
	costs_default(c);
	if (cache >= 128 << 10 && cache <= 64 << 20)
		c->cache = (size_t)cache;
	int status = measure(l, c, budget_ms > 0 ? budget_ms : 0);
	struct order stop = { .what = STOP };
	return status ? status : say(l, &stop);
}

static int follow(struct lab *l)
{
	struct order o = { .what = STOP };
	double unused;
	int status = say(l, &o);
	for (; !status && o.what != STOP; status = say(l, &o)) {
		status = obey(l, &o, &unused);
		if (status)
			break;
	}
	return status;
}

int comm_calibrate(struct tutti_comm *c, struct costs *costs, int64_t budget_ms)
{
	struct lab l = { .c = c };
	struct costs found = { 0 };
	void *mem;
	int status = tutti_mem_alloc(&mem, 2 * LONG);
	if (status)
		return status;
	l.out = mem;
	l.in = l.out + LONG;
	memset(mem, 0, 2 * LONG);
	status = c->rank == 0 ? lead(&l, &found, budget_ms) : follow(&l);
	if (!status)
		status = tutti_broadcast(&found, &found, sizeof found, TUTTI_UINT8, 0, c);
	tutti_mem_free(mem);
	if (!status)
		*costs = found;
	return status;
}
