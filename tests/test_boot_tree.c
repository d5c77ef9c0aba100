/* SPDX-License-Identifier: Apache-2.0 */
/* The control tree after the meeting: exchange, first cause, deaths, the end, splitting. */
#include "boot_crew.h"
#include <boot/inner.h>
#include <criterion/criterion.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { N = 40 };        /* three levels: 0; 1..16; 17..39, whose parents are 1 and 2 */

static void expect_all_ok(const struct crew *c)
{
	for (int r = 0; r < c->n; r++)
		cr_assert_eq(c->hands[r].status, TUTTI_OK, "rank %d of %d: %d %s", r, c->n, c->hands[r].status, c->hands[r].said);
}

static void pause_ms(int ms)
{
	struct timespec t = { ms / 1000, ms % 1000 * 1000000 };

	nanosleep(&t, NULL);
}

/* Sleeps on boot_fd as every sleep of the library does; the first cause, or 0 after a minute. */
static int wait_for_cause(struct boot *b)
{
	struct pollfd p = { .fd = boot_fd(b), .events = POLLIN };

	for (int64_t end = soon(); !boot_poll(b) && clock_ns() < end;)
		poll(&p, 1, 1000);
	return boot_poll(b);
}

/* ---- exchange ----------------------------------------------------------------------------------------------- */

static unsigned char pattern(int rank, size_t i) { return (unsigned char)(rank * 31 + i * 7 + (i >> 9)); }

static void exchange_sizes(struct hand *h)
{
	static const size_t sizes[] = { 0, 1, 1000, 16384, 16385, BOOT_BLOB_MAX };
	int n = boot_size(h->b), rank = boot_rank(h->b);
	size_t nsizes = sizeof sizes / sizeof *sizes - (n > 4);         /* the largest on few ranks */
	unsigned char *mine = malloc(BOOT_BLOB_MAX), *all = malloc((size_t)n * BOOT_BLOB_MAX);

	for (size_t k = 0; k < nsizes && !h->status; k++) {
		for (size_t i = 0; i < sizes[k]; i++)
			mine[i] = pattern(rank, i);
		h->status = boot_allgather(h->b, mine, all, sizes[k], soon());
		if (h->status)
			hand_fails(h, h->status, err_last());
		for (size_t i = 0; !h->status && i < sizes[k] * (size_t)n; i++)
			if (all[i] != pattern((int)(i / sizes[k]), i % sizes[k]))
				hand_fails(h, -99, "wrong bytes");
	}
	free(mine);
	free(all);
}

Test(boot_tree, blobs_of_every_size_reach_everybody)
{
	struct crew c;

	for (int n = 4; n < 20; n += 15) {
		crew_make(&c, n, exchange_sizes);
		crew_run(&c);
		expect_all_ok(&c);
	}
}

/* ---- letters ------------------------------------------------------------------------------------------------ */

enum { LETTERS = 7, STRIDE = 11, LETTER = 300 };

struct letters { int from[CREW_MAX], n; bool wrong; };

static void take_letter(void *ctx, int from, const void *bytes, size_t len)
{
	struct letters *l = ctx;
	const unsigned char *b = bytes;

	l->wrong |= from < 0 || from >= CREW_MAX || len != LETTER || b[0] != l->from[from] || b[len - 1] != pattern(from, b[0]);
	l->from[from]++;
	l->n++;
}

/* Every rank writes to every STRIDE-th other: up, down and across, and to itself. */
static void correspond(struct hand *h)
{
	struct letters got = { 0 };
	int n = boot_size(h->b), rank = boot_rank(h->b), expected = 0, all[CREW_MAX];
	unsigned char letter[LETTER] = { 0 };

	boot_letters(h->b, take_letter, &got);
	for (int r = 0; r < n; r++)
		expected += (r + rank) % STRIDE == 0 ? LETTERS : 0;
	for (int k = 0; k < LETTERS && !h->status; k++)
		for (int to = 0; to < n && !h->status; to++) {
			letter[0] = (unsigned char)k;
			letter[LETTER - 1] = pattern(rank, (size_t)k);
			if ((to + rank) % STRIDE == 0)
				h->status = boot_post(h->b, to, letter, LETTER);
		}
	for (int64_t end = soon(); got.n < expected && !boot_poll(h->b) && clock_ns() < end;)
		pause_ms(1);
	if (got.n != expected || got.wrong)
		hand_fails(h, -99, got.wrong ? "a letter was changed, or overtook another" : "letters are missing");
	boot_allgather(h->b, &rank, all, sizeof rank, soon());  /* nobody leaves who has letters to pass on */
	boot_letters(h->b, NULL, NULL);
}

