/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The receiving end of a lane. A message's bytes lie in lines, in the peer's slots, in a region that it lent, or (PULL) in its private
 * memory; they are copied to the operation's buffer or lent on as a view. What is read here was written by another process: it is copied
 * once, and checked before it is used.
 */
#define _GNU_SOURCE
#include "shm.h"
#include <base/type.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

static bool broken(struct shm_rx *r, const char *why)
{
	shm_ep_lost(r->end.e, TUTTI_ERR_PEER, why);
	return false;
}

/* Where do a long message's bytes lie? */
static bool rx_place(struct shm_rx *r, const struct shm_line *l, size_t len)
{
	if (l->far.base < r->floor || l->far.base % NET_GRAIN || l->far.base > UINT64_MAX / 2 || l->far.ready - l->far.base > len)
		return broken(r, "a message's stream position is broken");
	r->base = l->far.base;
	r->ready = l->far.ready;
	if (r->kind == SHM_PULL) {
		r->from = (const unsigned char *)(uintptr_t)l->far.at;
		r->staged = r->staged_end = 0;
	}
	if (r->kind != SHM_MEM)
		return true;
	struct shm_ep *e = r->end.e;
	struct shm_region *m = shm_region_find(&e->borrowed, l->far.mem);
	if (!m) {                       /* its descriptor was sent before this line; the connection's end is not our business here */
		shm_ep_read(e);
		m = shm_region_find(&e->borrowed, l->far.mem);
	}
	if (e->ep.status)
		return false;
	if (!m || len > m->len || l->far.at > m->len - len)
		return broken(r, "a message lies outside of the regions that were lent");
	m->users++;
	r->mem = m->id;
	r->from = (const unsigned char *)m->base + l->far.at;
	return true;
}

/* Is there a message for op? */
static bool rx_match(struct shm_rx *r, struct net_op *op)
{
	size_t at = r->line % SHM_LINES, len = op->head.len;
	struct shm_line *line = r->end.its->line, l;
	if (atomic_load_explicit(&line[at].flag, memory_order_acquire) != (uint32_t)r->line + 1)
		return false;
	if (line[at].kind == SHM_SKIP) {
		r->line += SHM_LINES - at;
		return at ? rx_match(r, op) : broken(r, "a line is broken");
	}
	memcpy((char *)&l + sizeof(l.flag), (char *)&line[at] + sizeof(l.flag), sizeof(l) - sizeof(l.flag));
	if (!net_head_check(op, &l.head)) {
		shm_ep_lost(r->end.e, TUTTI_ERR_MISMATCH, "");
		return false;
	}
	r->lines = 1;
	r->kind = l.kind;
	if (l.kind >= SHM_SLOT && l.kind <= SHM_PULL && len)
		return rx_place(r, &l, len);
	if (l.kind != SHM_LINE || len > SHM_SHORT)
		return broken(r, "a line is broken");
	r->from = line[at].bytes;
	if (len > SHM_IN_HEAD) {
		r->from = (const unsigned char *)&line[at + 1];
		r->lines += (unsigned)(len + 63) / 64;
	}
	return at + r->lines <= SHM_LINES || broken(r, "a short message crosses the ring's end");
}

/* Bytes of op's message that the sender has made readable. */
static size_t rx_ready(struct shm_rx *r, const struct net_op *op)
{
	uint64_t end = r->base + op->head.len;
	if (r->ready < end) {           /* the counter may still be at an earlier message, or at a later one already */
		uint64_t ready = atomic_load_explicit(&r->end.its->ready, memory_order_acquire);
		r->ready = ready > end ? end : ready > r->ready ? ready : r->ready;
	}
	return (size_t)(r->ready - r->base);
}

static bool rx_pull(struct shm_rx *r, void *to, size_t at, size_t n)
{
	struct iovec here = { to, n }, there = { (void *)(uintptr_t)(r->from + at), n };
	ssize_t got = process_vm_readv(r->end.e->pid, &here, 1, &there, 1, 0);
	if (got == (ssize_t)n)
		return true;
	return broken(r, got < 0 ? strerror(errno) : "its memory is gone");
}

/* Fetch the bytes at op->done (n are ready) into the staging buffer, no part of a grain that goes on; how many are there. */
static size_t rx_stage(struct shm_rx *r, const struct net_op *op, size_t n)
{
	size_t slot = (size_t)(r->end.mask + 1) / SHM_SLOTS, at = op->done;
	if (at >= r->staged_end) {
		n = net_grains(at, n, op->head.len);
		if (!n)
			return 0;
		if (!r->stage && !(r->stage = aligned_alloc(SHM_PAGE, slot)))
			return broken(r, "no memory to stage a message");
		n = n < slot ? n : slot;
		if (!rx_pull(r, r->stage, at, n))
			return 0;
		r->staged = at;
		r->staged_end = at + n;
	}
	return r->staged_end - at;
}

