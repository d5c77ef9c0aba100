/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The simulator: what algebra says about time, for messages, shared resources, pipelines and whole algorithms. Never how long it takes
 * itself.
 */
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

static struct sim_result simulate(
	const struct algo *a, struct problem p, const char *where, const struct costs *c, uint64_t bytes, size_t slice)
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
	/* and the edges' latency, on both ways up and down; the narrowest edge counts */
	c.pair[NEAR_NETWORK] = (struct loggp){ 1e-6, 0, 0, 0, 0 };
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
	struct sim_result r = simulate(
		&halves_algo, (struct problem){ .pieces = 1, .channels = 1 }, "switch:2@1GB node:4 nic:1@4GB rank:1", &none, MI, SLICE);
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

/*
 * Rank 0 sends its vector to rank 1, which sends it on to rank 2: the same part as it has received, or all of it with a part that it has
 * not.
 */
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

static const char *const three = "node:1 rank:3";

static struct algo algo_of(void (*build)(struct recorder *, const struct problem *, const struct group *))
{
	return (struct algo){ .name = "test", .coll = COLL_ALL_REDUCE, .k_of = four, .build = build };
}

Test(model, who_waits_for_the_same_bytes_streams_and_who_waits_for_all_does_not)
{
	struct algo same = algo_of(relay_same), whole = algo_of(relay_whole), last = algo_of(relay_last);
	struct costs c = none;
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
			near(simulate(chain, p, where, &c, 64 * MI, 1024 * MI).seconds, bytes + (hops - 1) * bytes / pieces + hops * 1e-6,
				0.01);
			near(simulate(chain, p, where, &c, 64 * MI, SLICE).seconds, bytes + (hops - 1) * SLICE * 1e-9 + hops * 1e-6, 0.01);
		}
}

/* Rank 0 sends `ahead` messages to rank 1, whose receives wait for a long copy, and then one to rank 2. */
static int ahead;
static void behind(struct recorder *w, const struct problem *p, const struct group *g)
{
	(void)p;
	if (g->me == 1)
		rec_copy(w, span(BUF_OUT, 0, 4), span(BUF_IN, 0, 4));
	for (int i = 0; i < ahead && g->me < 2; i++)
		if (g->me == 0)
			rec_send(w, 1, span(BUF_IN, 0, 1));
		else
			rec_recv(w, 0, span(BUF_OUT, 0, 1));
	if (g->me == 0)
		rec_send(w, 2, span(BUF_IN, 0, 1));
	if (g->me == 2)
		rec_recv(w, 0, span(BUF_OUT, 0, 1));
}

/* Rank 1 sends on the first quarter while the rest still comes, then overwrites half: complete is what waits for nobody that is not. */
static void overwrite(struct recorder *w, const struct problem *p, const struct group *g)
{
	relay(w, g, span(BUF_OUT, 0, 1));
	if (g->me == 1) {
		rec_scratch(w, four(p));
		rec_copy(w, span(BUF_OUT, 0, 2), span(BUF_SCRATCH, 0, 2));
	}
}

struct ends { double first_send, relayed, copied, rank2; };

static void note_ends(void *ctx, const struct sim_event *e)
{
	struct ends *ends = ctx;
	if (e->rank == 0 && e->step == 0)
		ends->first_send = e->end;
	if (e->rank == 1 && e->op == STEP_SEND)
		ends->relayed = e->end;
	if (e->rank == 1 && e->op == STEP_COPY)
		ends->copied = e->end;
	if (e->rank == 2)
		ends->rank2 = e->end;
}

static struct ends ends_of(const struct costs *c, struct algo a, const char *where)
{
	struct topo *t = topology(where);
	struct problem p = { a.coll, 3, 0, 1, 1, NULL };
	struct sim_result r;
	struct ends ends = { 0 };
	struct sim *s;
	cr_assert_eq(sim_open(&s, &(struct sim_job){ &a, p }, t, c), 0, "%s", err_last());
	sim_trace(s, note_ends, &ends);
	cr_assert_eq(sim_run(s, MI, SLICE, &r), 0, "%s", err_last());
	sim_close(s);
	topo_free(t);
	return ends;
}

Test(model, a_queue_has_eight_open_steps_and_small_messages_do_not_wait)
{
	struct costs c = none;
	c.copy = (struct rate){ 1e-9, 1e-9 };
	double copied = 2e-9 * MI;
	struct algo a = algo_of(behind);
	ahead = 7;
	near(ends_of(&c, a, three).first_send, copied, 0.01);          /* rendezvous */
	near(ends_of(&c, a, three).rank2, 0, 0);
	ahead = 8;
	near(ends_of(&c, a, three).rank2, copied, 0.01);
	c.pair[NEAR_NODE].eager = MI / 4;
	near(ends_of(&c, a, three).first_send, 0, 0);
	near(ends_of(&c, a, three).rank2, 0, 0);
	c.pair[NEAR_NODE].eager = MI / 4 - 1;
	near(ends_of(&c, a, three).rank2, copied, 0.01);
}

