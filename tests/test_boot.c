/* SPDX-License-Identifier: Apache-2.0 */
/* The meeting: who comes in, who does not, and what is said about it. */
#include "boot_crew.h"
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void exchange_ranks(struct hand *h)
{
	int n = boot_size(h->b), mine = boot_rank(h->b) * 3 + 1, all[CREW_MAX];

	for (int k = 0; k < 5; k++) {
		memset(all, 0xff, sizeof all);
		h->status = boot_allgather(h->b, &mine, all, sizeof mine, soon());
		if (h->status) {
			hand_fails(h, h->status, err_last());
			return;
		}
		for (int r = 0; r < n; r++)
			if (all[r] != r * 3 + 1)
				hand_fails(h, -99, "wrong bytes");
	}
}

static void expect_all_ok(const struct crew *c)
{
	for (int r = 0; r < c->n; r++)
		cr_assert_eq(c->hands[r].status, TUTTI_OK, "rank %d of %d: %d %s", r, c->n, c->hands[r].status, c->hands[r].said);
}

Test(boot, ranks_meet_and_exchange)
{
	static const int sizes[] = { 1, 2, 3, 17, 40 };
	struct crew c;

	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		crew_make(&c, sizes[i], exchange_ranks);
		crew_run(&c);
		expect_all_ok(&c);
	}
}

static int open_descriptors(void)
{
	int n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

Test(boot, leaves_no_descriptor_behind)
{
	struct crew c;
	int before = open_descriptors();

	crew_make(&c, 5, exchange_ranks);
	crew_run(&c);
	expect_all_ok(&c);
	cr_assert_eq(open_descriptors(), before);
}

Test(boot, rank_0_may_come_late)
{
	struct crew c;

	crew_make(&c, 4, exchange_ranks);
	close(c.hands[0].spec.listen_fd);
	c.hands[0].spec.listen_fd = -1;
	c.hands[0].late_ms = 300;
	crew_run(&c);
	expect_all_ok(&c);
}

Test(boot, missing_ranks_are_named_on_all)
{
	struct crew c;

	crew_make(&c, 8, exchange_ranks);
	for (int r = 0; r < 8; r++)
		c.hands[r].wait_ms = 400;
	c.hands[1].absent = c.hands[3].absent = c.hands[4].absent = c.hands[5].absent = 1;
	crew_run(&c);
	for (int r = 0; r < 8; r++)
		if (!c.hands[r].absent) {
			cr_assert_eq(c.hands[r].status, TUTTI_ERR_TIMEOUT, "%d", c.hands[r].status);
			cr_assert(strstr(c.hands[r].said, "4 of 8 ranks did not come within"), "rank %d: %s", r, c.hands[r].said);
			cr_assert(strstr(c.hands[r].said, ": 1, 3..5"), "rank %d: %s", r, c.hands[r].said);
		}
}

Test(boot, absent_rank_0_is_named)
{
	struct crew c;

	crew_make(&c, 3, exchange_ranks);
	close(c.hands[0].spec.listen_fd);
	c.hands[0].absent = 1;
	for (int r = 1; r < 3; r++)
		c.hands[r].wait_ms = 300;
	crew_run(&c);
	for (int r = 1; r < 3; r++) {
		cr_assert_eq(c.hands[r].status, TUTTI_ERR_TIMEOUT);
		cr_assert(strstr(c.hands[r].said, "the meeting at 127.0.0.1, port "), "%s", c.hands[r].said);
		cr_assert(strstr(c.hands[r].said, "Connection refused"), "%s", c.hands[r].said);
	}
}

static int stranger(int port, const char *says)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	cr_assert_eq(connect(fd, (struct sockaddr *)&at, sizeof at), 0);
	send(fd, says, strlen(says), MSG_NOSIGNAL);
	return fd;
}

Test(boot, strangers_do_not_disturb_the_meeting)
{
	struct crew c;
	int fds[90], n = 0;

	crew_make(&c, 6, exchange_ranks);
	/* more silent ones than the meeting holds at a time, some that speak, all before the first rank */
	while (n < 80)
		fds[n++] = stranger(c.hands[0].spec.port, "");
	while (n < 85)
		fds[n++] = stranger(c.hands[0].spec.port,
			"GET / HTTP/1.0\r\n\r\nand much more than a hand-shake holds, so that something is left unread ...........");
	while (n < 90)
		fds[n++] = stranger(c.hands[0].spec.port, "tut");
	crew_run(&c);
	expect_all_ok(&c);
	while (n)
		close(fds[--n]);
}

Test(boot, a_wrong_key_is_told_and_the_meeting_goes_on)
{
	struct crew c, wrong;

	crew_make(&c, 3, exchange_ranks);
	crew_make(&wrong, 1, NULL);
	close(wrong.hands[0].spec.listen_fd);
	wrong.hands[0].spec = c.hands[1].spec;
	auth_key_random(&wrong.hands[0].spec.key);
	c.hands[1].late_ms = 400;
	c.hands[3] = wrong.hands[0];
	c.n = 4;
	crew_run(&c);
	cr_assert_eq(c.hands[3].status, TUTTI_ERR_AUTH, "%d %s", c.hands[3].status, c.hands[3].said);
	cr_assert(strstr(c.hands[3].said, "another key"), "%s", c.hands[3].said);
	c.n = 3;
	expect_all_ok(&c);
}

