/* SPDX-License-Identifier: Apache-2.0 */
/* Requests: a plan and buffers, and the run while one is in flight. Freed ones are kept by the communicator. */
#include <base/clock.h>
#include <comm/comm.h>
#include <stdint.h>
#include <stdlib.h>

enum { KEPT_MAX = 256, KEEP_FROM = 4096 };      /* regions of a communicator's persistent requests; bytes of the least */

/* The buffers of a persistent request stay where they are until it is freed: transports may register them. Those that are, or overlap, regions already are left. */
static void keep(struct tutti_request *r, int i, const void *p, size_t bytes)
{
	if (p && bytes >= KEEP_FROM && r->comm->kept < KEPT_MAX && net_mem_adopt((void *)(uintptr_t)p, bytes, &r->regions[i]) == TUTTI_OK)
		r->comm->kept++;
}

static void keep_both(struct tutti_request *r, const struct plan *plan)
{
	bool recv_first = plan->out_bytes > plan->in_bytes;     /* in place the smaller lies in the larger */
	for (int i = 0; i < 2; i++)
		if (i == recv_first)
			keep(r, i, r->send, plan->in_bytes);
		else
			keep(r, i, r->recv, plan->out_bytes);
	r->keeps = true;
	r->keeping = r->comm->persistent;
	r->comm->persistent = r;
}

static void unkeep(struct tutti_request *r)
{
	struct tutti_request **p = &r->comm->persistent;
	if (!r->keeps)
		return;
	while (*p != r)
		p = &(*p)->keeping;
	*p = r->keeping;
	r->keeps = false;
	for (int i = 0; i < 2; i++) {
		r->comm->kept -= r->regions[i] != NULL;
		net_mem_free(r->regions[i]);
		r->regions[i] = NULL;
	}
}

static int request_start(struct tutti_request *r)
{
	return engine_start(&r->comm->engine, r->plan, r->send, r->recv, &r->run);
}

/* Called inside the engine. */
static void request_give(struct tutti_request *r)
{
	unkeep(r);
	r->plan->live--;
	r->plan = NULL;
	r->next = r->comm->idle;
	r->comm->idle = r;
}

int request_new(struct tutti_comm *c, struct plan *plan, const struct call *k, bool persistent, struct tutti_request **req)
{
	struct tutti_request *r = c->idle;
	if (r)
		c->idle = r->next;
	else if (!(r = malloc(sizeof(*r))))
		return err_set(TUTTI_ERR_NOMEM, "no memory for a request");
	*r = (struct tutti_request){ .comm = c, .plan = plan, .send = k->send, .recv = k->recv, .persistent = persistent };
	plan->live++;
	if (persistent)
		keep_both(r, plan);
	int status = persistent ? TUTTI_OK : request_start(r);
	if (status < 0)
		request_give(r);
	else
		*req = r;
	return status;
}

int tutti_start(struct tutti_request *r)
{
	if (!r || !r->persistent || r->run)
		return err_set(TUTTI_ERR_INVALID, "request: expected a persistent one that is not running, got %s", !r ? "NULL" : r->run ? "one running" : "one started once");
	engine_enter(&r->comm->engine);
	int status = request_start(r);
	comm_error(r->comm, status);
	engine_leave(&r->comm->engine);
	return status;
}

/* The operation has ended with status: forget the run, and the request unless it can be started again. */
static int ended(struct tutti_request **req, int status)
{
	struct tutti_request *r = *req;
	comm_error(r->comm, status);
	if (r->run)
		engine_drop(&r->comm->engine, r->run);
	r->run = NULL;
	if (!r->persistent) {
		request_give(r);
		*req = NULL;
	}
	return status;
}

enum { LOOK_ONCE = 0 };         /* a deadline that has passed */

static int wait_until(struct tutti_request **req, int64_t deadline)
{
	struct tutti_request *r = *req;
	struct engine *e = &r->comm->engine;
	if (!r->run)
		return TUTTI_OK;        /* persistent, not started, or ended already */
	engine_enter(e);
	int status = deadline == LOOK_ONCE ? engine_test(e, r->run) : engine_wait(e, r->run, deadline);
	if (status <= 0)
		status = ended(req, status);
	engine_leave(e);
	return status;
}

int tutti_test(struct tutti_request **req)
{
	if (!req || !*req)
		return req ? TUTTI_OK : err_set(TUTTI_ERR_INVALID, "req: expected a pointer, got NULL");
	return wait_until(req, LOOK_ONCE);
}

int tutti_wait(struct tutti_request **req, int timeout_ms)
{
	if (!req || !*req)
		return req ? TUTTI_OK : err_set(TUTTI_ERR_INVALID, "req: expected a pointer, got NULL");
	return wait_until(req, clock_after_ms(timeout_ms));
}

int tutti_request_free(struct tutti_request **req)
{
	if (!req || !*req)
		return req ? TUTTI_OK : err_set(TUTTI_ERR_INVALID, "req: expected a pointer, got NULL");
	struct tutti_request *r = *req;
	r->persistent = false;
	if (r->run)
		return wait_until(req, CLOCK_NEVER);
	engine_enter(&r->comm->engine);
	request_give(r);
	engine_leave(&r->comm->engine);
	*req = NULL;
	return TUTTI_OK;
}

void request_free_all(struct tutti_comm *c)
{
	while (c->persistent)           /* not freed, against the rules; their memory is the caller's all the same */
		unkeep(c->persistent);
	while (c->idle) {
		struct tutti_request *r = c->idle;
		c->idle = r->next;
		free(r);
	}
}
