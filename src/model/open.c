/* SPDX-License-Identifier: Apache-2.0 */
/* All ranks' schedules, built one after another and kept as little as the simulator needs. */
#include <base/err.h>
#include <model/inner.h>
#include <stdlib.h>

/*
 * What is refused: steps and messages of all ranks that are kept, and chunks that the recorder would look at meanwhile (some ten seconds of
 * work).
 */
enum { STEPS_MOST = 24000000, MSGS_MOST = 16000000 };
static const double chunks_most = 3e9;

int sim_grow(void *array, uint32_t *cap, uint64_t need, size_t size)
{
	void **p = array;
	if (need <= *cap)
		return 0;
	uint64_t n = need < 64 ? 64 : need + need / 2;
	void *q = n > UINT32_MAX / 2 ? NULL : realloc(*p, n * size);
	if (!q)
		return err_set(TUTTI_ERR_NOMEM, "simulator: no memory for %llu items of %zu bytes", (unsigned long long)n, size);
	*p = q;
	*cap = (uint32_t)n;
	return 0;
}

static int too_large(const struct sim *s, const char *what)
{
	return err_set(TUTTI_ERR_UNSUPPORTED, "%s %s for %d ranks is too large to simulate: %s", coll_rows[s->problem.coll].name,
		s->algo->name, s->nranks, what);
}

/* ---- waits ---------------------------------------------------------------------------------------------------------- */

struct place { bool scratch; uint32_t at, n; };         /* an operand on its line, in chunks, as if in place */

static int operands(const struct sched *s, const struct step *x, struct place p[2])
{
	const struct span spans[2] = { x->dst, x->src };
	int n = 0;
	for (int i = 0; i < 2; i++)
		if (spans[i].buf)
			p[n++] = (struct place){ spans[i].buf == BUF_SCRATCH, sched_alias_chunk(s, spans[i]), spans[i].n };
	return n;
}

static uint16_t fraction(uint32_t x, uint32_t of)
{
	return (uint16_t)((uint64_t)x * PART_ALL / of);
}

/* The part of j's operand p that must be done for a: what of a lies outside needs j complete. */
static struct part part_of(struct place a, struct place p)
{
	if (p.scratch != a.scratch || a.at < p.at || a.at >= p.at + p.n)
		return (struct part){ PART_WHOLE, PART_WHOLE };
	uint32_t from = a.at - p.at, to = from + a.n;
	return (struct part){ fraction(from, p.n), to > p.n ? PART_WHOLE : fraction(to, p.n) };
}

static uint16_t later(uint16_t a, uint16_t b) { return a > b ? a : b; }
static bool touches(struct place a, struct place p) { return p.scratch == a.scratch && p.at < a.at + a.n && a.at < p.at + p.n; }

/* What j must have done for one operand: the most that any operand of j that touches it says; all, when none touches its first element. */
static struct part part_for(struct place a, const struct place *pj, int nj)
{
	struct part got = { PART_WHOLE, PART_WHOLE };
	bool found = false;
	for (int i = 0; i < nj; i++)
		if (touches(a, pj[i])) {
			struct part p = part_of(a, pj[i]);
			got = found ? (struct part){ later(got.first, p.first), later(got.last, p.last) } : p;
			found = true;
		}
	return got;
}

static struct part part_needed(const struct sched *s, const struct step *x, const struct step *j)
{
	struct place px[2], pj[2];
	int nx = operands(s, x, px), nj = operands(s, j, pj);
	struct part need = { nx && nj ? 0 : PART_WHOLE, nx && nj ? 0 : PART_WHOLE };
	for (int i = 0; i < nx && nj; i++) {
		struct part p = part_for(px[i], pj, nj);
		need.first = later(need.first, p.first);
		need.last = later(need.last, p.last);
	}
	return need;
}

/* ---- steps ---------------------------------------------------------------------------------------------------------- */

