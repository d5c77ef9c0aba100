/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Endpoints. Each end tells the other its worker's address and a token, in letters; who has both makes UCX's endpoint and may send.
 *
 *      NEW --connect()--> CONNECTING --the peer's letters are here--> UP      any of them --failed, quiesced--> DEAD
 */
#define _GNU_SOURCE
#include "ucx.h"
#include <base/clock.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum { BURIAL_MS = 1000, FAREWELL_MS = 100, ABORT_MS = 20 };

struct ucx_ep *ucx_ep_of(struct ucx_iface *s, int peer)
{
	struct ucx_ep *e = s->eps[peer];
	if (e || !(e = calloc(1, sizeof(*e))))
		return e;
	e->ep = (struct net_ep){ .iface = &s->iface, .peer = peer };
	for (int c = 0; c < NET_CHANNELS; c++) {
		e->tx[c].end = (struct ucx_end){ .e = e, .channel = c, .sends = true };
		e->rx[c].end = (struct ucx_end){ .e = e, .channel = c };
		net_fifo_init(&e->tx[c].queue);
		net_fifo_init(&e->tx[c].await);
		net_fifo_init(&e->rx[c].queue);
	}
	return s->eps[peer] = e;
}

static void forget(struct ucx_saying *y);

void ucx_ep_free(struct ucx_ep *e)
{
	for (int c = 0; c < NET_CHANNELS; c++)
		for (int i = 0; i < UCX_STAGES; i++)
			free(e->rx[c].stage[i]);
	while (e->sayings)
		forget(e->sayings);     /* UCX did not end them */
	free(e->address);
	free(e);
}

/* ---- letters -------------------------------------------------------------------------------------------------------- */

int ucx_ep_call(struct ucx_ep *e)
{
	struct ucx_iface *s = ucx_of(e);
	uint32_t total = (uint32_t)s->address_len;
	if (getrandom(&e->mine, sizeof(e->mine), 0) != sizeof(e->mine))
		return err_sys("getrandom");
	e->mine = (e->mine & ~UCX_RANK_BITS) | (uint64_t)e->ep.peer;
	for (uint32_t at = 0; at < total;) {
		uint32_t n = total - at < UCX_LETTER ? total - at : UCX_LETTER;
		struct ucx_letter l = { .kind = UCX_HERE, .total = total, .at = at, .len = n, .token = e->mine };
		memcpy(l.bytes, (const char *)s->address + at, l.len);
		int status = s->post.post(s->post.ctx, &s->iface, e->ep.peer, &l, sizeof(l));
		if (status < 0)
			return status;
		at += l.len;
	}
	return TUTTI_OK;
}

void ucx_ep_letter(struct ucx_ep *e, const void *bytes, size_t len)
{
	struct ucx_letter l;
	if (e->state == UCX_DEAD || e->ep.status)
		return;
	if (len == sizeof(l))
		memcpy(&l, bytes, len);
	if (len == sizeof(l) && l.kind == UCX_GONE && l.token == e->mine) {
		ucx_fail(e, TUTTI_ERR_PEER, "connection closed by peer");
		return;
	}
	if (len != sizeof(l) || l.kind != UCX_HERE || !l.total || l.total > UCX_ADDRESS_MAX || !l.len || l.len > UCX_LETTER || l.at != e->address_got ||
	    l.at + l.len > l.total || (e->address && l.total != e->address_len) || (l.token & UCX_RANK_BITS) != (uint64_t)e->ep.iface->rank) {
		ucx_fail(e, TUTTI_ERR_PEER, "a letter of it cannot be read");
		return;
	}
	if (!e->address && !(e->address = malloc(l.total))) {
		ucx_fail(e, TUTTI_ERR_NOMEM, "no memory for its address");
		return;
	}
	memcpy(e->address + l.at, l.bytes, l.len);
	e->its = l.token;
	e->address_len = l.total;
	e->address_got += l.len;
	ucx_ep_meet(e);
}

/* From UCX: the connection is lost. */
static void lost(void *arg, ucp_ep_h h, ucs_status_t status)
{
	struct ucx_ep *e = arg;
	(void)h;
	e->broken = true;
	if (e->state != UCX_DEAD)
		ucx_fail(e, TUTTI_ERR_PEER, "UCX has lost it: %s", ucs_status_string(status));
}

void ucx_ep_meet(struct ucx_ep *e)
{
	if (e->state != UCX_CONNECTING || !e->address || e->address_got < e->address_len)
		return;
	ucp_ep_params_t p = {
		.field_mask = UCP_EP_PARAM_FIELD_REMOTE_ADDRESS | UCP_EP_PARAM_FIELD_ERR_HANDLING_MODE | UCP_EP_PARAM_FIELD_ERR_HANDLER,
		.address = (const ucp_address_t *)e->address, .err_mode = UCP_ERR_HANDLING_MODE_PEER, .err_handler = { .cb = lost, .arg = e },
	};
	e->state = UCX_UP;
	ucs_status_t status = ucp_ep_create(ucx_of(e)->worker, &p, &e->h);
	e->ep.iface->expected--;
	for (int c = 0; c < NET_CHANNELS; c++)
		ucx_wake(&e->tx[c].end), ucx_wake(&e->rx[c].end);
	if (status == UCS_OK)
		return;
	e->h = NULL;
	ucx_fail(e, TUTTI_ERR_PEER, "no transport of UCX_TLS leads to it that also tells of its death: %s", ucs_status_string(status));
}

/* ---- headers alone -------------------------------------------------------------------------------------------------- */

struct ucx_saying { struct ucx_wire wire; struct ucx_ep *e; struct ucx_saying *next; };