Test(boot, a_wrong_key_is_told_where_rank_0_may_be_at_several_ports)
{
	struct crew c;

	crew_make(&c, 2, NULL);
	auth_key_random(&c.hands[1].spec.key);
	c.hands[1].spec.ports = 16;
	c.hands[0].wait_ms = 2000;      /* still there when rank 1 gives up */
	c.hands[1].wait_ms = 700;
	crew_run(&c);
	cr_assert_eq(c.hands[1].status, TUTTI_ERR_TIMEOUT, "%d %s", c.hands[1].status, c.hands[1].said);
	cr_assert(strstr(c.hands[1].said, "another key"), "%s", c.hands[1].said);
}

Test(boot, a_duplicate_rank_is_refused_with_the_reason)
{
	struct crew c;

	crew_make(&c, 4, exchange_ranks);
	c.hands[4] = c.hands[1];
	c.hands[4].late_ms = 150;       /* after rank 1, before the last */
	c.hands[3].late_ms = 500;
	c.n = 5;
	crew_run(&c);
	cr_assert_eq(c.hands[4].status, TUTTI_ERR_MISMATCH, "%d %s", c.hands[4].status, c.hands[4].said);
	cr_assert(strstr(c.hands[4].said, "rank 1 is here already"), "%s", c.hands[4].said);
	c.n = 4;
	expect_all_ok(&c);
}

Test(boot, another_world_size_is_refused_with_the_reason)
{
	struct crew c;

	crew_make(&c, 3, exchange_ranks);
	c.hands[3] = c.hands[2];
	c.hands[3].spec.nranks = 7;
	c.hands[3].spec.rank = 6;
	c.hands[2].late_ms = 400;
	c.n = 4;
	crew_run(&c);
	cr_assert_eq(c.hands[3].status, TUTTI_ERR_MISMATCH, "%d %s", c.hands[3].status, c.hands[3].said);
	cr_assert(strstr(c.hands[3].said, "rank 6 counts 7 ranks, rank 0 counts 3"), "%s", c.hands[3].said);
	c.n = 3;
	expect_all_ok(&c);
}

Test(boot, without_a_key_only_loopback)
{
	struct crew c;
	struct boot *b = NULL;

	crew_make(&c, 3, exchange_ranks);
	for (int r = 0; r < 3; r++)
		c.hands[r].spec.key = (struct auth_key){ .none = true };
	crew_run(&c);
	expect_all_ok(&c);
	strcpy(c.hands[1].spec.host, "192.0.2.1");
	cr_assert_eq(boot_open(&b, &c.hands[1].spec, soon()), TUTTI_ERR_AUTH);
	cr_assert(strstr(err_last(), "192.0.2.1 is not loopback, and there is no key"), "%s", err_last());
	cr_assert_null(b);
}

Test(boot, the_first_free_port_of_several)
{
	struct crew c;
	int taken[2], port = free_port();
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

	crew_make(&c, 3, exchange_ranks);
	close(c.hands[0].spec.listen_fd);
	c.hands[0].spec.listen_fd = -1;
	for (int i = 0; i < 2; i++) {   /* one is bound, one listens and says nothing; or somebody else's are there */
		taken[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		at.sin_port = htons((uint16_t)(port + i));
		if (bind(taken[i], (struct sockaddr *)&at, sizeof at))
			cr_assert_eq(errno, EADDRINUSE);
		else if (i)
			cr_assert_eq(listen(taken[i], 16), 0);
	}
	for (int r = 0; r < 3; r++) {
		c.hands[r].spec.port = port;
		c.hands[r].spec.ports = 16;
	}
	crew_run(&c);
	expect_all_ok(&c);
	close(taken[0]);
	close(taken[1]);
}

Test(boot, a_rank_out_of_range_is_refused)
{
	struct boot_spec s = { .rank = 4, .nranks = 4, .listen_fd = -1, .host = "127.0.0.1", .port = 1 };
	struct boot *b = NULL;

	cr_assert_eq(boot_open(&b, &s, soon()), TUTTI_ERR_INVALID);
	cr_assert_str_eq(err_last(), "rank: expected 0..3, got 4");
	s.nranks = 0;
	cr_assert_eq(boot_open(&b, &s, soon()), TUTTI_ERR_INVALID);
}

Test(boot, one_rank_needs_no_network)
{
	struct boot_spec s = { .nranks = 1, .listen_fd = -1 };
	struct boot *b;
	int mine = 7, all = 0;

	cr_assert_eq(boot_open(&b, &s, soon()), TUTTI_OK);
	cr_assert_eq(boot_allgather(b, &mine, &all, sizeof mine, soon()), TUTTI_OK);
	cr_assert_eq(all, 7);
	cr_assert_eq(boot_poll(b), TUTTI_OK);
	cr_assert_geq(boot_fd(b), 0);
	cr_assert_eq(boot_raise(b, TUTTI_ERR_ABORTED, "enough"), TUTTI_ERR_ABORTED);
	cr_assert_eq(boot_poll(b), TUTTI_ERR_ABORTED);
	cr_assert_str_eq(boot_cause(b), "enough");
	boot_close(b, soon());
}

Test(boot, every_communicator_has_a_key_of_its_own)
{
	struct boot_spec s = { .nranks = 1, .listen_fd = -1 };
	struct boot *a, *b;

	cr_assert_eq(boot_open(&a, &s, soon()), TUTTI_OK);
	cr_assert_eq(boot_open(&b, &s, soon()), TUTTI_OK);
	cr_assert(!boot_key(a)->none && !boot_key(b)->none);
	cr_assert(memcmp(boot_key(a)->bytes, boot_key(b)->bytes, AUTH_KEY_BYTES));
	boot_close(a, soon());
	boot_close(b, soon());
}
