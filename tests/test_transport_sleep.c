/* SPDX-License-Identifier: Apache-2.0 */
/* Behaviour of every transport: ranks that sleep. Each is a thread that sleeps whenever it waits, so that one lost wake-up ends a test. */
#include "transport_harness.h"
#include <criterion/criterion.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

static void await(struct rank *r, struct net_op *op)
{
	rank_wait(r->f, &op->complete);
	well(op);
}

static void ping_pong(struct rank *r)
{
	enum { TURNS = 4000 };
	int me = r->f->rank;
	for (uint32_t i = 0; i < TURNS; i++) {
		struct net_op s, v;
		uint32_t out = 0;
		if ((i & 1) == (uint32_t)me) {
			send_post(&s, r->ep[!me], 0, &i, 4);
			await(r, &s);
		} else {
			recv_post(&v, r->ep[!me], 0, &out, 4);
			await(r, &v);
			need(out == i, "expected %u, got %u", i, out);
		}
	}
}

EVERY_TRANSPORT(a_sleeping_receiver_is_woken_by_a_message) { ranks_run(transport, 2, ping_pong, NULL); }

/* Everybody with everybody, all asleep most of the time. */
static void all_exchange(struct rank *r)
{
	enum { TURNS = 400 };
	int me = r->f->rank, n = r->f->nranks;
	for (uint32_t i = 0; i < TURNS; i++) {
		struct net_op s[PARTY_MAX], v[PARTY_MAX];
		uint32_t in = i * 10 + (uint32_t)me, out[PARTY_MAX];
		for (int p = 0; p < n; p++)
			if (p != me) {
				recv_post(&v[p], r->ep[p], i % 3, &out[p], 4);
				send_post(&s[p], r->ep[p], i % 3, &in, 4);
			}
		for (int p = 0; p < n; p++)
			if (p != me) {
				await(r, &v[p]);
				await(r, &s[p]);
				need(out[p] == i * 10 + (uint32_t)p, "expected %u, got %u", i * 10 + (uint32_t)p, out[p]);
			}
	}
}

EVERY_TRANSPORT(many_sleeping_ranks_wake_each_other) { ranks_run(transport, 5, all_exchange, NULL); }

/* The receiver comes late each time: the sender has filled what there is and sleeps. */
static void late_receiver(struct rank *r)
{
	enum { TURNS = 60, LEN = 1500000 };
	unsigned char *buf = bytes_new(LEN);
	struct net_op op;
	for (unsigned i = 0; i < TURNS; i++)
		if (r->f->rank == 0) {
			pattern_fill(buf, LEN, i);
			send_post(&op, r->ep[1], 0, buf, LEN);
			await(r, &op);
		} else {
			usleep(500);
			recv_post(&op, r->ep[0], 0, buf, LEN);
			await(r, &op);
			pattern_check(buf, 0, LEN, i);
		}
	free(buf);
}

EVERY_TRANSPORT(a_sleeping_sender_is_woken_by_space) { ranks_run(transport, 2, late_receiver, NULL); }

/* Both ends give way in small steps, each asleep until the other has moved. */
static void stepwise(struct rank *r)
{
	enum { LEN = 3000000, STEP = 50048 };
	unsigned char *buf = bytes_new(LEN);
	struct net_op op;
	bool sends = r->f->rank == 1;
	if (sends)
		pattern_fill(buf, LEN, 1);
	if (sends)
		send_set(&op, r->ep[0], 0, buf, LEN);
	else
		recv_set(&op, r->ep[1], 0, buf, LEN);
	op.limit = 0;
	(sends ? r->f->t->send : r->f->t->recv)(&op);
	while (op.limit < LEN) {
		bool there = false;
		usleep(random_below(&(uint32_t){ (uint32_t)op.limit }, 300));
		op.limit = op.limit + STEP < LEN ? op.limit + STEP : LEN;
		r->f->t->advance(&op);
		for (int64_t until_ = clock_after_ms(DEADLINE_MS); !sends && !there && !op.complete;) {
			there = op.done == op.limit;
			struct pollfd p = { .fd = r->f->t->arm(r->f), .events = POLLIN };
			if (r->f->t->progress(r->f) == 0 && !there && p.fd != NET_BUSY)
				need(poll(&p, 1, DEADLINE_MS) > 0, "the receiver was not woken at %zu of %zu", op.done, op.limit);
			need(clock_ns() < until_, "%zu of %zu", op.done, op.limit);
		}
	}
	await(r, &op);
	if (!sends)
		pattern_check(buf, 0, LEN, 1);
	free(buf);
}

EVERY_TRANSPORT(sleepers_are_woken_by_each_step_of_the_other_side) { ranks_run(transport, 2, stepwise, NULL); }