Test(model, complete_is_a_step_when_all_that_it_waits_for_is)
{
	struct costs c = none;
	c.pair[NEAR_NODE].byte = 1e-9;
	struct ends ends = ends_of(&c, algo_of(overwrite), three);
	near(ends.relayed, 0.25e-9 * MI, 0.05);
	near(ends.copied, 1e-9 * MI, 0.01);
	/* and who is faster than what it waits for waits for every byte all the same */
	near(ends_of(&none, algo_of(relay_same), "node:2 nic:1@1GB rank:1,2").rank2, 1e-9 * MI, 0.01);
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

static const char *const places[] = { "node:1 rank:1", "node:1 rank:2", "rank:5", "node:3 nic:1@25Gb,1us rank:1",
	"node:1 numa:2@20GB core:2 rank:2", "node:5 nic:2@100Gb,1us rank:3",
	"switch:2@100Gb,1us switch:3@50Gb,1us node:2 nic:1@25Gb rank:1,3,2,4,1,1,2,2,2,3,4,1" };
enum { PLACES = sizeof places / sizeof *places };

/*
 * Every algorithm, everywhere: it ends; five times the bytes never take less time (but for what order of service does, as Graham found for
 * any list of jobs); the bytes that a node sends have gone through its NICs.
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
					cr_assert(r.seconds >= before * 0.95, "%s %s on %s: %g s for %llu bytes, %g s for fewer",
						coll_rows[a->coll].name, a->name, places[i], r.seconds, (unsigned long long)bytes, before);
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

/* ---- costs, traces ---------------------------------------------------------------------------------------------------- */

enum { TEXT = 8192 };

static void text_of(const struct costs *c, char text[TEXT])
{
	FILE *f = fmemopen(text, TEXT, "w");
	costs_print(f, c);
	fclose(f);
}

Test(model, costs_come_back_from_their_text)
{
	struct costs c, d;
	costs_default(&c);
	char text[TEXT], again[TEXT], more[TEXT + 64];
	text_of(&c, text);
	cr_assert_eq(costs_parse(&d, text), 0, "%s", err_last());
	text_of(&d, again);
	cr_assert_str_eq(text, again);
	near(d.pair[NEAR_NETWORK].latency, c.pair[NEAR_NETWORK].latency, 1e-6);
	near(d.pair[NEAR_CORE].byte_core, c.pair[NEAR_CORE].byte_core, 1e-6);
	cr_assert(d.cache == c.cache && d.pair[NEAR_NODE].eager == c.pair[NEAR_NODE].eager);
	char *line = strstr(text, "step = 0.020000 us\n");
	cr_assert_not_null(line);       /* blanks, comments and other units mean the same */
	snprintf(more, sizeof more, "# measured\n%.*s\n \tstep=20 ns # here\r\n%s", (int)(line - text), text,
		line + strlen("step = 0.020000 us\n"));
	cr_assert_eq(costs_parse(&d, more), 0, "%s", err_last());
	near(d.step, c.step, 1e-9);
}

Test(model, bad_costs_are_refused_in_words)
{
	static const struct { const char *line, *says; } bad[] = {
		{ "step 1 us", "expected \"name = value unit\", got \"step 1 us\"" },
		{ "= 1 us", "expected \"name = value unit\"" },
		{ "stop = 1 us", "no \"stop\"; did you mean step?" },
		{ "nothing.like.it = 1 us", "no \"nothing.like.it\"" },
		{ "step = 1 us", "step for the second time" },
		{ "start = -1 us", "start: expected 0 to 10000000 us, got \"-1 us\"" },
		{ "start = 1 bytes", "got \"1 bytes\"" },
		{ "start = 1", "got \"1\"" },
		{ "start = 11 s", "got \"11 s\"" },
		{ "start = ", "got \"\"" },
		{ "start = nan us", "got \"nan us\"" },
		{ "start = 1e99 us", "got" },
		{ "start = 99999999999999999999 us", "got" },
		{ "cache = 1.5 bytes", "cache: expected 0 to 1000000000000 bytes" },
		{ "", "start is missing" },
	};
	struct costs c, before;
	costs_default(&c);
	char text[TEXT], all[TEXT + 64];
	text_of(&c, text);
	*strstr(text, "start = ") = 0;
	before = c;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		snprintf(all, sizeof all, "%s%s", text, bad[i].line);
		cr_expect_eq(costs_parse(&c, all), TUTTI_ERR_CONFIG, "%s", bad[i].line);
		cr_expect(strstr(err_last(), bad[i].says), "%s: %s", bad[i].line, err_last());
	}
	cr_assert(!memcmp(&c, &before, sizeof c), "set though it failed");
}

