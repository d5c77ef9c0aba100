/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The recorder: takes steps in the order in which they could run one by one, and finds out what must wait for what.
 *
 * For each chunk of the aliased line (in and out as if in place, then scratch) it remembers the last writer and who has read since:
 *
 *      a step that reads a chunk waits for its writer;   a step that writes one waits for its writer and its readers.
 *
 * What another wait already implies is left out. A step keeps two waits; more go through nops placed before it:
 *
 *      step waits c1 > c2 > c3 > c4:     nop (c4 c3)  nop (that, c2)  step (that, c1)
 *
 * The recorder lives inside sched_build; builders see it only through rec_*. The finished schedule owns the arrays.
 */
#include <sched/sched.h>
#include <base/err.h>
#include <stdlib.h>
#include <string.h>

struct chunk { int32_t writer, reader; };               /* a step; an index into reads; -1: none */
struct read { int32_t step, next; };
struct mark { uint32_t wanted, implied; int32_t todo; };/* a step's stamps while a later step's waits are found; todo is a stack */

struct recorder {
	struct sched *s;
	int status, channel;
	bool muted;
	struct step *steps;
	struct sched_set *sets;
	int32_t *members;
	uint32_t cap_steps, cap_sets, cap_members;
	struct chunk *chunks;                           /* io_chunks of in and out, then scratch */
	uint32_t nchunks, io_chunks, cap_chunks;
	struct read *reads;
	uint32_t nreads, cap_reads;
	struct mark *marks;                             /* one a step */
	uint32_t cap_marks, stamp;
	int32_t *need;                                  /* the waits of the step at hand */
	uint32_t nneed, cap_need;
};

static void fail(struct recorder *w, int status)
{
	if (!w->status)
		w->status = status;
}

/* Make room for `need` items. */
static bool grow(struct recorder *w, void *array, uint32_t *cap, uint64_t need, size_t size)
{
	void **p = array;
	if (need <= *cap)
		return true;
	uint64_t n = need < 16 ? 16 : need + need / 2;
	void *q = n > INT32_MAX ? NULL : realloc(*p, n * size);
	if (!q) {
		fail(w, err_set(TUTTI_ERR_NOMEM, "schedule of %s %s: no memory for %llu items", coll_rows[w->s->coll].name,
				w->s->algo->name, (unsigned long long)n));
		return false;
	}
	*p = q;
	*cap = (uint32_t)n;
	return true;
}

/* ---- is a step legal? ----------------------------------------------------------------------------------------- */

static bool bad(struct recorder *w, const char *what, long got)
{
	const struct sched *s = w->s;
	fail(w, err_set(TUTTI_ERR_INTERNAL, "%s %s, rank %d of %d, step %u: %s (%ld)", coll_rows[s->coll].name, s->algo->name, s->rank,
			s->nranks, s->nsteps, what, got));
	return false;
}

static uint64_t buf_chunks(const struct recorder *w, int buf)
{
	const struct sched *s = w->s;
	switch (buf) {
	case BUF_IN: return coll_reads(s->coll, s->root, s->rank) ? (uint64_t)coll_in_blocks(s->coll, s->nranks) * s->k : 0;
	case BUF_OUT: return coll_writes(s->coll, s->root, s->rank) ? (uint64_t)coll_out_blocks(s->coll, s->nranks) * s->k : 0;
	case BUF_SCRATCH: return s->scratch_chunks;
	default: return 0;
	}
}

static bool in_range(struct recorder *w, struct span x)
{
	if (x.buf == BUF_NONE)
		return true;
	if (x.n == 0)
		return bad(w, "empty span", x.chunk);
	return (uint64_t)x.chunk + x.n <= buf_chunks(w, x.buf) || 
		bad(w, "span ends past the buffer, or the buffer is not used at this rank", (long)x.chunk + x.n);
}

/* First chunk of a span on the aliased line. */
static uint32_t line(const struct recorder *w, struct span x)
{
	return x.buf == BUF_SCRATCH ? w->io_chunks + x.chunk : sched_alias_chunk(w->s, x);
}

static bool same_elements(struct recorder *w, struct span a, struct span b)
{
	if (a.buf == BUF_NONE || b.buf == BUF_NONE)
		return true;
	uint32_t x = line(w, a), y = line(w, b);
	if (a.n != b.n || a.chunk % w->s->k != b.chunk % w->s->k)
		return bad(w, "dst and src differ in pieces", a.n);
	return x == y || x + a.n <= y || y + b.n <= x || bad(w, "dst overlaps a part of src", (long)x - y);
}

static bool legal(struct recorder *w, const struct step *x)
{
	if (!(x->flags & STEP_SET) && x->op <= STEP_RECV_REDUCE && (x->peer < 0 || x->peer >= w->s->nranks || x->peer == w->s->rank))
		return bad(w, "no such peer", x->peer);
	if (x->dst.buf == BUF_IN)
		return bad(w, "in is constant", x->dst.chunk);
	return in_range(w, x->dst) && in_range(w, x->src) && same_elements(w, x->dst, x->src);
}

