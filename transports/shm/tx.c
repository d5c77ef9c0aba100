/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sending end of a lane. Short messages are copied into lines; long private ones through the ring of slots; long ones in a region are
 * lent.
 */
#include "shm.h"
#include <base/type.h>
#include <string.h>

enum {
	PIECE = 16384,          /* bytes copied into the ring between two publications: the peer copies out meanwhile */
	TURNS = 8               /* pieces, or messages, a call */
};

/* Lines consumed by the peer; what it tells is believed within reason. */
static bool tx_room(struct shm_tx *t, size_t need)
{
	if (t->line + need - t->room <= SHM_LINES)
		return true;
	uint64_t room = atomic_load_explicit(&t->end.its->back.lines, memory_order_acquire);
	if (room < t->room || room > t->line) {
		shm_ep_lost(t->end.e, TUTTI_ERR_PEER, "its line counter is broken");
		return false;
	}
	t->room = room;
	return t->line + need - room <= SHM_LINES;
}

/* n lines in a row, and the one after them to be made ready for the peer's look; or NULL when the ring is full. */
static struct shm_line *tx_lines(struct shm_tx *t, size_t n)
{
	size_t at = t->line % SHM_LINES, skip = at + n > SHM_LINES ? SHM_LINES - at : 0;
	struct shm_line *line = t->end.mine->line;
	if (!tx_room(t, skip + n + 1))
		return NULL;
	if (skip) {
		memset(t->worn + at + 1, true, skip - 1);
		line[at].kind = SHM_SKIP;       /* the peer looks at line 0 next, which no body ever wears */
		atomic_store_explicit(&line[at].flag, (uint32_t)t->line + 1, memory_order_release);
		t->line += skip;
		at = 0;
	}
	return line + at;
}

/* The message's bytes (or their place) are written: let the peer see it. */
static void tx_publish(struct shm_tx *t, struct shm_line *l, const struct net_op *op, enum shm_kind kind, size_t lines)
{
	size_t next = (t->line + lines) % SHM_LINES;
	if (t->worn[next]) {
		atomic_store_explicit(&t->end.mine->line[next].flag, (uint32_t)(t->line + lines), memory_order_relaxed);
		t->worn[next] = false;
	}
	l->kind = kind;
	l->head = op->head;
	atomic_store_explicit(&l->flag, (uint32_t)t->line + 1, memory_order_release);
	t->line += lines;
}

static int tx_short(struct shm_tx *t, struct net_op *op)
{
	size_t len = op->head.len, body = len > SHM_IN_HEAD ? (len + 63) / 64 : 0;
	struct shm_line *l = op->limit == len ? tx_lines(t, 1 + body) : NULL;
	if (!l)
		return 0;
	if (len)
		memcpy(body ? (unsigned char *)(l + 1) : l->bytes, op->buf, len);
	if (body)
		memset(t->worn + t->line % SHM_LINES + 1, true, body);
	tx_publish(t, l, op, SHM_LINE, 1 + body);
	shm_wake(t->end.e, SHM_ASLEEP);
	op->done = len;
	net_op_end(op, TUTTI_OK);
	return 1;
}

/* Most messages are short, find nothing ahead of them, and never see the queue. */
bool shm_tx_at_once(struct shm_tx *t, struct net_op *op)
{
	return op->head.len <= SHM_SHORT && !t->queue.head && tx_short(t, op);
}

/* Learn how far the peer has released the stream. */
static void tx_learn(struct shm_tx *t)
{
	uint64_t released = atomic_load_explicit(&t->end.its->back.bytes, memory_order_acquire);
	if (released < t->released || released > (t->kind ? t->base + shm_grain(t->sent) : t->next))
		shm_ep_lost(t->end.e, TUTTI_ERR_PEER, "its byte counter is broken");
	else
		t->released = released;
}

static size_t released_of(const struct shm_tx *t, uint64_t base, size_t len)
{
	return t->released <= base ? 0 : t->released - base < len ? (size_t)(t->released - base) : len;
}

/* Lent messages are done as far as the peer has released them. */
static int tx_settle(struct shm_tx *t)
{
	bool lent = t->kind == SHM_MEM || t->kind == SHM_PULL;
	if (!t->await.head && !lent)
		return 0;
	tx_learn(t);
	if (t->end.e->ep.status)                /* lost: nothing is lent any more */
		return 1;
	if (t->settled == t->released)          /* what others learned counts too */
		return 0;
	t->settled = t->released;
	struct net_op *op;
	while ((op = t->await.head)) {
		op->done = released_of(t, op->priv[0], op->head.len);
		if (op->done < op->head.len)
			return 1;
		net_fifo_pop(&t->await);
		net_op_end(op, TUTTI_OK);
	}
	if (lent)
		t->queue.head->done = released_of(t, t->base, t->sent);
	return 1;
}

