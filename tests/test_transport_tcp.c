/* SPDX-License-Identifier: Apache-2.0 */
/* What only tcp does: a port that anybody can reach, and a choice of addresses. */
#include "transport_harness.h"
#include <arpa/inet.h>
#include <base/iface.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* The blob's layout (transports/tcp/addr.c) as far as the tests change it. */
enum { PLACE = 4, PORT = 48, COUNT = 50, ROWS = 51, ROW = 19 };

static int stranger(const struct party *w, int rank)
{
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	memcpy(&sa.sin_port, w->addr[rank].bytes + PORT, 2);
	need(fd >= 0 && !connect(fd, (struct sockaddr *)&sa, sizeof(sa)), "a stranger cannot connect: %s", strerror(errno));
	return fd;
}

static bool hung_up(int fd)
{
	char byte;
	ssize_t n = recv(fd, &byte, 1, MSG_DONTWAIT);
	return n == 0 || (n < 0 && errno == ECONNRESET);
}

static void talk(struct party *w, int channel)
{
	struct net_op s[2], r[2];
	uint32_t in[2] = { 3, 4 }, out[2] = { 0 };
	for (int i = 0; i < 2; i++) {
		recv_post(&r[i], w->ep[i][!i], channel, &out[i], 4);
		send_post(&s[i], w->ep[i][!i], channel, &in[i], 4);
	}
	until(w, s[0].complete && s[1].complete && r[0].complete && r[1].complete)
		;
	well(&r[0]);
	well(&r[1]);
	need(out[0] == 4 && out[1] == 3, "%u %u", out[0], out[1]);
}

Test(tcp, strangers_are_dropped_and_disturb_nobody)
{
	static const char *const greetings[] = { "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "\x16\x03\x01", "tutti\r\n\x1a",
		"tutti\r\n\x1a and then something else, of the right length, or somewhat more .......",
		"\xff\xff\xff\xff\xff\xff\xff\xff" };
	enum { KINDS = sizeof(greetings) / sizeof(greetings[0]) + 1, EACH = 8 };
	int fd[KINDS][EACH];
	struct party w;
	party_open(&w, "tcp", 2);
	talk(&w, 0);
	for (int k = 0; k < KINDS; k++)
		for (int i = 0; i < EACH; i++) {
			fd[k][i] = stranger(&w, i % 2);
			if (k < KINDS - 1)
				need(send(fd[k][i], greetings[k], strlen(greetings[k]), MSG_NOSIGNAL) > 0, "%s", strerror(errno));
		}
	for (int c = 0; c < NET_CHANNELS; c++)
		talk(&w, c);
	for (int k = 0; k < KINDS; k++)         /* those that say nothing (the last), or too little, until the handshake's deadline */
		for (int i = 0; i < EACH; i++) {
			until(&w, hung_up(fd[k][i]))
				usleep(1000);
			close(fd[k][i]);
		}
	talk(&w, 0);
	need(!w.f[0]->dead && !w.f[1]->dead, "a stranger ended an endpoint");
	party_close(&w);
}

Test(tcp, a_flood_of_connections_delays_but_does_not_stop)
{
	enum { MANY = 300 };    /* more than are looked at together */
	int fd[MANY];
	struct party w;
	party_open(&w, "tcp", 2);
	for (int i = 0; i < MANY; i++) {
		fd[i] = stranger(&w, 0);
		if (i % 50 == 0)
			party_idle(&w, 200);
	}
	talk(&w, 0);
	for (int i = 0; i < MANY; i++)
		close(fd[i]);
	talk(&w, 1);
	party_close(&w);
}

