/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One run: events in order of time. Resources are reserved as their events come, so who comes first is served first, and two runs are
 * equal.
 *
 *      open  a queue has room for its next steps           do   a local step, or a receive whose messages have begun to arrive
 *      send  a message leaves: its sender's core, and the way to where it arrives
 *
 * The receiver's core and memory are reserved when a message arrives, not when it leaves: meanwhile they serve others.
 */
#include <base/err.h>
#include <model/inner.h>
#include <float.h>
#include <stdlib.h>
#include <string.h>

enum event_kind { EVENT_DO, EVENT_SEND, EVENT_OPEN };
enum { EVENT_SHIFT = 30 };

/* ---- events: a heap of four children a node ------------------------------------------------------------------------- */

/* Times are not negative, so their bits stand in the order of their values. No branches: which of two is earlier cannot be foreseen. */
static inline bool earlier(struct event a, struct event b)
{
	return (a.time < b.time) | ((a.time == b.time) & (a.what < b.what));
}

/* There is room: each step and each message has at most one event, and a step that is done one for its queue. */
static void push(struct sim *s, double time, enum event_kind kind, uint32_t id)
{
	struct event e = { .what = (uint32_t)kind << EVENT_SHIFT | id };
	memcpy(&e.time, &time, sizeof e.time);
	uint32_t i = s->nevents++;
	for (uint32_t up; i && earlier(e, s->events[up = (i - 1) / 4]); i = up)
		s->events[i] = s->events[up];
	s->events[i] = e;
}

/* Of the up to four that begin at `first`, of n in all. */
static inline uint32_t earliest(const struct event *e, uint32_t first, uint32_t n)
{
	if (first + 4 <= n) {
		uint32_t a = first + earlier(e[first + 1], e[first]), b = first + 2 + earlier(e[first + 3], e[first + 2]);
		return earlier(e[b], e[a]) ? b : a;
	}
	uint32_t c = first;
	for (uint32_t i = first + 1; i < n; i++)
		c = earlier(e[i], e[c]) ? i : c;
	return c;
}

static struct event pop(struct sim *s)
{
	struct event *h = s->events, top = h[0], e = h[--s->nevents];
	uint32_t i = 0, n = s->nevents;
	while (4 * i + 1 < n) {
		uint32_t c = earliest(h, 4 * i + 1, n);
		if (!earlier(h[c], e))
			break;
		h[i] = h[c];
		i = c;
	}
	h[i] = e;
	return top;
}

/* ---- streams through resources -------------------------------------------------------------------------------------- */

struct stream { double start, end; int32_t by; };

static inline double latest(double a, double b) { return a > b ? a : b; }
static inline double least(double a, double b) { return a < b ? a : b; }

/*
 * Bytes take `use` seconds of it, the first comes out `delay` after it went in, and `turn` is how long another stream's slice holds it up.
 */
static void pass(struct sim *s, struct stream *x, uint32_t resource, double delay, double use, double turn)
{
	struct resource *r = &s->resources[resource];
	double end = latest(r->free, x->start) + use;
	x->start = latest(x->start, least(r->free, x->start + turn)) + delay;
	x->end += delay;
	r->free = end;
	r->busy += use;
	if (end > x->end) {
		x->end = end;
		x->by = (int32_t)resource;
	}
}

/* The part of n bytes that a slice is. */
static inline double slice_of(const struct sim *s, double n) { return n > (double)s->slice ? (double)s->slice / n : 1; }
static inline bool cached(const struct sim *s, int rank)
{
	return (double)s->seats[rank].blocks * (double)s->count <= (double)s->costs->cache;
}

/* A step without bytes is done between two slices of others, but not beside others of its kind. */
static void pass_core(struct sim *s, struct stream *x, int rank, double delay, double bytes_time, double n)
{
	struct resource *r = &s->resources[s->seats[rank].core];
	if (n > 0) {
		pass(s, x, s->seats[rank].core, delay, delay + bytes_time, delay + bytes_time * slice_of(s, n));
		return;
	}
	x->start = r->quick = latest(x->start, r->quick) + delay;
	x->end = latest(x->end + delay, x->start);
	r->free = latest(r->free, x->start - delay) + delay;
	r->busy += delay;
}

