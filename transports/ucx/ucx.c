/* SPDX-License-Identifier: Apache-2.0 */
/* The ucx transport: its slots. Read from the bottom. ucx.h says how it works. */
#define _GNU_SOURCE
#include "ucx.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>

#define MAGIC 0x7563786du
enum { VERSION = 1, RANKS_MAX = 1 << 24, LOOK_NS = 100000, TURNS = 64 };

static struct ucx_iface *self(struct net_iface *iface) { return (struct ucx_iface *)iface; }

/* ---- opening and closing -------------------------------------------------------------------------------------------- */

static void ucx_close(struct net_iface *iface)
{
	struct ucx_iface *s = self(iface);
	for (int i = 0; s->eps && i < iface->nranks; i++)
		if (s->eps[i] && s->eps[i]->state != UCX_DEAD) {
			net_ep_fail(&s->eps[i]->ep, TUTTI_ERR_ABORTED, "closed");
			ucx_ep_bury(s->eps[i]);
		}
	ucx_context_close(s);
	for (int i = 0; s->eps && i < iface->nranks; i++)
		if (s->eps[i])
			ucx_ep_free(s->eps[i]);
	free(s->eps);
	free(s);
}

/* Another rank's bytes: an active message. */
static ucs_status_t came(void *arg, const void *header, size_t header_len, void *data, size_t len, const ucp_am_recv_param_t *param)
{
	struct ucx_iface *s = arg;
	struct ucx_wire w;
	if (header_len != sizeof(w))
		return UCS_OK;
	memcpy(&w, header, sizeof(w));
	uint64_t peer = w.token & UCX_RANK_BITS;
	struct ucx_ep *e = peer < (uint64_t)s->iface.nranks ? s->eps[peer] : NULL;
	if (!e || e->mine != w.token || e->state == UCX_NEW || e->state == UCX_DEAD || e->ep.status)
		return UCS_OK;          /* a stranger's, or too late */
	s->events++;
	if (w.kind == UCX_BYE)
		ucx_fail(e, TUTTI_ERR_PEER, "connection closed by peer");
	if (w.kind != UCX_DATA && w.kind != UCX_CREDIT)
		return UCS_OK;
	if (w.channel >= NET_CHANNELS) {
		ucx_fail(e, TUTTI_ERR_PEER, "it sent what does not belong here");
		return UCS_OK;
	}
	ucx_tx_credit(&e->tx[w.channel], w.credit);
	return w.kind == UCX_DATA ? ucx_rx_came(&e->rx[w.channel], &w, data, len, param->recv_attr) : UCS_OK;
}

static int hear(struct ucx_iface *s)
{
	ucp_am_handler_param_t p = {
		.field_mask = UCP_AM_HANDLER_PARAM_FIELD_ID | UCP_AM_HANDLER_PARAM_FIELD_FLAGS | UCP_AM_HANDLER_PARAM_FIELD_CB |
		              UCP_AM_HANDLER_PARAM_FIELD_ARG,
		.id = 0, .flags = UCP_AM_FLAG_WHOLE_MSG, .cb = came, .arg = s,
	};
	ucs_status_t status = ucp_worker_set_am_recv_handler(s->worker, &p);
	return status == UCS_OK ? TUTTI_OK : err_set(TUTTI_ERR_UNSUPPORTED, "UCX takes no active messages: %s", ucs_status_string(status));
}

static int ucx_open(struct net_iface **iface, const struct net_open *o)
{
	if (o->nranks > RANKS_MAX)
		return err_set(TUTTI_ERR_UNSUPPORTED, "ucx: expected up to %d ranks, got %d", RANKS_MAX, o->nranks);
	struct ucx_iface *s = calloc(1, sizeof(*s));
	if (s)
		s->eps = calloc((size_t)o->nranks, sizeof(*s->eps));
	if (!s || !s->eps) {
		free(s);
		return err_set(TUTTI_ERR_NOMEM, "no memory for the ucx transport");
	}
	s->iface = (struct net_iface){ .t = &ucx_transport, .rank = o->rank, .nranks = o->nranks, .restless = true };
	s->post = o->post;
	s->wakes = o->config->ucx_wakeup;
	s->fd = -1;
	s->machine = machine_id(o->config->node);
	int status = ucx_context_open(s);
	if (!status)
		status = hear(s);
	if (status < 0)
		ucx_close(&s->iface);
	else
		*iface = &s->iface;
	return status;
}