/* ---- what must it wait for? ----------------------------------------------------------------------------------- */

static void want(struct recorder *w, int32_t step)
{
	if (step < 0 || w->marks[step].wanted == w->stamp || !grow(w, &w->need, &w->cap_need, w->nneed + 1, sizeof *w->need))
		return;
	w->marks[step].wanted = w->stamp;
	w->need[w->nneed++] = step;
}

static void want_conflicts(struct recorder *w, const struct step *x)
{
	for (uint32_t i = 0; x->src.buf && i < x->src.n; i++)
		want(w, w->chunks[line(w, x->src) + i].writer);
	for (uint32_t i = 0; x->dst.buf && i < x->dst.n; i++) {
		const struct chunk *c = &w->chunks[line(w, x->dst) + i];
		want(w, c->writer);
		for (int32_t r = c->reader; r >= 0; r = w->reads[r].next)
			want(w, w->reads[r].step);
	}
}

static int later_first(const void *a, const void *b)
{
	int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
	return (x < y) - (x > y);
}

/* Mark what `step` waits for, directly or not, down to step `least`. */
static void imply(struct recorder *w, int32_t step, int32_t least)
{
	uint32_t n = 0;
	w->marks[n++].todo = step;
	while (n) {
		const struct step *x = &w->steps[w->marks[--n].todo];
		for (int i = 0; i < SCHED_MAX_WAITS; i++)
			if (x->wait[i] >= least && w->marks[x->wait[i]].implied != w->stamp) {
				w->marks[x->wait[i]].implied = w->stamp;
				w->marks[n++].todo = x->wait[i];
			}
	}
}

/* need = the steps that x must wait for, later ones first, none implied by another. */
static void find_waits(struct recorder *w, const struct step *x)
{
	uint32_t kept = 0;
	w->stamp++;
	w->nneed = 0;
	want_conflicts(w, x);
	if (w->nneed < 2)
		return;
	qsort(w->need, w->nneed, sizeof *w->need, later_first);
	for (uint32_t i = 0; i < w->nneed; i++) {
		int32_t c = w->need[i];
		if (w->marks[c].implied == w->stamp)
			continue;
		imply(w, c, w->need[w->nneed - 1]);
		w->need[kept++] = c;
	}
	w->nneed = kept;
}

/* ---- append --------------------------------------------------------------------------------------------------- */

static void touch(struct recorder *w, const struct step *x, int32_t step)
{
	for (uint32_t i = 0; x->src.buf && i < x->src.n; i++) {
		struct chunk *c = &w->chunks[line(w, x->src) + i];
		if (!grow(w, &w->reads, &w->cap_reads, w->nreads + 1, sizeof *w->reads))
			return;
		w->reads[w->nreads] = (struct read){ step, c->reader };
		c->reader = (int32_t)w->nreads++;
	}
	for (uint32_t i = 0; x->dst.buf && i < x->dst.n; i++)
		w->chunks[line(w, x->dst) + i] = (struct chunk){ step, -1 };
}

static int32_t append(struct recorder *w, struct step x, int32_t wait0, int32_t wait1)
{
	struct sched *s = w->s;
	if (!grow(w, &w->steps, &w->cap_steps, s->nsteps + 1, sizeof *w->steps) ||
			!grow(w, &w->marks, &w->cap_marks, s->nsteps + 2, sizeof *w->marks))
		return -1;
	x.wait[0] = wait0;
	x.wait[1] = wait1;
	w->marks[s->nsteps] = (struct mark){ 0 };
	w->steps[s->nsteps] = x;
	return (int32_t)s->nsteps++;
}

static void emit(struct recorder *w, struct step x)
{
	const struct step nop = { .op = STEP_NOP, .channel = (uint8_t)w->channel, .peer = -1 };
	x.channel = (uint8_t)w->channel;
	if (w->status || w->muted || !legal(w, &x))
		return;
	find_waits(w, &x);
	int32_t carried = w->nneed > 1 ? w->need[w->nneed - 1] : -1;
	for (uint32_t i = w->nneed; i > 2 && !w->status; i--)
		carried = append(w, nop, w->need[i - 2], carried);
	int32_t step = append(w, x, w->nneed ? w->need[0] : -1, carried);
	if (!w->status)
		touch(w, &x, step);
}

/* ---- what builders call ---------------------------------------------------------------------------------------- */

void rec_channel(struct recorder *w, int channel)
{
	if (channel < 0 || channel >= SCHED_MAX_CHANNELS) {
		bad(w, "no such channel", channel);
		return;
	}
	w->channel = channel;
	if (channel >= w->s->nchannels)
		w->s->nchannels = channel + 1;
}

