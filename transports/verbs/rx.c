/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The receiving end of a FIFO. A long receive is advertised when it is posted: as its own place, when that is registered and wants no view; else as part
 * of the FIFO's ring. Bytes count when all before them have come, on whichever rail.
 */
#include "verbs.h"
#include <stdlib.h>
#include <string.h>

static bool broken(struct verbs_rx *r, int status, const char *why)
{
	verbs_lost(r->end.e, status, why);
	return false;
}

static struct verbs_lane *mirror(struct verbs_rx *r) { return &r->end.e->mirror->lane[r->end.channel]; }

/* ---- pieces --------------------------------------------------------------------------------------------------------- */

bool verbs_rx_piece(struct verbs_rx *r, uint32_t number, uint32_t len)
{
	uint32_t ahead = (number - (uint32_t)r->number) & VERBS_NUMBER;
	if (!r->table)                  /* nothing was advertised */
		return false;
	if (ahead >= VERBS_TABLE || !len || r->table[number % VERBS_TABLE])
		return false;
	r->table[number % VERBS_TABLE] = len;
	for (uint32_t *next; *(next = &r->table[r->number % VERBS_TABLE]); r->number++) {
		r->stream += *next;
		*next = 0;
	}
	return r->stream <= r->granted;
}

/* ---- adverts -------------------------------------------------------------------------------------------------------- */

/* Bytes of a message that the peer may write. */
static size_t rx_may(const struct verbs_rx *r, const struct verbs_want *w)
{
	uint64_t end = r->released + r->stage.len;
	if (!w->staged)
		return w->op->limit;
	return end <= w->pos ? 0 : end - w->pos < w->op->head.len ? (size_t)(end - w->pos) : w->op->head.len;
}

static bool rx_advert(struct verbs_rx *r, struct net_op *op)
{
	struct verbs_ep *e = r->end.e;
	struct verbs_iface *s = verbs_of(e);
	struct ibv_mr *const *mr = !(op->flags & NET_VIEW) && op->mem ? verbs_region(s, op->mem) : NULL;
	struct verbs_want *w = &r->want[r->adverts % VERBS_ADVERTS];
	struct verbs_advert *a = &mirror(r)->advert[r->adverts % VERBS_ADVERTS];
	if (!verbs_room(e, 0))
		return false;
	int status = mr || r->stage.at ? TUTTI_OK : verbs_buf_new(s, &r->stage, VERBS_RING * s->piece);
	if (!status && !r->table && !(r->table = calloc(VERBS_TABLE, sizeof(*r->table))))
		status = err_set(TUTTI_ERR_NOMEM, "no memory for a table of pieces");
	if (status < 0)
		return broken(r, status, err_last());
	*w = (struct verbs_want){ .op = op, .staged = !mr, .pos = r->stage_end };
	if (!mr)
		r->stage_end += verbs_grain(op->head.len);
	w->told = rx_may(r, w);
	r->granted += w->told;
	a->head = op->head;
	a->at = (uintptr_t)(mr ? op->buf : r->stage.at);
	a->ring = mr ? 0 : r->stage.len;
	a->pos = w->pos;
	for (int i = 0; i < e->rails; i++)
		a->rkey[i] = mr ? mr[i]->rkey : r->stage.mr[i]->rkey;
	atomic_store_explicit(&a->upto, w->told, memory_order_relaxed);
	r->adverts++;
	return verbs_tell(e, a, sizeof(*a), VERBS_ADVERT, r->end.channel, false);
}

static int rx_advertise(struct verbs_rx *r)
{
	int moved = 0;
	while (r->next && (r->next->head.len <= VERBS_SHORT || r->adverts - r->finished < VERBS_ADVERTS)) {
		struct net_op *op = r->next;
		if (op->head.len > VERBS_SHORT && !rx_advert(r, op))
			break;
		r->next = op->next;
		moved = 1;
	}
	return moved;
}

