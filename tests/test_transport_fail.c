/* SPDX-License-Identifier: Apache-2.0 */
/* Behaviour of every transport: ranks that disagree, die, stop, give up, or are not who they say. */
#include "transport_harness.h"
#include <criterion/criterion.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- ranks that disagree ---- */

static void disagree(const char *transport, size_t sent, size_t expected, uint64_t sig, uint32_t opnum, bool view)
{
	struct party w;
	struct net_op s, r, behind, other;
	unsigned char *in = calloc(1, sent), *out = bytes_new(expected), more[8];
	memset(more, 0xee, sizeof(more));
	party_open(&w, transport, 2);
	send_set(&s, w.ep[0][1], 0, in, sent);
	s.head.sig = sig;
	s.head.opnum = opnum;
	w.f[0]->t->send(&s);
	if (view)
		view_post(&r, w.ep[1][0], 0, expected);
	else
		recv_post(&r, w.ep[1][0], 0, out, expected);
	recv_post(&behind, w.ep[1][0], 0, more, 8);
	recv_post(&other, w.ep[1][0], 5, more, 8);
	until(&w, r.complete && behind.complete && other.complete)
		;
	struct net_ep *ep = w.ep[1][0];
	need(r.status == TUTTI_ERR_MISMATCH && ep->status == TUTTI_ERR_MISMATCH && w.f[1]->dead == ep, "%s", err_name(r.status));
	need(behind.status < 0 && other.status < 0, "%s, %s", err_name(behind.status), err_name(other.status));
	need(ep->got.sig == sig && ep->got.opnum == opnum && ep->got.len == sent, "got sig %zu, operation %u, %zu bytes",
	     (size_t)ep->got.sig, ep->got.opnum, (size_t)ep->got.len);
	need(*ep->why, "no reason");
	canary_check(out, expected);
	canary_check(more, sizeof(more));
	party_close(&w);
	free(in);
	free(out);
}

static void disagree_on_all(const char *transport, bool view)
{
	static const size_t sizes[] = { 8, 500, 30000, 3000000 };
	for (int i = 0; i < 4; i++) {
		disagree(transport, sizes[i], sizes[i], 8, 1, view);
		disagree(transport, sizes[i], sizes[i], 7, 2, view);
		disagree(transport, sizes[i], sizes[i] / 2, 7, 1, view);
		disagree(transport, sizes[i], 2 * sizes[i], 7, 1, view);
	}
}

EVERY_TRANSPORT(a_mismatch_is_reported_and_nothing_written) { disagree_on_all(transport, false); }
EVERY_TRANSPORT(a_mismatch_is_reported_to_a_view) { disagree_on_all(transport, true); }

/* ---- giving up ---- */

static void quiesce_amid_traffic(const char *transport, bool shared)
{
	enum { LEN = 12 << 20, STOP = 9 << 20 };
	struct party w;
	struct net_op s[2], r[2], v, idle[2], late;
	const struct net_mem *m = NULL;
	unsigned char *in = bytes_new(LEN), *out, small[4];
	if (shared)
		need(net_mem_new(LEN, &m) == TUTTI_OK, "%s", err_last());
	out = shared ? m->base : bytes_new(LEN);
	party_open(&w, transport, 2);
	const struct net_transport *t = w.f[0]->t;
	pattern_fill(in, LEN, 1);
	for (int i = 0; i < 2; i++)
		send_post(&s[i], w.ep[i][!i], 0, in, LEN);
	recv_set(&r[0], w.ep[0][1], 0, out, LEN);
	r[0].limit = STOP;
	t->recv(&r[0]);
	recv_post(&r[1], w.ep[0][1], 0, out, LEN);
	send_post(&idle[0], w.ep[0][1], 3, in, LEN);
	recv_post(&idle[1], w.ep[0][1], 4, small, 4);
	view_post(&v, w.ep[1][0], 0, LEN);
	until(&w, r[0].done > 1 << 20 && s[0].done + v.avail > 0)
		;
	t->quiesce(w.ep[0][1]);
	struct net_op *all[] = { &s[0], &r[0], &r[1], &idle[0], &idle[1] };
	for (int i = 0; i < 5; i++)
		need(all[i]->complete && all[i]->status == TUTTI_ERR_ABORTED, "operation %d: %s", i, err_name(all[i]->status));
	need(w.ep[0][1]->status == TUTTI_ERR_ABORTED, "%s", err_name(w.ep[0][1]->status));
	memset(out, 0xee, LEN);
	party_idle(&w, 5000);
	canary_check(out, LEN);
	recv_post(&late, w.ep[0][1], 0, out, LEN);
	need(late.complete && late.status == TUTTI_ERR_ABORTED, "posted on a dead endpoint: %s", err_name(late.status));
	until(&w, s[1].complete && v.complete)
		view_eat(&v, SIZE_MAX, 1);
	need(s[1].status == TUTTI_ERR_PEER && v.status == TUTTI_ERR_PEER, "the other's: %s, %s", err_name(s[1].status), err_name(v.status));
	party_close(&w);
	free(in);
	if (shared)
		net_mem_free(m);
	else
		free(out);
}

