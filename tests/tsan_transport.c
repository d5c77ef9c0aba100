/* SPDX-License-Identifier: Apache-2.0 */
/* Ranks as threads over every transport, for the thread sanitizer. A failed need() aborts, and the plan is not kept. */
#include "transport_harness.h"
#include <string.h>

enum { TURNS = 300, LARGE = 2000001 };

static void await(struct rank *r, struct net_op *op)
{
	rank_wait(r->f, &op->complete);
	well(op);
}

static void small(struct rank *r)
{
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

/* Both ways at once; even turns plain, odd ones views; from memory of every kind. */
static void large(struct rank *r)
{
	int me = r->f->rank;
	const struct net_mem *m;
	need(net_mem_new(LARGE, &m) == TUTTI_OK, "%s", err_last());
	unsigned char *in = me ? bytes_new(LARGE) : m->base, *out = bytes_new(LARGE);
	for (unsigned i = 0; i < 6; i++) {
		struct net_op s, v;
		pattern_fill(in, LARGE, i + (unsigned)me);
		if (i % 2)
			view_post(&v, r->ep[!me], 0, LARGE);
		else
			recv_post(&v, r->ep[!me], 0, out, LARGE);
		send_post(&s, r->ep[!me], 0, in, LARGE);
		for (int64_t end = clock_after_ms(DEADLINE_MS); i % 2 && !v.complete;) {
			if (!view_eat(&v, 60000, i + (unsigned)!me))
				r->f->t->progress(r->f);
			need(clock_ns() < end, "%zu bytes came", v.done);
		}
		await(r, &v);
		await(r, &s);
		if (i % 2 == 0)
			pattern_check(out, 0, LARGE, i + (unsigned)!me);
	}
	if (me)
		free(in);
	free(out);
	net_mem_free(m);
}

/* Ranks give up while others are still sending to them. */
static void abandon(struct rank *r)
{
	int me = r->f->rank, n = r->f->nranks;
	unsigned char *in = bytes_new(LARGE), *out = bytes_new(LARGE);
	struct net_op s[PARTY_MAX], v[PARTY_MAX];
	for (int p = 0; p < n; p++)
		if (p != me) {
			recv_post(&v[p], r->ep[p], 0, out, LARGE);
			send_post(&s[p], r->ep[p], 0, in, LARGE);
		}
	for (int i = 0; i < 20 * (me + 1); i++)
		r->f->t->progress(r->f);
	for (int p = 0; p < n; p++)
		if (p != me) {
			r->f->t->quiesce(r->ep[p]);
			need(s[p].complete && v[p].complete, "quiesce left an operation");
		}
	free(in);
	free(out);
}

int main(void)
{
	static const struct { const char *name; int n; void (*body)(struct rank *r); } tests[] = {
		{ "small messages among ranks that sleep", 4, small },
		{ "large messages both ways", 2, large },
		{ "ranks that give up", 4, abandon },
	};
	enum { TESTS = sizeof(tests) / sizeof(tests[0]) };
	static const char *const transports[] = { "loop", "shm", "tcp" };
	printf("1..%d\n", TESTS * 3);
	for (int t = 0; t < 3; t++)
		for (int i = 0; i < TESTS; i++) {
			ranks_run(transports[t], tests[i].n, tests[i].body, NULL);
			printf("ok %d - %s: %s\n", t * TESTS + i + 1, transports[t], tests[i].name);
			fflush(stdout);
		}
	return 0;
}
