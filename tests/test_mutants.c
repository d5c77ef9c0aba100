/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The verifier must see every defect: schedules of all algorithms are damaged in one place of one rank, and each damaged one must be
 * refuted, unless it is the same program by a test that asks nothing of the verifier:
 *
 *      the same steps (or one that reads a copy of the same), messages in the same order on every (peer, channel), and every two steps
 *      that conflict (of a barrier: any two, but two sends) ordered the same way by waits.
 */
#include <algo/algo.h>
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <verify/verify.h>

#define KINDS(X) \
	X(drop_wait) X(drop_step) X(swap_steps) X(change_peer) X(shift_dst) X(shift_src) X(shift_both) X(change_dst) X(change_src) \
	X(flip_reversed) X(flip_final) X(truncate) X(widen) X(change_channel) X(drop_reduction) X(drop_member) X(drop_own)

enum kind {
#define X(name) KIND_##name,
	KINDS(X)
#undef X
	KIND_COUNT
};
static const char *const kind_names[] = {
#define X(name) #name,
	KINDS(X)
#undef X
};

enum { RANKS = 16, SETS = 64, MUTANTS = 400 };

/* A schedule that may be written to. perm[i]: which step of the original step i is. */
struct copy {
	struct sched s;
	struct step *steps;
	struct sched_set sets[SETS];
	int32_t *members;
	uint32_t *perm;
};

static uint64_t state;

static uint32_t draw(uint32_t below)
{
	state = state * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(state >> 33) % below;
}

static void copy_make(struct copy *c, const struct sched *s)
{
	c->s = *s;
	c->steps = malloc((s->nsteps + 1) * sizeof *c->steps);
	c->members = malloc((s->nmembers + 1) * sizeof *c->members);
	c->perm = malloc((s->nsteps + 1) * sizeof *c->perm);
	cr_assert(c->steps && c->members && c->perm && s->nsets <= SETS);
	memcpy(c->steps, s->steps, s->nsteps * sizeof *c->steps);
	if (s->nsets) {
		memcpy(c->members, s->members, s->nmembers * sizeof *c->members);
		memcpy(c->sets, s->sets, s->nsets * sizeof *c->sets);
	}
	for (uint32_t i = 0; i < s->nsteps; i++)
		c->perm[i] = i;
	c->s.steps = c->steps;
	c->s.sets = c->sets;
	c->s.members = c->members;
}

static void copy_free(struct copy *c)
{
	free(c->steps);
	free(c->members);
	free(c->perm);
}

/* ---- damage. Each returns false where it does not apply ---------------------------------------------------------- */

static bool drop_wait(struct copy *c, uint32_t i)
{
	int32_t *wait = &c->steps[i].wait[draw(SCHED_MAX_WAITS)];
	bool had = *wait >= 0;
	*wait = -1;
	return had;
}

static bool drop_step(struct copy *c, uint32_t i)
{
	struct step *x = &c->steps[i];
	if (x->op == STEP_NOP)
		return false;
	*x = (struct step){ .op = STEP_NOP, .channel = x->channel, .peer = -1, .wait = { x->wait[0], x->wait[1] } };
	return true;
}

/* With the next step of the same queue; waits follow the steps. */
static bool swap_steps(struct copy *c, uint32_t i)
{
	struct step *x = c->steps, t = x[i];
	uint32_t j = i + 1;
	while (j < c->s.nsteps && (x[j].channel != t.channel || (x[j].op == STEP_SEND) != (t.op == STEP_SEND)))
		j++;
	if (j >= c->s.nsteps)
		return false;
	x[i] = x[j];
	x[j] = t;
	c->perm[i] = j;
	c->perm[j] = i;
	for (uint32_t s = 0; s < c->s.nsteps; s++)
		for (int w = 0; w < SCHED_MAX_WAITS; w++) {
			int32_t *v = &x[s].wait[w];
			*v = *v == (int32_t)i ? (int32_t)j : *v == (int32_t)j ? (int32_t)i : *v;
		}
	return true;
}

static bool change_peer(struct copy *c, uint32_t i)
{
	struct step *x = &c->steps[i];
	if (x->peer < 0 || x->flags & STEP_SET)
		return false;
	x->peer = (x->peer + 1 + (int)draw((uint32_t)c->s.nranks - 1)) % c->s.nranks;
	return true;
}

static bool shift(struct span *x)
{
	if (x->buf == BUF_NONE)
		return false;
	x->chunk = x->chunk && draw(2) ? x->chunk - 1 : x->chunk + 1;
	return true;
}

static bool shift_dst(struct copy *c, uint32_t i)
{
	return shift(&c->steps[i].dst);
}

static bool shift_src(struct copy *c, uint32_t i)
{
	return shift(&c->steps[i].src);
}

static bool shift_both(struct copy *c, uint32_t i)
{
	struct step *x = &c->steps[i];
	if (x->dst.buf == BUF_NONE || x->src.buf == BUF_NONE)
		return false;
	x->dst.chunk++;
	x->src.chunk++;
	return true;
}

