/* SPDX-License-Identifier: Apache-2.0 */
/* The executor: one loop over open steps. Nothing here allocates, locks, logs or reads a clock, except run_new when a plan has no idle run left. */
#include <base/type.h>
#include <exec/engine.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the wait rule -------------------------------------------------------------------------------------------------- */

static bool complete(struct run *r, uint32_t i);

static bool waits_complete(struct run *r, const struct bound *x)
{
	for (int w = 0; w < x->nwaits; w++)
		if (!complete(r, (uint32_t)x->wait[w]))
			return false;
	return true;
}

static bool complete(struct run *r, uint32_t i)
{
	struct step_run *s = &r->steps[i];
	if (s->state == STEP_DONE && waits_complete(r, &r->plan->steps[i]))
		s->state = STEP_COMPLETE;
	return s->state == STEP_COMPLETE;
}

/* The end of the range around byte e of the line on which j's answer is the same; *free: may byte e be touched? */
static size_t mapped_range(struct run *r, const struct bound *j, uint32_t ji, struct place e, size_t end, bool *free)
{
	size_t done = r->steps[ji].done;
	bool touched = false;
	*free = true;
	for (int i = 0; i < j->noperands; i++) {
		struct place p = j->operand[i];
		if (p.scratch != e.scratch || e.at >= p.at + j->len)
			continue;
		if (e.at < p.at) {
			end = end < p.at ? end : p.at;
			continue;
		}
		touched = true;
		if (e.at >= p.at + done)
			*free = false;
		else if (end > p.at + done)
			end = p.at + done;
	}
	if (!touched)
		*free = complete(r, ji);
	return end;
}

static size_t mapped_limit(struct run *r, const struct bound *x, uint32_t ji)
{
	const struct bound *j = &r->plan->steps[ji];
	size_t limit = x->len;
	if (complete(r, ji))
		return limit;
	for (int i = 0; i < x->noperands; i++) {
		struct place e = x->operand[i];
		size_t end = e.at + limit;
		while (e.at < end) {
			bool free;
			size_t next = mapped_range(r, j, ji, e, end, &free);
			if (!free)
				break;
			e.at = next;
		}
		limit = e.at - x->operand[i].at;
	}
	return limit;
}

static size_t limit_by_waits(struct run *r, const struct bound *x, struct step_run *s)
{
	size_t lim = x->len;
	for (int w = 0; w < x->nwaits; w++) {
		size_t l;
		if (x->wait_kind[w] == WAIT_SAME)
			l = r->steps[x->wait[w]].done;
		else if (x->wait_kind[w] == WAIT_WHOLE)
			l = complete(r, (uint32_t)x->wait[w]) ? lim : 0;
		else
			l = mapped_limit(r, x, (uint32_t)x->wait[w]);
		if (l < lim)
			lim = l;
	}
	return s->granted = lim;
}

/* How many bytes of step i may be touched now. */
static inline size_t limit(struct run *r, const struct bound *x, struct step_run *s)
{
	return s->granted == x->len ? x->len : limit_by_waits(r, x, s);
}

/* ---- steps ---------------------------------------------------------------------------------------------------------- */

/* What is the same in every start of the plan is set at the first. */
static int message_new(struct run *r, const struct bound *x, struct net_op *op)
{
	int peer = x->peers[op - (r->ops + x->op0)];
	struct net_ep *ep;
	if (world_ep(r->engine->world, peer, &ep) < 0)
		return engine_fail(r->engine, TUTTI_ERR_UNSUPPORTED, "%s", err_last());
	*op = (struct net_op){ .ep = ep, .channel = x->channel, .flags = x->op == STEP_RECV_REDUCE ? NET_VIEW : 0,
		               .head = { .sig = r->plan->sig, .len = x->len } };
	return TUTTI_OK;
}

static int step_open(struct run *r, const struct bound *x, struct step_run *s)
{
	bool sends = x->op == STEP_SEND;
	int buf = sends ? x->src_buf : x->dst_buf;
	size_t lim = x->npeers ? limit(r, x, s) : 0;
	s->state = STEP_OPEN;
	for (struct net_op *op = r->ops + x->op0, *end = op + x->npeers; op < end; op++) {
		if (!op->ep && message_new(r, x, op) < 0)
			return r->status;
		op->buf = r->base[buf] + (sends ? x->src : x->dst);
		op->mem = r->mem[buf];
		op->limit = lim;
		op->head.opnum = r->opnum;
		if (sends)
			op->ep->iface->t->send(op);
		else
			op->ep->iface->t->recv(op);
	}
	return TUTTI_OK;
}