EVERY_TRANSPORT(quiesce_frees_private_memory_amid_traffic) { quiesce_amid_traffic(transport, false); }
EVERY_TRANSPORT(quiesce_frees_shareable_memory_amid_traffic) { quiesce_amid_traffic(transport, true); }

EVERY_TRANSPORT(quiesce_leaves_other_peers_alone)
{
	struct party w;
	struct net_op s, r;
	uint32_t in = 5, out = 0;
	party_open(&w, transport, 3);
	recv_post(&r, w.ep[0][2], 0, &out, 4);
	party_idle(&w, 50);
	w.f[0]->t->quiesce(w.ep[0][1]);
	send_post(&s, w.ep[2][0], 0, &in, 4);
	until(&w, s.complete && r.complete)
		;
	well(&r);
	need(out == 5, "%u", out);
	party_close(&w);
}

EVERY_TRANSPORT(quiesce_before_any_connection_is_local)
{
	struct party w;
	struct net_op r;
	uint32_t out;
	party_open(&w, transport, 2);
	for (int i = 0; i < 2; i++) {
		recv_post(&r, w.ep[i][!i], 0, &out, 4);
		w.f[i]->t->quiesce(w.ep[i][!i]);
		need(r.complete && r.status < 0, "%s", err_name(r.status));
		w.f[i]->t->quiesce(w.ep[i][!i]);
	}
	party_close(&w);
}

/* ---- ranks that come early ---- */

EVERY_TRANSPORT(a_peer_may_connect_and_send_long_before_this_rank_does)
{
	enum { LEN = 100000 };
	struct party w = { .transport = transport, .n = 2 };
	struct net_op s[2], r[2];
	unsigned char *in = bytes_new(LEN), *out = bytes_new(LEN);
	pattern_fill(in, LEN, 2);
	fixed_key(&w.key, 0);
	for (int i = 0; i < 2; i++)
		w.f[i] = rank_open(transport, i, 2, &w.key, &w.config, &w.addr[i]);
	w.ep[1][0] = rank_connect(w.f[1], 0, &w.addr[0]);
	send_post(&s[0], w.ep[1][0], 0, in, LEN);
	send_post(&s[1], w.ep[1][0], 7, in, 4);
	party_idle(&w, 1000);
	w.ep[0][1] = rank_connect(w.f[0], 1, &w.addr[1]);
	recv_post(&r[1], w.ep[0][1], 7, out, 4);
	until(&w, r[1].complete)
		;
	recv_post(&r[0], w.ep[0][1], 0, out, LEN);
	until(&w, r[0].complete && s[0].complete && s[1].complete)
		;
	well(&r[0]);
	well(&r[1]);
	pattern_check(out, 0, LEN, 2);
	party_close(&w);
	free(in);
	free(out);
}

/* The dialler has another key: it is told; the others never notice. */
EVERY_SOCKET_TRANSPORT(a_rank_with_another_key_is_refused)
{
	struct party w = { .transport = transport, .n = 3 };
	struct auth_key other;
	struct net_op bad, never, s, r;
	uint32_t in = 9, out = 0, none = 0xeeeeeeee;
	fixed_key(&w.key, 0);
	fixed_key(&other, 1);
	for (int i = 0; i < 3; i++)
		w.f[i] = rank_open(transport, i, 3, i == 1 ? &other : &w.key, &w.config, &w.addr[i]);
	for (int i = 1; i < 3; i++) {
		w.ep[0][i] = rank_connect(w.f[0], i, &w.addr[i]);
		w.ep[i][0] = rank_connect(w.f[i], 0, &w.addr[0]);
	}
	recv_post(&never, w.ep[0][1], 0, &none, 4);
	send_post(&bad, w.ep[1][0], 0, &in, 4);
	until(&w, bad.complete)
		;
	need(bad.status < 0 && w.f[1]->dead == w.ep[1][0] && *w.ep[1][0]->why, "%s", err_name(bad.status));
	recv_post(&r, w.ep[0][2], 0, &out, 4);
	send_post(&s, w.ep[2][0], 0, &in, 4);
	until(&w, s.complete && r.complete)
		;
	well(&r);
	need(out == 9 && none == 0xeeeeeeee, "%u, %u", out, none);
	need(!never.complete && !w.f[0]->dead, "a stranger ended an operation: %s", w.ep[0][1]->why);
	party_close(&w);
}