Test(boot_tree, letters_reach_their_rank_in_order)
{
	struct crew c;

	crew_make(&c, N, correspond);
	crew_run(&c);
	expect_all_ok(&c);
}

Test(boot_tree, letters_are_bounded)
{
	struct boot *b;
	char long_one[BOOT_LETTER_MAX + 1] = "";

	cr_assert_eq(tree_new(&b, 0, 3, false, true), TUTTI_OK);
	cr_assert_eq(boot_post(b, 1, long_one, sizeof long_one), TUTTI_ERR_INTERNAL);
	cr_assert_eq(boot_post(b, 3, long_one, 1), TUTTI_ERR_INTERNAL);
	cr_assert_eq(boot_post(b, -1, long_one, 1), TUTTI_ERR_INTERNAL);
	tree_free(b);
}

/* Each comes at another time each round: children run ahead of their parents, and must be kept apart. */
static void exchange_unevenly(struct hand *h)
{
	int n = boot_size(h->b), rank = boot_rank(h->b), all[CREW_MAX];

	for (int k = 0; k < 12 && !h->status; k++) {
		int mine = rank * 100 + k;

		pause_ms((rank * 7 + k * 3) % 5);
		boot_poll(h->b);
		h->status = boot_allgather(h->b, &mine, all, sizeof mine, soon());
		for (int r = 0; r < n; r++)
			if (h->status || all[r] != r * 100 + k)
				hand_fails(h, h->status ? h->status : -99, h->status ? err_last() : "wrong bytes");
	}
}

Test(boot_tree, exchanges_follow_each_other)
{
	struct crew c;

	crew_make(&c, N, exchange_unevenly);
	crew_run(&c);
	expect_all_ok(&c);
}

static void exchange_too_much(struct hand *h)
{
	h->status = boot_allgather(h->b, NULL, NULL, BOOT_BLOB_MAX + 1, soon());
}

Test(boot_tree, a_blob_too_large_is_refused_and_nothing_breaks)
{
	struct crew c;

	crew_make(&c, 2, exchange_too_much);
	crew_run(&c);
	for (int r = 0; r < 2; r++)
		cr_assert_eq(c.hands[r].status, TUTTI_ERR_INVALID);
}

static void exchange_different(struct hand *h)
{
	char mine[8] = { 0 }, all[8 * CREW_MAX];

	hand_fails(h, boot_allgather(h->b, mine, all, boot_rank(h->b) == 2 ? 4 : 8, soon()), err_last());
}

Test(boot_tree, blobs_of_different_sizes_are_a_mismatch)
{
	struct crew c;

	crew_make(&c, 3, exchange_different);
	crew_run(&c);
	for (int r = 0; r < 3; r++) {
		cr_assert_eq(c.hands[r].status, TUTTI_ERR_MISMATCH);
		cr_assert(strstr(c.hands[r].said, "rank 2 brings 4 bytes, rank 0 brings 8"), "%s", c.hands[r].said);
	}
}

static void exchange_without_rank_33(struct hand *h)
{
	int mine = 0, all[CREW_MAX];

	if (boot_rank(h->b) == 33)
		hand_fails(h, wait_for_cause(h->b), boot_cause(h->b));
	else
		hand_fails(h, boot_allgather(h->b, &mine, all, sizeof mine, clock_after_ms(boot_rank(h->b) == 2 ? 200 : 30000)),
			err_last());
}

Test(boot_tree, a_late_exchange_names_whom_it_waits_for)
{
	struct crew c;

	crew_make(&c, N, exchange_without_rank_33);
	crew_run(&c);
	for (int r = 0; r < N; r++) {
		cr_assert_eq(c.hands[r].status, TUTTI_ERR_TIMEOUT, "rank %d: %d %s", r, c.hands[r].status, c.hands[r].said);
		cr_assert(strstr(c.hands[r].said, "rank 2 waited ") && strstr(c.hands[r].said, " for rank 33 "), "rank %d: %s", r,
			c.hands[r].said);
	}
}

/* ---- first cause -------------------------------------------------------------------------------------------- */

