/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hardest execution that may be asked for: each queue has one open step, nothing is buffered, a step starts when all it waits for is
 * complete, a send to a set serves its members one after the other, and a recv_reduce from a set needs all of them at once. A message is
 * done when both ends have it open. All orders lead to the same end here, so one run decides whether there is a deadlock, and its order
 * is one in which the steps can be executed whole.
 */
#include <verify/world.h>
#include <base/err.h>
#include <stdlib.h>

struct queue { uint32_t head, member; };                /* the open step, and which message of it */

struct blocking {
	struct world *w;
	uint32_t done_steps, *todo, ntodo, nqueues;
	struct queue *q;                                 /* nqueues a rank: two a channel */
	bool *done, *listed;
};

static uint32_t queue_of(const struct step *x)
{
	return 2u * x->channel + (x->op == STEP_SEND);
}

static struct queue *queue_at(const struct blocking *b, uint32_t g)
{
	return &b->q[(uint32_t)b->w->rank[g] * b->nqueues + queue_of(step_at(b->w, g))];
}

static void look_again(struct blocking *b, int rank)
{
	if (!b->listed[rank]) {
		b->listed[rank] = true;
		b->todo[b->ntodo++] = (uint32_t)rank;
	}
}

static bool open(const struct blocking *b, uint32_t g)
{
	const struct step *x = step_at(b->w, g);
	uint32_t base = b->w->base[b->w->rank[g]];
	if (queue_at(b, g)->head != g)
		return false;
	for (int j = 0; j < SCHED_MAX_WAITS; j++)
		if (x->wait[j] >= 0 && !b->done[base + (uint32_t)x->wait[j]])
			return false;
	return true;
}

static void finish(struct blocking *b, uint32_t g)
{
	const struct world *w = b->w;
	int rank = w->rank[g];
	struct queue *q = queue_at(b, g);
	b->done[g] = true;
	w->order[b->done_steps++] = g;
	for (q->head++; q->head < w->base[rank + 1] && queue_of(step_at(w, q->head)) != queue_of(step_at(w, g)); q->head++)
		;
	q->member = 0;
	look_again(b, rank);
}

/* If both ends of all of receive g's messages are open, they are done. */
static void try_receive(struct blocking *b, uint32_t g)
{
	const struct world *w = b->w;
	const uint32_t *ends = w->ends + w->first_end[g];
	uint32_t n = msgs_of(w, g);
	if (!open(b, g))
		return;
	for (uint32_t e = 0; e < n; e++) {
		const struct msg *m = &w->msgs[ends[e]];
		if (!open(b, m->send) || w->ends[w->first_end[m->send] + queue_at(b, m->send)->member] != ends[e])
			return;
	}
	for (uint32_t e = 0; e < n; e++) {
		uint32_t send = w->msgs[ends[e]].send;
		if (++queue_at(b, send)->member == msgs_of(w, send))
			finish(b, send);
		look_again(b, w->rank[send]);
	}
	finish(b, g);
}

static void visit(struct blocking *b, int rank)
{
	const struct world *w = b->w;
	for (uint32_t i = 0; i < b->nqueues; i++) {
		struct queue *q = &b->q[(uint32_t)rank * b->nqueues + i];
		if (q->head >= w->base[rank + 1] || !open(b, q->head))
			continue;
		const struct step *x = step_at(w, q->head);
		if (x->op == STEP_SEND)
			try_receive(b, w->msgs[w->ends[w->first_end[q->head] + q->member]].recv);
		else if (receives(x))
			try_receive(b, q->head);
		else
			finish(b, q->head);
	}
}

static int drain(struct blocking *b)
{
	const struct world *w = b->w;
	for (int r = 0; r < w->n; r++) {
		for (uint32_t i = 0; i < b->nqueues; i++) {
			uint32_t g = w->base[r];
			while (g < w->base[r + 1] && queue_of(step_at(w, g)) != i)
				g++;
			b->q[(uint32_t)r * b->nqueues + i] = (struct queue){ g, 0 };
		}
		look_again(b, r);
	}
	while (b->ntodo) {
		int rank = (int)b->todo[--b->ntodo];
		b->listed[rank] = false;
		visit(b, rank);
	}
	for (uint32_t g = 0; b->done_steps < w->nsteps && g < w->nsteps; g++)
		if (!b->done[g])
			return refute(w, "deadlock with one open step a queue and no buffering: rank %d never gets past step %u (%s)",
				w->rank[g], g - w->base[w->rank[g]], step_names[step_at(w, g)->op]);
	return 0;
}

int run_blocking(struct world *w)
{
	struct blocking b = { .w = w, .nqueues = 2 };
	for (int r = 0; r < w->n; r++)
		if (2 * (uint32_t)w->s[r]->nchannels > b.nqueues)
			b.nqueues = 2 * (uint32_t)w->s[r]->nchannels;
	b.todo = malloc((size_t)w->n * sizeof *b.todo);
	b.listed = calloc((size_t)w->n, sizeof *b.listed);
	b.q = malloc((size_t)w->n * b.nqueues * sizeof *b.q);
	b.done = calloc((size_t)w->nsteps + 1, sizeof *b.done);
	bool ready = b.todo && b.listed && b.q && b.done;
	int status = ready ? drain(&b) : err_set(TUTTI_ERR_NOMEM, "verify: no memory for %u steps", w->nsteps);
	free(b.todo);
	free(b.listed);
	free(b.q);
	free(b.done);
	return status;
}