static bool change_buf(struct span *x)
{
	if (x->buf == BUF_NONE)
		return false;
	x->buf = (uint8_t)(1 + (x->buf + draw(2)) % 3);
	return true;
}

static bool change_dst(struct copy *c, uint32_t i)
{
	return change_buf(&c->steps[i].dst);
}

static bool change_src(struct copy *c, uint32_t i)
{
	return change_buf(&c->steps[i].src);
}

static bool flip_reversed(struct copy *c, uint32_t i)
{
	struct step *x = &c->steps[i];
	if (!c->s.algo->ordered || x->op != STEP_RECV_REDUCE || x->flags & STEP_SET)
		return false;
	x->flags ^= STEP_REVERSED;
	return true;
}

static bool flip_final(struct copy *c, uint32_t i)
{
	struct step *x = &c->steps[i];
	if (x->op != STEP_RECV_REDUCE)
		return false;
	x->flags ^= STEP_FINAL;
	return true;
}

static bool resize(struct step *x, uint32_t by)
{
	if (x->dst.buf)
		x->dst.n += by;
	if (x->src.buf)
		x->src.n += by;
	return x->dst.buf || x->src.buf;
}

static bool truncate(struct copy *c, uint32_t i)
{
	return resize(&c->steps[i], (uint32_t)-1);
}

static bool widen(struct copy *c, uint32_t i)
{
	return resize(&c->steps[i], 1);
}

static bool change_channel(struct copy *c, uint32_t i)
{
	c->steps[i].channel ^= 1;
	c->s.nchannels = c->s.nchannels < 2 ? 2 : c->s.nchannels;
	return true;
}

static bool drop_reduction(struct copy *c, uint32_t i)
{
	struct step *x = &c->steps[i];
	if (x->op != STEP_RECV_REDUCE || x->flags & STEP_SET)
		return false;
	x->op = STEP_RECV;
	x->flags = 0;
	x->src = (struct span){ 0 };
	return true;
}

static bool drop_member(struct copy *c, uint32_t i)
{
	const struct step *x = &c->steps[i];
	if (!(x->flags & STEP_SET) || c->sets[x->peer].n < 2)
		return false;
	c->sets[x->peer].n--;
	return true;
}

static bool drop_own(struct copy *c, uint32_t i)
{
	struct step *x = &c->steps[i];
	if (!(x->flags & STEP_SET) || x->op != STEP_RECV_REDUCE)
		return false;
	x->src = (struct span){ 0 };
	return true;
}

static bool (*const damage[])(struct copy *, uint32_t) = {
#define X(name) name,
	KINDS(X)
#undef X
};

/* ---- the same program? ------------------------------------------------------------------------------------------- */

static bool leads(const struct step *x, uint32_t from, uint32_t to)
{
	if (from == to)
		return true;
	for (int j = 0; j < SCHED_MAX_WAITS; j++)
		if (x[from].wait[j] >= (int32_t)to && x[from].wait[j] < (int32_t)from && leads(x, (uint32_t)x[from].wait[j], to))
			return true;
	return false;
}

static bool overlap(const struct sched *s, struct span a, struct span b)
{
	if (a.buf == BUF_NONE || b.buf == BUF_NONE || !sched_same_line(a, b))
		return false;
	uint32_t x = sched_alias_chunk(s, a), y = sched_alias_chunk(s, b);
	return x < y + b.n && y < x + a.n;
}

static bool conflict(const struct sched *s, const struct step *a, const struct step *b)
{
	return overlap(s, a->dst, b->dst) || overlap(s, a->dst, b->src) || overlap(s, a->src, b->dst);
}

static bool same_span(struct span a, struct span b)
{
	return a.buf == b.buf && a.chunk == b.chunk && a.n == b.n;
}

/* Is `span` at step i a copy of `of`? The last step that wrote it copied it from there, and nothing has been written there since. */
static bool copy_of(const struct sched *s, uint32_t i, struct span span, struct span of)
{
	while (i-- > 0) {
		const struct step *x = &s->steps[i];
		if (x->op == STEP_COPY && same_span(x->dst, span) && same_span(x->src, of))
			return true;
		if (overlap(s, x->dst, span) || overlap(s, x->dst, of))
			return false;
	}
	return false;
}

/* Step `was` of s and the step that is now in its place. What a barrier's chunks hold is nothing. */
static bool same_step(const struct sched *s, uint32_t was, const struct step *b)
{
	const struct step *a = &s->steps[was];
	bool local = a->op != STEP_SEND && a->op != STEP_RECV && a->op != STEP_RECV_REDUCE;
	if (s->coll == COLL_BARRIER)
		return (a->op == STEP_SEND) == (b->op == STEP_SEND) && a->peer == b->peer && a->channel == b->channel;
	return a->op == b->op && a->flags == b->flags && a->peer == b->peer && (local || a->channel == b->channel) && 
		same_span(a->dst, b->dst) && (same_span(a->src, b->src) || copy_of(s, was, a->src, b->src) || copy_of(s, was, b->src,
				a->src));
}