static void forget(struct ucx_saying *y)
{
	struct ucx_saying **p = &y->e->sayings;
	while (*p != y)
		p = &(*p)->next;
	*p = y->next;
	free(y);
}

static void said(void *request, ucs_status_t status, void *user)
{
	struct ucx_saying *y = user;
	ucx_pend(y->e, -1);
	ucp_request_free(request);
	if (status != UCS_OK && y->e->state != UCX_DEAD)
		ucx_fail(y->e, TUTTI_ERR_PEER, "a credit could not be sent: %s", ucs_status_string(status));
	forget(y);
}

void ucx_ep_say(struct ucx_ep *e, const struct ucx_wire *w)
{
	struct ucx_saying *y = malloc(sizeof(*y));
	if (!y) {
		ucx_fail(e, TUTTI_ERR_NOMEM, "no memory for a credit");
		return;
	}
	*y = (struct ucx_saying){ *w, e, e->sayings };
	e->sayings = y;
	ucp_request_param_t how = {
		.op_attr_mask = UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA | UCP_OP_ATTR_FIELD_FLAGS,
		.flags = UCP_AM_SEND_FLAG_EAGER, .cb.send = said, .user_data = y,
	};
	ucs_status_ptr_t req = ucp_am_send_nbx(e->h, 0, &y->wire, sizeof(y->wire), NULL, 0, &how);
	if (req && !UCS_PTR_IS_ERR(req)) {
		ucx_pend(e, 1);
		return;
	}
	forget(y);
	if (req && e->state != UCX_DEAD)
		ucx_fail(e, TUTTI_ERR_PEER, "UCX cannot send to it: %s", ucs_status_string(UCS_PTR_STATUS(req)));
}

/* ---- the end -------------------------------------------------------------------------------------------------------- */

/* Progress until req is over, and pending no more than that; what is still there then is UCX's fault. */
static bool wait(struct ucx_ep *e, ucs_status_ptr_t req, int pending, int ms)
{
	bool over = false;
	int64_t end = clock_after_ms(ms), all = ucx_of(e)->give_up;
	for (end = all && all < end ? all : end;;) {
		over = (!req || UCS_PTR_IS_ERR(req) || ucp_request_check_status(req) != UCS_INPROGRESS) && e->pending <= pending;
		if (over || clock_ns() > end)
			break;
		if (!ucp_worker_progress(ucx_of(e)->worker))
			clock_relax();
	}
	if (req && !UCS_PTR_IS_ERR(req))
		ucp_request_free(req);  /* UCX frees it when it is over */
	return over;
}

/* What was sent must get out of UCX's own buffers, and the peer learn that no more comes; unless it does not read. */
static void farewell(struct ucx_ep *e, bool busy)
{
	struct ucx_wire w = { .token = e->its, .kind = UCX_BYE };
	ucp_request_param_t how = { 0 };
	ucx_ep_say(e, &w);
	ucs_status_ptr_t flush = e->broken ? NULL : ucp_ep_flush_nbx(e->h, &how);
	if (!wait(e, flush, busy ? e->pending : 0, busy ? ABORT_MS : FAREWELL_MS))
		log_msg(LOG_DEBUG, "ucx: rank %d does not read what was sent to it last", e->ep.peer);
}

static bool busy(const struct ucx_ep *e)
{
	for (int c = 0; c < NET_CHANNELS; c++)
		if (e->tx[c].queue.head || e->tx[c].await.head || e->rx[c].queue.head)
			return true;
	return false;
}

static void end_all(struct net_fifo *f, int status)
{
	while (f->head)
		net_op_end(net_fifo_pop(f), status);
}

/* UCX would go on with what it did not end. The others go, too, all within the same time. */
static void freeze(struct ucx_iface *s, const struct ucx_ep *cause)
{
	const struct ucx_letter gone = { .kind = UCX_GONE, .token = cause->its };
	s->post.post(s->post.ctx, &s->iface, cause->ep.peer, &gone, sizeof(gone));
	log_msg(LOG_INFO, "ucx: %d operations with rank %d did not end with its endpoint: UCX is given up", cause->pending, cause->ep.peer);
	if (s->give_up)
		return;
	s->give_up = clock_after_ms(BURIAL_MS);
	for (int i = 0; i < s->iface.nranks; i++)
		if (s->eps[i] && s->eps[i]->state != UCX_DEAD) {
			net_ep_fail(&s->eps[i]->ep, TUTTI_ERR_PEER, "UCX is given up, for it did not let go of rank %d", cause->ep.peer);
			ucx_ep_bury(s->eps[i]);
		}
	s->frozen = true;
}

void ucx_ep_bury(struct ucx_ep *e)
{
	enum ucx_state was = e->state;
	if (was == UCX_DEAD)
		return;
	e->state = UCX_DEAD;
	e->ep.iface->expected -= was == UCX_CONNECTING;
	for (int c = 0; c < NET_CHANNELS; c++)
		ucx_rx_drop(&e->rx[c]);
	if (e->h && !e->broken)
		farewell(e, busy(e));
	if (e->h) {
		ucp_request_param_t how = { .op_attr_mask = UCP_OP_ATTR_FIELD_FLAGS, .flags = UCP_EP_CLOSE_FLAG_FORCE };
		ucs_status_ptr_t req = ucp_ep_close_nbx(e->h, &how);
		e->h = NULL;
		wait(e, req, 0, BURIAL_MS);
	}
	if (e->pending)
		freeze(ucx_of(e), e);
	for (int c = 0; c < NET_CHANNELS; c++) {
		end_all(&e->tx[c].await, e->ep.status);
		end_all(&e->tx[c].queue, e->ep.status);
		end_all(&e->rx[c].queue, e->ep.status);
		e->rx[c].next = NULL;
	}
}
