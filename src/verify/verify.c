/* SPDX-License-Identifier: Apache-2.0 */
/* The order of the trial. A call owns its world; nothing outlives it; any thread. */
#include <verify/world.h>
#include <algo/algo.h>
#include <base/err.h>
#include <stdarg.h>
#include <stdlib.h>

int refute(const struct world *w, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	vsnprintf(w->why, w->cap, fmt, args);
	va_end(args);
	return TUTTI_ERR_INTERNAL;
}

struct verify_opts verify_defaults(int nranks)
{
	return (struct verify_opts){ nranks <= 8 ? 2 : nranks <= 16, 1 };
}

static void place(struct world *w, int how)
{
	for (int r = 0; r < w->n; r++)
		w->in_place[r] = how == 1 || (how == 2 && scramble(w->seed + (uint64_t)r) & 1);
}

/* One count; nobody (0), everybody (1), or random ranks (2) in place. */
static int judge_case(struct world *w, const struct verify_opts *o, uint64_t count, int how)
{
	w->count = count;
	w->seed = scramble(o->seed + count * 3 + (uint64_t)how);
	place(w, how);
	int status = memory_fill(w);
	if (!status)
		status = run_order(w);
	if (!status)
		status = memory_check(w);
	for (int i = 0; i < o->chaos && !status; i++) {
		status = memory_fill(w);
		if (!status)
			status = run_chaos(w, w->seed + (uint64_t)i);
		if (!status)
			status = memory_check(w);
	}
	return status;
}

/*
 * Chunks of 3 and 4 elements (1 and 2 without chaos, which alone needs so many), and some chunks empty, all when k is 1. A barrier has
 * no elements.
 */
static int judge_values(struct world *w, const struct verify_opts *o)
{
	uint64_t k = w->s[0]->k, many = (o->chaos ? 3 : 1) * k + (k + 1) / 2, few = k / 2;
	const struct { uint64_t count; int how; } cases[] = { { many, 0 }, { many, 1 }, { few, 2 }, { many, 2 }, { few, 0 }, { few, 1 } };
	int status = 0, n = o->chaos ? 6 : 3;
	if (w->s[0]->coll == COLL_BARRIER)
		return check_barrier(w);
	for (int i = 0; i < n && !status; i++)
		status = judge_case(w, o, cases[i].count, cases[i].how);
	return status;
}

static int judge(struct world *w, const struct verify_opts *o)
{
	int status = 0;
	for (int r = 0; r < w->n && !status; r++) {
		status = check_rank(w, r);
		if (!status)
			status = check_races(w, r);
	}
	if (!status)
		status = world_match(w);
	if (!status)
		status = run_blocking(w);
	return status ? status : judge_values(w, o);
}

static int world_make(struct world *w)
{
	w->base = calloc((size_t)w->n + 1, sizeof *w->base);
	w->in_place = calloc((size_t)w->n, sizeof *w->in_place);
	for (int b = BUF_IN; b <= BUF_SCRATCH; b++)
		w->mem[b] = calloc((size_t)w->n, sizeof *w->mem[b]);
	for (int r = 0; w->base && r < w->n; r++)
		w->base[r + 1] = w->nsteps += w->s[r]->nsteps;
	w->rank = malloc(((size_t)w->nsteps + 1) * sizeof *w->rank);
	w->step = malloc(((size_t)w->nsteps + 1) * sizeof *w->step);
	w->order = malloc(((size_t)w->nsteps + 1) * sizeof *w->order);
	w->first_end = malloc(((size_t)w->nsteps + 1) * sizeof *w->first_end);
	if (!w->base || !w->in_place || !w->mem[BUF_IN] || !w->mem[BUF_OUT] || !w->mem[BUF_SCRATCH] || !w->rank || !w->step || !w->order ||
			!w->first_end)
		return err_set(TUTTI_ERR_NOMEM, "verify: no memory for %u steps", w->nsteps);
	for (int r = 0; r < w->n; r++)
		for (uint32_t g = w->base[r]; g < w->base[r + 1]; g++) {
			w->rank[g] = r;
			w->step[g] = &w->s[r]->steps[g - w->base[r]];
		}
	return 0;
}