/* Space that appears by release() wakes as well. */
static void slow_reader(struct rank *r)
{
	enum { LEN = 4000001 };
	unsigned char *buf = bytes_new(LEN);
	struct net_op op;
	if (r->f->rank == 1) {
		pattern_fill(buf, LEN, 6);
		send_post(&op, r->ep[0], 0, buf, LEN);
		await(r, &op);
	} else {
		view_post(&op, r->ep[1], 0, LEN);
		for (int64_t until_ = clock_after_ms(DEADLINE_MS); !op.complete;) {
			need(clock_ns() < until_, "%zu of %d bytes", op.done, LEN);
			if (view_eat(&op, 40000, 6))
				continue;
			struct pollfd p = { .fd = r->f->t->arm(r->f), .events = POLLIN };
			if (r->f->t->progress(r->f) == 0 && !op.avail && p.fd != NET_BUSY)
				need(poll(&p, 1, DEADLINE_MS) > 0, "the reader was not woken at %zu", op.done);
		}
		well(&op);
	}
	free(buf);
}

EVERY_TRANSPORT(a_sleeping_sender_is_woken_by_a_release) { ranks_run(transport, 2, slow_reader, NULL); }

/* How often does a rank wake that waits for what does not come? It settles, even with a message there that nobody asked for. */
EVERY_TRANSPORT(a_rank_that_waits_in_vain_sleeps)
{
	struct party w;
	struct net_op s, s8, r;
	uint32_t in = 1, out;
	party_open(&w, transport, 2);
	recv_post(&r, w.ep[0][1], 0, &out, 4);
	send_post(&s, w.ep[1][0], 0, &in, 4);
	until(&w, r.complete && s.complete)
		;
	send_post(&s8, w.ep[1][0], 0, &in, 4);
	party_idle(&w, 200);
	recv_post(&r, w.ep[0][1], 1, &out, 4);
	party_idle(&w, 200);
	const struct net_transport *t = w.f[0]->t;
	int wakes = 0;
	for (; wakes < 1000; wakes++) {
		struct pollfd p = { .fd = t->arm(w.f[0]), .events = POLLIN };
		if (t->progress(w.f[0]) == 0 && p.fd != NET_BUSY && poll(&p, 1, 50) == 0)
			break;
	}
	need(wakes < 1000, "it never slept");
	need(!r.complete && !w.f[0]->dead, "something came");
	party_close(&w);
}

/* ---- several transports of one rank ---- */

enum { KINDS = 3, ROUNDS = 600 };

static void wait_all_armed(struct party *w, const volatile bool *complete)
{
	while (!*complete) {
		struct pollfd p[KINDS];
		int busy = 0;
		for (int k = 0; k < KINDS; k++) {
			p[k] = (struct pollfd){ .fd = w[k].f[0]->t->arm(w[k].f[0]), .events = POLLIN };
			busy += p[k].fd == NET_BUSY;
		}
		for (int k = 0; k < KINDS; k++)
			busy += w[k].f[0]->t->progress(w[k].f[0]);
		if (!busy && !*complete)
			need(poll(p, KINDS, DEADLINE_MS) > 0, "not woken");
	}
}

static void *partner(void *arg)
{
	struct party *w = arg;
	for (uint32_t i = 0; i < ROUNDS; i++) {
		struct net_op s, r;
		uint32_t out;
		struct party *x = &w[i * 7 % KINDS];
		recv_post(&r, x->ep[1][0], 0, &out, 4);
		rank_wait(x->f[1], &r.complete);
		send_post(&s, x->ep[1][0], 0, &out, 4);
		rank_wait(x->f[1], &s.complete);
	}
	return NULL;
}

Test(transports, all_of_one_rank_sleep_together)
{
	static const char *const names[KINDS] = { "loop", "shm", "tcp" };
	static struct party w[KINDS];
	pthread_t thread;
	for (int k = 0; k < KINDS; k++)
		party_open(&w[k], names[k], 2);
	need(!pthread_create(&thread, NULL, partner, w), "no thread");
	for (uint32_t i = 0; i < ROUNDS; i++) {
		struct net_op s, r;
		uint32_t out = 0;
		struct party *x = &w[i * 7 % KINDS];
		send_post(&s, x->ep[0][1], 0, &i, 4);
		recv_post(&r, x->ep[0][1], 0, &out, 4);
		wait_all_armed(w, &r.complete);
		wait_all_armed(w, &s.complete);
		need(out == i, "expected %u, got %u", i, out);
	}
	pthread_join(thread, NULL);
	for (int k = 0; k < KINDS; k++)
		party_close(&w[k]);
}
