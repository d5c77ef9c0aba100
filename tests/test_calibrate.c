/* SPDX-License-Identifier: Apache-2.0 */
/* comm_calibrate: every figure is one that can be, the same on all ranks; and without time, the default. Never how much it is. */
#include "ranks.h"
#include <comm/comm.h>
#include <criterion/criterion.h>
#include <dirent.h>
#include <math.h>
#include <model/model.h>
#include <plan/cache.h>
#include <unistd.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { RANKS_MAX = 8, PLENTY = 30000 };         /* milliseconds; all is through long before */

struct trials { int64_t budget; struct costs got[RANKS_MAX]; };

static const char *calibrate(struct tutti_comm *c, void *ctx)
{
	struct trials *t = ctx;
	int one = 1, n = tutti_comm_size(c);
	if (comm_calibrate(c, &t->got[tutti_comm_rank(c)], t->budget) < 0)
		return tutti_last_error(c);
	if (tutti_all_reduce(&one, &one, 1, TUTTI_INT32, TUTTI_SUM, c) < 0 || one != n)
		return "the communicator is not as before";
	return NULL;
}

static struct costs run(int n, const char *transport, int64_t budget)
{
	static struct trials t;
	struct tutti_config config = TUTTI_CONFIG_INIT;
	t = (struct trials){ .budget = budget };
	config.transport = transport;
	cr_assert_eq(comms_run(n, &config, calibrate, &t), 0);
	for (int r = 1; r < n; r++)
		cr_assert(!memcmp(&t.got[0], &t.got[r], sizeof t.got[0]), "ranks 0 and %d have other figures", r);
	return t.got[0];
}

static void possible(double x, const char *what)
{
	cr_assert(isfinite(x) && x > 0 && x < 1, "%s: %g", what, x);
}

static void possible_pair(const struct loggp *g)
{
	possible(g->latency, "latency");
	possible(g->overhead, "overhead");
	possible(g->byte_core, "byte_core");
	possible(g->byte, "byte");
}

static bool as_default(const struct costs *c, enum near near)
{
	struct costs d;
	costs_default(&d);
	return !memcmp(&c->pair[near], &d.pair[near], sizeof d.pair[near]);
}

/* The class that pairs of one machine fall into here (the test's threads may run anywhere) is the only one that is measured. */
static void one_machine(int n, const char *transport)
{
	struct costs c = run(n, transport, PLENTY);
	int measured = 0;
	for (int i = 0; i < NEARS; i++)
		if (!as_default(&c, (enum near)i)) {
			possible_pair(&c.pair[i]);
			measured++;
		}
	cr_assert_eq(measured, 1);
	cr_assert(as_default(&c, NEAR_NETWORK) && c.link_measured == 0);
	possible(c.copy.cached, "copy.cached");
	possible(c.copy.memory, "copy.memory");
	possible(c.reduce.cached, "reduce.cached");
	possible(c.reduce.memory, "reduce.memory");
	possible(c.memory, "memory");
	cr_assert(c.cache > 0);
}

Test(calibrate, loop) { one_machine(2, "loop"); }
Test(calibrate, more_ranks_than_cores) { one_machine(7, "loop"); }
Test(calibrate, shared_memory) { one_machine(3, "shm"); }

Test(calibrate, machines_that_share_a_link)
{
	setenv("TUTTI_TOPOLOGY", "node:2 rank:2", 1);
	struct costs c = run(4, "tcp", PLENTY);
	cr_assert(!as_default(&c, NEAR_NETWORK) && !as_default(&c, NEAR_NODE) && as_default(&c, NEAR_NUMA) && as_default(&c, NEAR_CORE));
	possible_pair(&c.pair[NEAR_NETWORK]);
	possible_pair(&c.pair[NEAR_NODE]);
	possible(c.link_measured, "link_measured");
}

Test(calibrate, two_ranks_of_a_core_do_the_work_of_both_ends)
{
	setenv("TUTTI_TOPOLOGY", "node:1 core:1 rank:2", 1);
	struct costs c = run(2, "loop", PLENTY);
	cr_assert(!as_default(&c, NEAR_CORE) && as_default(&c, NEAR_NUMA));
	possible(c.pair[NEAR_CORE].byte_core, "byte_core");
	cr_assert_eq(c.pair[NEAR_CORE].byte, 0);
}

Test(calibrate, one_rank_measures_itself)
{
	struct costs c = run(1, "loop", PLENTY);
	for (int i = 0; i < NEARS; i++)
		cr_assert(as_default(&c, (enum near)i));
	possible(c.copy.cached, "copy.cached");
	possible(c.memory, "memory");
}

Test(calibrate, without_time_the_default_stands)
{
	for (int64_t budget = -1; budget <= 0; budget++) {
		struct costs c = run(3, "loop", budget), d;
		costs_default(&d);
		d.cache = c.cache;
		cr_assert(!memcmp(&c, &d, sizeof c));
	}
}

/* A plan that stays on one rank alone would make the next call another operation there. */
static const char *force_in_turn(struct tutti_comm *c, void *ctx)
{
	const struct algo *algos[] = { algo_find(COLL_ALL_REDUCE, "direct"), algo_find(COLL_ALL_REDUCE, "recursive_doubling"),
		algo_find(COLL_ALL_REDUCE, "ring"), algo_find(COLL_ALL_REDUCE, "circulant") };
	static _Thread_local float x[4096];
	(void)ctx;
	for (int i = 0; i < 2000; i++) {
		struct plan_cell cell = { .algo = (uint8_t)(algos[i % 4] - algo_table + 1), .channels = 1, .pieces = 1, .slice = 17 };
		if (comm_force(c, &cell) < 0 || tutti_all_reduce(x, x, 4096, TUTTI_FLOAT32, TUTTI_SUM, c) < 0)
			return tutti_last_error(c);
	}
	return comm_force(c, NULL) < 0 ? tutti_last_error(c) : NULL;
}