/* ---- addresses ------------------------------------------------------------------------------------------------------ */

/* The worker's own may be longer than an address can be, and travels in letters. */
static int ucx_address_out(struct net_iface *iface, void *buf, size_t *len)
{
	const struct ucx_address a = { MAGIC, VERSION, self(iface)->machine, self(iface)->far, { 0 } };
	memcpy(buf, &a, sizeof(a));
	*len = sizeof(a);
	return TUTTI_OK;
}

static int ucx_reaches(struct net_iface *iface, const void *addr, size_t len)
{
	const struct ucx_iface *s = self(iface);
	struct ucx_address its;
	if (len != sizeof(its))
		return err_set(TUTTI_ERR_UNSUPPORTED, "a ucx address has %zu bytes, expected %zu", len, sizeof(its));
	memcpy(&its, addr, len);
	if (its.magic != MAGIC || its.version != VERSION)
		return err_set(TUTTI_ERR_UNSUPPORTED, "not a ucx address of this version");
	if (its.machine != s->machine && !(its.far && s->far))
		return err_set(TUTTI_ERR_UNSUPPORTED, "another machine, and %s end has nothing in UCX that leads there (UCX_TLS)", s->far ? "its" : "this");
	return TUTTI_OK;
}

/* ---- endpoints ------------------------------------------------------------------------------------------------------ */

static int ucx_connect(struct net_iface *iface, int peer, const void *addr, size_t len, struct net_ep **ep)
{
	int status = ucx_reaches(iface, addr, len);
	struct ucx_ep *e = status < 0 ? NULL : ucx_ep_of(self(iface), peer);
	if (status < 0)
		return status;
	if (!e)
		return err_set(TUTTI_ERR_NOMEM, "no memory for an endpoint");
	if (self(iface)->frozen)
		return err_set(TUTTI_ERR_ABORTED, "UCX has been given up");
	if (e->state == UCX_NEW) {
		status = ucx_ep_call(e);
		if (status < 0)
			return status;
		e->state = UCX_CONNECTING;
		iface->expected++;
		ucx_ep_meet(e);
	}
	*ep = &e->ep;
	return TUTTI_OK;
}

static void ucx_letter_in(struct net_iface *iface, int peer, const void *bytes, size_t len)
{
	struct ucx_ep *e = ucx_ep_of(self(iface), peer);
	if (e)
		ucx_ep_letter(e, bytes, len);
}

static void ucx_quiesce(struct net_ep *ep)
{
	if (!ep->status) {
		ep->status = TUTTI_ERR_ABORTED;
		snprintf(ep->why, sizeof(ep->why), "quiesced");
	}
	ucx_ep_bury((struct ucx_ep *)ep);
}

static int ucx_describe(const struct net_ep *ep, char *buf, size_t cap)
{
	char lanes[96] = "";
	int n = ucx_lanes((const struct ucx_ep *)ep, lanes, sizeof(lanes));
	return snprintf(buf, cap, "ucx %s, %s", ucp_get_version_string(), n ? lanes : "not connected");
}

/* ---- operations ----------------------------------------------------------------------------------------------------- */

/* Whoever finds iface->dead set may rely on all operations being over, so every slot that was called ends with this. */
static bool bury_failed(struct ucx_iface *s)
{
	bool any = s->failing;
	s->failing = false;
	for (int i = 0; any && i < s->iface.nranks; i++)
		if (s->eps[i] && s->eps[i]->ep.status)
			ucx_ep_bury(s->eps[i]);
	return any;
}

static int step(struct ucx_end *end)
{
	if (end->e->state != UCX_UP || end->e->ep.status)
		return 0;
	return end->sends ? ucx_tx_step((struct ucx_tx *)end) : ucx_rx_step((struct ucx_rx *)end);
}

static void step_now(struct ucx_end *end)
{
	step(end);
	bury_failed(ucx_of(end->e));
}