/* How does a long message go? A function of its length and its memory. */
static void tx_start(struct shm_tx *t, const struct net_op *op)
{
	struct shm_ep *e = t->end.e;
	size_t pull = shm_of(e)->config->shm_pull;
	t->kind = op->mem && op->mem->kind == NET_MEM_SHARED && shm_lend(e, op->mem) ? SHM_MEM : e->pulls && pull && op->head.len >= pull ? SHM_PULL : SHM_SLOT;
	t->base = t->next;
	t->sent = 0;
	if (t->kind == SHM_SLOT) {      /* drained: start again at the ring's first byte, which both caches know */
		tx_learn(t);
		if (t->released == t->next)
			t->base = t->floor = (t->next + t->end.mask) & ~t->end.mask;
	}
}

/* Bytes of the ring that are free from pos on, in whole grains. Lent messages before pos count as used; they can exceed the ring. */
static size_t tx_space(const struct shm_tx *t, uint64_t pos)
{
	uint64_t size = t->end.mask + 1, from = t->released & ~(uint64_t)(NET_GRAIN - 1);
	uint64_t used = pos - (from > t->floor ? from : t->floor);
	return used < size ? size - used : 0;
}

/* Copy into the ring what is ready and fits, a piece at most. Returns the message's bytes that the peer may read. */
static size_t tx_stage(struct shm_tx *t, const struct net_op *op)
{
	uint64_t pos = t->base + t->sent, size = t->end.mask + 1, at = pos & t->end.mask;
	size_t want = op->limit - t->sent, n = want < PIECE ? want : PIECE;
	if (n > size - at)
		n = size - at;
	if (n > tx_space(t, pos)) {
		tx_learn(t);
		n = n < tx_space(t, pos) ? n : tx_space(t, pos);
	}
	n = net_grains(t->sent, n, op->head.len);
	copy_bytes(t->end.slots + at, (const char *)op->buf + t->sent, n);
	return t->sent + n;
}

static void tx_announce(struct shm_tx *t, struct shm_line *l, const struct net_op *op)
{
	l->far.base = t->base;
	l->far.ready = t->base + t->sent;
	l->far.mem = t->kind == SHM_MEM ? op->mem->id : 0;
	l->far.at = t->kind == SHM_MEM ? (uint64_t)((char *)op->buf - (char *)op->mem->base) : (uint64_t)(uintptr_t)op->buf;
	tx_publish(t, l, op, t->kind, 1);
}

static int tx_long(struct shm_tx *t, struct net_op *op)
{
	struct shm_line *l = NULL;
	if (op->limit == t->sent || (!t->sent && !(l = tx_lines(t, 1))))
		return 0;
	if (!t->kind)
		tx_start(t, op);
	size_t n = t->kind == SHM_SLOT ? tx_stage(t, op) : op->limit;
	if (n == t->sent || t->end.e->ep.status)
		return 0;
	t->sent = n;
	if (l)
		tx_announce(t, l, op);
	else
		atomic_store_explicit(&t->end.mine->ready, t->base + n, memory_order_release);
	shm_wake(t->end.e, SHM_ASLEEP);
	if (t->kind == SHM_SLOT)
		op->done = n;
	if (n < op->head.len)
		return 1;
	net_fifo_pop(&t->queue);
	t->next = t->base + shm_grain(n);
	if (t->kind == SHM_SLOT) {
		net_op_end(op, TUTTI_OK);
	} else {
		op->priv[0] = t->base;
		op->passive = t->kind == SHM_MEM;
		net_fifo_push(&t->await, op);
	}
	t->kind = SHM_NONE;
	t->sent = 0;
	return 1;
}

int shm_tx_step(struct shm_tx *t)
{
	int moved = tx_settle(t);
	struct net_op *op;
	for (int turn = 0; turn < TURNS && (op = t->queue.head); turn++) {
		bool is_short = op->head.len <= SHM_SHORT;
		if (!(is_short ? tx_short(t, op) : tx_long(t, op)))
			break;
		if (is_short)
			net_fifo_pop(&t->queue);
		moved = 1;
	}
	return moved;
}
