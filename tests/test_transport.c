/* SPDX-License-Identifier: Apache-2.0 */
/* Behaviour of every transport: whole messages. */
#include "transport_harness.h"
#include <criterion/criterion.h>
#include <string.h>

EVERY_TRANSPORT(a_message_arrives)
{
	struct party w;
	struct net_op s, r;
	char in[5] = "hallo", out[5];
	party_open(&w, transport, 2);
	recv_post(&r, w.ep[1][0], 0, out, 5);
	send_post(&s, w.ep[0][1], 0, in, 5);
	until(&w, s.complete && r.complete);
	well(&s);
	well(&r);
	need(!memcmp(in, out, 5), "%.5s", out);
	party_close(&w);
}

/* Both ways on every pair and channel of four ranks, posted in one go. */
EVERY_TRANSPORT(all_pairs_talk_on_all_channels)
{
	enum { N = 4, LEN = 100 };
	static struct net_op s[N][N][NET_CHANNELS], r[N][N][NET_CHANNELS];
	static unsigned char in[N][N][NET_CHANNELS][LEN], out[N][N][NET_CHANNELS][LEN];
	struct party w;
	party_open(&w, transport, N);
	for (int a = 0; a < N; a++)
		for (int b = 0; b < N; b++)
			for (int c = 0; a != b && c < NET_CHANNELS; c++) {
				pattern_fill(in[a][b][c], LEN, (unsigned)(a * 100 + b * 10 + c));
				send_post(&s[a][b][c], w.ep[a][b], c, in[a][b][c], LEN);
				recv_post(&r[a][b][c], w.ep[a][b], c, out[a][b][c], LEN);
			}
	for (int a = 0; a < N; a++)
		for (int b = 0; b < N; b++)
			for (int c = 0; a != b && c < NET_CHANNELS; c++) {
				until(&w, s[a][b][c].complete && r[a][b][c].complete);
				well(&s[a][b][c]);
				well(&r[a][b][c]);
				pattern_check(out[a][b][c], 0, LEN, (unsigned)(b * 100 + a * 10 + c));
			}
	party_close(&w);
}

EVERY_TRANSPORT(order_is_kept)
{
	enum { MANY = 3000 };
	static struct net_op s[MANY], r[MANY];
	static uint32_t in[MANY], out[MANY];
	struct party w;
	party_open(&w, transport, 2);
	for (uint32_t i = 0; i < MANY; i++) {
		in[i] = i * 2654435761u;
		recv_post(&r[i], w.ep[1][0], 3, &out[i], 4);
		send_post(&s[i], w.ep[0][1], 3, &in[i], 4);
		if (i % 7 == 0)
			party_progress(&w);
		if (i)
			need(r[i - 1].complete || !r[i].complete, "receive %u was complete before the one in front of it", i);
	}
	until(&w, s[MANY - 1].complete && r[MANY - 1].complete);
	for (uint32_t i = 0; i < MANY; i++) {
		well(&s[i]);
		well(&r[i]);
		need(out[i] == in[i], "message %u is another's", i);
	}
	party_close(&w);
}

EVERY_TRANSPORT(messages_of_zero_bytes_arrive_between_others)
{
	struct party w;
	struct net_op s[9], r[9];
	unsigned char in[100], out[9][100];
	party_open(&w, transport, 2);
	pattern_fill(in, sizeof(in), 5);
	for (int i = 0; i < 9; i++) {
		size_t len = i % 3 ? 0 : sizeof(in);
		send_post(&s[i], w.ep[1][0], 0, len ? in : NULL, len);
		if (i % 2)
			view_post(&r[i], w.ep[0][1], 0, len);
		else
			recv_post(&r[i], w.ep[0][1], 0, len ? out[i] : NULL, len);
	}
	for (int i = 0; i < 9; i++) {
		until(&w, s[i].complete && r[i].complete)
			view_eat(&r[i], SIZE_MAX, 5);
		well(&s[i]);
		well(&r[i]);
		if (i % 6 == 0)
			pattern_check(out[i], 0, sizeof(in), 5);
	}
	party_close(&w);
}

static void one(struct party *w, const void *from, void *to, size_t len, unsigned seed)
{
	struct net_op s, r;
	recv_post(&r, w->ep[1][0], 2, to, len);
	send_post(&s, w->ep[0][1], 2, from, len);
	until(w, s.complete && r.complete);
	well(&s);
	well(&r);
	pattern_check(to, 0, len, seed);
}