/* Worth telling: all there is, a piece more, or anything when the peer has written all it may. */
static bool rx_grown(const struct verbs_rx *r, const struct verbs_want *w)
{
	size_t may = rx_may(r, w);
	return may > w->told && (may == w->op->head.len || may - w->told >= verbs_of(r->end.e)->piece || r->stream == r->granted);
}

static int rx_allow(struct verbs_rx *r)
{
	int moved = 0;
	for (uint64_t n = r->finished; n < r->adverts; n++) {
		struct verbs_want *w = &r->want[n % VERBS_ADVERTS];
		struct verbs_advert *a = &mirror(r)->advert[n % VERBS_ADVERTS];
		if (!rx_grown(r, w) || !verbs_room(r->end.e, 0))
			continue;
		r->granted += rx_may(r, w) - w->told;
		w->told = rx_may(r, w);
		atomic_store_explicit(&a->upto, w->told, memory_order_relaxed);
		if (!verbs_tell(r->end.e, (const void *)&a->upto, sizeof(a->upto), VERBS_CREDIT, r->end.channel, false))
			return 1;
		moved = 1;
	}
	return moved;
}

bool verbs_rx_owes(const struct verbs_rx *r)
{
	return r->taken - r->told >= VERBS_SLOTS / 2 || r->number - r->seen >= VERBS_TABLE / 4;
}

/* What has been read is free again at the sender. */
static void rx_free(struct verbs_rx *r)
{
	if (!verbs_rx_owes(r) || !verbs_room(r->end.e, 0))
		return;
	r->told = r->taken;
	r->seen = r->number;
	atomic_store_explicit(&mirror(r)->freed, r->told, memory_order_relaxed);
	atomic_store_explicit(&mirror(r)->seen, r->seen, memory_order_relaxed);
	verbs_tell(r->end.e, (const void *)&mirror(r)->freed, 2 * sizeof(uint64_t), VERBS_CREDIT, r->end.channel, false);
}

/* What a message tells besides; counters that would go back or too far are not believed. */
void verbs_rx_arrived(struct verbs_rx *r)
{
	struct verbs_ep *e = r->end.e;
	struct verbs_tx *t = &e->tx[r->end.channel];
	const struct verbs_slot *m = &e->box->lane[r->end.channel].slot[r->arrived++ % VERBS_SLOTS];
	if (m->freed > t->freed && m->freed <= t->slots)
		t->freed = m->freed;
	if (m->consumed > e->qp[0].room && m->consumed <= e->qp[0].immediates)
		e->qp[0].room = m->consumed;
}

/* ---- messages ------------------------------------------------------------------------------------------------------- */

static const struct verbs_slot *slot_of(const struct verbs_rx *r)
{
	return &r->end.e->box->lane[r->end.channel].slot[r->taken % VERBS_SLOTS];
}

/* Is there a message for op, and is it the one? */
static bool rx_match(struct verbs_rx *r, struct net_op *op)
{
	if (r->taken == r->arrived)
		return false;
	if (r->arrived - r->taken > VERBS_SLOTS)
		return broken(r, TUTTI_ERR_PEER, "it wrote more messages than there is room for");
	const struct verbs_slot *m = slot_of(r);
	struct net_head got = m->head;
	if (!net_head_check(op, &got)) {
		verbs_lost(r->end.e, TUTTI_ERR_MISMATCH, "");
		return false;
	}
	if (m->kind != (op->head.len <= VERBS_SHORT ? VERBS_WHOLE : VERBS_LONG))
		return broken(r, TUTTI_ERR_PEER, "a message is broken");
	if (op->head.len > VERBS_SHORT)
		r->taken++;             /* a short one's slot is free when it has been read */
	return r->open = true;
}

/* Bytes in a row from op->done on; staged ones up to the ring's end. */
static size_t rx_bytes(struct verbs_rx *r, const struct net_op *op, const void **p)
{
	size_t at = op->done;
	if (op->head.len <= VERBS_SHORT) {
		*p = slot_of(r)->bytes + at;
		return op->head.len - at;
	}
	const struct verbs_want *w = &r->want[r->finished % VERBS_ADVERTS];
	uint64_t come = r->stream - r->start, in_ring = (w->pos + at) % r->stage.len;
	size_t n = (size_t)(come < op->head.len ? come : op->head.len) - at;
	*p = r->stage.at + in_ring;
	return n < r->stage.len - in_ring ? n : (size_t)(r->stage.len - in_ring);
}

