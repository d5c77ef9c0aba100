/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `tutti tune --fabric FILE`: how far are machines from each other? Their first ranks speak for them.
 *
 *      rank 0:  order ---> all      who is the next pair, and how many samples
 *               the pair measures, the others wait for the next order
 *               times <--- the first of the pair
 *               ... until all pairs are through; then groups, and the file (tune_fabric_file.c)
 *
 * One pair at a time, nothing else is on its way: so times say what two machines have between them, and do not depend on who met whom when.
 * What they cannot say is how much a switch carries for many at once: an uplink that is as fast as one machine's link looks like none.
 *
 * Of the samples the shortest counts: what disturbs a message makes it longer, on some machines more than on others, and is no distance.
 */
#include <base/clock.h>
#include <base/err.h>
#include <stdlib.h>
#include <string.h>
#include <tools/tune_fabric.h>

enum { PINGS = 20, SAMPLES = 9, ROUND = 2 };

/* a, b: ranks; samples 0: nothing more. */
struct order { int32_t a, b, samples; };

struct lab {
	struct tutti_comm *c;
	char *out, *in;                 /* FABRIC_LARGE bytes each */
	int64_t deadline;               /* rank 0's */
};

/* ---- what a pair does --------------------------------------------------------------------------------------------------------- */

static int put(struct lab *l, int to, size_t bytes) { return tutti_send(l->out, bytes, TUTTI_UINT8, to, l->c); }
static int get(struct lab *l, int from, size_t bytes) { return tutti_recv(l->in, bytes, TUTTI_UINT8, from, l->c); }

static void keep_least(double *least, int64_t start, double parts)
{
	double seconds = (double)(clock_ns() - start) * 1e-9 / parts;
	*least = *least > 0 && *least < seconds ? *least : seconds;
}

/* There and back */
static int ping(struct lab *l, int peer, bool first)
{
	int status = first ? put(l, peer, FABRIC_SMALL) : get(l, peer, FABRIC_SMALL);
	if (!status)
		status = first ? get(l, peer, FABRIC_SMALL) : put(l, peer, FABRIC_SMALL);
	return status;
}

/* Both ways at once. The last word is the second's, once it has all: of two directions the slower one counts. */
static int exchange(struct lab *l, int peer, bool first)
{
	struct tutti_request *req[2] = { NULL, NULL };
	int status = tutti_recv_async(l->in, FABRIC_LARGE, TUTTI_UINT8, peer, l->c, &req[0]);
	if (!status)
		status = tutti_send_async(l->out, FABRIC_LARGE, TUTTI_UINT8, peer, l->c, &req[1]);
	for (int k = 0; k < 2; k++) {
		int s = tutti_wait(&req[k], -1);
		status = status ? status : s;
	}
	if (!status)
		status = first ? get(l, peer, 0) : put(l, peer, 0);
	return status;
}

/* Samples, after one that does not count: it connects, and warms up. */
static int measure(struct lab *l, const struct order *o, struct fabric_times *t)
{
	bool first = l->c->rank == o->a;
	int peer = first ? o->b : o->a, status = TUTTI_OK;
	for (int i = -1; i < o->samples && !status; i++) {
		if (i == 0)
			*t = (struct fabric_times){ 0, 0 };
		for (int k = 0; k < PINGS && !status; k++) {
			int64_t start = clock_ns();
			status = ping(l, peer, first);
			keep_least(&t->small, start, ROUND);
		}
		int64_t start = clock_ns();
		if (!status)
			status = exchange(l, peer, first);
		keep_least(&t->large, start, 1);
	}
	return status;
}

/* Do my part. *t: rank 0's to keep. */
static int obey(struct lab *l, const struct order *o, struct fabric_times *t)
{
	int me = l->c->rank, status = TUTTI_OK;
	*t = (struct fabric_times){ 0, 0 };
	if (me == o->a || me == o->b)
		status = measure(l, o, t);
	if (!status && o->a != 0 && me == o->a)
		status = tutti_send(&t->small, 2, TUTTI_FLOAT64, 0, l->c);
	if (!status && o->a != 0 && me == 0)
		status = tutti_recv(&t->small, 2, TUTTI_FLOAT64, o->a, l->c);
	return status;
}

static int say(struct lab *l, struct order *o) { return tutti_broadcast(o, o, sizeof *o, TUTTI_UINT8, 0, l->c); }

static int follow(struct lab *l)
{
	struct order o = { 0 };
	struct fabric_times unused;
	int status = say(l, &o);
	while (!status && o.samples) {
		status = obey(l, &o, &unused);
		if (!status)
			status = say(l, &o);
	}
	return status;
}