static bool names(const struct sched *s, const struct step *x, int rank)
{
	if (!(x->flags & STEP_SET))
		return x->peer == rank;
	for (uint32_t i = 0; i < s->sets[x->peer].n; i++)
		if (s->members[s->sets[x->peer].first + i] == rank)
			return true;
	return false;
}

static bool same_fifo(const struct sched *s, const struct step *a, const struct step *b)
{
	if (a->channel != b->channel || (a->op == STEP_SEND) != (b->op == STEP_SEND))
		return false;
	for (int r = 0; r < s->nranks; r++)
		if (names(s, a, r) && names(s, b, r))
			return true;
	return false;
}

static bool same_program(const struct sched *s, const struct copy *c)
{
	bool barrier = s->coll == COLL_BARRIER;
	if (s->nsets && memcmp(s->sets, c->sets, s->nsets * sizeof *s->sets) != 0)
		return false;
	for (uint32_t i = 0; i < s->nsteps; i++)
		if (!same_step(s, c->perm[i], &c->steps[i]))
			return false;
	for (uint32_t j = 0; j < s->nsteps; j++)
		for (uint32_t i = 0; i < j; i++) {
			uint32_t a = c->perm[i], b = c->perm[j];
			const struct step *x = &s->steps[a], *y = &s->steps[b];
			if (a > b && x->peer >= 0 && y->peer >= 0 && same_fifo(s, x, y))
				return false;
			bool tied = (barrier && !(x->op == STEP_SEND && y->op == STEP_SEND)) || conflict(s, x, y) || conflict(s, &c->steps[i], &c->steps[j]);
			if (tied && (a > b || leads(s->steps, b, a) != leads(c->steps, j, i)))
				return false;
		}
	return true;
}

/* ---- the test ---------------------------------------------------------------------------------------------------- */

struct tally { unsigned killed, equal, survived; };

static void one_mutant(const struct algo *a, struct sched **s, int n, struct tally *t)
{
	const struct sched *all[RANKS];
	struct copy c = { 0 };
	struct verify_opts o = { n <= 4, state };
	char why[512];
	int rank = (int)draw((uint32_t)n);
	enum kind kind = (enum kind)draw(KIND_COUNT);
	if (s[rank]->nsteps == 0)
		return;
	uint32_t step = draw(s[rank]->nsteps);
	copy_make(&c, s[rank]);
	if (damage[kind](&c, step)) {
		for (int r = 0; r < n; r++)
			all[r] = r == rank ? &c.s : s[r];
		if (verify_scheds(all, n, &o, why, sizeof why) != 0)
			t[kind].killed++;
		else if (same_program(s[rank], &c))
			t[kind].equal++;
		else {
			t[kind].survived++;
			fprintf(stderr, "survived: %s of %s %s, %d ranks, rank %d, step %u\n", kind_names[kind], coll_rows[a->coll].name,
					a->name, n, rank, step);
		}
	}
	copy_free(&c);
}

static void mutate(const struct algo *a, int n, const struct shape *shape, int mutants, struct tally *t)
{
	struct problem p = { a->coll, n, n / 2, 2, 1 + n % 2, shape };
	struct sched *s[RANKS];
	state = (uint64_t)n * 1000003u + (uint64_t)(a - algo_table) + (shape ? shape->hash : 0);
	for (int r = 0; r < n; r++)
		cr_assert_eq(sched_build(&s[r], a, &p, r), 0);
	for (int i = 0; i < mutants; i++)
		one_mutant(a, s, n, t);
	for (int r = 0; r < n; r++)
		sched_free(s[r]);
}

/* Hierarchical ones over every shape, too. */
static void mutate_shapes(const struct algo *a, int n, struct tally *t)
{
	struct shape *shape;
	mutate(a, n, NULL, MUTANTS, t);
	for (int at = 0; a->shaped && (shape = verify_shape(n, &at));) {
		mutate(a, n, shape, MUTANTS / 8, t);
		shape_free(shape);
	}
}

Test(mutants, every_defect_is_refuted)
{
	static const int ranks[] = { 2, 3, 4, 5, 6, 7, 8, 9, 13, 16 };
	struct tally t[KIND_COUNT] = { 0 };
	unsigned survived = 0;
	for (const struct algo *a = algo_table; a->name; a++)
		for (size_t i = 0; i < sizeof ranks / sizeof *ranks; i++)
			if (a->coll != COLL_SEND && a->coll != COLL_RECV)
				mutate_shapes(a, ranks[i], t);
	for (int k = 0; k < KIND_COUNT; k++) {
		fprintf(stderr, "%-16s killed %5u  the same program %4u  survived %3u\n", kind_names[k], t[k].killed, t[k].equal,
				t[k].survived);
		cr_assert_gt(t[k].killed, 0, "no %s was ever refuted", kind_names[k]);
		survived += t[k].survived;
	}
	cr_assert_eq(survived, 0);
}