struct seen { uint32_t steps; double last; bool sane; };

static void look(void *ctx, const struct sim_event *e)
{
	struct seen *seen = ctx;
	seen->steps++;
	seen->last = e->end > seen->last ? e->end : seen->last;
	seen->sane &= e->end >= e->start && e->start >= 0 && (e->op != STEP_RECV || (e->peer >= 0 && e->peer != e->rank));
}

Test(model, a_trace_has_every_step_and_ends_with_the_last)
{
	struct topo *t = topology(places[4]);
	struct costs c;
	costs_default(&c);
	for (const struct algo *a = algo_table; a->name; a++) {
		struct problem p = { a->coll, t->nranks, 0, 4, 2, NULL };
		struct seen seen = { 0, 0, true };
		struct sim_result r;
		struct sim *s;
		uint32_t steps = 0;
		if (a->coll >= COLL_SEND)
			continue;
		for (int rank = 0; rank < t->nranks; rank++) {
			struct sched *x;
			cr_assert_eq(sched_build(&x, a, &p, rank), 0);
			steps += x->nsteps;
			sched_free(x);
		}
		cr_assert_eq(sim_open(&s, &(struct sim_job){ a, p }, t, &c), 0);
		sim_trace(s, look, &seen);
		cr_assert_eq(sim_run(s, MI, SLICE, &r), 0);
		cr_assert(seen.sane && seen.steps == steps && seen.last == r.seconds, "%s %s", coll_rows[a->coll].name, a->name);
		sim_close(s);
	}
	topo_free(t);
}

/* ---- what is refused, and what is large ---------------------------------------------------------------------------------- */

static void late(struct recorder *w, const struct problem *p, const struct group *g)
{
	(void)p;
	if (g->me == 0) {                       /* each sends what the other receives only when it has sent: neither goes on */
		rec_send(w, 1, span(BUF_OUT, 0, 4));
		rec_recv(w, 1, span(BUF_OUT, 0, 4));
	} else {
		rec_send(w, 0, span(BUF_OUT, 0, 4));
		rec_recv(w, 0, span(BUF_OUT, 0, 4));
	}
}
static void unmatched(struct recorder *w, const struct problem *p, const struct group *g)
{
	(void)p;
	if (g->me == 0)
		rec_send(w, 1, span(BUF_IN, 0, 4));
}

/* One schedule turned round is as good as all, where ranks do the same: exactly so without wrapping ranges, nearly so with them. */
Test(model, one_schedule_stands_for_all_where_all_do_the_same)
{
	static const struct { enum coll coll; const char *name; double part; } all[] = {
		{ COLL_ALL_REDUCE, "ring", 0 }, { COLL_ALL_GATHER, "ring", 0 }, { COLL_REDUCE_SCATTER, "ring", 0 },
		{ COLL_BARRIER, "dissemination", 0 }, { COLL_ALL_GATHER, "direct", 0 }, { COLL_ALL_REDUCE, "circulant", 0.25 },
		{ COLL_ALL_GATHER, "circulant", 0.25 }, { COLL_REDUCE_SCATTER, "circulant", 0.25 },
	};
	struct costs c;
	costs_default(&c);
	for (size_t i = 0; i < sizeof all / sizeof *all; i++)
		for (int n = 2; n <= 48; n += n < 10 ? 1 : 9) {
			char where[64];
			snprintf(where, sizeof where, "node:%d nic:1@25Gb,1us rank:1", n);
			struct topo *t = topology(where);
			struct sim *a, *b;
			struct sim_result x, y;
			struct sim_job job = { algo_find(all[i].coll, all[i].name), { all[i].coll, n, 0, 1, 1, NULL } };
			cr_assert_eq(sim_open(&a, &job, t, &c), 0);
			cr_assert_eq(sim_open_alike(&b, &job, t, &c), 0, "%s", err_last());
			uint64_t bytes = 65536ull * (unsigned)n;
			cr_assert(!sim_run(a, bytes, 64 * KI, &x) && !sim_run(b, bytes, 64 * KI, &y), "%s", err_last());
			cr_assert(fabs(x.seconds - y.seconds) <= all[i].part * x.seconds, "%s %s, %d ranks: %g s, turned %g s",
				coll_rows[all[i].coll].name, all[i].name, n, x.seconds, y.seconds);
			cr_assert(all[i].part > 0 || x.messages == y.messages);
			sim_close(a);
			sim_close(b);
			topo_free(t);
		}
}