/* n bytes are through; the last ends the operation. */
static void rx_consumed(struct verbs_rx *r, struct net_op *op, size_t n)
{
	const struct verbs_want *w = &r->want[r->finished % VERBS_ADVERTS];
	bool is_long = op->head.len > VERBS_SHORT;
	op->done += n;
	bool last = op->done == op->head.len;
	if (is_long && w->staged)
		r->released = last ? w->pos + verbs_grain(op->head.len) : w->pos + op->done;
	if (last) {
		r->taken += !is_long;
		r->start += is_long ? op->head.len : 0;
		r->finished += is_long;
		r->open = false;
		op->avail = 0;
		net_fifo_pop(&r->queue);
		net_op_end(op, TUTTI_OK);
	}
	rx_free(r);
	if (!r->end.e->ep.status)
		rx_allow(r);
}

static int rx_lend(struct verbs_rx *r, struct net_op *op)
{
	size_t n = rx_bytes(r, op, &op->view), old = op->avail;
	op->avail = net_grains(op->done, n, op->head.len);
	if (!op->head.len)
		rx_consumed(r, op, 0);
	return op->avail > old || op->complete;
}

static int rx_copy(struct verbs_rx *r, struct net_op *op, size_t *budget)
{
	const void *p;
	size_t may = op->limit - op->done, n = rx_bytes(r, op, &p);
	n = n < may ? n : may;
	n = n < *budget ? n : *budget;
	if (!n && op->head.len)
		return 0;
	*budget -= n;
	if (n)
		copy_bytes((char *)op->buf + op->done, p, n);
	if (op->head.len > VERBS_SHORT)
		verbs_of(r->end.e)->copied += n;
	rx_consumed(r, op, n);
	return 1;
}

/* The device has written them where they belong. */
static int rx_straight(struct verbs_rx *r, struct net_op *op)
{
	uint64_t come = r->stream - r->start, end = come < op->head.len ? come : op->head.len;
	if (end > r->want[r->finished % VERBS_ADVERTS].told)
		return !broken(r, TUTTI_ERR_PEER, "it wrote more of a message than it may");
	if (end == op->done)
		return 0;
	verbs_of(r->end.e)->straight += end - op->done;
	rx_consumed(r, op, (size_t)end - op->done);
	return 1;
}

static int rx_move(struct verbs_rx *r, struct net_op *op, size_t *budget)
{
	if (op->head.len > VERBS_SHORT && !r->want[r->finished % VERBS_ADVERTS].staged)
		return rx_straight(r, op);
	return op->flags & NET_VIEW ? rx_lend(r, op) : rx_copy(r, op, budget);
}

int verbs_rx_step(struct verbs_rx *r)
{
	const struct verbs_ep *e = r->end.e;
	size_t budget = 2 * verbs_of(e)->piece;
	struct net_op *op;
	int moved = rx_advertise(r), now = 1;
	while (now && budget && !e->ep.status && (op = r->queue.head)) {
		bool advertised = op->head.len <= VERBS_SHORT || r->finished < r->adverts;
		if (!advertised || (!r->open && !rx_match(r, op)))
			break;
		now = rx_move(r, op, &budget);
		moved |= now;
		now = now && op->complete;
	}
	if (!e->ep.status)
		rx_free(r);
	if (!e->ep.status)
		moved |= rx_allow(r);
	if (!e->ep.status)
		moved |= rx_advertise(r);
	return moved | (e->ep.status != 0);
}

void verbs_rx_release(struct verbs_rx *r, struct net_op *op, size_t n)
{
	rx_consumed(r, op, n);
	if (!op->complete) {
		op->avail = 0;
		rx_lend(r, op);
	}
}
