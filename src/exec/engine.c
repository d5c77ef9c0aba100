/* SPDX-License-Identifier: Apache-2.0 */
/* Starting, moving and failing. Waiting stands in wait.c. */
#include <base/clock.h>
#include <exec/engine.h>
#include <exec/wait.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- scratch: blocks of 2^order bytes, small ones cut from slabs; last given, first taken (it is in the cache) --------- */

enum { CAUSE_MS = 500 };        /* far below the two seconds in which everybody must know */
enum { SCRATCH_LEAST = 12, SLAB = 21, CUT_BELOW = 18 };

static struct scratch *slab_new(struct engine *e, int order)
{
	const struct net_mem *mem;
	struct scratch *b = calloc(1, sizeof(*b));
	if (!b) {
		err_set(TUTTI_ERR_NOMEM, "no memory for scratch");
		return NULL;
	}
	if (net_mem_new((size_t)1 << order, &mem) < 0) {
		free(b);
		return NULL;
	}
	*b = (struct scratch){ e->slabs, mem, mem->base, order };
	return e->slabs = b;
}

/* Cut a new slab in blocks of this order. */
static int refill(struct engine *e, int order)
{
	struct scratch *slab = slab_new(e, order < CUT_BELOW ? SLAB : order);
	if (!slab)
		return TUTTI_ERR_NOMEM;
	for (size_t at = 0; at < (size_t)1 << slab->order; at += (size_t)1 << order) {
		struct scratch *b = malloc(sizeof(*b));
		if (!b)
			return e->scratch[order] ? TUTTI_OK : err_set(TUTTI_ERR_NOMEM, "no memory for scratch");
		*b = (struct scratch){ e->scratch[order], slab->mem, slab->at + at, order };
		e->scratch[order] = b;
	}
	return TUTTI_OK;
}

int scratch_take(struct engine *e, size_t bytes, struct scratch **s)
{
	int order = bytes <= (size_t)1 << SCRATCH_LEAST ? SCRATCH_LEAST : 64 - __builtin_clzll(bytes - 1);
	if (order >= SCRATCH_ORDERS)
		return err_set(TUTTI_ERR_NOMEM, "no memory for %zu bytes of scratch", bytes);
	if (!e->scratch[order]) {
		int status = refill(e, order);
		if (status < 0)
			return status;
	}
	*s = e->scratch[order];
	e->scratch[order] = (*s)->next;
	return TUTTI_OK;
}

void scratch_give(struct engine *e, struct scratch *s)
{
	s->next = e->scratch[s->order];
	e->scratch[s->order] = s;
}

static void scratch_free(struct engine *e)
{
	for (int o = 0; o < SCRATCH_ORDERS; o++)
		for (struct scratch *s = e->scratch[o], *next; s; s = next) {
			next = s->next;
			free(s);
		}
	for (struct scratch *s = e->slabs, *next; s; s = next) {
		next = s->next;
		net_mem_free(s->mem);
		free(s);
	}
}

/* ---- life ----------------------------------------------------------------------------------------------------------- */

int engine_open(struct engine *e, struct world *w, struct boot *b, const struct config *c, int64_t timeout_ms)
{
	memset(e, 0, sizeof(*e));
	e->world = w;
	e->boot = b;
	e->config = c;
	e->last = &e->runs;
	e->timeout_ms = timeout_ms;
	bool crowded = w->on_machine > w->cores;
	e->spin_ns = (c->spin_us >= 0 ? c->spin_us : crowded ? 0 : 30) * 1000;
	e->yields = c->yields;
	boot_meanwhile(engines_move);
	wait_register(e);
	return TUTTI_OK;
}

void engine_close(struct engine *e)
{
	wait_unregister(e);
	while (e->runs) {
		struct run *r = e->runs;
		e->runs = r->next;
		run_recycle(r);
	}
	scratch_free(e);
}

/* ---- starting and moving ---------------------------------------------------------------------------------------------- */

int engine_start(struct engine *e, struct plan *plan, const void *in, void *out, struct run **run)
{
	struct run *r;
	if (e->status)
		return err_set(e->status, "%s", e->why);
	int status = run_new(&r, e, plan, in, out);
	if (status < 0)
		return status;
	r->opnum = plan->p2p ? 0 : ++e->opnum;
	for (uint32_t q = 0; q < plan->nqueues; q++)
		r->queues[q].place = e->issued[plan->queue_id[q]]++;
	r->next = NULL;
	*e->last = r;
	e->last = &r->next;
	run_start(r);
	*run = r;
	return TUTTI_OK;
}

void engine_reap(struct engine *e)
{
	struct run **p = &e->runs;
	while (*p) {
		struct run *r = *p;
		if (r->held || r->left) {
			p = &r->next;
			continue;
		}
		if (!(*p = r->next))
			e->last = p;
		run_recycle(r);
	}
}

void engine_drop(struct engine *e, struct run *r)
{
	r->held = false;
	if (e->status)
		return;         /* a failed engine keeps its runs until it is closed */
	engine_reap(e);
}

int engine_progress(struct engine *e, bool all)
{
	int moved = world_progress(e->world, all);
	for (struct run *r = e->runs; r && !e->status; r = r->next)
		if (r->left)
			moved += run_progress(r);
	for (int i = 0; (moved || all) && i < e->world->nifaces && !e->status; i++) {
		const struct net_ep *dead = e->world->ifaces[i]->dead;
		if (dead)
			engine_fail(e, dead->status, "rank %d of %d: lost rank %d over %s: %s", e->world->rank, e->world->nranks, dead->peer,
			            dead->iface->t->name, dead->why);
	}
	if (moved)
		e->stuck_since = 0;
	return moved;
}

/* A lost connection, or one that is never made, is mostly another rank's failure seen from the side: give the control tree a moment to tell the cause. */
static void listen_for_cause(struct engine *e)
{
	struct pollfd fd = { .fd = boot_fd(e->boot), .events = POLLIN };
	int64_t end = clock_after_ms(CAUSE_MS);
	while (boot_poll(e->boot) == TUTTI_OK && clock_ns() < end)
		poll(&fd, 1, 20);
}

int engine_fail(struct engine *e, int status, const char *fmt, ...)
{
	if (e->status)
		return e->status;
	if (status == TUTTI_ERR_PEER || status == TUTTI_ERR_AUTH)
		listen_for_cause(e);
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(e->why, sizeof(e->why), fmt, ap);
	va_end(ap);
	e->status = boot_raise(e->boot, status, e->why);
	if (strcmp(e->why, boot_cause(e->boot)) && *boot_cause(e->boot))
		snprintf(e->why, sizeof(e->why), "%s", boot_cause(e->boot));
	for (int p = 0; p < e->world->nranks; p++)
		if (e->world->eps[p])
			e->world->eps[p]->iface->t->quiesce(e->world->eps[p]);
	for (struct run *r = e->runs; r; r = r->next)
		r->status = e->status;
	return e->status;
}