static const size_t sizes[] = { 1, 2, 3, 7, 24, 40, 63, 64, 65, 255, 1000, 1024, 1025, 4095, 4096, 16383, 16384, 16385, 65535, 65536,
	100003, 131072, 262143, 262144, 262145, 524288, 1000003, 1 << 20, (1 << 20) + 1, 3 << 20, 5000011 };
enum { SIZES = sizeof(sizes) / sizeof(sizes[0]), LARGEST = 5000011 };

EVERY_TRANSPORT(every_size_arrives_unaligned)
{
	struct party w;
	unsigned char *from = bytes_new(LARGEST + 64), *to = bytes_new(LARGEST + 64);
	party_open(&w, transport, 2);
	for (unsigned i = 0; i < SIZES; i++) {
		size_t len = sizes[i], a = i * 5 % 64, b = i * 11 % 61;
		pattern_fill(from + a, len, i);
		memset(to, 0xee, LARGEST + 64);
		one(&w, from + a, to + b, len, i);
		canary_check(to, b);
		canary_check(to + b + len, LARGEST + 64 - b - len);
	}
	party_close(&w);
	free(from);
	free(to);
}

/* Shareable and private memory, in every combination. */
EVERY_TRANSPORT(shareable_memory_is_source_and_destination)
{
	enum { LEN = 700001, OFF = 192 };
	struct party w;
	const struct net_mem *m[2];
	party_open(&w, transport, 2);
	for (int i = 0; i < 2; i++)
		need(net_mem_new(2 * LEN, &m[i]) == TUTTI_OK, "%s", err_last());
	for (unsigned how = 0; how < 12; how++) {
		size_t len = how < 4 ? 100 : how < 8 ? 9000 : LEN;
		unsigned char *from = how & 1 ? (unsigned char *)m[0]->base + OFF : bytes_new(len);
		unsigned char *to = how & 2 ? (unsigned char *)m[1]->base + 2 * OFF : bytes_new(len);
		pattern_fill(from, len, how);
		memset(to, 0xee, len);
		one(&w, from, to, len, how);
		if (!(how & 1))
			free(from);
		if (!(how & 2))
			free(to);
	}
	party_close(&w);
	net_mem_free(m[0]);
	net_mem_free(m[1]);
}

/* A region that was freed is another's when its address comes again. */
EVERY_TRANSPORT(shareable_memory_may_be_freed_and_made_again)
{
	enum { LEN = 300000 };
	struct party w;
	party_open(&w, transport, 2);
	for (unsigned i = 0; i < 8; i++) {
		const struct net_mem *a, *b;
		need(net_mem_new(LEN, &a) == TUTTI_OK && net_mem_new(LEN, &b) == TUTTI_OK, "%s", err_last());
		pattern_fill(a->base, LEN, i);
		one(&w, a->base, b->base, LEN, i);
		net_mem_free(a);
		net_mem_free(b);
	}
	party_close(&w);
}

/* Whatever the sender could do with its messages, they all come, in order. */
EVERY_TRANSPORT(messages_sent_long_before_they_are_received_all_arrive)
{
	enum { MANY = 4000 };
	static struct net_op s[MANY];
	static uint64_t in[MANY];
	struct party w;
	party_open(&w, transport, 2);
	for (uint64_t i = 0; i < MANY; i++) {
		in[i] = i * 0x9e3779b97f4a7c15u;
		send_post(&s[i], w.ep[0][1], 8, &in[i], 8);
	}
	party_idle(&w, 2000);
	for (uint64_t i = 0; i < MANY; i++) {
		struct net_op r;
		uint64_t out = 0;
		recv_post(&r, w.ep[1][0], 8, &out, 8);
		until(&w, r.complete);
		well(&r);
		need(out == in[i], "message %zu is another's", (size_t)i);
	}
	until(&w, s[MANY - 1].complete);
	for (int i = 0; i < MANY; i++)
		well(&s[i]);
	party_close(&w);
}

EVERY_TRANSPORT(a_channel_nobody_receives_on_blocks_no_other)
{
	enum { FLOOD = 200, BIG = 3 << 20 };
	static struct net_op s[FLOOD];
	struct party w;
	struct net_op s8, r8;
	unsigned char *big = bytes_new(BIG), *in = bytes_new(BIG), *out = bytes_new(BIG);
	party_open(&w, transport, 2);
	for (int i = 0; i < FLOOD; i++)
		send_post(&s[i], w.ep[0][1], i % 8, big, i < 100 ? 700 : BIG);
	pattern_fill(in, BIG, 1);
	send_post(&s8, w.ep[0][1], 8, in, BIG);
	recv_post(&r8, w.ep[1][0], 8, out, BIG);
	until(&w, s8.complete && r8.complete);
	well(&r8);
	pattern_check(out, 0, BIG, 1);
	need(!s[FLOOD - 1].complete, "3 MiB nobody wants are said to be gone");
	for (int i = 0; i < FLOOD; i++) {
		struct net_op r;
		recv_post(&r, w.ep[1][0], i % 8, out, i < 100 ? 700 : BIG);
		until(&w, r.complete);
		well(&r);
	}
	until(&w, s[FLOOD - 1].complete);
	canary_check(out, BIG);
	party_close(&w);
	free(big);
	free(in);
	free(out);
}

