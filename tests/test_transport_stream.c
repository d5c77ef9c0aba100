/* SPDX-License-Identifier: Apache-2.0 */
/* Behaviour of every transport: frontiers and views. */
#define _GNU_SOURCE
#include "transport_harness.h"
#include <criterion/criterion.h>
#include <string.h>
#include <sys/mman.h>

/* Raise op->limit by a random step, of a random unit; tell the transport. */
static void raise_limit(struct net_op *op, uint32_t *random)
{
	size_t unit = random_below(random, 3) ? NET_GRAIN : 40000, rest = op->head.len - op->limit;
	size_t step = unit * random_below(random, 8);
	if (op->complete || !rest || !step)
		return;
	op->limit += step < rest ? step : rest;
	op->ep->iface->t->advance(op);
}

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

static void within(const struct net_op *op)
{
	need(op->done <= op->limit && op->limit <= op->head.len, "done %zu, limit %zu, len %zu", op->done, op->limit, (size_t)op->head.len);
}

/* Post with a limit of 0, grow it as the caller would. */
static void stream(struct party *w, size_t len, bool view, uint32_t *random)
{
	unsigned seed = *random;
	unsigned char *in = bytes_new(len), *out = bytes_new(len);
	struct net_op s, r;
	pattern_fill(in, len, seed);
	send_set(&s, w->ep[1][0], 0, in, len);
	if (view)
		view_set(&r, w->ep[0][1], 0, len);
	else
		recv_set(&r, w->ep[0][1], 0, out, len);
	s.limit = r.limit = 0;          /* of a view it means nothing */
	s.ep->iface->t->send(&s);
	r.ep->iface->t->recv(&r);
	size_t seen = 0;
	until(w, s.complete && r.complete) {
		raise_limit(&s, random);
		if (!view)
			raise_limit(&r, random);
		within(&s);
		need(r.done <= (view ? s.limit : least(s.limit, r.limit)), "%zu bytes, limits of %zu and %zu", r.done, s.limit, r.limit);
		if (view)
			view_eat(&r, NET_GRAIN * (1 + random_below(random, 4000)), seed);
		if (!view && r.done > seen) {
			pattern_check(out + seen, seen, r.done - seen, seed);
			seen = r.done;
		}
	}
	well(&s);
	well(&r);
	if (view)
		canary_check(out, len);
	else
		pattern_check(out, 0, len, seed);
	free(in);
	free(out);
}

static void streams(const char *transport, bool view)
{
	static const size_t sizes[] = { 1, 63, 64, 65, 1000, 5000, 70000, 300007, 1 << 20, 3000001 };
	uint32_t random = 12345;
	struct party w;
	party_open(&w, transport, 2);
	for (int round = 0; round < 3; round++)
		for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
			stream(&w, sizes[i], view, &random);
	party_close(&w);
}

EVERY_TRANSPORT(plain_receives_follow_both_frontiers) { streams(transport, false); }
EVERY_TRANSPORT(views_follow_both_frontiers) { streams(transport, true); }

/* What was received may be overwritten at the sender, and not before. */
EVERY_TRANSPORT(done_bytes_of_a_send_may_be_overwritten)
{
	enum { LEN = 2000003 };
	struct party w;
	struct net_op s, r;
	unsigned char *in = bytes_new(LEN), *out = bytes_new(LEN);
	size_t gone = 0;
	party_open(&w, transport, 2);
	pattern_fill(in, LEN, 3);
	recv_post(&r, w.ep[1][0], 0, out, LEN);
	send_post(&s, w.ep[0][1], 0, in, LEN);
	until(&w, s.complete && r.complete) {
		memset(in + gone, 0, s.done - gone);
		gone = s.done;
	}
	well(&r);
	pattern_check(out, 0, LEN, 3);
	party_close(&w);
	free(in);
	free(out);
}

/* A receive that may not take more holds its sender, and nothing is taken. */
EVERY_TRANSPORT(a_limit_that_stays_is_never_passed)
{
	enum { LEN = 32 << 20, STOP = 5 << 20 };
	struct party w;
	struct net_op s, r;
	unsigned char *in = bytes_new(LEN), *out = bytes_new(LEN);
	party_open(&w, transport, 2);
	pattern_fill(in, LEN, 9);
	recv_set(&r, w.ep[1][0], 0, out, LEN);
	r.limit = STOP;
	w.f[1]->t->recv(&r);
	send_post(&s, w.ep[0][1], 0, in, LEN);
	until(&w, r.done == STOP);
	party_idle(&w, 2000);
	need(r.done == STOP && !r.complete && !s.complete, "%zu bytes of %d", r.done, STOP);
	pattern_check(out, 0, STOP, 9);
	canary_check(out + STOP, LEN - STOP);
	r.limit = LEN;
	w.f[1]->t->advance(&r);
	until(&w, r.complete && s.complete);
	pattern_check(out, 0, LEN, 9);
	party_close(&w);
	free(in);
	free(out);
}