static int add_message(struct sim *s, uint32_t step, int to, uint32_t *id)
{
	if (s->nmsgs >= MSGS_MOST)
		return too_large(s, "more than 16 million messages");
	int status = sim_grow(&s->msgs, &s->cap_msgs, s->nmsgs + 1ull, sizeof *s->msgs);
	if (status)
		return status;
	*id = s->nmsgs++;
	s->msgs[*id] = (struct message){ .send = step, .recv = (uint32_t)to };
	return 0;
}

/* A send's messages, whose `recv` is the receiver's rank until match.c; a receive keeps the senders' ranks until then. */
static int add_peers(struct sim *s, const struct sched *sched, const struct step *x, struct sim_step *to)
{
	bool sends = x->op == STEP_SEND;
	if (!(x->flags & STEP_SET)) {
		to->msg = (uint32_t)x->peer;
		return sends ? add_message(s, s->nsteps, x->peer, &to->msg) : 0;
	}
	const struct sched_set *set = &sched->sets[x->peer];
	int status = sim_grow(&s->ends, &s->cap_ends, (uint64_t)s->nends + 1 + set->n, sizeof *s->ends);
	if (status)
		return status;
	to->msg = s->nends;
	s->ends[s->nends++] = set->n;
	for (uint32_t i = 0; i < set->n && !status; i++) {
		int32_t peer = sched->members[set->first + i];
		uint32_t *end = &s->ends[s->nends++];
		*end = (uint32_t)peer;
		status = sends ? add_message(s, s->nsteps, peer, end) : 0;
	}
	return status;
}

static int add_step(struct sim *s, const struct sched *sched, uint32_t i)
{
	const struct step *x = &sched->steps[i];
	struct span any = x->dst.buf ? x->dst : x->src;
	int status = s->nsteps >= STEPS_MOST ? too_large(s, "more than 24 million steps")
		: sim_grow(&s->steps, &s->cap_steps, s->nsteps + 1ull, sizeof *s->steps);
	if (status)
		return status;
	struct sim_step *to = &s->steps[s->nsteps];
	*to = (struct sim_step){ .piece = any.buf ? any.chunk % s->k : 0, .n = any.buf ? any.n : 0, .rank = sched->rank, .next = SIM_NONE,
		.op = x->op, .flags = x->flags, .channel = x->channel, .operands = (x->dst.buf != BUF_NONE) + (x->src.buf != BUF_NONE) };
	for (int w = 0; w < SCHED_MAX_WAITS; w++) {
		to->wait[w] = x->wait[w] < 0 ? SIM_NONE : s->base[sched->rank] + (uint32_t)x->wait[w];
		if (x->wait[w] >= 0)
			to->part[w] = part_needed(sched, x, &sched->steps[x->wait[w]]);
	}
	if (x->op >= STEP_SEND && x->op <= STEP_RECV_REDUCE)
		status = add_peers(s, sched, x, to);
	s->nsteps += !status;
	return status;
}

/* Chunks that the recorder looked at: it made one of each buffer, and went through each operand twice. */
static double chunks_of(const struct sched *x)
{
	double n = 0.1 * (coll_in_blocks(x->coll, x->nranks) + coll_out_blocks(x->coll, x->nranks)) * x->k;
	for (uint32_t i = 0; i < x->nsteps; i++)
		n += x->steps[i].dst.n + x->steps[i].src.n;
	return n;
}

/* Before all are built: would they be too many, were all like this one? */
static int check_size(const struct sim *s, const struct sched *x)
{
	char what[96];
	if ((double)x->nsteps * s->nranks > STEPS_MOST) {
		snprintf(what, sizeof what, "%u steps a rank", x->nsteps);
		return too_large(s, what);
	}
	if (chunks_of(x) * s->nranks > chunks_most) {
		snprintf(what, sizeof what, "%.0f chunks a rank", chunks_of(x));
		return too_large(s, what);
	}
	return 0;
}