EVERY_TRANSPORT(a_large_message_waits_for_its_receiver)
{
	enum { LEN = 64 << 20 };
	struct party w;
	struct net_op s, r;
	unsigned char *in = bytes_new(LEN), *out = bytes_new(LEN);
	party_open(&w, transport, 2);
	send_post(&s, w.ep[0][1], 0, in, LEN);
	party_idle(&w, 3000);
	need(!s.complete, "64 MiB went away with no receive posted");
	recv_post(&r, w.ep[1][0], 0, out, LEN);
	until(&w, s.complete && r.complete);
	well(&s);
	well(&r);
	canary_check(out, LEN);
	party_close(&w);
	free(in);
	free(out);
}

EVERY_TRANSPORT(large_messages_cross_when_both_send_first)
{
	enum { LEN = (24 << 20) + 13 };
	struct party w;
	struct net_op s[2], r[2];
	unsigned char *in[2], *out[2];
	party_open(&w, transport, 2);
	for (int i = 0; i < 2; i++) {
		in[i] = bytes_new(LEN);
		out[i] = bytes_new(LEN);
		pattern_fill(in[i], LEN, (unsigned)i);
		send_post(&s[i], w.ep[i][!i], 1, in[i], LEN);
	}
	party_idle(&w, 1000);
	need(!s[0].complete && !s[1].complete, "24 MiB went away with no receive posted");
	for (int i = 0; i < 2; i++)
		recv_post(&r[i], w.ep[i][!i], 1, out[i], LEN);
	until(&w, s[0].complete && s[1].complete && r[0].complete && r[1].complete);
	for (int i = 0; i < 2; i++) {
		well(&s[i]);
		well(&r[i]);
		pattern_check(out[i], 0, LEN, (unsigned)!i);
		free(in[i]);
		free(out[i]);
	}
	party_close(&w);
}

/* Two communicators of one process do not meet. */
EVERY_TRANSPORT(two_interfaces_of_one_rank_are_apart)
{
	struct party w[2];
	struct net_op s[2], r[2];
	uint32_t in[2] = { 11, 22 }, out[2];
	for (int i = 0; i < 2; i++)
		party_open(&w[i], transport, 2);
	for (int i = 0; i < 2; i++) {
		recv_post(&r[i], w[i].ep[0][1], 0, &out[i], 4);
		send_post(&s[i], w[i].ep[1][0], 0, &in[i], 4);
	}
	for (int i = 1; i >= 0; i--) {
		until(&w[i], s[i].complete && r[i].complete);
		well(&r[i]);
		need(out[i] == in[i], "got %u", out[i]);
		party_close(&w[i]);
	}
}

EVERY_TRANSPORT(an_endpoint_describes_itself_in_a_line)
{
	struct party w;
	char line[160];
	party_open(&w, transport, 2);
	int n = w.ep[0][1]->iface->t->describe(w.ep[0][1], line, sizeof(line));
	need(n > 0 && (size_t)n < sizeof(line) && (size_t)n == strlen(line) && !strchr(line, '\n'), "%s", line);
	need(!strncmp(line, transport, strlen(transport)), "a description begins with the transport: %s", line);
	need(w.ep[0][1]->iface->t->describe(w.ep[0][1], NULL, 0) == n, "as snprintf does");
	party_close(&w);
}

EVERY_TRANSPORT(an_address_cut_short_is_refused)
{
	struct party w;
	party_open(&w, transport, 2);
	const struct net_transport *t = w.f[0]->t;
	for (size_t len = 0; len < w.addr[1].len; len++)
		need(t->reaches(w.f[0], w.addr[1].bytes, len) == TUTTI_ERR_UNSUPPORTED, "%zu of %zu bytes", len, w.addr[1].len);
	need(t->reaches(w.f[0], w.addr[1].bytes, w.addr[1].len) == TUTTI_OK, "%s", err_last());
	party_close(&w);
}
