/* SPDX-License-Identifier: Apache-2.0 */
/* Candidates are all of a collective's algorithms, times channels, pieces and slices where these make a difference. */
#include <base/clock.h>
#include <base/err.h>
#include <plan/project.h>
#include <stdlib.h>
#include <string.h>

#define KI 1024u
enum { CLOSE = 3, SHORT = 64 * KI };     /* per cent; bytes */

/* How much is tried, by effort. steps: of all ranks together, and their messages; more are too slow to simulate there. */
static const struct effort {
	int channels[4], pieces[4];
	size_t slice[3];
	double steps;
} efforts[] = {
	{ { 1, 2 }, { 1, 8 }, { 128 * KI }, 2e5 },
	{ { 1, 2, 4 }, { 1, 4, 16 }, { 128 * KI, 32 * KI }, 1e8 },
};

/* ---- candidates -------------------------------------------------------------------------------------------------------- */

struct tries {
	const struct scene *scene;
	const struct effort *effort;
	int64_t deadline;
	struct candidate *list;
	int n, cap;
};

static struct problem problem_of(const struct candidate *c, const struct scene *s)
{
	return (struct problem){ c->algo->coll, s->topo->nranks, 0, c->pieces, c->channels, c->algo->shaped ? s->shape : NULL };
}

/* Does it matter? A schedule that is cut no finer is the same one. */
static bool matters(struct candidate c, const struct scene *s, int channels, int pieces)
{
	struct problem p = problem_of(&c, s), q = p;
	q.channels = channels;
	q.pieces = pieces;
	return c.algo->k_of(&p) != c.algo->k_of(&q);
}

/* A step of a set is as many messages, and each is as much to simulate as a step. */
static double work_of(const struct sched *s)
{
	double n = s->nsteps;
	for (uint32_t i = 0; i < s->nsteps; i++)
		if (s->steps[i].flags & STEP_SET)
			n += s->sets[s->steps[i].peer].n;
	return n * s->nranks;
}

static bool too_slow(const struct tries *t, const struct candidate *c)
{
	struct problem p = problem_of(c, t->scene);
	struct sched *s;
	if ((double)p.nranks > t->effort->steps || sched_build(&s, c->algo, &p, p.nranks / 2))
		return true;
	bool slow = work_of(s) > t->effort->steps;
	sched_free(s);
	return slow;
}

/* One schedule, on every size, once a slice. What cannot be simulated is no candidate. */
static int simulate(struct tries *t, struct candidate c)
{
	struct sim *sim;
	int status = TUTTI_OK;
	if (clock_ns() > t->deadline)
		return TUTTI_ERR_TIMEOUT;
	if (too_slow(t, &c) || sim_open(&sim, &(struct sim_job){ c.algo, problem_of(&c, t->scene) }, t->scene->topo, t->scene->costs))
		return TUTTI_OK;
	for (int k = 0; !status && k < 3 && t->effort->slice[k]; k++) {
		c.slice = t->effort->slice[k];
		for (int i = 0; !status && i < PLAN_SIZES; i++) {
			status = clock_ns() > t->deadline ? TUTTI_ERR_TIMEOUT : sim_run(sim, c.algo->coll == COLL_BARRIER ? 0 : plan_size(i), c.slice, &c.result[i]);
			c.seconds[i] = c.result[i].seconds;
		}
		if (t->n == t->cap) {
			t->cap = 2 * t->cap + 8;
			void *p = realloc(t->list, (size_t)t->cap * sizeof *t->list);
			if (!p)
				status = err_set(TUTTI_ERR_NOMEM, "no memory for %d candidates", t->cap);
			else
				t->list = p;
		}
		if (!status)
			t->list[t->n++] = c;
	}
	sim_close(sim);
	return status;
}