static int add_rank(struct sim *s, int rank, double *chunks)
{
	struct sched *x;
	int status = sched_build(&x, s->algo, &s->problem, rank);
	if (status)
		return status;
	enum coll c = s->problem.coll;
	s->k = x->k;
	s->base[rank] = s->nsteps;
	s->seats[rank].blocks = (float)((coll_reads(c, x->root, rank) ? coll_in_blocks(c, x->nranks) : 0.0) +
		(coll_writes(c, x->root, rank) ? coll_out_blocks(c, x->nranks) : 0.0) + (double)x->scratch_chunks / x->k);
	if (2 * x->nchannels > s->nqueues)
		s->nqueues = 2 * x->nchannels;
	if ((*chunks += chunks_of(x)) > chunks_most && !status)
		status = too_large(s, "3 thousand million chunks");
	for (uint32_t i = 0; i < x->nsteps && !status; i++)
		status = add_step(s, x, i);
	s->base[rank + 1] = s->nsteps;
	sched_free(x);
	return status;
}

/* ---- ranks that do what rank 0 does, counted from themselves --------------------------------------------------------- */

static uint32_t turned(const struct sim *s, uint32_t peer, int rank) { return (peer + (uint32_t)rank) % (uint32_t)s->nranks; }

/* x is a copy of rank 0's step; give it peers of its own: as add_peers leaves them. */
static int turn_peers(struct sim *s, struct sim_step *x, int rank)
{
	bool sends = x->op == STEP_SEND, set = x->flags & STEP_SET;
	uint32_t n = set ? s->ends[x->msg] : 1, from = x->msg, id;
	int status = set ? sim_grow(&s->ends, &s->cap_ends, (uint64_t)s->nends + 1 + n, sizeof *s->ends) : 0;
	if (status)
		return status;
	if (set) {
		x->msg = s->nends;
		s->ends[s->nends++] = n;
	}
	for (uint32_t i = 0; i < n && !status; i++) {
		uint32_t old = set ? s->ends[from + 1 + i] : from;
		id = turned(s, sends ? s->msgs[old].recv : old, rank);
		if (sends)
			status = add_message(s, s->nsteps, (int)id, &id);
		if (set)
			s->ends[s->nends++] = id;
		else
			x->msg = id;
	}
	return status;
}

static int turn_rank(struct sim *s, int rank)
{
	int status = 0;
	s->base[rank] = s->nsteps;
	s->seats[rank].blocks = s->seats[0].blocks;
	for (uint32_t i = 0; i < s->base[1] && !status; i++) {
		status = sim_grow(&s->steps, &s->cap_steps, s->nsteps + 1ull, sizeof *s->steps);
		if (status)
			break;
		struct sim_step x = s->steps[i];
		x.rank = rank;
		for (int w = 0; w < SCHED_MAX_WAITS; w++)
			x.wait[w] += x.wait[w] == SIM_NONE ? 0 : s->base[rank];
		if (x.op >= STEP_SEND && x.op <= STEP_RECV_REDUCE)
			status = turn_peers(s, &x, rank);
		s->steps[s->nsteps] = x;
		s->nsteps += !status;
	}
	s->base[rank + 1] = s->nsteps;
	return status;
}

static int check_alike(const struct sim *s)
{
	char what[96];
	if ((double)s->nsteps * s->nranks <= STEPS_MOST)
		return 0;
	snprintf(what, sizeof what, "%u steps a rank", s->nsteps);
	return too_large(s, what);
}

/* ---- the whole ------------------------------------------------------------------------------------------------------ */

static int probe(const struct sim *s)
{
	struct sched *x;
	int status = sched_build(&x, s->algo, &s->problem, s->nranks / 2);
	if (status)
		return status;
	status = check_size(s, x);
	sched_free(x);
	return status;
}

static void link_queues(struct sim *s)
{
	for (uint32_t q = 0; q < (uint32_t)s->nqueues * (uint32_t)s->nranks; q++)
		s->queues[q].first = SIM_NONE;
	for (uint32_t i = s->nsteps; i-- > 0;) {
		struct sim_step *x = &s->steps[i];
		struct sim_queue *q = &s->queues[(uint32_t)x->rank * (uint32_t)s->nqueues + x->channel * 2u + (x->op == STEP_SEND)];
		x->next = q->first;
		q->first = i;
	}
}

