/* SPDX-License-Identifier: Apache-2.0 */
/* The handshake over socket pairs, with both ends of ours, and with one end played by the test. */
#include <base/auth.h>
#include <base/err.h>
#include <criterion/criterion.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { HELLO = 56, REPLY = 80, PROOF = 32, PURPOSE = 7, TAG = 0xdeadbeef };

struct pair { struct auth_key key[2]; struct auth end[2]; int fd[2], status[2]; char said[2][ERR_TEXT]; };

/* end[0] dials as rank 3 and expects rank 5; end[1] accepts as rank 5 */
static void pair_open(struct pair *p)
{
	cr_assert_eq(auth_key_random(&p->key[0]), TUTTI_OK);
	p->key[1] = p->key[0];
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, p->fd), 0);
	auth_dial(&p->end[0], &p->key[0], p->fd[0], PURPOSE, TAG, 3, 5);
	auth_accept(&p->end[1], &p->key[1], p->fd[1], PURPOSE, 5);
}

/* Step both until neither is pending; who fails closes, as callers do. */
static void pair_run(struct pair *p)
{
	p->status[0] = p->status[1] = TUTTI_PENDING;
	for (int turn = 0; turn < 100; turn++) {
		int i = turn % 2;

		if (p->status[i] != TUTTI_PENDING)
			continue;
		p->status[i] = auth_step(&p->end[i]);
		if (p->status[i] >= 0)
			continue;
		strcpy(p->said[i], err_last());
		close(p->fd[i]);
	}
}

static void pair_close(struct pair *p)
{
	for (int i = 0; i < 2; i++)
		if (p->status[i] >= 0)
			close(p->fd[i]);
}

/* Both ends refuse; `sentence` is part of what `end` says. */
static void expect_refusal(struct pair *p, int end, const char *sentence)
{
	pair_run(p);
	cr_assert_eq(p->status[end], TUTTI_ERR_AUTH);
	cr_assert(strstr(p->said[end], sentence), "got: %s", p->said[end]);
	cr_assert_lt(p->status[!end], 0);
	cr_assert_eq(p->end[1].peer, -1, "nothing was proved");
}

Test(auth, both_ends_agree_and_learn_each_other)
{
	struct pair p;

	pair_open(&p);
	pair_run(&p);
	cr_assert_eq(p.status[0], TUTTI_OK);
	cr_assert_eq(p.status[1], TUTTI_OK);
	cr_assert_eq(p.end[1].peer, 3);
	cr_assert_eq(p.end[1].tag, TAG);
	cr_assert_arr_eq(p.end[0].session, p.end[1].session, AUTH_KEY_BYTES);
	cr_assert_neq(memcmp(p.end[0].session, p.key[0].bytes, AUTH_KEY_BYTES), 0);
	pair_close(&p);
}

Test(auth, sessions_of_one_key_differ)
{
	struct pair p, q;

	pair_open(&p);
	pair_run(&p);
	pair_open(&q);
	q.key[0] = q.key[1] = p.key[0];
	pair_run(&q);
	cr_assert_eq(q.status[1], TUTTI_OK);
	cr_assert_neq(memcmp(p.end[0].session, q.end[0].session, AUTH_KEY_BYTES), 0);
	pair_close(&p);
	pair_close(&q);
}

Test(auth, no_key_meets_no_key_only)
{
	struct pair p;

	pair_open(&p);
	p.key[0].none = p.key[1].none = true;
	pair_run(&p);
	cr_assert_eq(p.status[0], TUTTI_OK);
	cr_assert_eq(p.status[1], TUTTI_OK);
	pair_close(&p);

	pair_open(&p);
	p.key[0].none = true;
	expect_refusal(&p, 0, "another key");
}

Test(auth, bytes_that_follow_stay_in_the_socket)
{
	struct pair p;
	char c = 0;

	pair_open(&p);
	cr_assert_eq(auth_step(&p.end[0]), TUTTI_PENDING);
	cr_assert_eq(auth_step(&p.end[1]), TUTTI_PENDING);
	cr_assert_eq(auth_step(&p.end[0]), TUTTI_OK);
	cr_assert_eq(write(p.fd[0], "x", 1), 1);
	cr_assert_eq(auth_step(&p.end[1]), TUTTI_OK);
	cr_assert_eq(recv(p.fd[1], &c, 1, MSG_DONTWAIT), 1);
	cr_assert_eq(c, 'x');
	p.status[0] = p.status[1] = TUTTI_OK;
	pair_close(&p);
}

Test(auth, wrong_key_is_refused_without_showing_it)
{
	struct pair p;

	pair_open(&p);
	p.key[0].bytes[31] ^= 1;
	expect_refusal(&p, 0, "who calls itself rank 5 proved another key");
}