void rec_scratch(struct recorder *w, uint32_t chunks)
{
	if (chunks <= w->s->scratch_chunks || !grow(w, &w->chunks, &w->cap_chunks, (uint64_t)w->io_chunks + chunks, sizeof *w->chunks))
		return;
	w->s->scratch_chunks = chunks;
	for (; w->nchunks < w->io_chunks + chunks; w->nchunks++)
		w->chunks[w->nchunks] = (struct chunk){ -1, -1 };
}

static int earlier_first(const void *a, const void *b)
{
	return later_first(b, a);
}

/* Index of the set of a group's ranks without this one, or -1: nobody else, or an error. */
static int32_t make_set(struct recorder *w, const struct group *g)
{
	struct sched *s = w->s;
	if (w->status || g->n < 1 || !grow(w, &w->members, &w->cap_members, (uint64_t)s->nmembers + (uint32_t)g->n, sizeof *w->members) ||
			!grow(w, &w->sets, &w->cap_sets, s->nsets + 1, sizeof *w->sets))
		return -1;
	int32_t *m = w->members + s->nmembers;
	uint32_t k = 0;
	for (int i = 0; i < g->n; i++)
		if (group_rank(g, i) != s->rank)
			m[k++] = group_rank(g, i);
	qsort(m, k, sizeof *m, earlier_first);
	for (uint32_t i = 0; i < k; i++)
		if (m[i] < 0 || m[i] >= s->nranks || (i && m[i] == m[i - 1])) {
			bad(w, "a set names no rank, or one twice", m[i]);
			return -1;
		}
	if (k == 0)
		return -1;
	const struct sched_set *last = s->nsets ? &w->sets[s->nsets - 1] : NULL;
	if (last && last->n == k && memcmp(w->members + last->first, m, k * sizeof *m) == 0)
		return (int32_t)s->nsets - 1;
	w->sets[s->nsets] = (struct sched_set){ s->nmembers, k };
	s->nmembers += k;
	return (int32_t)s->nsets++;
}

void rec_send(struct recorder *w, int peer, struct span src)
{
	emit(w, (struct step){ .op = STEP_SEND, .peer = peer, .src = src });
}

void rec_send_set(struct recorder *w, const struct group *g, struct span src)
{
	int32_t set = w->muted ? -1 : make_set(w, g);
	if (set >= 0)
		emit(w, (struct step){ .op = STEP_SEND, .flags = STEP_SET, .peer = set, .src = src });
}

void rec_recv(struct recorder *w, int peer, struct span dst)
{
	emit(w, (struct step){ .op = STEP_RECV, .peer = peer, .dst = dst });
}

void rec_recv_reduce(struct recorder *w, int peer, struct span dst, struct span src, unsigned flags)
{
	emit(w, (struct step){ .op = STEP_RECV_REDUCE, .flags = (uint8_t)flags, .peer = peer, .dst = dst, .src = src });
}

void rec_recv_reduce_set(struct recorder *w, const struct group *g, struct span dst, struct span src, unsigned flags)
{
	int32_t set = w->muted ? -1 : make_set(w, g);
	if (w->muted)
		return;
	if (set >= 0)
		emit(w, (struct step){ .op = STEP_RECV_REDUCE, .flags = (uint8_t)(flags | STEP_SET), .peer = set, .dst = dst, .src = src });
	else
		bad(w, "recv_reduce from nobody", g->n);
}

void rec_reduce(struct recorder *w, struct span dst, struct span src, unsigned flags)
{
	emit(w, (struct step){ .op = STEP_REDUCE, .flags = (uint8_t)flags, .peer = -1, .dst = dst, .src = src });
}

void rec_copy(struct recorder *w, struct span dst, struct span src)
{
	emit(w, (struct step){ .op = STEP_COPY, .peer = -1, .dst = dst, .src = src });
}

bool rec_mute(struct recorder *w, bool muted)
{
	bool before = w->muted;
	w->muted = muted;
	return before;
}

uint32_t rec_k(const struct recorder *w)
{
	return w->s->k;
}

/* ---- a whole schedule ------------------------------------------------------------------------------------------ */