/* The readable bytes in a row at op->done; 0 when there are none, or the endpoint was lost. */
static inline size_t rx_bytes(struct shm_rx *r, const struct net_op *op, const void **p)
{
	size_t at = op->done;
	if (r->kind == SHM_LINE) {
		*p = r->from + at;
		return op->head.len - at;
	}
	size_t n = rx_ready(r, op) - at;
	if (r->kind == SHM_PULL && op->flags & NET_VIEW) {
		n = rx_stage(r, op, n);
		*p = r->stage + (at - r->staged);
	} else if (r->kind == SHM_SLOT) {
		uint64_t pos = (r->base + at) & r->end.mask;
		n = n < r->end.mask + 1 - pos ? n : (size_t)(r->end.mask + 1 - pos);
		*p = r->end.slots + pos;
	} else {
		*p = r->from + at;
	}
	return n;
}

/* Lent bytes are believed only when the peer had not quiesced when they were read. */
static bool rx_believed(struct shm_rx *r)
{
	if (r->kind != SHM_MEM && r->kind != SHM_PULL)
		return true;
	shm_fence(memory_order_acquire);
	return !atomic_load_explicit(&r->end.e->its->closed, memory_order_relaxed) || broken(r, "closed by the peer");
}

/* n bytes were read: tell the peer, and complete the operation at its end. */
static void rx_consumed(struct shm_rx *r, struct net_op *op, size_t n)
{
	if (!rx_believed(r))
		return;
	op->done += n;
	bool last = op->done == op->head.len, tell = r->kind != SHM_LINE;
	if (last)
		r->line += r->lines;
	if (last && tell)
		r->floor = r->base + shm_grain(op->head.len);
	if (tell)
		atomic_store_explicit(&r->end.mine->back.bytes, last ? r->floor : r->base + op->done, memory_order_release);
	if (last && (tell || r->line - r->told >= SHM_BATCH)) {
		atomic_store_explicit(&r->end.mine->back.lines, r->line, memory_order_release);
		r->told = r->line;
		tell = true;
	}
	if (tell)
		shm_wake(r->end.e, SHM_SENDING);
	if (!last)
		return;
	if (r->kind == SHM_MEM)
		shm_region_unuse(r->end.e, r->mem);
	r->kind = SHM_NONE;
	op->avail = 0;
	net_fifo_pop(&r->queue);
	net_op_end(op, TUTTI_OK);
}

static int rx_lend(struct shm_rx *r, struct net_op *op)
{
	size_t n = rx_bytes(r, op, &op->view), old = op->avail;
	if (r->end.e->ep.status)
		return 1;
	op->avail = net_grains(op->done, n, op->head.len);
	if (!op->head.len)
		rx_consumed(r, op, 0);
	return op->avail > old || op->complete;
}

/* Copy some; at most *budget. */
static int rx_copy(struct shm_rx *r, struct net_op *op, size_t *budget)
{
	const void *p;
	size_t may = op->limit - op->done, n = rx_bytes(r, op, &p);
	n = n < may ? n : may;
	n = n < *budget ? n : *budget;
	if (!n && op->head.len)
		return 0;
	*budget -= n;
	if (r->kind == SHM_PULL) {
		if (!rx_pull(r, (char *)op->buf + op->done, op->done, n))
			return 1;
	} else if (n) {
		copy_bytes((char *)op->buf + op->done, p, n);
	}
	rx_consumed(r, op, n);
	return 1;
}

int shm_rx_step(struct shm_rx *r)
{
	size_t budget = (size_t)(r->end.mask + 1) / SHM_SLOTS * 2;
	struct net_op *op;
	int moved = 0, now = 1;
	while (now && budget && (op = r->queue.head)) {
		if (!r->kind && !rx_match(r, op))
			return moved | (r->end.e->ep.status != 0);
		now = op->flags & NET_VIEW ? rx_lend(r, op) : rx_copy(r, op, &budget);
		moved |= now;
		now = now && op->complete;
	}
	return moved;
}

void shm_rx_release(struct shm_rx *r, struct net_op *op, size_t n)
{
	rx_consumed(r, op, n);
	if (!op->complete) {
		op->avail = 0;
		rx_lend(r, op);
	}
}