static void pass_memory(struct sim *s, struct stream *x, int rank, double n)
{
	double use = n * s->costs->memory;
	if (use > 0 && !cached(s, rank))
		pass(s, x, s->memory0 + (uint32_t)s->seats[rank].node, 0, use, use * slice_of(s, n));
}

/* ---- the wait rule -------------------------------------------------------------------------------------------------- */

/* When this part of what x waits for was done, a slice more (at most up to part `most`). */
static double part_done(const struct sim *s, const struct sim_step *x, int w, uint16_t part, double more, uint16_t most)
{
	const struct sim_now *j = &s->now[x->wait[w]], *i = &s->now[x - s->steps];
	if (part == PART_WHOLE || !i->bytes || !j->bytes)
		return j->whole;
	double f = (double)part / PART_ALL + more, limit = most == PART_WHOLE ? 1 : (double)most / PART_ALL;
	return j->start + (j->end - j->start) * least(f, limit);
}

static double may_start(const struct sim *s, const struct sim_step *x, double from)
{
	for (int w = 0; w < SCHED_MAX_WAITS && x->wait[w] != SIM_NONE; w++) {
		double n = s->now[x->wait[w]].bytes;
		from = latest(from, part_done(s, x, w, x->part[w].first, n > 0 ? slice_of(s, n) : 0, x->part[w].last));
	}
	return from;
}

/* When x's own last slice may be touched. */
static double may_end(const struct sim *s, const struct sim_step *x)
{
	double end = 0;
	for (int w = 0; w < SCHED_MAX_WAITS && x->wait[w] != SIM_NONE; w++)
		end = latest(end, part_done(s, x, w, x->part[w].last, 0, PART_WHOLE));
	return end;
}

/* ---- ready ---------------------------------------------------------------------------------------------------------- */

static inline const struct loggp *pair_of(const struct sim *s, const struct message *m) { return &s->costs->pair[m->near]; }
static inline bool eager(const struct sim *s, const struct message *m)
{
	return s->now[m->send].bytes <= (double)pair_of(s, m)->eager;
}

/* A message of a sender that is ready leaves at once, or when its receiver is ready too. */
static void may_leave(struct sim *s, uint32_t id)
{
	const struct message *m = &s->msgs[id];
	const struct sim_now *send = &s->now[m->send], *recv = &s->now[m->recv];
	if (eager(s, m))
		push(s, send->whole, EVENT_SEND, id);
	else if (recv->state & NOW_READY)
		push(s, latest(send->whole, recv->whole), EVENT_SEND, id);
}

static void came(struct sim *s, uint32_t recv)
{
	struct sim_now *r = &s->now[recv];
	if (--r->left == 0)
		push(s, r->start, EVENT_DO, recv);
}

static void ready(struct sim *s, uint32_t i)
{
	const struct sim_step *x = &s->steps[i];
	struct sim_now *now = &s->now[i];
	now->whole = may_start(s, x, now->whole);
	now->state |= NOW_READY;
	if (x->op == STEP_SEND) {
		for (uint32_t p = 0, n = sim_npeers(s, x); p < n; p++)
			may_leave(s, sim_message(s, x, p));
		return;
	}
	now->start = latest(now->start, now->whole);
	if (!sim_receives(x->op)) {
		push(s, now->start, EVENT_DO, i);
		return;
	}
	for (uint32_t p = 0, n = sim_npeers(s, x); p < n; p++) {
		uint32_t id = sim_message(s, x, p);
		if (s->now[s->msgs[id].send].state & NOW_READY && !eager(s, &s->msgs[id]))
			may_leave(s, id);
	}
	came(s, i);
}

/* ---- queues --------------------------------------------------------------------------------------------------------- */

static inline uint32_t queue_of(const struct sim *s, const struct sim_step *x)
{
	return (uint32_t)x->rank * (uint32_t)s->nqueues + x->channel * 2u + (x->op == STEP_SEND);
}

/* Stand with those that are not done. */
static void list(struct sim *s, uint32_t i)
{
	const struct sim_step *x = &s->steps[i];
	struct sim_now *now = &s->now[i];
	now->state |= NOW_LISTED;
	now->bytes = (double)sim_bytes(s, x);
	for (uint32_t w = 0; w < SCHED_MAX_WAITS && x->wait[w] != SIM_NONE; w++) {
		struct sim_now *j = &s->now[x->wait[w]];
		if (j->state & NOW_DONE)
			continue;
		now->link[w] = j->waiters;
		j->waiters = 2 * i + w;
		now->pending++;
	}
}