/* Rank 1 dials, then computes for long; rank 0 takes it for a stranger meanwhile. */
Test(tcp, a_dialler_that_was_busy_during_its_handshake_dials_again)
{
	enum { LONG_MS = 5000 };
	struct party w;
	struct net_op s, r;
	uint32_t in = 6, out = 0;
	party_open(&w, "tcp", 2);
	recv_post(&r, w.ep[0][1], 0, &out, 4);
	send_post(&s, w.ep[1][0], 0, &in, 4);
	for (int64_t end = clock_after_ms(LONG_MS); clock_ns() < end; usleep(1000))
		w.f[0]->t->progress(w.f[0]);
	until(&w, s.complete && r.complete)
		;
	well(&r);
	need(out == 6, "%u", out);
	party_close(&w);
}

/* Rank 1 says hello, then computes until rank 0 has dropped it: the reply is there, and the proof finds nobody. */
Test(tcp, a_proof_that_came_too_late_is_no_connection)
{
	enum { LONG_MS = 5000 };
	struct party w;
	struct net_op s, r;
	uint32_t in = 6, out = 0;
	party_open(&w, "tcp", 2);
	recv_post(&r, w.ep[0][1], 0, &out, 4);
	send_post(&s, w.ep[1][0], 0, &in, 4);
	for (int i = 0; i < 64; i++)            /* the first look around */
		w.f[1]->t->progress(w.f[1]);
	for (int64_t end = clock_after_ms(LONG_MS); clock_ns() < end; usleep(1000))
		w.f[0]->t->progress(w.f[0]);
	until(&w, s.complete && r.complete)
		;
	well(&r);
	well(&s);
	need(out == 6, "%u", out);
	party_close(&w);
}

/* Rank 0 computes while more proofs arrive than it looks at together: none of them is late. */
Test(tcp, an_acceptor_that_was_busy_takes_whoever_has_proved)
{
	enum { LONG_MS = 4500, RANKS = 6, LINES = (RANKS - 1) * NET_CHANNELS };
	struct party w;
	struct net_op s[LINES], r[LINES];
	uint32_t in = 6, out[LINES];
	char line[100];
	int up = 0, turn = 0;
	party_open(&w, "tcp", RANKS);
	for (int i = 0; i < LINES; i++) {
		recv_post(&r[i], w.ep[0][1 + i % (RANKS - 1)], i / (RANKS - 1), &out[i], 4);
		send_post(&s[i], w.ep[1 + i % (RANKS - 1)][0], i / (RANKS - 1), &in, 4);
	}
	for (; turn < 4 * 64; turn++)           /* hellos go out, replies come back, proofs go out */
		for (int i = turn >= 192; i < (turn < 64 || turn >= 192 ? RANKS : 1); i++)
			w.f[i]->t->progress(w.f[i]);
	usleep(LONG_MS * 1000);
	for (turn = 0; turn < 64; turn++)       /* one look */
		w.f[0]->t->progress(w.f[0]);
	for (int p = 1; p < RANKS; p++) {
		w.f[0]->t->describe(w.ep[0][p], line, sizeof(line));
		up += atoi(strchr(line, ',') + 1);
	}
	need(up == LINES, "%d of %d connections", up, LINES);
	until(&w, s[LINES - 1].complete && r[LINES - 1].complete)
		;
	party_close(&w);
}

/* A child that only forked holds every descriptor of its parent. */
Test(tcp, an_end_is_seen_while_a_forked_child_lives)
{
	struct party w;
	int life[2];
	char byte;
	party_open(&w, "tcp", 3);
	talk(&w, 0);
	need(!pipe(life), "%s", strerror(errno));
	pid_t child = fork();
	if (!child) {
		close(life[1]);
		_exit(read(life[0], &byte, 1) != 0);
	}
	w.f[1]->t->quiesce(w.ep[1][0]);
	until(&w, w.f[0]->dead)
		;
	need(w.f[0]->dead == w.ep[0][1] && w.ep[0][1]->status == TUTTI_ERR_PEER, "%s", w.ep[0][1]->why);
	party_close(&w);
	close(life[1]);
	waitpid(child, NULL, 0);
}

