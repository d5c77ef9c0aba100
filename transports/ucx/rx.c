/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The receiving end of a FIFO: slots are matched with operations in the order of their numbers, offers fetched, bytes taken in order.
 *
 *      taken <= matched <= number of the next piece that has not come
 */
#include "ucx.h"
#include <stdlib.h>
#include <string.h>

static struct ucx_slot *slot_of(struct ucx_rx *r, uint32_t number) { return &r->slot[number % UCX_WINDOW]; }

/* ---- matching ------------------------------------------------------------------------------------------------------- */

/* The operation stays in its FIFO until it is buried: compare with a copy, which may complete. */
static bool head_fits(struct ucx_slot *m, const struct net_op *op)
{
	if (!memcmp(&m->wire.head, &op->head, sizeof(op->head)))
		return true;
	struct net_op copy = *op;
	net_mismatch(&copy, &m->wire.head);
	ucx_of(m->e)->failing = true;
	return false;
}

static bool match(struct ucx_rx *r, struct ucx_slot *m)
{
	struct net_op *op = r->next;
	size_t rest = op->head.len - r->at;
	if (m->wire.first && !r->at && !head_fits(m, op))
		return false;
	if (m->wire.first != (r->at == 0) || m->len > rest || (m->len < rest && (!m->len || m->len % NET_GRAIN))) {
		ucx_fail(m->e, TUTTI_ERR_PEER, "a piece of %zu bytes came where %zu were expected", m->len, rest);
		return false;
	}
	m->op = op;
	m->offset = r->at;
	r->at += m->len;
	r->matched++;
	if (r->at == op->head.len) {
		r->at = 0;
		r->next = op->next;
	}
	return true;
}

/* ---- fetching ------------------------------------------------------------------------------------------------------- */

static void fetched(void *request, ucs_status_t status, size_t len, void *user)
{
	struct ucx_slot *m = user;
	m->state = UCX_FETCHED;
	ucx_pend(m->e, -1);
	ucx_wake(&m->e->rx[m->wire.channel].end);
	if (request)
		ucp_request_free(request);
	if ((status != UCS_OK || len != m->len) && m->e->state != UCX_DEAD)
		ucx_fail(m->e, TUTTI_ERR_PEER, "a message of it could not be received: %s", ucs_status_string(status));
}

/* A stage for m, or false. */
static bool find_stage(struct ucx_rx *r, struct ucx_slot *m)
{
	for (int i = 0; i < UCX_STAGES && m->stage < 0; i++)
		if (!r->staged[i])
			m->stage = i;
	if (m->stage < 0)
		return false;
	if (!r->stage[m->stage] && !(r->stage[m->stage] = aligned_alloc(4096, UCX_PIECE))) {
		ucx_fail(m->e, TUTTI_ERR_NOMEM, "no memory for a buffer of %d bytes", UCX_PIECE);
		return false;
	}
	return r->staged[m->stage] = true;
}

static bool fetch(struct ucx_rx *r, struct ucx_slot *m)
{
	const struct net_op *op = m->op;
	bool view = op->flags & NET_VIEW;
	if (!view && op->limit <= m->offset)
		return false;
	if ((view || op->limit < m->offset + m->len) && !find_stage(r, m))
		return false;
	ucp_request_param_t how = {
		.op_attr_mask = UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA, .cb.recv_am = fetched, .user_data = m,
	};
	void *to = m->stage < 0 ? (char *)op->buf + m->offset : (void *)r->stage[m->stage], *offer = m->data;
	ucp_mem_h handle = m->stage < 0 ? ucx_mem_of(ucx_of(m->e), op->mem) : NULL;
	if (handle) {
		how.op_attr_mask |= UCP_OP_ATTR_FIELD_MEMH;
		how.memh = handle;
	}
	m->data = to;
	m->state = UCX_FETCHING;
	ucs_status_ptr_t req = ucp_am_recv_data_nbx(ucx_of(m->e)->worker, offer, to, m->len, &how);
	if (UCS_PTR_IS_ERR(req))
		ucx_fail(m->e, TUTTI_ERR_PEER, "UCX cannot receive from it: %s", ucs_status_string(UCS_PTR_STATUS(req)));
	else if (req)
		ucx_pend(m->e, 1);
	if (!req || UCS_PTR_IS_ERR(req))
		m->state = UCX_FETCHED;
	return true;
}

static void fetch_all(struct ucx_rx *r)
{
	for (uint32_t n = r->taken; n != r->matched && !r->end.e->ep.status; n++)
		if (slot_of(r, n)->state == UCX_OFFERED && !fetch(r, slot_of(r, n)))
			break;
}

/* ---- taking --------------------------------------------------------------------------------------------------------- */

static void empty(struct ucx_rx *r, struct ucx_slot *m)
{
	if (m->state == UCX_KEPT || m->state == UCX_OFFERED)
		ucp_am_data_release(ucx_of(m->e)->worker, m->data);
	if (m->state == UCX_COPIED)
		free(m->data);
	if (m->stage >= 0)
		r->staged[m->stage] = false;
	m->stage = -1;
	m->data = NULL;
	m->state = UCX_EMPTY;
}