static int check_problem(const struct algo *a, const struct problem *p, int rank)
{
	const char *name = coll_rows[p->coll].name;
	bool p2p = p->coll == COLL_SEND || p->coll == COLL_RECV;
	if (a->coll != p->coll)
		return err_set(TUTTI_ERR_UNSUPPORTED, "%s: %s is an algorithm for %s", name, a->name, coll_rows[a->coll].name);
	if (p->nranks < 1 || rank < 0 || rank >= p->nranks)
		return err_set(TUTTI_ERR_INVALID, "%s: expected a rank in 0..%d, got %d", name, p->nranks - 1, rank);
	if (coll_rows[p->coll].rooted && (p->root < 0 || p->root >= p->nranks))
		return err_set(TUTTI_ERR_INVALID, "%s: expected a %s in 0..%d, got %d", name, p2p ? "peer" : "root", p->nranks - 1,
				p->root);
	if (p2p && p->root == rank)
		return err_set(TUTTI_ERR_INVALID, "%s: expected another rank as the peer, got this one, %d", name, rank);
	if (p->channels < 1 || p->channels > SCHED_MAX_CHANNELS)
		return err_set(TUTTI_ERR_INVALID, "%s: expected 1..%d channels, got %d", name, SCHED_MAX_CHANNELS, p->channels);
	if (p->shape && p->shape->nranks != p->nranks)
		return err_set(TUTTI_ERR_INVALID, "%s: expected a shape of %d ranks, got one of %d", name, p->nranks, p->shape->nranks);
	if (p->pieces < 1)
		return err_set(TUTTI_ERR_INVALID, "%s: expected 1 or more pieces, got %d", name, p->pieces);
	return 0;
}

static uint64_t mix(uint64_t h, uint64_t x)
{
	h = (h ^ x) * 0x9e3779b97f4a7c15u;
	return h ^ h >> 29;
}

/* What all ranks of one operation share. A send and its recv are one operation: from whom, to whom. */
static uint64_t hash_of(const struct sched *s, const struct problem *p)
{
	bool p2p = s->coll == COLL_SEND || s->coll == COLL_RECV;
	int from = s->coll == COLL_SEND ? s->rank : s->root, to = s->coll == COLL_RECV ? s->rank : s->root;
	const uint64_t shared[] = { p2p ? COLL_SEND : s->coll, (uint64_t)s->nranks, coll_rows[s->coll].rooted ? (uint64_t)from : 0,
		p2p ? (uint64_t)to : 0, s->k, (uint64_t)p->pieces, (uint64_t)p->channels, p->shape ? p->shape->hash : 0 };
	uint64_t h = 0x7475747469;
	for (const char *c = s->algo->name; *c; c++)
		h = mix(h, (unsigned char)*c);
	for (size_t i = 0; i < sizeof shared / sizeof *shared; i++)
		h = mix(h, shared[i]);
	return h;
}

static int prepare(struct recorder *w, const struct algo *a, const struct problem *p, int rank)
{
	struct sched *s = w->s = calloc(1, sizeof *s);
	if (!s)
		return err_set(TUTTI_ERR_NOMEM, "schedule of %s %s: no memory", coll_rows[p->coll].name, a->name);
	uint32_t in = coll_in_blocks(p->coll, p->nranks), out = coll_out_blocks(p->coll, p->nranks);
	*s = (struct sched){ .coll = p->coll, .algo = a, .nranks = p->nranks, .rank = rank, .root = p->root, .k = a->k_of(p),
			.nchannels = 1 };
	uint64_t io = (uint64_t)(in > out ? in : out) * s->k;
	if (s->k < 1 || io > INT32_MAX / 4)
		return err_set(TUTTI_ERR_UNSUPPORTED, "%s %s: %u chunks a block for %d ranks are too many", coll_rows[p->coll].name,
				a->name, s->k, p->nranks);
	s->hash = hash_of(s, p);
	w->io_chunks = w->nchunks = (uint32_t)io;
	if (!grow(w, &w->chunks, &w->cap_chunks, io, sizeof *w->chunks))
		return w->status;
	memset(w->chunks, 0xff, io * sizeof *w->chunks);        /* -1 */
	return 0;
}

static void record(struct recorder *w, const struct algo *a, const struct problem *p)
{
	const struct sched *s = w->s;
	const struct group all = { .n = p->nranks, .me = s->rank };
	if (p->nranks > 1)
		a->build(w, p, &all);
	else if (coll_reads(p->coll, p->root, 0) && coll_writes(p->coll, p->root, 0))
		rec_copy(w, span(BUF_OUT, 0, s->k), span(BUF_IN, 0, s->k));
}

int sched_build(struct sched **out, const struct algo *a, const struct problem *p, int rank)
{
	struct recorder w = { 0 };
	int status = check_problem(a, p, rank);
	if (status)
		return status;
	status = prepare(&w, a, p, rank);
	if (!status) {
		record(&w, a, p);
		status = w.status;
	}
	free(w.chunks);
	free(w.reads);
	free(w.marks);
	free(w.need);
	if (w.s) {
		w.s->steps = w.steps;
		w.s->sets = w.sets;
		w.s->members = w.members;
	}
	if (status)
		sched_free(w.s);
	else
		*out = w.s;
	return status;
}

void sched_free(struct sched *s)
{
	if (!s)
		return;
	free((void *)s->steps);
	free((void *)s->sets);
	free((void *)s->members);
	free(s);
}