static void leaf_raises(struct hand *h)
{
	if (boot_rank(h->b) == N - 1)
		boot_raise(h->b, TUTTI_ERR_MISMATCH, "rank 39 had enough");
	hand_fails(h, wait_for_cause(h->b), boot_cause(h->b));
	if (boot_raise(h->b, TUTTI_ERR_ABORTED, "too late") != TUTTI_ERR_MISMATCH)
		hand_fails(h, -99, "a later cause won");
}

Test(boot_tree, what_a_leaf_raises_reaches_everybody)
{
	struct crew c;

	crew_make(&c, N, leaf_raises);
	crew_run(&c);
	for (int r = 0; r < N; r++) {
		cr_assert_eq(c.hands[r].status, TUTTI_ERR_MISMATCH, "rank %d: %d", r, c.hands[r].status);
		cr_assert_str_eq(c.hands[r].said, "rank 39 had enough");
	}
}

static void raise_during_exchange(struct hand *h)
{
	static unsigned char mine[BOOT_BLOB_MAX];
	unsigned char *all = malloc((size_t)boot_size(h->b) * BOOT_BLOB_MAX);

	if (boot_rank(h->b) == 3)
		boot_raise(h->b, TUTTI_ERR_ABORTED, "not with me");
	hand_fails(h, boot_allgather(h->b, mine, all, BOOT_BLOB_MAX, soon()), err_last());
	free(all);
}

Test(boot_tree, a_raise_overtakes_an_exchange)
{
	struct crew c;

	crew_make(&c, 6, raise_during_exchange);
	crew_run(&c);
	for (int r = 0; r < 6; r++) {
		cr_assert_eq(c.hands[r].status, TUTTI_ERR_ABORTED, "rank %d: %d", r, c.hands[r].status);
		cr_assert_str_eq(c.hands[r].said, "not with me");
	}
}

/* In a process of its own: 0 when it learnt what it should. */
static int live_until_death(const struct boot_spec *spec, int victim)
{
	char expected[80];
	struct boot *b;
	int rc = boot_open(&b, spec, soon());

	snprintf(expected, sizeof expected, "rank %d died or its machine was lost (connection ", victim);
	if (rc) {
		fprintf(stderr, "rank %d: boot_open: %d %s\n", spec->rank, rc, err_last());
		return 2;
	}
	rc = boot_allgather(b, NULL, NULL, 0, soon());  /* the victim may die before this rank is through */
	if (spec->rank == victim && !rc)
		raise(SIGKILL);
	rc = wait_for_cause(b) != TUTTI_ERR_PEER || strncmp(boot_cause(b), expected, strlen(expected));
	if (rc)
		fprintf(stderr, "rank %d: %d %s\n", spec->rank, boot_poll(b), boot_cause(b));
	boot_close(b, soon());
	return rc;
}

static void expect_death_known(int victim)
{
	struct crew c;
	pid_t pids[N];
	int how;

	crew_make(&c, N, NULL);
	for (int r = 0; r < N; r++) {
		pids[r] = fork();
		cr_assert_geq(pids[r], 0);
		if (!pids[r])
			_exit(live_until_death(&c.hands[r].spec, victim));
	}
	close(c.hands[0].spec.listen_fd);
	for (int r = 0; r < N; r++) {
		cr_assert_eq(waitpid(pids[r], &how, 0), pids[r]);
		if (r == victim)
			cr_assert(WIFSIGNALED(how) && WTERMSIG(how) == SIGKILL);
		else
			cr_assert(WIFEXITED(how) && WEXITSTATUS(how) == 0, "rank %d: status 0x%x", r, how);
	}
}

Test(boot_tree, the_death_of_an_inner_rank_is_known_everywhere) { expect_death_known(2); }
Test(boot_tree, the_death_of_a_leaf_is_known_everywhere) { expect_death_known(25); }
Test(boot_tree, the_death_of_the_root_is_known_everywhere) { expect_death_known(0); }

/* ---- the end ------------------------------------------------------------------------------------------------ */

static void watch_the_others_close(struct hand *h)
{
	int late = boot_rank(h->b) == 20 || boot_rank(h->b) == 0;

	/* the others close meanwhile */
	for (int k = 0; late && k < 30 && !h->status; k++) {
		h->status = boot_poll(h->b);
		pause_ms(5);
	}
	if (h->status)
		hand_fails(h, h->status, boot_cause(h->b));
}