static void ucx_send(struct net_op *op)
{
	struct ucx_tx *t = &((struct ucx_ep *)op->ep)->tx[op->channel];
	if (!net_op_post(op, &t->seq))
		return;
	if (!ucx_tx_at_once(t, op)) {
		net_fifo_push(&t->queue, op);
		if (t->queue.head == op)
			step(&t->end);
	}
	bury_failed(ucx_of(t->end.e));
}

static void ucx_recv(struct net_op *op)
{
	struct ucx_rx *r = &((struct ucx_ep *)op->ep)->rx[op->channel];
	if (!net_op_post(op, &r->seq))
		return;
	net_fifo_push(&r->queue, op);
	if (!r->next)
		r->next = op;
	step_now(&r->end);
}

static void ucx_advance(struct net_op *op)
{
	struct ucx_ep *e = (struct ucx_ep *)op->ep;
	bool sends = e->tx[op->channel].queue.head == op;
	step_now(sends ? &e->tx[op->channel].end : &e->rx[op->channel].end);
}

static void ucx_release(struct net_op *op, size_t n)
{
	struct ucx_rx *r = &((struct ucx_ep *)op->ep)->rx[op->channel];
	ucx_rx_release(r, op, n);
	step_now(&r->end);
}

/* ---- moving and sleeping -------------------------------------------------------------------------------------------- */

/* What UCX does for itself (keepalive) is no movement, or no wait would ever end; but a sleep may only follow when it has nothing left to do. */
static int move_ucx(struct ucx_iface *s)
{
	uint32_t events = s->events;
	int turns = 0;
	while (ucp_worker_progress(s->worker) && s->events == events && turns < TURNS)
		turns++;
	s->busy = turns == TURNS;
	return s->events != events;
}

static int ucx_progress(struct net_iface *iface)
{
	struct ucx_iface *s = self(iface);
	if (s->frozen)
		return iface->dead != NULL;
	int moved = move_ucx(s);
	for (struct ucx_end *end = s->ready, *next = s->ready = NULL; end; end = next) {
		next = end->next;
		end->ready = false;
		moved |= step(end);
	}
	if (s->regions.n && !s->pending)        /* else a request may still use what its owner has freed */
		ucx_mem_sweep(s);
	return bury_failed(s) | moved;
}

static int ucx_arm(struct net_iface *iface)
{
	struct ucx_iface *s = self(iface);
	const struct itimerspec soon = { .it_value.tv_nsec = LOOK_NS };
	if (s->busy || s->frozen)
		return NET_BUSY;
	if (!s->wakes)
		return timerfd_settime(s->fd, 0, &soon, NULL) ? NET_BUSY : s->fd;
	return ucp_worker_arm(s->worker) == UCS_OK ? s->fd : NET_BUSY;
}

const struct net_transport ucx_transport = {
	.name = "ucx",
	.help = "whatever UCX drives: InfiniBand, RoCE, shared memory, TCP (UCX_TLS says which)",
	.probe = ucx_probe,
	.open = ucx_open,
	.close = ucx_close,
	.address = ucx_address_out,
	.reaches = ucx_reaches,
	.connect = ucx_connect,
	.letter = ucx_letter_in,
	.send = ucx_send,
	.recv = ucx_recv,
	.advance = ucx_advance,
	.release = ucx_release,
	.progress = ucx_progress,
	.arm = ucx_arm,
	.quiesce = ucx_quiesce,
	.describe = ucx_describe,
};

/* ---- as a module ---------------------------------------------------------------------------------------------------- */

static const struct net_transport *start(const struct net_core *given)
{
	unsigned major, minor, release;
	if (!net_module_fits(given))
		return NULL;
	ucp_get_version(&major, &minor, &release);
	if (major == 1 && minor < 13) {
		err_set(TUTTI_ERR_UNSUPPORTED, "UCX %s is too old: expected 1.13 or newer", ucp_get_version_string());
		return NULL;
	}
	ucx_log_here();
	ucx_signals_alone();
	return &ucx_transport;
}

const struct net_module tutti_module = { sizeof(tutti_module), NET_MODULE_VERSION, start };
