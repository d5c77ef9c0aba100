/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sending end of a FIFO. A short message goes into the peer's next slot. Of a long one, the head goes there; its bytes follow in pieces to where the
 * peer's advert says, written from the user's memory where that is registered, else from a ring that they are copied to.
 */
#include "verbs.h"
#include <string.h>

enum { TURNS = 8 };             /* messages or pieces a call */

static bool broken(struct verbs_tx *t, int status, const char *why)
{
	verbs_lost(t->end.e, status, why);
	return false;
}

/* A slot at the peer, or NULL. */
static struct verbs_slot *tx_slot(struct verbs_tx *t)
{
	struct verbs_ep *e = t->end.e;
	if (t->slots - t->freed >= VERBS_SLOTS) {
		uint64_t freed = atomic_load_explicit(&e->box->lane[t->end.channel].freed, memory_order_acquire);
		if (freed > t->slots) {
			broken(t, TUTTI_ERR_PEER, "its count of messages is broken");
			return NULL;
		}
		t->freed = freed > t->freed ? freed : t->freed;         /* a message may have told more */
	}
	if (t->slots - t->freed >= VERBS_SLOTS || !verbs_room(e, 0))
		return NULL;
	return &e->mirror->lane[t->end.channel].slot[t->slots % VERBS_SLOTS];
}

static bool tx_message(struct verbs_tx *t, const struct net_op *op, enum verbs_message kind, size_t len)
{
	struct verbs_ep *e = t->end.e;
	struct verbs_slot *m = tx_slot(t);
	if (!m)
		return false;
	m->head = op->head;
	m->kind = kind;
	m->freed = e->rx[t->end.channel].told = e->rx[t->end.channel].taken;
	m->consumed = e->qp[0].told = e->qp[0].consumed;
	if (len)
		memcpy(m->bytes, op->buf, len);
	t->slots++;
	return verbs_tell(e, m, offsetof(struct verbs_slot, bytes) + len, VERBS_MESSAGE, t->end.channel, kind == VERBS_LONG);
}

static int tx_short(struct verbs_tx *t, struct net_op *op)
{
	if (op->limit < op->head.len || !tx_message(t, op, VERBS_WHOLE, op->head.len))
		return 0;
	net_fifo_pop(&t->queue);
	op->done = op->head.len;
	net_op_end(op, TUTTI_OK);
	return 1;
}

/* ---- long messages -------------------------------------------------------------------------------------------------- */

static struct verbs_advert *advert_of(struct verbs_tx *t)
{
	return &t->end.e->box->lane[t->end.channel].advert[t->longs % VERBS_ADVERTS];
}

/* The receiver must be able to see the mismatch as well: its endpoint would not get a head that is still on its way when this one ends. */
static bool tx_head_fits(struct verbs_tx *t, struct net_op *op)
{
	struct net_head got = advert_of(t)->head, *want = &op->head;
	if (got.sig == want->sig && got.len == want->len && got.opnum == want->opnum && got.seq == want->seq)
		return true;
	if (t->end.e->qp[0].completed < t->head_at)
		return false;
	net_mismatch(op, &got);
	verbs_lost(t->end.e, TUTTI_ERR_MISMATCH, "");
	return false;
}

/* Has the receiver said where op goes? Then decide where it comes from. */
static bool tx_match(struct verbs_tx *t, struct net_op *op)
{
	struct verbs_iface *s = verbs_of(t->end.e);
	if (t->longs == t->adverts || !tx_head_fits(t, op))
		return false;
	const struct verbs_advert *a = advert_of(t);
	t->at = a->at;
	t->ring = a->ring;
	t->pos = a->pos;
	memcpy(t->rkey, a->rkey, sizeof(t->rkey));
	if (t->ring % NET_GRAIN || t->pos % NET_GRAIN)
		return broken(t, TUTTI_ERR_PEER, "its advert is broken");
	struct ibv_mr *const *mr = op->mem ? verbs_region(s, op->mem) : NULL;
	int status = mr || t->bounce.at ? TUTTI_OK : verbs_buf_new(s, &t->bounce, VERBS_RING * s->piece);
	if (status < 0)
		return broken(t, status, err_last());
	for (int i = 0; i < t->end.e->rails; i++)
		t->lkey[i] = mr ? mr[i]->lkey : t->bounce.mr[i]->lkey;
	t->lends = mr != NULL;
	return t->matched = true;
}