/* Two views of different peers, read together: the slower one sets the pace. */
EVERY_TRANSPORT(views_of_many_peers_are_read_together)
{
	enum { N = 4, LEN = 1500007 };
	struct party w;
	struct net_op s[N], r[N];
	unsigned char *in[N];
	uint32_t random = 1;
	party_open(&w, transport, N);
	for (int i = 1; i < N; i++) {
		in[i] = bytes_new(LEN);
		pattern_fill(in[i], LEN, (unsigned)i);
		view_post(&r[i], w.ep[0][i], 0, LEN);
		send_set(&s[i], w.ep[i][0], 0, in[i], LEN);
		s[i].limit = 0;
		w.f[i]->t->send(&s[i]);
	}
	until(&w, r[1].complete && r[2].complete && r[3].complete) {
		size_t common = SIZE_MAX;
		for (int i = 1; i < N; i++) {
			raise_limit(&s[i], &random);
			common = r[i].avail < common ? r[i].avail : common;
		}
		need(r[1].done == r[2].done && r[2].done == r[3].done, "views apart");
		for (int i = 1; common && i < N; i++)
			need(view_eat(&r[i], common, (unsigned)i) == common, "no %zu bytes of rank %d", common, i);
	}
	until(&w, s[1].complete && s[2].complete && s[3].complete);
	for (int i = 1; i < N; i++) {
		well(&s[i]);
		well(&r[i]);
		free(in[i]);
	}
	party_close(&w);
}

/* Views and plain receives of many sizes, one behind the other on one FIFO. */
EVERY_TRANSPORT(views_and_plain_receives_alternate)
{
	enum { MANY = 60, MOST = 400000 };
	static struct net_op s[MANY], r[MANY];
	struct party w;
	unsigned char *in = bytes_new(MOST), *out[MANY];
	uint32_t random = 77;
	party_open(&w, transport, 2);
	pattern_fill(in, MOST, 4);
	for (int i = 0; i < MANY; i++) {
		size_t len = random_below(&random, i % 4 ? 3000 : MOST);
		out[i] = bytes_new(len);
		send_post(&s[i], w.ep[0][1], 0, in, len);
		if (i % 3)
			view_post(&r[i], w.ep[1][0], 0, len);
		else
			recv_post(&r[i], w.ep[1][0], 0, out[i], len);
	}
	until(&w, s[MANY - 1].complete && r[MANY - 1].complete) {
		for (int i = 0; i < MANY; i++)
			if (i % 3)
				view_eat(&r[i], NET_GRAIN * (1 + random_below(&random, 1000)), 4);
	}
	for (int i = 0; i < MANY; i++) {
		well(&s[i]);
		well(&r[i]);
		if (i % 3 == 0)
			pattern_check(out[i], 0, r[i].head.len, 4);
		free(out[i]);
	}
	party_close(&w);
	free(in);
}

/* Four units, a GiB each where that can be had in time. Pages that were never written cost nothing to send; a few bytes among them are looked for. */
EVERY_TRANSPORT(a_message_of_more_than_4_huge_units_arrives)
{
	const size_t unit = HUGE_UNIT, len = 4 * unit + 1000003, marks[] = { 0, 4095, 2 * unit + 1, 4 * unit - 1, 4 * unit, len - 1 };
	enum { MARKS = sizeof(marks) / sizeof(marks[0]) };
	struct party w;
	struct net_op s, r;
	int found = 0;
	unsigned char *in = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	need(in != MAP_FAILED, "cannot map %zu bytes", len);
	for (int i = 0; i < MARKS; i++)
		in[marks[i]] = (unsigned char)(i + 1);
	party_open(&w, transport, 2);
	view_post(&r, w.ep[1][0], 0, len);
	send_post(&s, w.ep[0][1], 0, in, len);
	until(&w, r.complete && s.complete) {
		const unsigned char *view = r.view;
		for (int i = 0; i < MARKS && !r.complete; i++)
			if (marks[i] >= r.done && marks[i] - r.done < r.avail) {
				int got = view[marks[i] - r.done];
				need(got == i + 1, "byte %zu: expected %d, got %d", marks[i], i + 1, got);
				found++;
			}
		if (r.avail && !r.complete)
			w.f[1]->t->release(&r, r.avail);
	}
	well(&s);
	well(&r);
	need(found == MARKS, "%d of %d marks came", found, MARKS);
	party_close(&w);
	munmap(in, len);
}