/*
 * Open steps in order while there is room. One without elements is opened when all it waits for is complete, and holds up those behind it.
 */
static void queue_open(struct sim *s, uint32_t queue)
{
	struct sim_queue *q = &s->queues[queue];
	q->time = latest(q->time, s->time);
	while (q->active < SIM_WINDOW && q->next != SIM_NONE) {
		uint32_t i = q->next;
		struct sim_now *now = &s->now[i];
		if (!(now->state & NOW_LISTED))
			list(s, i);
		if (!now->bytes && now->pending)
			return;
		if (!now->bytes)
			q->time = may_start(s, &s->steps[i], q->time);
		now->whole = q->time;
		now->state |= NOW_OPEN;
		q->next = s->steps[i].next;
		q->active++;
		if (!now->pending)
			ready(s, i);
	}
}

static void trace(const struct sim *s, uint32_t i)
{
	const struct sim_step *x = &s->steps[i];
	const struct sim_now *now = &s->now[i];
	struct sim_event e = { x->rank, -1, now->by, i - s->base[x->rank], x->op, x->channel, (uint64_t)now->bytes, now->start, now->end };
	if (x->op == STEP_SEND || sim_receives(x->op)) {
		const struct message *m = &s->msgs[sim_message(s, x, 0)];
		e.peer = x->flags & STEP_SET ? -1 : s->steps[x->op == STEP_SEND ? m->recv : m->send].rank;
	}
	s->sink(s->ctx, &e);
}

/* Its stream is known (the present may be before its end): tell who waits for it, and make room in its queue. */
static void finish(struct sim *s, uint32_t i)
{
	const struct sim_step *x = &s->steps[i];
	struct sim_now *now = &s->now[i];
	uint32_t queue = queue_of(s, x);
	now->whole = now->end;
	for (int w = 0; w < SCHED_MAX_WAITS && x->wait[w] != SIM_NONE; w++)
		now->whole = latest(now->whole, s->now[x->wait[w]].whole);
	now->state |= NOW_DONE;
	s->last = latest(s->last, now->end);
	s->done++;
	if (s->sink)
		trace(s, i);
	for (uint32_t k = now->waiters; k != SIM_NONE;) {
		uint32_t j = k / 2, next = s->now[j].link[k % 2];
		if (--s->now[j].pending == 0) {
			if (s->now[j].state & NOW_OPEN)
				ready(s, j);
			else
				queue_open(s, queue_of(s, &s->steps[j]));
		}
		k = next;
	}
	if (s->queues[queue].next != SIM_NONE)
		push(s, now->end, EVENT_OPEN, queue);
}

/* ---- what steps do -------------------------------------------------------------------------------------------------- */

/* One of a send's messages is through. */
static void sent(struct sim *s, uint32_t send, struct stream x)
{
	struct sim_now *now = &s->now[send];
	now->start = least(now->start, x.start);
	if (x.end > now->end) {
		now->end = x.end;
		now->by = x.by;
	}
	if (--now->left == 0)
		finish(s, send);
}

/* The sender's part: to the members of a set on its node the bytes are shown once, over a network each gets its own. */
static void leave_core(struct sim *s, struct stream *x, const struct message *m, double slowest)
{
	const struct loggp *g = pair_of(s, m);
	const struct sim_step *step = &s->steps[m->send];
	struct sim_now *now = &s->now[m->send];
	bool again = m->near != NEAR_NETWORK && now->state & NOW_READ;
	double n = now->bytes, delay = g->overhead + (now->state & NOW_BEGUN ? 0 : s->costs->step);
	x->end = latest(x->start, may_end(s, step) + slowest * n * slice_of(s, n));
	if (!again) {
		s->touched[step->rank] += n;
		pass_memory(s, x, step->rank, n);
	}
	pass_core(s, x, step->rank, delay, again ? 0 : n * g->byte_core, n);
	now->state |= NOW_BEGUN | (m->near != NEAR_NETWORK ? NOW_READ : 0);
}