Test(auth, dialler_that_ignores_the_reply_must_still_prove_itself)
{
	struct pair p;
	unsigned char junk[PROOF] = { 1, 2, 3 };

	pair_open(&p);
	cr_assert_eq(auth_step(&p.end[0]), TUTTI_PENDING);
	cr_assert_eq(write(p.fd[0], junk, sizeof junk), sizeof junk);
	cr_assert_eq(auth_step(&p.end[1]), TUTTI_ERR_AUTH);
	cr_assert(strstr(err_last(), "rank 3 proved another key"), "%s", err_last());
	cr_assert_eq(p.end[1].peer, -1);
	cr_assert_eq(auth_step(&p.end[1]), TUTTI_ERR_AUTH, "a refusal is final");
}

Test(auth, wrong_rank_answers)
{
	struct pair p;

	pair_open(&p);
	p.end[1].self = 6;
	expect_refusal(&p, 0, "expected rank 5, got an answer of rank 6");
}

Test(auth, negative_rank_dials)
{
	struct pair p;

	pair_open(&p);
	p.end[0].self = -2;
	expect_refusal(&p, 1, "expected a rank of 0 or more, got -2");
}

Test(auth, purposes_differ)
{
	struct pair p;

	pair_open(&p);
	p.end[0].purpose = 8;
	expect_refusal(&p, 1, "expected purpose 7, got purpose 8 from who calls itself rank 3");
}

/* A relay between the ends that changes one byte: every byte of every frame is covered. */
static void relay(int frame, int at)
{
	static const int size[] = { HELLO, REPLY, PROOF };
	struct pair p, q;
	unsigned char buf[REPLY];

	pair_open(&p);                  /* our dialler talks to p.fd[1], our acceptor to q.fd[0] */
	pair_open(&q);
	q.key[1] = p.key[0];
	p.status[0] = q.status[1] = TUTTI_PENDING;
	for (int i = 0; i < 3; i++) {
		int from = i == 1 ? q.fd[0] : p.fd[1], to = i == 1 ? p.fd[1] : q.fd[0];
		int *sender = i == 1 ? &q.status[1] : &p.status[0], *receiver = i == 1 ? &p.status[0] : &q.status[1];

		*sender = auth_step(i == 1 ? &q.end[1] : &p.end[0]);
		if (*sender < 0)
			break;
		cr_assert_eq(recv(from, buf, (size_t)size[i], MSG_DONTWAIT), size[i]);
		if (i == frame)
			buf[at] ^= 0x10;
		cr_assert_eq(send(to, buf, (size_t)size[i], MSG_NOSIGNAL), size[i]);
		*receiver = auth_step(i == 1 ? &p.end[0] : &q.end[1]);
		if (*receiver < 0)
			break;
	}
	cr_assert(frame < 0 ? !p.status[0] && !q.status[1] : p.status[0] == TUTTI_ERR_AUTH || q.status[1] == TUTTI_ERR_AUTH,
	          "frame %d, byte %d: %d %d", frame, at, p.status[0], q.status[1]);
	for (int i = 0; i < 2; i++) {
		close(p.fd[i]);
		close(q.fd[i]);
	}
}

Test(auth, every_changed_byte_is_noticed)
{
	relay(-1, 0);
	for (int at = 0; at < HELLO; at++)
		relay(0, at);
	for (int at = 0; at < REPLY; at++)
		relay(1, at);
	for (int at = 0; at < PROOF; at++)
		relay(2, at);
}

Test(auth, other_versions_are_named)
{
	struct pair p;
	unsigned char hello[HELLO];

	pair_open(&p);
	cr_assert_eq(auth_step(&p.end[0]), TUTTI_PENDING);
	cr_assert_eq(recv(p.fd[1], hello, sizeof hello, MSG_DONTWAIT), HELLO);
	hello[8] = 9;
	cr_assert_eq(write(p.fd[0], hello, sizeof hello), HELLO);
	cr_assert_eq(auth_step(&p.end[1]), TUTTI_ERR_AUTH);
	cr_assert(strstr(err_last(), "expected protocol version 1, got 9"), "%s", err_last());
}

Test(auth, garbage_is_named)
{
	static const char text[] = "GET / HTTP/1.1\r\nHost: example.org\r\nUser-Agent: a stranger\r\n\r\n";
	struct pair p;

	pair_open(&p);
	cr_assert_eq(write(p.fd[0], text, sizeof text), sizeof text);
	cr_assert_eq(auth_step(&p.end[1]), TUTTI_ERR_AUTH);
	cr_assert(strstr(err_last(), "another protocol (47 45 54 20"), "%s", err_last());
}