/* ---- ranks that die: rank 1 is a process of its own ---- */

struct couple {
	struct auth_key key;
	struct config config;
	struct address mine, its;
	struct net_iface *f;
	struct net_ep *ep;
	pid_t child;            /* 0: this is rank 1 */
};

static void couple_open(struct couple *c, const char *transport)
{
	int pair[2];
	memset(c, 0, sizeof(*c));
	need(!socketpair(AF_UNIX, SOCK_STREAM, 0, pair), "no socket pair");
	c->child = fork();
	int me = c->child == 0, fd = pair[me];
	close(pair[!me]);
	fixed_key(&c->key, 0);
	c->f = rank_open(transport, me, 2, &c->key, &c->config, &c->mine);
	need(write(fd, &c->mine, sizeof(c->mine)) == sizeof(c->mine), "cannot tell my address");
	need(recv(fd, &c->its, sizeof(c->its), MSG_WAITALL) == sizeof(c->its), "cannot learn the other's address");
	close(fd);
	c->ep = rank_connect(c->f, !me, &c->its);
}

static void couple_end(struct couple *c)
{
	kill(c->child, SIGKILL);
	waitpid(c->child, NULL, 0);
	c->f->t->quiesce(c->ep);
	c->f->t->close(c->f);
}

/* Rank 1: a greeting, then whatever `more` says, until it is killed. */
static void child_life(struct couple *c, size_t more, unsigned char *buf)
{
	uint32_t greeting = 1;
	struct net_op s, big;
	send_post(&s, c->ep, 0, &greeting, 4);
	rank_wait(c->f, &s.complete);
	if (more)
		send_post(&big, c->ep, 0, buf, more);
	for (;;) {
		c->f->t->progress(c->f);
		usleep(1000);
	}
}

static void greeted(struct couple *c)
{
	struct net_op r;
	uint32_t out = 0;
	recv_post(&r, c->ep, 0, &out, 4);
	rank_wait(c->f, &r.complete);
	well(&r);
}

#ifdef HARNESS_MODULE
enum { DEATH_MS = 20000 };      /* what is not answered is repeated first; the control tree is faster */
#else
enum { DEATH_MS = 2000 };       /* a promise */
#endif

static void wait_death(struct couple *c, bool asleep)
{
	const struct net_transport *t = c->f->t;
	for (int64_t end = clock_after_ms(DEATH_MS); !c->f->dead;) {
		need(clock_ns() < end, "%s: the death was not noticed in %d ms", t->name, DEATH_MS);
		struct pollfd p = { .fd = asleep ? t->arm(c->f) : NET_BUSY, .events = POLLIN };
		if (t->progress(c->f) == 0 && p.fd != NET_BUSY && !c->f->dead)
			poll(&p, 1, DEATH_MS);
	}
	need(c->f->dead == c->ep && c->ep->status == TUTTI_ERR_PEER && *c->ep->why, "%s: %s", err_name(c->ep->status), c->ep->why);
}

static void die_idle(const char *transport, bool asleep)
{
	struct couple c;
	couple_open(&c, transport);
	if (!c.child)
		child_life(&c, 0, NULL);
	greeted(&c);
	kill(c.child, SIGKILL);
	wait_death(&c, asleep);
	couple_end(&c);
}

EVERY_SOCKET_TRANSPORT(a_death_is_seen_with_nothing_posted) { die_idle(transport, false); }
EVERY_SOCKET_TRANSPORT(a_death_wakes_a_sleeper_with_nothing_posted) { die_idle(transport, true); }