static int step_failed(struct run *r, const struct bound *x, const struct net_op *op)
{
	char name[96], mine[96], theirs[96];
	uint32_t i = (uint32_t)(x - r->plan->steps);
	const struct net_ep *ep = op->ep;
	const char *over = ep->iface->t->name;
	run_name(r, name, sizeof(name));
	if (op->status == TUTTI_ERR_MISMATCH && ep->got.sig != op->head.sig) {
		plan_sig_words(op->head.sig, mine, sizeof(mine));
		plan_sig_words(ep->got.sig, theirs, sizeof(theirs));
		return engine_fail(r->engine, op->status, "%s: this rank called %s; rank %d called %s", name, mine, ep->peer, theirs);
	}
	return engine_fail(r->engine, op->status, "%s, channel %d, step %u %s %s rank %d over %s: %s", name, op->channel, i, step_names[x->op],
	                   x->op == STEP_SEND ? "to" : "from", ep->peer, over, ep->why);
}

/* Let the messages go on as far as the waits allow; see how far they have come: the slowest counts. */
static int messages_move(struct run *r, const struct bound *x, struct step_run *s)
{
	size_t before = s->done, granted = s->granted, lim = limit(r, x, s), done = SIZE_MAX;
	uint32_t left = 0;
	for (uint32_t p = 0; p < x->npeers; p++) {
		struct net_op *op = &r->ops[x->op0 + p];
		if (lim > granted && !op->complete) {
			op->limit = lim;
			op->ep->iface->t->advance(op);
		}
		if (op->status < 0)
			return step_failed(r, x, op);
		left += !op->complete;
		if (op->done < done)
			done = op->done;
	}
	s->done = done;
	if (!left)
		s->state = STEP_DONE;
	return !left || done > before || lim > granted;
}

/* As many bytes as all of n have and the slice allows, in whole grains except at the end. */
static size_t portion(const struct run *r, const struct bound *x, size_t from, size_t to)
{
	size_t n = to - from;
	if (n > r->plan->slice)
		n = r->plan->slice;
	return net_grains(from, n, x->len);
}

static int recv_reduce_move(struct run *r, const struct bound *x, struct step_run *s)
{
	struct net_op *ops = &r->ops[x->op0];
	size_t to = limit(r, x, s);
	uint32_t k = 0, left = 0;
	for (uint32_t p = 0; p < x->npeers; p++) {
		if (ops[p].status < 0)
			return step_failed(r, x, &ops[p]);
		if (ops[p].done + ops[p].avail < to)
			to = ops[p].done + ops[p].avail;
		left += !ops[p].complete;
	}
	if (!left) {
		s->state = STEP_DONE;
		return 1;
	}
	size_t n = portion(r, x, s->done, to);
	if (!n)
		return 0;
	for (uint32_t p = 0; p <= x->npeers; p++) {
		if (p == x->own_place && x->src_buf != BUF_NONE)
			r->sources[k++] = r->base[x->src_buf] + x->src + s->done;
		if (p < x->npeers)
			r->sources[k++] = ops[p].view;
	}
	reduce_k(r->base[x->dst_buf] + x->dst + s->done, r->sources, (int)k, n >> r->plan->eshift, r->plan->type, r->plan->op, x->scale);
	s->done += n;
	left = 0;
	for (uint32_t p = 0; p < x->npeers; p++) {
		ops[p].ep->iface->t->release(&ops[p], n);
		left += !ops[p].complete;
	}
	if (!left)
		s->state = STEP_DONE;
	return 1;
}

static int local_move(struct run *r, const struct bound *x, struct step_run *s)
{
	char *dst = x->op == STEP_NOP ? NULL : r->base[x->dst_buf] + x->dst;
	const char *src = x->op == STEP_NOP ? NULL : r->base[x->src_buf] + x->src;
	size_t n = portion(r, x, s->done, limit(r, x, s));
	if (n && x->op == STEP_COPY && dst != src)
		copy_bytes(dst + s->done, src + s->done, n);
	if (n && x->op == STEP_REDUCE) {
		bool reversed = x->flags & STEP_REVERSED;
		const void *sources[2] = { (reversed ? src : dst) + s->done, (reversed ? dst : src) + s->done };
		reduce_k(dst + s->done, sources, 2, n >> r->plan->eshift, r->plan->type, r->plan->op, x->scale);
	}
	s->done += n;
	if (s->done == x->len)
		s->state = STEP_DONE;
	return n || s->state == STEP_DONE;
}