int verify_scheds(const struct sched *const *s, int nranks, const struct verify_opts *o, char *why, size_t cap)
{
	struct world w = { .n = nranks, .s = s, .why = why, .cap = cap };
	int status = world_make(&w);
	if (!status)
		status = judge(&w, o);
	if (status && status != TUTTI_ERR_INTERNAL)
		refute(&w, "%s", err_last());
	free(w.base);
	free(w.in_place);
	for (int b = BUF_IN; b <= BUF_SCRATCH; b++)
		free(w.mem[b]);
	free(w.rank);
	free(w.step);
	free(w.order);
	free(w.first_end);
	free(w.ends);
	free(w.msgs);
	free(w.heap);
	return status;
}

/* The schedule of one rank; of a message between two, each end has its own collective, and the other ranks an empty schedule. */
static int build_rank(struct sched **s, const struct algo *a, const struct problem *p, int rank)
{
	int other = (p->root + 1) % p->nranks;
	bool send = p->coll == COLL_SEND;
	if (!send && p->coll != COLL_RECV)
		return sched_build(s, a, p, rank);
	if (rank == p->root || rank == other) {
		struct problem q = *p;
		q.root = rank == p->root ? other : p->root;
		if (rank == p->root)
			q.coll = send ? COLL_RECV : COLL_SEND;
		return sched_build(s, rank == p->root ? algo_find(q.coll, a->name) : a, &q, rank);
	}
	*s = calloc(1, sizeof **s);
	if (!*s)
		return err_set(TUTTI_ERR_NOMEM, "verify: no memory");
	**s = (struct sched){ .coll = COLL_SEND, .algo = a, .nranks = p->nranks, .rank = rank, .k = a->k_of(p), .nchannels = 1 };
	return 0;
}

int verify(const struct algo *a, const struct problem *p, const struct verify_opts *o, char *why, size_t cap)
{
	struct sched **s = calloc((size_t)p->nranks, sizeof *s);
	int status = s ? 0 : err_set(TUTTI_ERR_NOMEM, "verify: no memory for %d ranks", p->nranks);
	for (int r = 0; r < p->nranks && !status; r++)
		status = build_rank(&s[r], a, p, r);
	if (status)
		snprintf(why, cap, "%s", err_last());
	else
		status = verify_scheds((const struct sched *const *)s, p->nranks, o, why, cap);
	for (int r = 0; s && r < p->nranks; r++)
		sched_free(s[r]);
	free(s);
	return status;
}

static int try_problem(const struct algo *a, const struct problem *p, unsigned *cases, char *why, size_t cap)
{
	struct verify_opts o = verify_defaults(p->nranks);
	char sentence[ERR_TEXT], shape[128] = "";
	int status = verify(a, p, &o, sentence, sizeof sentence);
	++*cases;
	if (status && p->shape)
		verify_shape_words(p->shape, shape, sizeof shape);
	if (status)
		snprintf(why, cap, "%d ranks%s, root %d, %d channels, %d pieces: %s", p->nranks, shape, p->root, p->channels, p->pieces, sentence);
	return status;
}

static int try_roots(const struct algo *a, int nranks, const struct shape *shape, unsigned *cases, char *why, size_t cap)
{
	const struct coll_row *row = &coll_rows[a->coll];
	bool few = nranks <= 16;
	int roots = row->rooted ? nranks : 1, apart = few ? 1 : (2 * nranks + 2) / 3, status = 0;
	for (int root = 0; root < roots && !status; root += apart) {
		struct problem p = { a->coll, nranks, root, few ? 1 : 2, 1, shape };
		status = try_problem(a, &p, cases, why, cap);
		if (few && !status) {
			p.pieces = p.channels = 3;
			status = try_problem(a, &p, cases, why, cap);
		}
	}
	return status;
}

int verify_ranks(const struct algo *a, int nranks, unsigned *cases, char *why, size_t cap)
{
	struct shape *shape;
	bool p2p = a->coll == COLL_SEND || a->coll == COLL_RECV;
	int status = p2p && nranks == 1 ? 0 : try_roots(a, nranks, NULL, cases, why, cap);
	int at = 0;
	while (!status && a->shaped && (shape = verify_shape(nranks, &at))) {
		status = try_roots(a, nranks, shape, cases, why, cap);
		shape_free(shape);
	}
	if (at < 0) {
		status = TUTTI_ERR_INTERNAL;
		snprintf(why, cap, "%d ranks: a shape to try: %s", nranks, err_last());
	}
	return status;
}