static int build_all(struct sim *s, bool alike)
{
	double chunks = 0;
	s->base = malloc(((size_t)s->nranks + 1) * sizeof *s->base);
	if (!s->base)
		return err_set(TUTTI_ERR_NOMEM, "simulator: no memory for %d ranks", s->nranks);
	int status = alike ? 0 : probe(s);
	for (int r = 0; r < (alike ? 1 : s->nranks) && !status; r++)
		status = add_rank(s, r, &chunks);
	if (alike && !status)
		status = check_alike(s);
	for (int r = 1; r < s->nranks && alike && !status; r++)
		status = turn_rank(s, r);
	s->problem.shape = NULL;                /* the caller's, who may free it now */
	if (!status)
		status = match_messages(s);
	if (status)
		return status;
	s->now = malloc((s->nsteps + 1ull) * sizeof *s->now);
	s->queues = malloc((size_t)s->nqueues * (size_t)s->nranks * sizeof *s->queues);
	s->touched = malloc((size_t)s->nranks * sizeof *s->touched);
	if (!s->now || !s->queues || !s->touched)
		return err_set(TUTTI_ERR_NOMEM, "simulator: no memory for %u steps", s->nsteps);
	link_queues(s);
	return 0;
}

int sim_shape(struct shape **out, const struct topo *topo)
{
	int32_t *unit[SHAPE_LEVELS] = { NULL };
	int levels = 0, n = 1, status = 0;
	*out = NULL;
	for (; levels < SHAPE_LEVELS && n > 0; levels += n > 0) {
		unit[levels] = malloc((size_t)topo->nranks * sizeof *unit[levels]);
		n = unit[levels] ? topo_units(topo, levels, unit[levels])
				 : err_set(TUTTI_ERR_NOMEM, "shape: no memory for %d ranks", topo->nranks);
	}
	if (n < 0)
		status = n;
	else if (levels)
		status = shape_make(out, topo->nranks, levels, (const int32_t *const *)unit);
	for (int l = 0; l < SHAPE_LEVELS; l++)
		free(unit[l]);
	return status;
}

static int open_sim(struct sim **out, const struct sim_job *job, const struct topo *topo, const struct costs *costs, bool alike)
{
	const char *coll = coll_rows[job->problem.coll].name;
	if (job->problem.coll == COLL_SEND || job->problem.coll == COLL_RECV)
		return err_set(TUTTI_ERR_UNSUPPORTED,
			"%s is half an operation: there is nothing to simulate before a peer does the other half", coll);
	if (job->problem.nranks != topo->nranks)
		return err_set(TUTTI_ERR_INVALID, "%s for %d ranks, but the topology has places for %d", coll,
			job->problem.nranks, topo->nranks);
	struct sim *s = calloc(1, sizeof *s);
	if (!s)
		return err_set(TUTTI_ERR_NOMEM, "simulator: no memory");
	*s = (struct sim){
		.topo = topo, .costs = costs, .algo = job->algo, .problem = job->problem, .nranks = job->problem.nranks, .nqueues = 2 };
	int status = route_open(s);
	if (!status)
		status = build_all(s, alike);
	if (status)
		sim_close(s);
	else
		*out = s;
	return status;
}

int sim_open(struct sim **s, const struct sim_job *job, const struct topo *topo, const struct costs *costs)
{
	return open_sim(s, job, topo, costs, false);
}

int sim_open_alike(struct sim **s, const struct sim_job *job, const struct topo *topo, const struct costs *costs)
{
	if (coll_rows[job->problem.coll].rooted)
		return err_set(TUTTI_ERR_INVALID, "%s has a root, which does not do what the others do", coll_rows[job->problem.coll].name);
	return open_sim(s, job, topo, costs, true);
}

void sim_close(struct sim *s)
{
	if (!s)
		return;
	void *const all[] = { s->steps, s->ends, s->base, s->msgs, s->now, s->queues, s->resources, s->seats, s->edge, s->who, s->sharers,
		s->known, s->paths, s->events, s->touched, s->sent };
	for (size_t i = 0; i < sizeof all / sizeof *all; i++)
		free(all[i]);
	free(s);
}
