/* SPDX-License-Identifier: Apache-2.0 */
/* comm_calibrate: every figure is one that can be, the same on all ranks; and without time, the default. Never how much it is. */
#include "ranks.h"
#include <comm/comm.h>
#include <criterion/criterion.h>
#include <math.h>
#include <model/model.h>
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