/* ---- rank 0 ---------------------------------------------------------------------------------------------------------------------- */

static int ask(struct lab *l, struct order o, struct fabric_times *t)
{
	int status = say(l, &o);
	return status ? status : obey(l, &o, t);
}

static double seconds_left(const struct lab *l) { return (double)(l->deadline - clock_ns()) * 1e-9; }

/* One sample says how many fit into `seconds`. */
static int measure_pair(struct lab *l, int a, int b, double seconds, struct fabric_times *t)
{
	struct fabric_times more;
	int64_t start = clock_ns();
	int status = ask(l, (struct order){ a, b, 1 }, t);
	double one = t->large + PINGS * ROUND * t->small, fit = (seconds - (double)(clock_ns() - start) * 1e-9) / one - 1;
	if (status || fit < 1)
		return status;
	status = ask(l, (struct order){ a, b, fit < SAMPLES ? (int32_t)fit : SAMPLES }, &more);
	t->small = more.small < t->small ? more.small : t->small;
	t->large = more.large < t->large ? more.large : t->large;
	return status;
}

/* All pairs: one that is not known would look like a gap. */
static int measure_all(struct lab *l, struct fabric_map *m)
{
	int pairs = m->n * (m->n - 1) / 2, done = 0, status = TUTTI_OK;
	for (int a = 0; a < m->n && !status; a++)
		for (int b = a + 1; b < m->n && !status; b++) {
			struct fabric_times *t = &m->times[a * m->n + b];
			double left = seconds_left(l);
			if (left <= 0)
				return err_set(TUTTI_ERR_TIMEOUT, "--budget: expected time for %d pairs of machines, it was over after %d",
				               pairs, done);
			status = measure_pair(l, m->rank[a], m->rank[b], left / (pairs - done), t);
			m->times[b * m->n + a] = *t;
			done++;
		}
	return status;
}

static double distance(void *ctx, int a, int b)
{
	const struct fabric_map *m = ctx;
	return m->times[a * m->n + b].large;
}

/* The first rank of each machine, as the communicator sees machines. */
static int find_machines(const struct topo *t, struct fabric_map *m)
{
	for (int r = 0; r < t->nranks; r++) {
		int k = 0;
		while (k < m->n && t->node[m->rank[k]] != t->node[r])
			k++;
		if (k < m->n)
			continue;
		if (m->n == FABRIC_MACHINES)
			return err_set(TUTTI_ERR_INVALID, "--fabric: expected ranks on at most %d machines, got more: a job on some of them tells "
			               "about those", FABRIC_MACHINES);
		m->rank[m->n++] = r;
	}
	if (m->n > 1)
		return TUTTI_OK;
	return err_set(TUTTI_ERR_INVALID, "--fabric: expected ranks on at least 2 machines, got 1: there is no network between them");
}

/* Says whatever happens here when it is over: the others would wait. */
static int lead(struct lab *l, const struct tune_options *o, struct fabric_map *m)
{
	struct order stop = { 0 };
	int status = find_machines(l->c->topo, m);
	if (!status)
		status = fabric_check(m, o);
	if (!status)
		status = measure_all(l, m);
	int told = say(l, &stop);
	if (status || told)
		return status ? status : told;
	m->groups = topo_group(m->n, distance, m, FABRIC_FACTOR, m->group);
	return m->groups < 0 ? m->groups : fabric_write(m, o);
}

int tune_fabric(struct tune *t)
{
	struct lab l = { .c = t->comm, .deadline = t->deadline };
	struct fabric_map *m = t->comm->rank ? NULL : calloc(1, sizeof *m);
	struct topo_record mine, *all = t->comm->rank ? NULL : calloc((size_t)t->comm->nranks, sizeof *all);
	void *mem = NULL;
	int status = t->comm->rank || (m && all) ? topo_discover(&mine) : err_set(TUTTI_ERR_NOMEM, "no memory for %d ranks", t->comm->nranks);
	if (!status)
		status = tutti_gather(&mine, all, sizeof mine, TUTTI_UINT8, 0, t->comm);
	if (!status)
		status = tutti_mem_alloc(&mem, 2 * FABRIC_LARGE);
	if (!status) {
		memset(mem, 1, 2 * FABRIC_LARGE);
		l.out = mem;
		l.in = l.out + FABRIC_LARGE;
		if (m) {
			m->records = all;
			m->nranks = t->comm->nranks;
		}
		status = m ? lead(&l, t->o, m) : follow(&l);
	}
	tutti_mem_free(mem);
	free(all);
	free(m);
	return status;
}