/* May one more piece be on its way? The device must know all of the window, the peer all that its table cannot hold. */
static bool tx_window(const struct verbs_tx *t)
{
	if (t->pieces - t->acked >= (t->lends ? VERBS_WINDOW : VERBS_RING))
		return false;
	uint64_t seen = atomic_load_explicit(&t->end.e->box->lane[t->end.channel].seen, memory_order_acquire);
	return t->pieces - seen < VERBS_TABLE;
}

/* How much may be written in one piece now? */
static size_t tx_portion(struct verbs_tx *t, const struct net_op *op)
{
	size_t piece = verbs_of(t->end.e)->piece;
	uint64_t upto = atomic_load_explicit(&advert_of(t)->upto, memory_order_acquire);
	size_t may = upto < op->limit ? (size_t)upto : op->limit, n = may > t->sent ? may - t->sent : 0;
	if (n > piece)
		n = piece;
	if (t->ring && n > t->ring - (t->pos + t->sent) % t->ring)
		n = (size_t)(t->ring - (t->pos + t->sent) % t->ring);
	return net_grains(t->sent, n, op->head.len);
}

static int tx_piece(struct verbs_tx *t, struct net_op *op)
{
	struct verbs_ep *e = t->end.e;
	struct verbs_iface *s = verbs_of(e);
	size_t n = tx_portion(t, op);
	int rail = n && tx_window(t) ? verbs_pick(e) : -1;
	if (rail < 0)
		return 0;
	struct verbs_write w = { .rail = rail, .from = (const char *)op->buf + t->sent, .lkey = t->lkey[rail], .len = n, .rkey = t->rkey[rail], .signal = true,
		                 .to = t->at + (t->ring ? (t->pos + t->sent) % t->ring : t->sent),
		                 .imm = (uint32_t)VERBS_DATA << 28 | (uint32_t)t->end.channel << 24 | (uint32_t)(t->pieces & VERBS_NUMBER) };
	if (!t->lends) {
		unsigned char *copy = t->bounce.at + t->pieces % VERBS_RING * s->piece;
		copy_bytes(copy, w.from, n);
		w.from = copy;
	}
	if (!verbs_write(e, &w))
		return 1;
	*(t->lends ? &s->lent : &s->bounced) += n;
	e->qp[rail].bytes += n;
	t->piece[t->pieces++ % VERBS_WINDOW] = (struct verbs_piece){ (uint32_t)n, (uint8_t)rail, t->lends, e->qp[rail].posted };
	t->sent += n;
	if (!t->lends)
		op->done = t->sent;
	return 1;
}

static bool tx_announce(struct verbs_tx *t, const struct net_op *op)
{
	if (!t->announced && tx_message(t, op, VERBS_LONG, 0)) {
		t->announced = true;
		t->head_at = t->end.e->qp[0].posted;
	}
	return t->announced;
}

static int tx_long(struct verbs_tx *t, struct net_op *op)
{
	if (!tx_announce(t, op) || (!t->matched && !tx_match(t, op)) || !tx_piece(t, op) || t->end.e->ep.status)
		return t->end.e->ep.status != 0;
	if (t->sent < op->head.len)
		return 1;
	net_fifo_pop(&t->queue);
	if (t->lends) {
		op->passive = true;
		net_fifo_push(&t->await, op);
	} else {
		net_op_end(op, TUTTI_OK);
	}
	t->longs++;
	t->announced = t->matched = false;
	t->sent = 0;
	return 1;
}

/* What the peer's device has acknowledged may be overwritten. */
static int tx_settle(struct verbs_tx *t)
{
	struct verbs_ep *e = t->end.e;
	int moved = 0;
	for (; t->acked < t->pieces; t->acked++) {
		const struct verbs_piece *p = &t->piece[t->acked % VERBS_WINDOW];
		struct net_op *op = t->await.head ? t->await.head : t->queue.head;
		if (e->qp[p->rail].completed < p->count)
			break;
		e->qp[p->rail].bytes_done += p->len;
		moved = 1;
		if (!p->lent)
			continue;
		op->done += p->len;
		if (op->done == op->head.len) {
			net_fifo_pop(&t->await);
			net_op_end(op, TUTTI_OK);
		}
	}
	return moved;
}

int verbs_tx_step(struct verbs_tx *t)
{
	int moved = tx_settle(t);
	struct net_op *op;
	for (int turn = 0; turn < TURNS && (op = t->queue.head); turn++) {
		if (!(op->head.len <= VERBS_SHORT ? tx_short(t, op) : tx_long(t, op)))
			break;
		moved = 1;
		if (t->end.e->ep.status)
			break;
	}
	return moved;
}