/* The dialler's bytes come one by one: pending after each but the last, and no byte is asked for beyond. */
Test(auth, slow_delivery)
{
	struct pair p;
	unsigned char frame[REPLY];
	int relayed[2];

	pair_open(&p);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, relayed), 0);
	p.end[1].fd = relayed[1];
	cr_assert_eq(auth_step(&p.end[0]), TUTTI_PENDING);
	for (int f = 0; f < 2; f++) {
		int size = f ? PROOF : HELLO;

		cr_assert_eq(recv(p.fd[1], frame, (size_t)size, MSG_DONTWAIT), size);
		for (int i = 0; i < size; i++) {
			cr_assert_eq(auth_events(&p.end[1]), POLLIN);
			cr_assert_eq(write(relayed[0], frame + i, 1), 1);
			cr_assert_eq(auth_step(&p.end[1]), f && i == size - 1 ? TUTTI_OK : TUTTI_PENDING);
		}
		if (f)
			break;
		cr_assert_eq(recv(relayed[0], frame, sizeof frame, MSG_DONTWAIT), REPLY);
		cr_assert_eq(write(p.fd[1], frame, REPLY), REPLY);
		cr_assert_eq(auth_step(&p.end[0]), TUTTI_OK);
	}
	cr_assert_eq(p.end[1].peer, 3);
}

/* The socket takes nothing for a while: the sender asks for POLLOUT and goes on later. */
Test(auth, full_socket)
{
	struct pair p;
	static char block[1 << 16];
	size_t filled = 0;
	ssize_t n;

	pair_open(&p);
	while ((n = send(p.fd[0], block, sizeof block, MSG_DONTWAIT)) > 0)
		filled += (size_t)n;
	cr_assert_eq(auth_step(&p.end[0]), TUTTI_PENDING);
	cr_assert_eq(auth_events(&p.end[0]), POLLOUT);
	while (filled) {
		n = recv(p.fd[1], block, filled < sizeof block ? filled : sizeof block, MSG_DONTWAIT);
		cr_assert_gt(n, 0);
		filled -= (size_t)n;
	}
	pair_run(&p);
	cr_assert_eq(p.status[0], TUTTI_OK);
	cr_assert_eq(p.status[1], TUTTI_OK);
	pair_close(&p);
}

Test(auth, early_close_at_every_byte)
{
	for (int cut = 0; cut < HELLO + PROOF; cut++) {
		struct pair p;
		unsigned char frame[HELLO] = { 0 };
		int status;

		pair_open(&p);
		if (cut < HELLO) {
			cr_assert_eq(write(p.fd[0], "tutti\r\n\x1a\1\0\0", (size_t)(cut < 11 ? cut : 11)), cut < 11 ? cut : 11);
			if (cut > 11)
				cr_assert_eq(write(p.fd[0], frame, (size_t)cut - 11), cut - 11);
		} else {
			cr_assert_eq(auth_step(&p.end[0]), TUTTI_PENDING);
			cr_assert_eq(write(p.fd[0], frame, (size_t)(cut - HELLO)), cut - HELLO);
		}
		status = auth_step(&p.end[1]);
		cr_assert_eq(status, TUTTI_PENDING, "after %d bytes: %d", cut, status);
		close(p.fd[0]);
		cr_assert_eq(auth_step(&p.end[1]), TUTTI_ERR_AUTH);
		cr_assert(strstr(err_last(), "the dialler closed the connection at the"), "%s", err_last());
		close(p.fd[1]);
	}
}

Test(auth, keys_from_text)
{
	struct auth_key a, b;
	const char *hex = "000102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E1F";

	cr_assert_eq(auth_key_from_text(&a, hex), TUTTI_OK);
	for (int i = 0; i < AUTH_KEY_BYTES; i++)
		cr_assert_eq(a.bytes[i], i);
	cr_assert_eq(auth_key_from_text(&a, "correct horse battery staple"), TUTTI_OK);
	cr_assert_eq(auth_key_from_text(&b, "correct horse battery staplf"), TUTTI_OK);
	cr_assert(!a.none);
	cr_assert_neq(memcmp(a.bytes, b.bytes, AUTH_KEY_BYTES), 0);
	cr_assert_eq(auth_key_from_text(&a, "fifteen letters"), TUTTI_ERR_CONFIG);
	cr_assert(strstr(err_last(), "got 15") && !strstr(err_last(), "fifteen"), "%s", err_last());
	cr_assert_eq(auth_key_from_text(&a, "x00102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E1F"), TUTTI_OK);
}

Test(auth, derived_keys_differ_by_context_and_stay_none)
{
	struct auth_key key, a, b, none = { .none = true };

	cr_assert_eq(auth_key_random(&key), TUTTI_OK);
	auth_key_derive(&a, &key, "tcp");
	auth_key_derive(&b, &key, "shm");
	cr_assert_neq(memcmp(a.bytes, b.bytes, AUTH_KEY_BYTES), 0);
	auth_key_derive(&b, &key, "tcp");
	cr_assert_arr_eq(a.bytes, b.bytes, AUTH_KEY_BYTES);
	auth_key_derive(&none, &none, "tcp");
	cr_assert(none.none);
}
