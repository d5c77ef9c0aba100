/* SPDX-License-Identifier: Apache-2.0 */
/* The sending end of a FIFO: pieces of what the limit allows, as long as the window has room. */
#include "ucx.h"

static void sent(void *request, ucs_status_t status, void *user)
{
	struct ucx_piece *p = user;
	p->busy = false;
	ucx_pend(p->e, -1);
	ucx_wake(p->end);
	ucp_request_free(request);
	if (status != UCS_OK && p->e->state != UCX_DEAD)
		ucx_fail(p->e, TUTTI_ERR_PEER, "a message could not be sent: %s", ucs_status_string(status));
}

void ucx_tx_credit(struct ucx_tx *t, uint32_t taken)
{
	if (taken - t->freed <= t->sent - t->freed)     /* else it goes back, or too far */
		t->freed = taken;
	if (t->queue.head)
		ucx_wake(&t->end);
}

static bool window(const struct ucx_tx *t) { return t->sent - t->freed < UCX_WINDOW && t->sent - t->done < UCX_WINDOW; }

static bool send_piece(struct ucx_tx *t, struct net_op *op, size_t n)
{
	struct ucx_ep *e = t->end.e;
	struct ucx_piece *p = &t->piece[t->sent % UCX_WINDOW];
	struct ucx_rx *back = &e->rx[t->end.channel];
	ucp_request_param_t how = {
		.op_attr_mask = UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA | UCP_OP_ATTR_FIELD_FLAGS,
		.flags = n > UCX_EAGER ? UCP_AM_SEND_FLAG_RNDV : UCP_AM_SEND_FLAG_EAGER, .cb.send = sent, .user_data = p,
	};
	ucp_mem_h handle = n > UCX_EAGER ? ucx_mem_of(ucx_of(e), op->mem) : NULL;
	if (handle) {
		how.op_attr_mask |= UCP_OP_ATTR_FIELD_MEMH;
		how.memh = handle;
	}
	back->told = back->taken;
	*p = (struct ucx_piece){
		.e = e, .end = &t->end, .len = (uint32_t)n, .wire = { .head = op->head, .token = e->its, .number = t->sent, .credit = back->told,
		.kind = UCX_DATA, .channel = (uint8_t)t->end.channel, .first = t->at == 0 },
	};
	ucs_status_ptr_t req = ucp_am_send_nbx(e->h, 0, &p->wire, sizeof(p->wire), n ? (const char *)op->buf + t->at : NULL, n, &how);
	if (UCS_PTR_IS_ERR(req)) {
		ucx_fail(e, TUTTI_ERR_PEER, "UCX cannot send to it: %s", ucs_status_string(UCS_PTR_STATUS(req)));
		return false;
	}
	p->busy = req != NULL;
	if (req)
		ucx_pend(e, 1);
	t->sent++;
	return true;
}

static int send_some(struct ucx_tx *t, struct net_op *op)
{
	size_t n = op->limit - t->at;
	n = net_grains(t->at, n < UCX_PIECE ? n : UCX_PIECE, op->head.len);
	if ((!n && op->head.len) || !window(t) || !send_piece(t, op, n))
		return 0;
	t->at += n;
	if (t->at < op->head.len)
		return 1;
	t->at = 0;
	net_fifo_push(&t->await, net_fifo_pop(&t->queue));
	return 1;
}

/* Pieces end in any order, operations in theirs. */
static int settle(struct ucx_tx *t)
{
	int moved = 0;
	for (; t->done != t->sent && !t->piece[t->done % UCX_WINDOW].busy; t->done++) {
		struct net_op *op = t->await.head ? t->await.head : t->queue.head;
		op->done += t->piece[t->done % UCX_WINDOW].len;
		if (op == t->await.head && op->done == op->head.len)
			net_op_end(net_fifo_pop(&t->await), TUTTI_OK);
		moved = 1;
	}
	return moved;
}

bool ucx_tx_at_once(struct ucx_tx *t, struct net_op *op)
{
	const struct ucx_ep *e = t->end.e;
	if (t->queue.head || t->await.head || op->limit < op->head.len || op->limit > UCX_EAGER || e->state != UCX_UP || !window(t))
		return false;
	if (!send_piece(t, op, op->head.len) || t->piece[t->done % UCX_WINDOW].busy) {
		net_fifo_push(&t->await, op);
		return true;
	}
	t->done++;
	op->done = op->head.len;
	net_op_end(op, TUTTI_OK);
	return true;
}

int ucx_tx_step(struct ucx_tx *t)
{
	const struct ucx_ep *e = t->end.e;
	int moved = e->ep.status ? 0 : settle(t);
	while (!e->ep.status && t->queue.head && send_some(t, t->queue.head))
		moved = 1;
	return moved | (e->ep.status ? 0 : settle(t));
}