static void message_leaves(struct sim *s, uint32_t id)
{
	struct message *m = &s->msgs[id];
	const struct loggp *g = pair_of(s, m);
	struct sim_now *recv = &s->now[m->recv];
	struct stream x = { s->time, s->time, -1 };
	double n = s->now[m->send].bytes, slowest = latest(g->byte, g->byte_core), latency = g->latency + (double)m->latency;
	const uint32_t *path = s->paths + m->path;
	for (int h = 0; h < m->hops; h++)
		slowest = latest(slowest, s->resources[path[h]].byte);
	leave_core(s, &x, m, slowest);
	struct stream left = x;
	for (int h = 0; h < m->hops; h++) {
		double use = n * s->resources[path[h]].byte;
		if (s->resources[path[h]].byte > 0)
			pass(s, &x, path[h], 0, use, use * slice_of(s, n));
	}
	m->start = x.start + latency;
	m->end = latest(x.end, x.start + n * g->byte) + latency;
	if (m->near == NEAR_NETWORK)
		s->sent[s->seats[s->steps[m->send].rank].node] += (uint64_t)n;
	recv->start = latest(recv->start, m->start);
	if (m->end > recv->end) {
		recv->end = m->end;
		recv->by = x.by;
	}
	came(s, m->recv);
	if (eager(s, m))
		sent(s, m->send, (struct stream){ s->time, left.end, left.by });
}

/* Senders that waited for the receiver are through when it is, but for the way. */
static void release_senders(struct sim *s, const struct sim_step *x, double end, int32_t by)
{
	for (uint32_t p = 0, n = sim_npeers(s, x); p < n; p++) {
		const struct message *m = &s->msgs[sim_message(s, x, p)];
		double way = pair_of(s, m)->latency + (double)m->latency;
		if (!eager(s, m))
			sent(s, m->send, (struct stream){ m->start - way, end - way, by });
	}
}

/* All operands in one pass, those that arrive fresh in the cache. */
static void receive(struct sim *s, uint32_t i)
{
	const struct sim_step *x = &s->steps[i];
	struct sim_now *now = &s->now[i];
	const struct rate *r = &s->costs->reduce;
	struct stream st = { s->time, latest(s->time, now->end), now->by };
	bool reduces = x->op == STEP_RECV_REDUCE;
	double n = now->bytes, delay = s->costs->step, byte = reduces ? x->operands * (cached(s, x->rank) ? r->cached : r->memory) : 0;
	uint32_t peers = sim_npeers(s, x);
	for (uint32_t p = 0; p < peers; p++) {
		const struct loggp *g = pair_of(s, &s->msgs[sim_message(s, x, p)]);
		delay += g->overhead;
		byte += g->byte_core + (reduces ? r->cached : 0);
	}
	st.end = latest(st.end, may_end(s, x) + byte * n * slice_of(s, n));
	pass_memory(s, &st, x->rank, n * x->operands);
	pass_core(s, &st, x->rank, delay, byte * n, n);
	s->touched[x->rank] += n * (x->operands + (reduces ? peers : 0));
	now->start = st.start;
	now->end = st.end;
	now->by = st.by;
	release_senders(s, x, st.end - delay, st.by);
	finish(s, i);
}

static void work(struct sim *s, uint32_t i)
{
	const struct sim_step *x = &s->steps[i];
	struct sim_now *now = &s->now[i];
	const struct rate *r = x->op == STEP_COPY ? &s->costs->copy : &s->costs->reduce;
	struct stream st = { s->time, s->time, -1 };
	double operands = x->op == STEP_NOP ? 0 : x->op == STEP_COPY ? 2 : 3, n = now->bytes;
	double use = operands * n * (cached(s, x->rank) ? r->cached : r->memory);
	st.end = latest(st.end, may_end(s, x) + use * slice_of(s, n));
	pass_memory(s, &st, x->rank, n * operands);
	pass_core(s, &st, x->rank, s->costs->step, use, n);
	s->touched[x->rank] += n * operands;
	now->start = st.start;
	now->end = st.end;
	now->by = st.by;
	finish(s, i);
}

/* ---- the whole ------------------------------------------------------------------------------------------------------ */