static int try_algo(struct tries *t, const struct algo *a)
{
	int status = TUTTI_OK;
	for (int i = 0; i < 4 && t->effort->channels[i] && !status; i++)
		for (int j = 0; j < 4 && t->effort->pieces[j] && !status; j++) {
			struct candidate c = { .algo = a, .channels = t->effort->channels[i], .pieces = t->effort->pieces[j] };
			if ((i == 0 || matters(c, t->scene, 1, c.pieces)) && (j == 0 || matters(c, t->scene, c.channels, 1)))
				status = simulate(t, c);
		}
	return status;
}

int project_candidates(struct candidate **list, int *n, enum coll coll, const struct scene *s, int effort, int64_t deadline)
{
	struct tries t = { s, &efforts[effort], deadline, NULL, 0, 0 };
	bool shaped = s->shape && s->shape->nlevels;
	int status = TUTTI_OK;
	for (const struct algo *a = algo_table; a->name && !status; a++)
		if (a->coll == coll && (shaped || !a->shaped))
			status = try_algo(&t, a);
	if (status) {
		free(t.list);
		return status;
	}
	*list = t.list;
	*n = t.n;
	return TUTTI_OK;
}

/* ---- the table --------------------------------------------------------------------------------------------------------- */

static int log2_of(size_t x) { return 63 - __builtin_clzll(x); }

struct among { int size; bool ordered; const struct candidate *but; };

static bool allowed(const struct candidate *c, const struct among *a) { return (!a->ordered || c->algo->ordered) && (!a->but || c->algo != a->but->algo); }

/* Both are close to the fastest. */
static bool kinder(const struct candidate *c, const struct candidate *to, int size)
{
	return plan_size(size) < SHORT && c->result[size].messages < to->result[size].messages;
}

const struct candidate *project_best(const struct candidate *list, int n, int size, bool ordered, const struct candidate *but)
{
	const struct candidate *fastest = NULL, *best = NULL;
	const struct among a = { size, ordered, but };
	for (int i = 0; i < n; i++)
		if (allowed(&list[i], &a) && (!fastest || list[i].seconds[size] < fastest->seconds[size]))
			fastest = &list[i];
	for (int i = 0; i < n; i++)
		if (allowed(&list[i], &a) && list[i].seconds[size] * 100 <= fastest->seconds[size] * (100 + CLOSE) && (!best || kinder(&list[i], best, size)))
			best = &list[i];
	return best;
}

static struct plan_cell cell_of(const struct candidate *list, int n, bool ordered, int size)
{
	const struct candidate *first = project_best(list, n, size, ordered, NULL), *second = first ? project_best(list, n, size, ordered, first) : NULL;
	if (!first)
		return (struct plan_cell){ 0 };
	double seconds = first->seconds[size] < PLAN_SECONDS / 2 ? first->seconds[size] : PLAN_SECONDS / 2;     /* links may be given as slow as one likes */
	double loss = second && first->seconds[size] > 0 ? 1000 * (second->seconds[size] / first->seconds[size] - 1) : UINT16_MAX;
	loss = loss > 0 ? loss : 0;
	return (struct plan_cell){ .algo = (uint8_t)(first->algo - algo_table + 1), .channels = (uint8_t)first->channels, .pieces = (uint8_t)first->pieces,
		.slice = (uint8_t)log2_of(first->slice), .source = PLAN_MODEL, .runner_up = second ? (uint8_t)(second->algo - algo_table + 1) : 0,
		.loss = loss < UINT16_MAX ? (uint16_t)loss : UINT16_MAX, .seconds = (float)seconds };
}

int project_table(struct plan_table *t, const struct scene *s, int effort, int64_t deadline)
{
	int status = TUTTI_OK;
	for (int k = 0; k < COLL_SEND && !status; k++) {
		struct candidate *list;
		int n;
		status = project_candidates(&list, &n, (enum coll)k, s, effort, deadline);
		if (status)
			break;
		for (int o = 0; o < 2; o++)
			for (int i = 0; i < PLAN_SIZES; i++)
				t->cell[k][o][i] = cell_of(list, n, o, i);
		free(list);
	}
	return status == TUTTI_ERR_TIMEOUT ? TUTTI_OK : status;
}
