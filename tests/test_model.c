/* SPDX-License-Identifier: Apache-2.0 */
/* The simulator: what algebra says about time, for messages, shared resources, pipelines and whole algorithms. Never how long it takes itself. */
#include <algo/algo.h>
#include <base/err.h>
#include <criterion/criterion.h>
#include <math.h>
#include <model/model.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(memory_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

#define KI 1024ull
#define MI (1024ull * KI)
enum { SLICE = 4096 };

/* Nothing costs anything but what a test adds. */
static const struct costs none = { .cache = 1ull << 40 };

static struct topo *topology(const char *text)
{
	struct topo *t = NULL;
	cr_assert_eq(topo_parse(&t, text), 0, "%s", err_last());
	return t;
}

static struct sim_result simulate(const struct algo *a, struct problem p, const char *where, const struct costs *c, uint64_t bytes, size_t slice)
{
	struct topo *t = topology(where);
	struct sim *s = NULL;
	struct sim_result r, again;
	p.coll = a->coll;
	p.nranks = t->nranks;
	cr_assert_eq(sim_open(&s, &(struct sim_job){ a, p }, t, c), 0, "%s", err_last());
	cr_assert_eq(sim_run(s, bytes, slice, &r), 0, "%s", err_last());
	cr_assert_eq(sim_run(s, bytes, slice, &again), 0, "%s", err_last());
	cr_assert(r.seconds == again.seconds && r.busy == again.busy && !strcmp(r.busiest, again.busiest), "two runs differ");
	sim_close(s);
	topo_free(t);
	return r;
}

static struct sim_result named(enum coll coll, const char *name, const char *where, const struct costs *c, uint64_t bytes)
{
	return simulate(algo_find(coll, name), (struct problem){ .pieces = 4, .channels = 1 }, where, c, bytes, SLICE);
}

static void near(double got, double want, double part)
{
	cr_assert(fabs(got - want) <= part * want, "expected %.9g us, got %.9g us", want * 1e6, got * 1e6);
}

/* ---- messages and resources --------------------------------------------------------------------------------------- */

static uint32_t four(const struct problem *p)
{
	(void)p;
	return 4;
}

/* Rank 2i sends all to rank 2i + 1. */
static void pairs(struct recorder *w, const struct problem *p, const struct group *g)
{
	(void)p;
	if (g->me % 2 == 0)
		rec_send(w, g->me + 1, span(BUF_IN, 0, 4));
	else
		rec_recv(w, g->me - 1, span(BUF_OUT, 0, 4));
}
static const struct algo pairs_algo = { .name = "pairs", .coll = COLL_ALL_REDUCE, .k_of = four, .build = pairs };

/* The lower half of the ranks sends to the upper half, each to its own. */
static void halves(struct recorder *w, const struct problem *p, const struct group *g)
{
	(void)p;
	if (g->me < g->n / 2)
		rec_send(w, g->me + g->n / 2, span(BUF_IN, 0, 4));
	else
		rec_recv(w, g->me - g->n / 2, span(BUF_OUT, 0, 4));
}
static const struct algo halves_algo = { .name = "halves", .coll = COLL_ALL_REDUCE, .k_of = four, .build = halves };

static double run(const struct algo *a, const char *where, const struct costs *c, uint64_t bytes)
{
	return simulate(a, (struct problem){ .pieces = 1, .channels = 1 }, where, c, bytes, SLICE).seconds;
}

Test(model, a_message_costs_latency_overheads_and_its_bytes)
{
	struct costs c = none;
	c.pair[NEAR_NODE] = (struct loggp){ 1e-6, 0.3e-6, 0, 1e-9, 0 };
	c.step = 0.1e-6;
	c.start = 0.5e-6;
	for (uint64_t n = 0; n <= 1 << 20; n = n * 8 + 1)
		near(run(&pairs_algo, "node:1 rank:2", &c, n), 0.5e-6 + 1e-6 + 2 * 0.4e-6 + 1e-9 * (double)n, 1e-6);
	c.pair[NEAR_NODE].eager = 1 << 30;
	near(run(&pairs_algo, "node:1 rank:2", &c, 1000), 0.5e-6 + 1e-6 + 2 * 0.4e-6 + 1e-6, 1e-6);
	c.pair[NEAR_NETWORK] = (struct loggp){ 1e-6, 0, 0, 0, 0 };     /* and the edges' latency, on both ways up and down; the narrowest edge counts */
	c.step = c.start = 0;
	near(run(&pairs_algo, "switch:1@1us,1GB node:2@2us,2GB nic:1@4us,4GB rank:1", &c, 1000), 1e-6 + 2 * 2e-6 + 2 * 4e-6 + 0.5e-6, 1e-6);
	near(run(&pairs_algo, "switch:2@1us,1GB node:1@2us,2GB nic:1@4us,4GB rank:1", &c, 1000), 1e-6 + 2 * 7e-6 + 1e-6, 1e-6);
}