Test(calibrate, plans_are_forced_on_all_ranks_alike)
{
	struct tutti_config config = TUTTI_CONFIG_INIT;
	config.transport = "shm";
	cr_assert_eq(comms_run(2, &config, force_in_turn, NULL), 0);
}

/* ---- the cache's part ---------------------------------------------------------------------------------------------------- */

struct seen { struct costs costs[RANKS_MAX]; bool calibrated[RANKS_MAX]; };

static const char *look(struct tutti_comm *c, void *ctx)
{
	struct seen *s = ctx;
	s->costs[c->rank] = c->costs;
	s->calibrated[c->rank] = c->calibrated;
	return NULL;
}

static struct seen start_job(int n)
{
	static struct seen s;
	struct tutti_config config = TUTTI_CONFIG_INIT;
	config.transport = "loop";
	memset(&s, 0, sizeof s);
	cr_assert_eq(comms_run(n, &config, look, &s), 0);
	for (int r = 1; r < n; r++)
		cr_assert(!memcmp(&s.costs[0], &s.costs[r], sizeof s.costs[0]) && s.calibrated[0] == s.calibrated[r], "rank %d", r);
	return s;
}

static void new_cache(char folder[64])
{
	snprintf(folder, 64, "/tmp/tutti-cache-XXXXXX");
	cr_assert(mkdtemp(folder));
	setenv("TUTTI_CACHE", folder, 1);
}

/* The only file's key; removed, so that the folder can be. */
static uint64_t take_key(const char *folder, struct costs *c)
{
	DIR *d = opendir(folder);
	uint64_t key = 0;
	char path[128];
	int n = 0;
	cr_assert(d);
	for (struct dirent *e; (e = readdir(d));)
		if (*e->d_name != '.') {
			key = strtoull(e->d_name, NULL, 16);
			n++;
		}
	closedir(d);
	cr_assert_eq(n, 1, "%d files", n);
	cr_assert(cache_load_costs(folder, key, c));
	cache_path(path, sizeof path, folder, key, CACHE_COSTS);
	cr_assert_eq(unlink(path), 0);
	return key;
}

Test(calibrate, a_first_job_measures_and_the_next_remembers)
{
	char folder[64];
	struct costs kept;
	new_cache(folder);
	setenv("TUTTI_CALIBRATE", "200ms", 1);
	cr_assert(start_job(3).calibrated[0]);
	uint64_t key = take_key(folder, &kept);
	kept.start = 0.777e-6;                  /* no calibration gives that */
	cr_assert_eq(cache_save_costs(folder, key, "a test", &kept), 0);
	struct seen s = start_job(3);
	cr_assert(s.calibrated[2]);
	cr_assert_float_eq(s.costs[2].start, 0.777e-6, 1e-12);
	cr_assert_eq(take_key(folder, &kept), key);
	cr_assert(start_job(2).calibrated[1]);  /* a job of another kind */
	cr_assert_neq(take_key(folder, &kept), key);
	cr_assert_eq(rmdir(folder), 0);
}

Test(calibrate, nothing_is_measured_unasked)
{
	char folder[64];
	struct costs d;
	new_cache(folder);
	costs_default(&d);
	struct seen s = start_job(2);
	cr_assert(!s.calibrated[0] && !memcmp(&s.costs[0], &d, sizeof d));
	cr_assert_eq(rmdir(folder), 0, "something was written");
}

static const char *force_each(struct tutti_comm *c, void *ctx)
{
	static _Thread_local char why[160];
	char text[512];
	int32_t x[3000] = { 0 }, n = tutti_comm_size(c);
	(void)ctx;
	for (const struct algo *a = algo_table; a->name; a++) {
		struct plan_cell cell = { .algo = (uint8_t)(a - algo_table + 1), .channels = 2, .pieces = 3, .slice = 12 };
		if (a->coll != COLL_ALL_REDUCE || a->shaped)
			continue;
		for (int i = 0; i < 3000; i++)
			x[i] = 1;
		if (comm_force(c, &cell) < 0 || tutti_all_reduce(x, x, 3000, TUTTI_INT32, TUTTI_SUM, c) < 0 || x[2999] != n)
			return "an algorithm that was forced failed";
		tutti_comm_describe(c, text, sizeof text);
		snprintf(why, sizeof why, "last: all_reduce %s,", a->name);
		if (!strstr(text, why) || !strstr(text, "slice 4096"))
			return why;
	}
	if (comm_force(c, NULL) < 0 || tutti_all_reduce(x, x, 3000, TUTTI_INT32, TUTTI_SUM, c) < 0)
		return tutti_last_error(c);
	tutti_comm_describe(c, text, sizeof text);
	return strstr(text, "slice 4096") ? "it is still forced" : NULL;
}

Test(calibrate, a_forced_plan_is_what_runs)
{
	struct tutti_config config = TUTTI_CONFIG_INIT;
	config.transport = "loop";
	cr_assert_eq(comms_run(3, &config, force_each, NULL), 0);
}