Test(model, circulant_moves_the_least_for_thousands_of_ranks)
{
	struct topo *t = topology(SANITIZED ? "node:50 nic:2@100Gb,1us rank:8" : "node:1250 nic:2@100Gb,1us rank:8");
	struct problem p = { COLL_ALL_REDUCE, t->nranks, 0, 1, 1, NULL };
	struct sim_result r;
	struct sim *s;
	cr_assert_eq(sim_open_alike(&s, &(struct sim_job){ algo_find(COLL_ALL_REDUCE, "circulant"), p }, t, &none), 0, "%s", err_last());
	cr_assert_eq(sim_run(s, 64 * MI, 64 * KI, &r), 0, "%s", err_last());
	cr_assert(r.seconds >= 8 * 2.0 * 64 * MI / 25e9 * (p.nranks - 8) / p.nranks, "%g", r.seconds);
	cr_assert(r.node_bytes >= 16.0 * 64 * MI * (p.nranks - 8) / p.nranks && r.node_bytes <= 16 * 64 * MI);
	sim_close(s);
	topo_free(t);
}

static int status_of(const struct algo *a, int ranks, const char *where)
{
	struct topo *t = topology(where);
	struct sim *s = NULL;
	struct sim_result r;
	struct problem p = { a->coll, ranks, 0, 1, 1, NULL };
	int status = sim_open(&s, &(struct sim_job){ a, p }, t, &none);
	if (!status)
		status = sim_run(s, MI, SLICE, &r);
	sim_close(s);
	topo_free(t);
	return status;
}

Test(model, what_cannot_be_is_a_sentence)
{
	struct algo hangs = algo_of(late), alone = algo_of(unmatched);
	cr_assert_eq(status_of(&hangs, 2, "rank:2"), TUTTI_ERR_INTERNAL);
	cr_assert(strstr(err_last(), "a deadlock in the simulation: rank 0 never gets past step 0 (send)"), "%s", err_last());
	cr_assert_eq(status_of(&alone, 2, "rank:2"), TUTTI_ERR_INTERNAL);
	cr_assert(strstr(err_last(), "1 messages are sent to rank 1, which receives 0"), "%s", err_last());
	cr_assert_eq(status_of(algo_find(COLL_ALL_REDUCE, "ring"), 3, "rank:2"), TUTTI_ERR_INVALID);
	cr_assert_eq(status_of(algo_find(COLL_SEND, "p2p"), 2, "rank:2"), TUTTI_ERR_UNSUPPORTED);
	cr_assert_eq(status_of(algo_find(COLL_ALL_REDUCE, "ring"), 100000, "node:12500 rank:8"), TUTTI_ERR_UNSUPPORTED);
	cr_assert(strstr(err_last(), "too large to simulate: 399996 steps a rank"), "%s", err_last());
}

/* A hundred thousand ranks. Criterion gives each test a process of its own: the most memory that it ever had is this test's. */
Test(model, a_hundred_thousand_ranks_fit)
{
	static const struct { enum coll coll; const char *name; } big[] = { { COLL_ALL_REDUCE, "recursive_doubling" },
		{ COLL_ALL_REDUCE, "hier_doubling" }, { COLL_BROADCAST, "binomial" }, { COLL_BARRIER, "dissemination" } };
	const char *where = SANITIZED ? "node:125 nic:2@100Gb,1us rank:8" : "node:12500 nic:2@100Gb,1us rank:8";
	struct topo *t = topology(where);
	struct shape *shape;
	struct costs c;
	struct rusage use;
	costs_default(&c);
	cr_assert_eq(sim_shape(&shape, t), 0);
	for (size_t i = 0; i < sizeof big / sizeof *big; i++) {
		struct sim *s;
		struct sim_result r;
		struct problem p = { big[i].coll, t->nranks, 0, 1, 1, shape };
		cr_assert_eq(sim_open(&s, &(struct sim_job){ algo_find(big[i].coll, big[i].name), p }, t, &c), 0, "%s", err_last());
		cr_assert_eq(sim_run(s, 64 * KI, 64 * KI, &r), 0, "%s", err_last());
		cr_assert(r.seconds > 15e-6 && r.seconds < 1);
		sim_close(s);
	}
	shape_free(shape);
	topo_free(t);
	getrusage(RUSAGE_SELF, &use);
	if (!SANITIZED)
		cr_assert(use.ru_maxrss < 2 << 20, "%ld KiB", use.ru_maxrss);
}