Test(tcp, strangers_are_no_progress)
{
	struct party w;
	int moved = 0;
	party_open(&w, "tcp", 2);
	talk(&w, 0);
	party_idle(&w, 200);
	int fd = stranger(&w, 0);
	need(send(fd, "GET / HTTP/1.1\r\nHost: a.b.c.d\r\nUser-Agent: whoever\r\nAccept: *\r\n", 64, MSG_NOSIGNAL) == 64, "%s", strerror(errno));
	for (int64_t end = clock_after_ms(DEADLINE_MS); !hung_up(fd);) {
		moved += party_progress(&w);
		need(clock_ns() < end, "the stranger is still there");
	}
	need(!moved, "a stranger counted %d times", moved);
	close(fd);
	party_close(&w);
}

/* How often a rank wakes before it sleeps for a moment. */
static int wakes(struct net_iface *f)
{
	int n = 0;
	for (; n < 1000; n++) {
		struct pollfd p = { .fd = f->t->arm(f), .events = POLLIN };
		if (f->t->progress(f) == 0 && poll(&p, 1, 50) == 0)
			break;
	}
	return n;
}

Test(tcp, a_rank_without_descriptors_sleeps_and_accepts_later)
{
	enum { FEW = 64 };
	struct party w;
	struct rlimit before, few;
	int fill[FEW], n = 0, fd;
	party_open(&w, "tcp", 2);
	talk(&w, 0);
	need(!getrlimit(RLIMIT_NOFILE, &before), "%s", strerror(errno));
	few = (struct rlimit){ FEW, before.rlim_max };
	need(!setrlimit(RLIMIT_NOFILE, &few), "%s", strerror(errno));
	fd = stranger(&w, 0);
	while ((fill[n] = dup(fd)) >= 0)
		n++;
	need(wakes(w.f[0]) < 1000, "it never slept");
	while (n)
		close(fill[--n]);
	need(!setrlimit(RLIMIT_NOFILE, &before), "%s", strerror(errno));
	talk(&w, 1);
	close(fd);
	party_close(&w);
}

Test(tcp, advance_takes_what_is_there)
{
	enum { LEN = 3000 };
	struct party w;
	struct net_op s, r;
	unsigned char *in = bytes_new(LEN), *out = bytes_new(LEN);
	party_open(&w, "tcp", 2);
	talk(&w, 0);
	pattern_fill(in, LEN, 3);
	send_post(&s, w.ep[1][0], 0, in, LEN);
	until(&w, s.complete)
		;
	recv_set(&r, w.ep[0][1], 0, out, LEN);
	r.limit = 0;
	w.f[0]->t->recv(&r);
	while (r.limit < LEN) {                 /* no progress() in here */
		r.limit++;
		w.f[0]->t->advance(&r);
		if (r.done < r.limit)
			usleep(1000);
	}
	well(&r);
	pattern_check(out, 0, LEN, 3);
	party_close(&w);
	free(in);
	free(out);
}

Test(tcp, an_address_with_wrong_bytes_is_refused_or_leads_nowhere)
{
	struct party w;
	uint32_t random = 3;
	party_open(&w, "tcp", 2);
	const struct net_transport *t = w.f[0]->t;
	for (int i = 0; i < 20000; i++) {
		struct address a = w.addr[1];
		for (uint32_t n = 1 + random_below(&random, 4); n; n--)
			a.bytes[random_below(&random, (uint32_t)a.len)] = (unsigned char)random_below(&random, 256);
		int status = t->reaches(w.f[0], a.bytes, a.len);
		need(status == TUTTI_OK || status == TUTTI_ERR_UNSUPPORTED, "%s", err_name(status));
	}
	party_close(&w);
}

Test(tcp, loopback_reaches_this_machine_only)
{
	struct party w;
	setenv("TUTTI_IFACE", "lo", 1);
	party_open(&w, "tcp", 2);
	struct address a = w.addr[1];
	a.bytes[PLACE] ^= 1;
	need(w.f[0]->t->reaches(w.f[0], a.bytes, a.len) == TUTTI_ERR_UNSUPPORTED, "it reaches another machine");
	need(strstr(err_last(), "another machine"), "%s", err_last());
	talk(&w, 0);
	party_close(&w);
}