static void die_busy(const char *transport, bool asleep)
{
	enum { LEN = 64 << 20 };
	struct couple c;
	struct net_op op[5];
	unsigned char *big = bytes_new(LEN), *out = bytes_new(LEN);
	couple_open(&c, transport);
	if (!c.child)
		child_life(&c, LEN, big);
	greeted(&c);
	recv_set(&op[0], c.ep, 0, out, LEN);
	op[0].limit = LEN / 2;
	c.f->t->recv(&op[0]);
	view_post(&op[1], c.ep, 0, LEN);
	send_post(&op[2], c.ep, 0, big, LEN);
	recv_post(&op[3], c.ep, 1, out, LEN);
	send_post(&op[4], c.ep, 2, big, LEN);
	for (int64_t end = clock_after_ms(DEADLINE_MS); op[0].done < LEN / 2;) {
		c.f->t->progress(c.f);
		need(clock_ns() < end, "%zu bytes came", op[0].done);
	}
	kill(c.child, SIGKILL);
	wait_death(&c, asleep);
	for (int i = 0; i < 5; i++)
		need(op[i].complete && op[i].status == TUTTI_ERR_PEER, "operation %d: %s", i, err_name(op[i].status));
	couple_end(&c);
	free(big);
	free(out);
}

EVERY_SOCKET_TRANSPORT(a_death_ends_what_is_posted) { die_busy(transport, false); }
EVERY_SOCKET_TRANSPORT(a_death_wakes_a_sleeper_with_operations_posted) { die_busy(transport, true); }

/* Where no socket tells of it, whoever writes to the dead learns of it, asleep or not; then all operations end. */
static void write_to_the_dead(const char *transport, bool asleep)
{
	enum { LEN = 1 << 20 };
	struct couple c;
	struct net_op op[3];
	unsigned char *out = bytes_new(LEN);
	couple_open(&c, transport);
	if (!c.child)
		child_life(&c, 0, NULL);
	greeted(&c);
	kill(c.child, SIGKILL);
	waitpid(c.child, NULL, 0);
	recv_post(&op[0], c.ep, 0, out, LEN);
	view_post(&op[1], c.ep, 1, LEN);
	send_post(&op[2], c.ep, 2, out, 4);
	wait_death(&c, asleep);
	for (int i = 0; i < 2; i++)
		need(op[i].complete && op[i].status == TUTTI_ERR_PEER, "operation %d: %s", i, err_name(op[i].status));
	need(op[2].complete, "the send is still posted");
	couple_end(&c);
	free(out);
}

EVERY_PROCESS_TRANSPORT(who_writes_to_the_dead_learns_of_it) { write_to_the_dead(transport, false); }
EVERY_PROCESS_TRANSPORT(who_writes_to_the_dead_is_woken) { write_to_the_dead(transport, true); }

EVERY_PROCESS_TRANSPORT(a_stopped_process_is_not_dead)
{
	enum { LEN = 32 << 20 };
	struct couple c;
	struct net_op r;
	unsigned char *buf = bytes_new(LEN);
	couple_open(&c, transport);
	if (!c.child)
		child_life(&c, LEN, buf);
	greeted(&c);
	kill(c.child, SIGSTOP);
	recv_post(&r, c.ep, 0, buf, LEN);
	for (int i = 0; i < 400; i++) {
		c.f->t->progress(c.f);
		usleep(1000);
	}
	need(!c.f->dead && !c.ep->status && r.status == 0, "%s", c.ep->why);
	kill(c.child, SIGCONT);
	rank_wait(c.f, &r.complete);
	well(&r);
	couple_end(&c);
	free(buf);
}

/* Memory that a stopped peer was writing, or about to write, is ours again at once. */
EVERY_PROCESS_TRANSPORT(quiesce_does_not_need_a_stopped_peer)
{
	enum { LEN = 32 << 20 };
	struct couple c;
	struct net_op r;
	const struct net_mem *m;
	couple_open(&c, transport);
	if (!c.child)
		child_life(&c, LEN, bytes_new(LEN));
	need(net_mem_new(LEN, &m) == TUTTI_OK, "%s", err_last());
	greeted(&c);
	recv_post(&r, c.ep, 0, m->base, LEN);
	for (int64_t end = clock_after_ms(DEADLINE_MS); !r.done;) {
		c.f->t->progress(c.f);
		need(clock_ns() < end, "nothing came");
	}
	kill(c.child, SIGSTOP);
	if (!r.complete)
		c.f->t->quiesce(c.ep);
	need(r.complete, "not complete");
	memset(m->base, 0xee, LEN);
	kill(c.child, SIGCONT);
	usleep(100000);
	canary_check(m->base, LEN);
	couple_end(&c);
	net_mem_free(m);
}