Test(boot_tree, closing_is_not_dying)
{
	struct crew c;

	crew_make(&c, N, watch_the_others_close);
	crew_run(&c);
	expect_all_ok(&c);
}

static void close_without_rank_1(struct hand *h)
{
	if (boot_rank(h->b) == 1) {
		hand_fails(h, wait_for_cause(h->b), boot_cause(h->b));
		return;
	}
	boot_close(h->b, clock_after_ms(200));
	h->b = NULL;
}

Test(boot_tree, closing_waits_until_its_deadline_and_says_for_whom)
{
	struct crew c;

	crew_make(&c, 3, close_without_rank_1);
	crew_run(&c);
	cr_assert_eq(c.hands[1].status, TUTTI_ERR_TIMEOUT);
	cr_assert(strstr(c.hands[1].said, "closed and waited in vain for rank "), "%s", c.hands[1].said);
}

/* ---- other beginnings --------------------------------------------------------------------------------------- */

static int through_parent(const void *mine, void *all, size_t bytes, void *ctx)
{
	return boot_allgather(ctx, mine, all, bytes, soon());
}

static void open_with_callback(struct hand *h)
{
	struct boot *b;
	int n = boot_size(h->b), rank = boot_rank(h->b), all[CREW_MAX];

	h->status = boot_open_with(&b, n, rank, through_parent, h->b, soon());
	if (!h->status)
		h->status = boot_allgather(b, &rank, all, sizeof rank, soon());
	if (h->status) {
		hand_fails(h, h->status, err_last());
		return;
	}
	for (int r = 0; r < n; r++)
		if (all[r] != r)
			hand_fails(h, -99, "wrong bytes");
	boot_close(b, soon());
}

Test(boot_tree, opens_through_the_callers_exchange)
{
	struct crew c;

	crew_make(&c, 18, open_with_callback);
	crew_run(&c);
	expect_all_ok(&c);
}

static int says_five(const void *mine, void *all, size_t bytes, void *ctx)
{
	(void)mine, (void)all, (void)bytes, (void)ctx;
	return 5;
}

Test(boot_tree, a_failing_callback_is_told)
{
	struct boot *b = NULL;

	cr_assert_eq(boot_open_with(&b, 2, 0, says_five, NULL, soon()), TUTTI_ERR_INVALID);
	cr_assert_str_eq(err_last(), "the caller's all-gather: expected 0, got 5");
	cr_assert_null(b);
}

struct division { int colors; };        /* color = rank % (colors + 1) - 1: the first of them is nobody's */

/* Within a color the order is reversed by the key. */
static void check_part(struct hand *h, struct boot *part, int color, const int *parents)
{
	const struct division *d = h->arg;
	int rank = boot_rank(h->b), all[CREW_MAX];

	h->status = boot_allgather(part, &rank, all, sizeof rank, soon());
	for (int r = boot_size(h->b) - 1, i = 0; r >= 0 && !h->status; r--)
		if (r % (d->colors + 1) - 1 == color) {
			if (all[i] != r || parents[i] != r)
				hand_fails(h, -99, "wrong order");
			i++;
		}
	boot_close(part, soon());
}

static void split_and_check(struct hand *h)
{
	const struct division *d = h->arg;
	int rank = boot_rank(h->b), color = rank % (d->colors + 1) - 1, parents[CREW_MAX], all[CREW_MAX];
	struct boot *part = h->b;       /* anything but NULL */

	h->status = boot_split(&part, h->b, color, -rank, parents, soon());
	if (!h->status && color < 0 && part)
		hand_fails(h, -99, "a negative color got a tree");
	else if (!h->status && part)
		check_part(h, part, color, parents);
	if (!h->status)         /* the parent lives on */
		h->status = boot_allgather(h->b, &rank, all, sizeof rank, soon());
	if (h->status && !*h->said)
		hand_fails(h, h->status, err_last());
}

static void expect_split(int ranks, int colors)
{
	struct division d = { colors };
	struct crew c;

	crew_make(&c, ranks, split_and_check);
	for (int r = 0; r < ranks; r++)
		c.hands[r].arg = &d;
	crew_run(&c);
	expect_all_ok(&c);
}

Test(boot_tree, splits_into_one_color_and_nobodys) { expect_split(5, 1); }
Test(boot_tree, splits_into_two_colors_and_nobodys) { expect_split(N, 2); }
Test(boot_tree, splits_into_three_colors_and_nobodys) { expect_split(13, 3); }