Test(model, cores_work_at_each_end_in_a_pipeline)
{
	struct costs c = none;
	c.pair[NEAR_NODE].byte_core = 1e-9;
	double one = run(&pairs_algo, "node:1 rank:2", &c, MI), shared = run(&pairs_algo, "node:1 core:1 rank:2", &c, MI);
	cr_assert(one >= 1e-9 * MI && one <= 1e-9 * (double)(MI + 2 * SLICE), "%g", one);
	near(shared, 0, 0);             /* nothing is said about NEAR_CORE */
	c.pair[NEAR_CORE].byte_core = 1e-9;
	near(run(&pairs_algo, "node:1 core:1 rank:2", &c, MI), 2e-9 * MI, 1e-6);
	near(run(&pairs_algo, "node:1 core:2 rank:1", &c, MI), one, 1e-6);
	c.memory = 1e-9;                /* memory: nothing while all fits the caches; then read and written */
	near(run(&pairs_algo, "node:1 rank:2", &c, MI), one, 1e-6);
	c.cache = 0;
	near(run(&pairs_algo, "node:1 rank:2", &c, MI), 2e-9 * MI, 0.01);
}

Test(model, flows_share_a_nic_and_two_nics_do_not)
{
	double one = run(&pairs_algo, "node:2 nic:1@1GB rank:1", &none, MI);
	near(one, 1e-9 * MI, 1e-6);
	near(run(&halves_algo, "node:2 nic:1@1GB rank:2", &none, MI), 2 * one, 1e-6);
	near(run(&halves_algo, "node:2 nic:2@1GB rank:2", &none, MI), one, 1e-6);
	near(run(&halves_algo, "node:2 nic:2@1GB rank:8", &none, MI), 4 * one, 1e-6);
	near(run(&halves_algo, "switch:2@1GB node:4 nic:1@1GB rank:1", &none, MI), 4 * one, 1e-6);     /* through one link */
	struct sim_result r = simulate(&halves_algo, (struct problem){ .pieces = 1, .channels = 1 }, "switch:2@1GB node:4 nic:1@4GB rank:1", &none, MI, SLICE);
	cr_assert_str_eq(r.busiest, "switch 0 up");
	near(r.busy, 1, 1e-6);
	cr_assert(r.messages == 4 && r.node_bytes == MI);
}

Test(model, a_nodes_link_is_shared_and_what_is_known_or_measured_of_it_counts)
{
	struct costs c = none;
	c.link = 1e-9;
	near(run(&pairs_algo, "node:2 rank:1", &c, MI), 1e-9 * MI, 1e-6);
	near(run(&halves_algo, "node:2 rank:4", &c, MI), 4e-9 * MI, 1e-6);      /* four ranks through one link */
	near(run(&halves_algo, "node:2 nic:1@10GB rank:4", &c, MI), 0.4e-9 * MI, 1e-6);       /* known better than assumed */
	near(run(&halves_algo, "node:2@10GB rank:4", &c, MI), 0.4e-9 * MI, 1e-6);
	cr_assert_eq(run(&pairs_algo, "node:1 rank:2", &c, MI), 0);             /* nothing leaves the node */
	c.link_measured = 2e-9;
	near(run(&halves_algo, "node:2 rank:4", &c, MI), 8e-9 * MI, 1e-6);
	near(run(&halves_algo, "node:2 nic:1@10GB rank:4", &c, MI), 8e-9 * MI, 1e-6);         /* the topology claims better */
	near(run(&halves_algo, "node:2 nic:1@100MB rank:4", &c, MI), 40e-9 * MI, 1e-6);       /* or knows worse */
	struct sim_result r = simulate(&halves_algo, (struct problem){ .pieces = 1, .channels = 1 }, "node:2 rank:4", &c, MI, SLICE);
	cr_assert_str_eq(r.busiest, "link of node 0 out");
}

