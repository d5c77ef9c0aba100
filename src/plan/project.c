/* SPDX-License-Identifier: Apache-2.0 */
/* Candidates are all of a collective's algorithms, times channels, pieces and slices where these make a difference. */
#include <base/clock.h>
#include <base/err.h>
#include <plan/choose.h>
#include <plan/project.h>
#include <stdlib.h>
#include <string.h>

#define KI 1024u
#define NEVER 1e30      /* seconds: not simulated, because others are faster */
enum { CLOSE = 3, SHORT = 64 * KI };     /* per cent; bytes */

/*
 * How much is tried, by effort. steps: of all ranks together, and their messages; more are too slow to simulate there. probes: these
 * sizes (a bit each) are simulated first, and the others only of who comes near to the best on the probe next to them.
 */
enum { ALL_SIZES = (1 << PLAN_SIZES) - 1, NEAR_BEST = 130 };   /* per cent */
static const struct effort {
	int channels[4], pieces[4];
	size_t slice[3];
	double steps;
	unsigned probes;
} efforts[] = {
	{ { 1, 2 }, { 1, 8 }, { 128 * KI }, 1e5, 1 << 2 | 1 << 7 | 1 << 11 },
	{ { 1, 2, 4 }, { 1, 4, 16 }, { 128 * KI, 32 * KI }, 1e8, ALL_SIZES },
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

/* TUTTI_OK, TUTTI_ERR_TIMEOUT, or why it cannot be simulated. */
static int simulate(const struct tries *t, struct candidate *c, unsigned sizes)
{
	struct sim *sim;
	int status = clock_ns() > t->deadline ? TUTTI_ERR_TIMEOUT : TUTTI_OK;
	if (!status && sizes)
		status = sim_open(&sim, &(struct sim_job){ c->algo, problem_of(c, t->scene) }, t->scene->topo, t->scene->costs);
	if (status || !sizes)
		return status;
	for (int i = 0; i < PLAN_SIZES && !status; i++)
		if (sizes >> i & 1) {
			status = clock_ns() > t->deadline ? TUTTI_ERR_TIMEOUT : sim_run(sim, c->algo->coll == COLL_BARRIER ? 0 : plan_size(i), c->slice, &c->result[i]);
			c->seconds[i] = c->result[i].seconds;
		}
	sim_close(sim);
	return status;
}

/* What cannot be simulated is no candidate. */
static int probe(struct tries *t, struct candidate c)
{
	int status = too_slow(t, &c) ? TUTTI_ERR_UNSUPPORTED : simulate(t, &c, t->effort->probes);
	if (status)
		return status == TUTTI_ERR_TIMEOUT ? status : TUTTI_OK;
	if (t->n == t->cap) {
		t->cap = 2 * t->cap + 8;
		void *p = realloc(t->list, (size_t)t->cap * sizeof *t->list);
		if (!p)
			return err_set(TUTTI_ERR_NOMEM, "no memory for %d candidates", t->cap);
		t->list = p;
	}
	t->list[t->n++] = c;
	return TUTTI_OK;
}

/* Near to the best on this probe, of all or of those that keep order. */
static bool near_best(const struct tries *t, const struct candidate *c, int probe)
{
	for (int ordered = 0; ordered <= c->algo->ordered; ordered++) {
		double best = c->seconds[probe];
		for (int j = 0; j < t->n; j++)
			if ((!ordered || t->list[j].algo->ordered) && t->list[j].seconds[probe] < best)
				best = t->list[j].seconds[probe];
		if (c->seconds[probe] * 100 <= NEAR_BEST * best)
			return true;
	}
	return false;
}

static int nearest_probe(unsigned probes, int size)
{
	for (int d = 0; d < PLAN_SIZES; d++)
		for (int i = size - d; i <= size + d; i += d ? 2 * d : 1)
			if (i >= 0 && i < PLAN_SIZES && probes >> i & 1)
				return i;
	return size;
}

/* The sizes that c is worth simulating on, beside the probes. */
static unsigned promising(const struct tries *t, const struct candidate *c)
{
	unsigned sizes = 0;
	for (int i = 0; i < PLAN_SIZES; i++)
		if (!(t->effort->probes >> i & 1) && near_best(t, c, nearest_probe(t->effort->probes, i)))
			sizes |= 1u << i;
	return sizes;
}

static int simulate_rest(struct tries *t)
{
	int status = TUTTI_OK;
	for (int i = 0; i < t->n && !status; i++) {
		unsigned sizes = promising(t, &t->list[i]);
		status = simulate(t, &t->list[i], sizes);
		for (int k = 0; k < PLAN_SIZES; k++)
			if (!((sizes | t->effort->probes) >> k & 1))
				t->list[i].seconds[k] = NEVER;
	}
	return status;
}

static int try_algo(struct tries *t, const struct algo *a)
{
	int status = TUTTI_OK;
	for (int i = 0; i < 4 && t->effort->channels[i] && !status; i++)
		for (int j = 0; j < 4 && t->effort->pieces[j] && !status; j++) {
			struct candidate c = { .algo = a, .channels = t->effort->channels[i], .pieces = t->effort->pieces[j] };
			bool other = (i == 0 || matters(c, t->scene, 1, c.pieces)) && (j == 0 || matters(c, t->scene, c.channels, 1));
			for (int k = 0; other && k < 3 && t->effort->slice[k] && !status; k++) {
				c.slice = t->effort->slice[k];
				status = probe(t, c);
			}
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
	if (!status)
		status = simulate_rest(&t);
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

static bool allowed(const struct candidate *c, const struct among *a)
{
	return (!a->ordered || c->algo->ordered) && (!a->but || c->algo != a->but->algo);
}

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
		if (allowed(&list[i], &a) && list[i].seconds[size] * 100 <= fastest->seconds[size] * (100 + CLOSE) &&
		    (!best || kinder(&list[i], best, size)))
			best = &list[i];
	return best;
}

static struct plan_cell cell_of(const struct candidate *list, int n, bool ordered, int size)
{
	const struct candidate *first = project_best(list, n, size, ordered, NULL);
	const struct candidate *second = first ? project_best(list, n, size, ordered, first) : NULL;
	if (!first)
		return (struct plan_cell){ 0 };
	double seconds = first->seconds[size] < PLAN_SECONDS / 2 ? first->seconds[size] : PLAN_SECONDS / 2;     /* links may be given as slow as one likes */
	double loss = second && first->seconds[size] > 0 ? 1000 * (second->seconds[size] / first->seconds[size] - 1) : UINT16_MAX;
	loss = loss > 0 ? loss : 0;
	return (struct plan_cell){ .algo = (uint8_t)(first->algo - algo_table + 1), .channels = (uint8_t)first->channels, .pieces = (uint8_t)first->pieces,
		.slice = (uint8_t)log2_of(first->slice), .source = PLAN_MODEL, .runner_up = second ? (uint8_t)(second->algo - algo_table + 1) : 0,
		.loss = loss < UINT16_MAX ? (uint16_t)loss : UINT16_MAX, .seconds = (float)seconds };
}

/* Was what the rules would take there too slow to be simulated? Then the others prove nothing. */
static bool beyond(const struct scene *s, const struct candidate *list, int n, enum coll coll, bool ordered, int size)
{
	const struct query q = { coll, s->topo->nranks, 0, plan_size(size), !ordered, false, s->shape, NULL };
	struct choice c;
	if (choose(&c, &q, "", 0, 0))
		return false;
	for (int i = 0; i < n; i++)
		if (list[i].algo == c.algo)
			return false;
	return true;
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
				if (!beyond(s, list, n, (enum coll)k, o, i))
					t->cell[k][o][i] = cell_of(list, n, o, i);
		free(list);
	}
	return status == TUTTI_ERR_TIMEOUT ? TUTTI_OK : status;
}