Test(tcp, ipv6_is_spoken)
{
	struct party w;
	struct iface there;
	char line[100];
	if (iface_list("::1/128", &there, 1) != 1)
		cr_skip_test("no IPv6 here");
	setenv("TUTTI_IFACE", "::1/128", 1);
	party_open(&w, "tcp", 2);
	talk(&w, 0);
	w.f[1]->t->describe(w.ep[1][0], line, sizeof(line));
	need(!strncmp(line, "tcp [::1]:", 10), "%s", line);
	party_close(&w);
}

/* Rank 0 listens on 127.0.0.1 alone; its address names 127.0.0.9 as well, first. */
static void open_with_two_addresses(struct party *w, bool second)
{
	*w = (struct party){ .transport = "tcp", .n = 2 };
	fixed_key(&w->key, 0);
	setenv("TUTTI_IFACE", "127.0.0.0/8", 1);
	for (int i = 0; i < 2; i++)
		w->f[i] = rank_open("tcp", i, 2, &w->key, &w->config, &w->addr[i]);
	struct address a = w->addr[0];
	need(a.bytes[COUNT] == 1 && a.len == ROWS + ROW, "one address in %zu bytes", a.len);
	memcpy(a.bytes + ROWS + ROW, a.bytes + ROWS, ROW);
	a.bytes[ROWS + 6] = 9;
	a.bytes[COUNT] = second ? 2 : 1;
	a.len += second ? ROW : 0;
	w->ep[0][1] = rank_connect(w->f[0], 1, &w->addr[1]);
	w->ep[1][0] = rank_connect(w->f[1], 0, &a);
}

Test(tcp, an_address_nobody_listens_on_is_passed_over)
{
	struct party w;
	open_with_two_addresses(&w, true);
	talk(&w, 0);
	party_close(&w);
}

Test(tcp, no_address_that_answers_fails_the_endpoint_with_the_reason)
{
	struct party w;
	struct net_op s;
	open_with_two_addresses(&w, false);
	send_post(&s, w.ep[1][0], 0, "hey", 4);
	until(&w, s.complete)
		;
	need(s.status == TUTTI_ERR_PEER && w.f[1]->dead, "%s", err_name(s.status));
	const char *why = w.ep[1][0]->why;
	need(strstr(why, "cannot connect to 127.0.0.9:") && strstr(why, "Connection refused"), "%s", why);
	party_close(&w);
}

Test(tcp, an_interface_that_is_not_there_is_refused_in_words)
{
	struct config config;
	char found[100];
	setenv("TUTTI_IFACE", "eth77", 1);
	need(config_parse(&config) == TUTTI_OK, "%s", err_last());
	need(net_find("tcp")->probe(&config, found, sizeof(found)) == TUTTI_ERR_UNSUPPORTED, "it has an eth77?");
	need(strstr(err_last(), "eth77") && strstr(err_last(), "127.0.0.1"), "%s", err_last());
}

Test(tcp, small_socket_buffers_are_enough)
{
	enum { LEN = 3000001 };
	struct party w;
	struct net_op s[2], r[2];
	unsigned char *in = bytes_new(LEN), *out = bytes_new(LEN);
	setenv("TUTTI_TCP_BUFFER", "8k", 1);
	party_open(&w, "tcp", 2);
	pattern_fill(in, LEN, 8);
	for (int i = 0; i < 2; i++)
		send_post(&s[i], w.ep[i][!i], 0, in, LEN);
	recv_post(&r[0], w.ep[0][1], 0, out, LEN);
	view_post(&r[1], w.ep[1][0], 0, LEN);
	until(&w, s[0].complete && s[1].complete && r[0].complete && r[1].complete)
		view_eat(&r[1], 5000, 8);
	for (int i = 0; i < 2; i++) {
		well(&s[i]);
		well(&r[i]);
	}
	pattern_check(out, 0, LEN, 8);
	party_close(&w);
	free(in);
	free(out);
}