static inline int step_move(struct run *r, const struct bound *x, struct step_run *s)
{
	if (!x->npeers)
		return local_move(r, x, s);
	return x->op == STEP_RECV_REDUCE ? recv_reduce_move(r, x, s) : messages_move(r, x, s);
}

/* ---- queues --------------------------------------------------------------------------------------------------------- */

/* Move a step; true when it is over. */
static inline bool step_over(struct run *r, const struct bound *x, struct step_run *s, int *moved)
{
	*moved += step_move(r, x, s);
	if (s->state < STEP_DONE)
		return false;
	r->left--;
	r->left_user -= x->user;
	return true;
}

/* Open step i, the next of its queue; false: not now. */
static inline __attribute__((always_inline)) bool queue_open_one(struct run *r, uint32_t i, int *moved)
{
	const struct bound *x = &r->plan->steps[i];
	struct step_run *step = &r->steps[i];
	struct queue_run *s = &r->queues[x->queue];
	if (s->nactive == RUN_WINDOW || (!x->len && !waits_complete(r, x)))     /* no element to wait for: the whole step waits */
		return false;
	if (step_open(r, x, step) < 0)
		return false;
	s->opened++;
	++*moved;
	if (!step_over(r, x, step, moved))
		s->active[s->nactive++] = i;
	if (s->opened == r->plan->queue[x->queue].n)
		++r->engine->turn[r->plan->queue_id[x->queue]];
	return !r->status;
}

static int queue_open(struct run *r, const struct queue *q, struct queue_run *s, uint64_t turn)
{
	int moved = 0;
	if (turn == s->place)
		while (s->opened < q->n && queue_open_one(r, q->steps[s->opened], &moved))
			;
	return moved;
}

static int queue_move(struct run *r, struct queue_run *s)
{
	int moved = 0;
	uint32_t kept = 0;
	for (uint32_t a = 0; a < s->nactive; a++) {
		uint32_t i = s->active[a];
		if (!step_over(r, &r->plan->steps[i], &r->steps[i], &moved))
			s->active[kept++] = i;
		if (r->status < 0)
			return 1;
	}
	s->nactive = kept;
	return moved;
}

int run_progress(struct run *r)
{
	const struct plan *p = r->plan;
	int moved = 0;
	for (uint32_t q = 0; q < p->nqueues && !r->status; q++) {
		struct queue_run *s = &r->queues[q];
		if (s->nactive)
			moved += queue_move(r, s);
		if (s->opened < p->queue[q].n && !r->status)
			moved += queue_open(r, &p->queue[q], s, r->engine->turn[p->queue_id[q]]);
	}
	return moved;
}

/*
 * The first steps are opened in the schedule's order, so that bytes are ready when they are to be sent, and sent before anything is waited for. While all
 * before a step are over, it has nothing to wait for.
 */
void run_start(struct run *r)
{
	const struct plan *p = r->plan;
	int moved = 0;
	for (uint32_t i = 0; i < p->nsteps && i < RUN_WINDOW && !r->status; i++) {
		const struct bound *x = &p->steps[i];
		struct queue_run *s = &r->queues[x->queue];
		if (r->left == p->nsteps - i)
			r->steps[i].granted = x->len;
		if (s->opened == x->nth && r->engine->turn[p->queue_id[x->queue]] == s->place)
			queue_open_one(r, i, &moved);
	}
}

bool run_done(const struct run *r)
{
	if (r->left_user || !r->left)
		return !r->left;
	for (uint32_t q = 0; q < r->plan->nqueues; q++) {
		const struct queue_run *s = &r->queues[q];
		if (s->opened < r->plan->queue[q].n)
			return false;
		for (uint32_t a = 0; a < s->nactive; a++) {
			const struct bound *x = &r->plan->steps[s->active[a]];
			for (uint32_t p = 0; p < x->npeers; p++)
				if (!r->ops[x->op0 + p].complete && !r->ops[x->op0 + p].passive)
					return false;
		}
	}
	return true;
}

/* ---- life ----------------------------------------------------------------------------------------------------------- */