/* ---- waits ---------------------------------------------------------------------------------------------------------- */

/* Rank 0 sends its vector to rank 1, which sends it on to rank 2: the same part as it has received, or all of it with a part that it has not. */
static void relay(struct recorder *w, const struct group *g, struct span through)
{
	if (g->me == 0)
		rec_send(w, 1, span(BUF_IN, 0, 4));
	if (g->me == 1) {
		rec_recv(w, 0, span(BUF_OUT, 0, 4));
		rec_send(w, 2, through);
	}
	if (g->me == 2)
		rec_recv(w, 1, span(BUF_OUT, through.chunk, through.n));
}
static void relay_same(struct recorder *w, const struct problem *p, const struct group *g)
{
	(void)p;
	relay(w, g, span(BUF_OUT, 0, 4));
}
static void relay_last(struct recorder *w, const struct problem *p, const struct group *g)
{
	(void)p;
	relay(w, g, span(BUF_OUT, 3, 1));
}
/* Through a nop, as steps with many waits do. */
static void relay_whole(struct recorder *w, const struct problem *p, const struct group *g)
{
	(void)p;
	if (g->me == 1) {
		for (uint32_t i = 0; i < 4; i++)
			rec_recv(w, 0, span(BUF_OUT, i, 1));
		rec_send(w, 2, span(BUF_OUT, 0, 4));
	} else if (g->me == 0) {
		for (uint32_t i = 0; i < 4; i++)
			rec_send(w, 1, span(BUF_IN, i, 1));
	} else {
		rec_recv(w, 1, span(BUF_OUT, 0, 4));
	}
}

static struct algo algo_of(void (*build)(struct recorder *, const struct problem *, const struct group *))
{
	return (struct algo){ .name = "test", .coll = COLL_ALL_REDUCE, .k_of = four, .build = build };
}

Test(model, who_waits_for_the_same_bytes_streams_and_who_waits_for_all_does_not)
{
	struct algo same = algo_of(relay_same), whole = algo_of(relay_whole), last = algo_of(relay_last);
	struct costs c = none;
	const char *three = "node:1 rank:3";
	c.pair[NEAR_NODE].byte = 1e-9;
	double one = 1e-9 * MI, slice = 1e-9 * SLICE;
	near(run(&same, three, &c, MI), one + slice, 1e-6);
	near(run(&whole, three, &c, MI), one / 4 + one, 1e-6);          /* the four come side by side: nothing is narrow but each message */
	near(run(&last, three, &c, MI), one + slice, 1e-6);     /* the last quarter streams while it comes */
	near(simulate(&same, (struct problem){ .pieces = 1, .channels = 1 }, three, &c, MI, 2 * MI).seconds, 2 * one, 1e-6);
}

Test(model, a_chain_in_pieces_or_slices_approaches_one_transfer)
{
	struct costs c = none;
	c.pair[NEAR_NETWORK].latency = 1e-6;
	for (int pieces = 1; pieces <= 256; pieces *= 4)
		for (int n = 2; n <= 17; n += 5) {
			char where[64];
			snprintf(where, sizeof where, "node:%d nic:1@1GB rank:1", n);
			struct problem p = { .pieces = pieces, .channels = 1 };
			const struct algo *chain = algo_find(COLL_BROADCAST, "chain");
			double bytes = 1e-9 * 64 * MI, hops = n - 1;
			/* store and forward by pieces; the slice is larger than all */
			near(simulate(chain, p, where, &c, 64 * MI, 1024 * MI).seconds, bytes + (hops - 1) * bytes / pieces + hops * 1e-6, 0.01);
			near(simulate(chain, p, where, &c, 64 * MI, SLICE).seconds, bytes + (hops - 1) * SLICE * 1e-9 + hops * 1e-6, 0.01);
		}
}

/* ---- algorithms ------------------------------------------------------------------------------------------------------- */

