/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Does a plan keep what was projected for it? Every WATCH_EVERYth blocking call is timed (all of them under TUTTI_EXPLAIN=1): a clock
 * costs as much as a small message. What is much slower is counted, and said once, with what helps: nothing is changed here, where
 * another rank might not.
 */
#include <base/clock.h>
#include <base/log.h>
#include <base/type.h>
#include <comm/comm.h>
#include <plan/explain.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Slow: so many times as long, and so much longer; said when so many of them were, and half of all timed. */
enum { SLOW_TIMES = 3, SLOW_US = 100, SLOW_SEEN = 8 };

static void say_slow(struct tutti_comm *c, struct plan_entry *e, double seconds)
{
	c->slow_said = true;
	log_msg(e->choice.source == PLAN_MEASURED ? LOG_WARN : LOG_INFO,
	        "%s of %zu bytes takes %.0f us, %s said %.0f (%s, %u of %u calls looked at): if it stays so, run `tutti tune` again as this job runs",
	        coll_rows[e->coll].name, e->count * type_bytes(e->type), seconds * 1e6, plan_sources[e->choice.source], e->choice.seconds * 1e6,
	        e->choice.algo->name, e->slow, e->timed);
}

void watch_note(struct tutti_comm *c, struct plan_entry *e, int64_t ns)
{
	double seconds = 1e-9 * (double)ns;
	if (e->samples)
		e->samples[e->timed % WATCH_SAMPLES] = (float)seconds;
	e->timed++;
	if (e->choice.seconds > 0 && seconds > SLOW_TIMES * e->choice.seconds && seconds > e->choice.seconds + SLOW_US * 1e-6) {
		e->slow++;
		c->slow++;
		if (!c->slow_said && c->rank == 0 && e->slow >= SLOW_SEEN && e->slow * 2 >= e->timed)
			say_slow(c, e, seconds);
	}
}

/* ---- TUTTI_EXPLAIN=1 ---------------------------------------------------------------------------------------------------- */

static int by_value(const void *a, const void *b)
{
	float x = *(const float *)a, y = *(const float *)b;
	return (x > y) - (x < y);
}

static double median(struct plan_entry *e)
{
	uint32_t n = e->timed < WATCH_SAMPLES ? e->timed : WATCH_SAMPLES;
	if (!n || !e->samples)
		return 0;
	qsort(e->samples, n, sizeof(*e->samples), by_value);
	return (double)e->samples[n / 2];
}

enum { EXPLAIN_MS = 2000, EXPLAIN_STEPS = 4000000 };   /* the end of a job does not wait much longer for its explanation; of all ranks */

/* Simulated once more, for this very size, unless that takes too long. */
static bool project(const struct tutti_comm *c, const struct plan_entry *e, int64_t until, struct sim_result *r)
{
	struct sim *s;
	if (clock_ns() > until || (double)e->plan->nsteps * c->nranks > EXPLAIN_STEPS)
		return false;
	if (sim_open(&s, &(struct sim_job){ e->choice.algo, e->choice.problem }, c->topo, &c->costs))
		return false;
	bool done = !sim_run(s, e->coll == COLL_BARRIER ? 0 : e->count * type_bytes(e->type), e->choice.slice, r);
	sim_close(s);
	return done;
}

/* "shm" or "shm inside, tcp between" */
static void transports(struct tutti_comm *c, char *buf, size_t cap)
{
	const char *near = NULL, *far = NULL;
	for (int r = 1; r < c->nranks; r++) {
		const struct net_transport *t = world_transport(&c->world, r);
		const char **to = c->topo->node[r] == c->topo->node[0] ? &near : &far;
		*to = *to || !t ? *to : t->name;
	}
	snprintf(buf, cap, near && far ? "%s inside, %s between" : "%s", near ? near : far ? far : "none", far);
}

static void explain_entry(struct tutti_comm *c, struct plan_entry *e, int64_t until, FILE *f)
{
	struct sim_result r = { 0 };
	char limit[128] = "";
	bool known = project(c, e, until, &r);
	const struct plan_cell *cell = c->table ? &c->table->cell[e->coll][!op_commutes(e->op)][plan_size_index(e->count * type_bytes(e->type))] : NULL;
	char runner[48] = "";
	if (known)
		explain_limit(limit, sizeof(limit), &r, e->count * type_bytes(e->type), c->topo);
	if (cell && cell->runner_up && e->choice.source != PLAN_RULE)
		snprintf(runner, sizeof(runner), "; %s +%.0f %%", algo_table[cell->runner_up - 1].name, cell->loss / 10.0);
	fprintf(f, "tutti: %-15s %10zu %-20s %2d %2d %8zu %-9s %8u %12.1f %12.1f  %s%s\n", coll_rows[e->coll].name, e->count * type_bytes(e->type),
	        e->choice.algo->name, e->choice.problem.channels, e->choice.problem.pieces, e->choice.slice, plan_sources[e->choice.source], e->calls,
	        (known ? r.seconds : e->choice.seconds) * 1e6, median(e) * 1e6, limit, runner);
}

static int by_call(const void *a, const void *b)
{
	const struct plan_entry *x = *(struct plan_entry *const *)a, *y = *(struct plan_entry *const *)b;
	size_t p = x->count * type_bytes(x->type), q = y->count * type_bytes(y->type);
	return x->coll != y->coll ? (int)x->coll - (int)y->coll : p != q ? (p > q) - (p < q) : x->type != y->type ? x->type - y->type : x->op - y->op;
}

void watch_explain(struct tutti_comm *c)
{
	char words[64];
	struct plan_entry **list = c->config.explain && !c->rank && c->topo ? malloc((c->plans.n + 1) * sizeof(struct plan_entry *)) : NULL;
	int n = 0;
	if (!list)
		return;
	for (int b = 0; b < PLAN_BUCKETS; b++)
		for (struct plan_entry *e = c->plans.bucket[b]; e; e = e->next)
			if (e->coll < COLL_SEND && e->calls)
				list[n++] = e;
	qsort(list, (size_t)n, sizeof(struct plan_entry *), by_call);
	transports(c, words, sizeof(words));
	fprintf(stderr, "tutti: %d ranks, %s; costs: %s\n", c->nranks, words, c->calibrated ? "measured" : "default");
	fprintf(stderr, "tutti: %-15s %10s %-20s %2s %2s %8s %-9s %8s %12s %12s  %s\n", "collective", "bytes", "algorithm", "ch", "pc", "slice", "chosen by",
	        "calls", "projected us", "median us", "what limits it; the runner-up");
	for (int64_t i = 0, until = clock_after_ms(EXPLAIN_MS); i < n; i++)
		explain_entry(c, list[i], until, stderr);
	free(list);
}