static struct run *run_alloc(const struct plan *p)
{
	uint32_t widest = 0;
	for (uint32_t i = 0; i < p->nsteps; i++)
		if (p->steps[i].npeers > widest)
			widest = p->steps[i].npeers;
	size_t queues = p->nqueues * sizeof(struct queue_run), steps = p->nsteps * sizeof(struct step_run), ops = p->nops * sizeof(struct net_op);
	size_t head = (sizeof(struct run) + queues + 63) / 64 * 64;
	char *at = calloc(1, head + steps + ops + (widest + 1) * sizeof(void *));
	if (!at)
		return NULL;
	struct run *r = (struct run *)at;
	r->ops = (struct net_op *)(at + head);
	r->sources = (const void **)(at + head + ops);
	r->steps = (struct step_run *)(r->sources + widest + 1);
	return r;
}

int run_new(struct run **run, struct engine *e, struct plan *p, const void *in, void *out)
{
	struct run *r = p->idle;
	if (r)
		p->idle = r->next;
	else if (!(r = run_alloc(p)))
		return err_set(TUTTI_ERR_NOMEM, "no memory for a run of %u steps", p->nsteps);
	r->scratch = NULL;
	if (p->scratch_bytes && scratch_take(e, p->scratch_bytes, &r->scratch) < 0) {
		r->next = p->idle;
		p->idle = r;
		return TUTTI_ERR_NOMEM;
	}
	for (struct step_run *x = r->steps, *end = x + p->nsteps; x < end; x++) {
		x->done = x->granted = 0;
		x->state = STEP_CLOSED;
	}
	for (uint32_t q = 0; q < p->nqueues; q++)
		r->queues[q].opened = r->queues[q].nactive = 0;
	r->engine = e;
	r->plan = p;
	r->base[BUF_IN] = (char *)(uintptr_t)in;        /* never written: the verifier has seen to that */
	r->base[BUF_OUT] = out;
	r->mem[BUF_IN] = p->in_bytes > NET_SHORT && in ? net_mem_find(in, p->in_bytes) : NULL;
	r->mem[BUF_OUT] = p->out_bytes > NET_SHORT && out ? net_mem_find(out, p->out_bytes) : NULL;
	r->base[BUF_SCRATCH] = r->scratch ? r->scratch->at : NULL;
	r->mem[BUF_SCRATCH] = r->scratch ? r->scratch->mem : NULL;
	r->left = p->nsteps;
	r->left_user = p->nuser;
	r->status = TUTTI_OK;
	r->held = true;
	p->live++;
	*run = r;
	return TUTTI_OK;
}

void run_recycle(struct run *r)
{
	struct plan *p = r->plan;
	if (r->scratch)
		scratch_give(r->engine, r->scratch);
	r->scratch = NULL;
	r->next = p->idle;
	p->idle = r;
	p->live--;
}

/* ---- words ---------------------------------------------------------------------------------------------------------- */

int run_name(const struct run *r, char *buf, size_t cap)
{
	if (r->plan->p2p)
		return snprintf(buf, cap, "%s, rank %d of %d", coll_rows[r->plan->coll].name, r->engine->world->rank, r->engine->world->nranks);
	return snprintf(buf, cap, "%s #%u, rank %d of %d", coll_rows[r->plan->coll].name, r->opnum, r->engine->world->rank, r->engine->world->nranks);
}

/* First a step that could go on but for its peer, else any. */
static bool waits(const struct run *r, uint32_t i, const struct net_op *op, bool any)
{
	return !op->complete && (any || (r->steps[i].granted == r->plan->steps[i].len && !op->avail));
}

int run_waits_for(const struct run *r, char *buf, size_t cap)
{
	for (uint32_t n = 0; n < 2 * r->plan->nqueues; n++) {
		const struct queue_run *q = &r->queues[n % r->plan->nqueues];
		for (uint32_t a = 0; a < q->nactive; a++) {
			const struct bound *x = &r->plan->steps[q->active[a]];
			for (uint32_t p = 0; p < x->npeers; p++) {
				const struct net_op *op = &r->ops[x->op0 + p];
				if (waits(r, q->active[a], op, n >= r->plan->nqueues))
					return snprintf(buf, cap, "rank %d (channel %d, step %u %s, %zu of %zu bytes)", x->peers[p], x->channel,
					                q->active[a], step_names[x->op], op->done, x->len);
			}
		}
	}
	return snprintf(buf, cap, "an earlier operation");
}