Test(model, a_ring_moves_the_least_over_every_nic)
{
	for (int n = 2; n <= 33; n += n < 9 ? 1 : 8) {
		char where[64];
		snprintf(where, sizeof where, "node:%d nic:1@10GB rank:1", n);
		struct sim_result r = named(COLL_ALL_REDUCE, "ring", where, &none, 256 * MI);
		near(r.seconds, 2.0 * (n - 1) / n * 256 * MI / 10e9, 0.02);
		near(r.busy, 1, 0.02);
		near((double)r.node_bytes, 2.0 * (n - 1) / n * 256 * MI, 1e-3);
		cr_assert_eq(r.messages, 2u * (unsigned)(n - 1) * (unsigned)n);
	}
}

Test(model, a_barrier_takes_its_rounds)
{
	struct costs c = none;
	c.pair[NEAR_NETWORK] = (struct loggp){ 5e-6, 1e-6, 0, 0, 0 };
	for (int n = 2, rounds = 1; n <= 256; n *= 2, rounds++) {
		char where[64];
		snprintf(where, sizeof where, "node:%d rank:1", n);
		near(named(COLL_BARRIER, "dissemination", where, &c, 0).seconds, rounds * 7e-6, 1e-6);
	}
}

Test(model, a_set_on_a_node_is_read_once_and_reduced_in_one_pass)
{
	struct costs c = none;
	c.pair[NEAR_NODE].byte_core = 1e-9;
	struct sim_result to7 = named(COLL_BROADCAST, "direct", "node:1 rank:8", &c, MI);
	near(to7.seconds, 1e-9 * MI, 0.01);
	near(to7.passes, 3, 1e-6);              /* the root: sent once; a copy reads and writes */
	struct sim_result from7 = named(COLL_REDUCE, "direct", "node:1 rank:8", &c, MI);
	near(from7.seconds, 7e-9 * MI, 0.01);
	near(from7.passes, 9, 1e-6);            /* seven that arrive, its own, the result */
	struct sim_result far = named(COLL_BROADCAST, "direct", "node:8 nic:1@1GB rank:1", &none, MI);
	near(far.seconds, 7e-9 * MI, 0.01);
	cr_assert(far.node_bytes == 7 * MI && far.messages == 7);
}

static const char *const places[] = { "node:1 rank:1", "node:1 rank:2", "rank:5", "node:3 nic:1@25Gb,1us rank:1", "node:1 numa:2@20GB core:2 rank:2",
	"node:5 nic:2@100Gb,1us rank:3", "switch:2@100Gb,1us switch:3@50Gb,1us node:2 nic:1@25Gb rank:1,3,2,4,1,1,2,2,2,3,4,1" };
enum { PLACES = sizeof places / sizeof *places };

/*
 * Every algorithm, everywhere: it ends; five times the bytes never take less time (but for what order of service does, as Graham found for any list of jobs);
 * the bytes that a node sends have gone through its NICs.
 */
Test(model, every_algorithm_ends_and_never_gets_faster_with_more_bytes)
{
	struct costs c;
	costs_default(&c);
	c.memory = 0.02e-9;
	for (const struct algo *a = algo_table; a->name; a++)
		for (int i = 0; i < PLACES; i++)
			for (int channels = 1; channels <= 3 && a->coll < COLL_SEND; channels += 2) {
				struct topo *t = topology(places[i]);
				struct shape *shape;
				cr_assert_eq(sim_shape(&shape, t), 0);
				struct problem p = { a->coll, t->nranks, t->nranks / 2, 3, channels, shape };
				struct sim *s;
				double before = 0;
				cr_assert_eq(sim_open(&s, &(struct sim_job){ a, p }, t, &c), 0, "%s", err_last());
				for (uint64_t bytes = 512; bytes < 1ull << 34; bytes = bytes * 5 + 1) {
					struct sim_result r;
					cr_assert_eq(sim_run(s, bytes, 64 * KI, &r), 0, "%s", err_last());
					cr_assert(r.seconds >= before * 0.95, "%s %s on %s: %g s for %llu bytes, %g s for fewer", coll_rows[a->coll].name,
							a->name, places[i], r.seconds, (unsigned long long)bytes, before);
					cr_assert(r.busy >= 0 && r.busy <= 1 && r.passes >= 0);
					if (strstr(places[i], "nic:1@25Gb"))
						cr_assert(r.seconds >= (double)r.node_bytes / (25e9 / 8) - 1e-9);
					before = r.seconds;
				}
				sim_close(s);
				shape_free(shape);
				topo_free(t);
			}
}