/* Costs may have changed since the last run. */
static void set_links(struct sim *s)
{
	for (uint32_t i = s->links0; i < s->edges0; i++) {
		bool known = s->known[(i - s->links0) / 2];
		s->resources[i].byte = s->costs->link_measured > 0 ? s->costs->link_measured : known ? 0 : s->costs->link;
	}
}

static void begin(struct sim *s)
{
	set_links(s);
	s->nevents = s->done = 0;
	s->time = s->last = s->costs->start;
	memset(s->touched, 0, (size_t)s->nranks * sizeof *s->touched);
	memset(s->sent, 0, (size_t)s->nnodes * sizeof *s->sent);
	for (uint32_t i = 0; i < s->nsteps; i++) {
		const struct sim_step *x = &s->steps[i];
		bool sends = x->op == STEP_SEND, receives = sim_receives(x->op);
		s->now[i] = (struct sim_now){ .start = sends ? DBL_MAX : 0, .waiters = SIM_NONE, .by = -1,
			.left = sends || receives ? sim_npeers(s, x) + receives : 0 };
	}
	for (uint32_t i = 0; i < s->nresources; i++) {
		double use = i < s->ncores ? s->costs->start * s->sharers[i] : 0;
		s->resources[i].free = s->resources[i].quick = s->resources[i].busy = use;
	}
	for (uint32_t q = 0; q < (uint32_t)s->nqueues * (uint32_t)s->nranks; q++) {
		s->queues[q].next = s->queues[q].first;
		s->queues[q].active = 0;
		s->queues[q].time = s->time;
	}
	for (uint32_t q = 0; q < (uint32_t)s->nqueues * (uint32_t)s->nranks; q++)
		queue_open(s, q);
}

static void result_of(const struct sim *s, uint64_t bytes, struct sim_result *r)
{
	uint32_t most = 0;
	*r = (struct sim_result){ .seconds = s->last, .messages = s->nmsgs };
	for (uint32_t i = 1; i < s->nresources; i++)
		if (s->resources[i].busy > s->resources[most].busy)
			most = i;
	r->busy = s->last > 0 ? least(s->resources[most].busy / s->last, 1) : 0;
	sim_resource_name(s, r->busy > 0 ? (int)most : -1, r->busiest, sizeof r->busiest);
	for (int i = 0; i < s->nnodes; i++)
		r->node_bytes = s->sent[i] > r->node_bytes ? s->sent[i] : r->node_bytes;
	for (int i = 0; i < s->nranks && bytes; i++)
		r->passes = latest(r->passes, s->touched[i] / (double)bytes);
}

static int stuck(const struct sim *s)
{
	uint32_t i = 0;
	while (i < s->nsteps - 1 && s->now[i].state & NOW_DONE)
		i++;
	int rank = s->steps[i].rank;
	return err_set(TUTTI_ERR_INTERNAL, "%s %s for %d ranks: a deadlock in the simulation: rank %d never gets past step %u (%s)",
			coll_rows[s->problem.coll].name, s->algo->name, s->nranks, rank, i - s->base[rank], step_names[s->steps[i].op]);
}

int sim_run(struct sim *s, uint64_t bytes, size_t slice, struct sim_result *result)
{
	int status = sim_grow(&s->events, &s->cap_events, (uint64_t)s->nsteps + s->nmsgs + 1, sizeof *s->events);
	if (status)
		return status;
	s->count = bytes;
	s->q = bytes / s->k;
	s->m = bytes % s->k;
	s->slice = slice ? slice : 1;
	begin(s);
	while (s->nevents) {
		struct event e = pop(s);
		uint32_t id = e.what & ((1u << EVENT_SHIFT) - 1);
		enum event_kind kind = (enum event_kind)(e.what >> EVENT_SHIFT);
		memcpy(&s->time, &e.time, sizeof s->time);
		if (kind == EVENT_SEND) {
			message_leaves(s, id);
		} else if (kind == EVENT_OPEN) {
			s->queues[id].active--;
			queue_open(s, id);
		} else if (sim_receives(s->steps[id].op)) {
			receive(s, id);
		} else {
			work(s, id);
		}
	}
	if (s->done < s->nsteps)
		return stuck(s);
	result_of(s, bytes, result);
	return 0;
}