/* n bytes are through; the last of a slot empty it, the last of an operation end it. */
static void took(struct ucx_rx *r, struct ucx_slot *m, size_t n)
{
	struct net_op *op = m->op;
	op->done += n;
	m->used += n;
	op->avail = 0;
	if (m->used < m->len)
		return;
	empty(r, m);
	r->taken++;
	if (op->done < op->head.len)
		return;
	net_fifo_pop(&r->queue);
	net_op_end(op, TUTTI_OK);
}

static int take(struct ucx_rx *r, struct ucx_slot *m)
{
	struct net_op *op = m->op;
	size_t may = op->limit - op->done, n = m->len - m->used;
	bool view = op->flags & NET_VIEW, straight = m->state == UCX_FETCHED && m->stage < 0;
	if (m->state == UCX_OFFERED || m->state == UCX_FETCHING || (view && m->state == UCX_LENT))
		return 0;
	if (view && n) {
		bool more = !op->avail;
		op->view = (const char *)m->data + m->used;
		op->avail = n;
		return more;
	}
	if (!view && !straight) {
		n = n < may ? n : may;
		if (n)
			copy_bytes((char *)op->buf + op->done, (const char *)m->data + m->used, n);
		else if (m->len)
			return 0;
	}
	took(r, m, n);
	return 1;
}

static void credit(struct ucx_rx *r)
{
	struct ucx_ep *e = r->end.e;
	if (r->taken - r->told < UCX_WINDOW / 2 || e->state != UCX_UP || e->ep.status)
		return;
	r->told = r->taken;
	struct ucx_wire w = { .token = e->its, .credit = r->told, .kind = UCX_CREDIT, .channel = (uint8_t)r->end.channel };
	ucx_ep_say(e, &w);
}

int ucx_rx_step(struct ucx_rx *r)
{
	const struct ucx_ep *e = r->end.e;
	int moved = 0;
	for (bool more = true; more && !e->ep.status;) {
		more = false;
		while (r->next && slot_of(r, r->matched)->state != UCX_EMPTY && r->matched - r->taken < UCX_WINDOW && match(r, slot_of(r, r->matched)))
			;
		fetch_all(r);
		while (!e->ep.status && r->taken != r->matched && take(r, slot_of(r, r->taken)))
			moved = more = true;
	}
	credit(r);
	return moved | (e->ep.status != 0);
}

void ucx_rx_release(struct ucx_rx *r, struct net_op *op, size_t n)
{
	struct ucx_slot *m = slot_of(r, r->taken);
	if (r->end.e->ep.status || m->op != op)
		return;
	took(r, m, n);
}

/* ---- from UCX ------------------------------------------------------------------------------------------------------- */

/* A short message that is awaited, and nothing before it: the usual case, without a slot. */
static bool took_at_once(struct ucx_rx *r, const struct ucx_wire *w, const void *data, size_t len)
{
	struct net_op *op = r->next;
	if (!op || op != r->queue.head || r->taken != r->matched || w->number != r->taken || op->flags & NET_VIEW || op->done || op->limit < len ||
	    op->head.len != len || memcmp(&w->head, &op->head, sizeof(op->head)))
		return false;
	if (len)
		copy_bytes(op->buf, data, len);
	op->done = len;
	r->next = op->next;
	r->matched++;
	r->taken++;
	net_fifo_pop(&r->queue);
	net_op_end(op, TUTTI_OK);
	credit(r);
	if (slot_of(r, r->taken)->state != UCX_EMPTY)
		ucx_wake(&r->end);      /* it came before this one */
	return true;
}

ucs_status_t ucx_rx_came(struct ucx_rx *r, const struct ucx_wire *w, void *data, size_t len, uint64_t attr)
{
	struct ucx_slot *m = slot_of(r, w->number);
	bool offer = attr & UCP_AM_RECV_ATTR_FLAG_RNDV;
	if (w->number - r->taken >= UCX_WINDOW || m->state != UCX_EMPTY || len > UCX_PIECE) {
		ucx_fail(r->end.e, TUTTI_ERR_PEER, "it sent more than there is room for");
		return UCS_OK;
	}
	if (!offer && took_at_once(r, w, data, len))
		return UCS_OK;
	*m = (struct ucx_slot){ .state = offer ? UCX_OFFERED : UCX_LENT, .e = r->end.e, .wire = *w, .data = data, .len = len, .stage = -1 };
	if (!offer)             /* an offer is fetched later: not while UCX is still busy with it */
		ucx_rx_step(r);
	if (m->state != UCX_LENT && !offer)
		return UCS_OK;
	ucx_wake(&r->end);
	if (offer)
		return UCS_INPROGRESS;
	if (attr & UCP_AM_RECV_ATTR_FLAG_DATA) {
		m->state = UCX_KEPT;
		return UCS_INPROGRESS;
	}
	m->data = len ? malloc(len) : NULL;
	if (len && !m->data) {
		m->state = UCX_EMPTY;
		ucx_fail(r->end.e, TUTTI_ERR_NOMEM, "no memory for a message of %zu bytes", len);
		return UCS_OK;
	}
	if (len)
		memcpy(m->data, data, len);
	m->state = UCX_COPIED;
	return UCS_OK;
}

void ucx_rx_drop(struct ucx_rx *r)
{
	for (int i = 0; i < UCX_WINDOW; i++)
		if (r->slot[i].state == UCX_KEPT || r->slot[i].state == UCX_COPIED || r->slot[i].state == UCX_OFFERED)
			empty(r, &r->slot[i]);
}
