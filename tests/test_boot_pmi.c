/* SPDX-License-Identifier: Apache-2.0 */
/* PMI-1 against launchers of our own: one that answers as it should, to several processes; and answers that no launcher should give. */
#include "boot_crew.h"
#include <boot/inner.h>
#include <criterion/criterion.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- a launcher --------------------------------------------------------------------------------------------- */

enum { RANKS = 4, PUTS = 256, MAX = 128 };      /* a value of MAX characters: ids go in pieces */

struct server {
	int fd[RANKS], open, in_barrier, ended, nputs;
	bool refuses;                           /* every put */
	char key[PUTS][MAX], value[PUTS][MAX];
	size_t longest;
};

static void answer(int fd, const char *line)
{
	cr_assert_eq(send(fd, line, strlen(line), MSG_NOSIGNAL), (ssize_t)strlen(line));
}

static void serve_put(struct server *s, int fd, const char *line)
{
	char kvs[32] = "";

	cr_assert_lt(s->nputs, PUTS);
	cr_assert(pmi_field(line, "kvsname", kvs, sizeof kvs) && !strcmp(kvs, "kvs_1"), "%s", line);
	cr_assert(pmi_field(line, "key", s->key[s->nputs], MAX) && pmi_field(line, "value", s->value[s->nputs], MAX), "%s", line);
	for (int i = 0; i < s->nputs; i++)
		cr_assert_str_neq(s->key[i], s->key[s->nputs], "a key is used twice");
	s->nputs += !s->refuses;
	answer(fd, s->refuses ? "cmd=put_result rc=-1 msg=no_space\n" : "cmd=put_result rc=0 msg=success\n");
}

static void serve_get(struct server *s, int fd, const char *line)
{
	char key[MAX] = "", reply[2 * MAX];

	cr_assert(pmi_field(line, "key", key, sizeof key));
	for (int i = 0; i < s->nputs; i++)
		if (!strcmp(key, s->key[i])) {
			snprintf(reply, sizeof reply, "cmd=get_result rc=0 msg=success value=%s\n", s->value[i]);
			answer(fd, reply);
			return;
		}
	answer(fd, "cmd=get_result rc=-1 msg=key_not_found\n");
}

static void serve_barrier(struct server *s)
{
	if (++s->in_barrier < RANKS)
		return;
	s->in_barrier = 0;
	for (int r = 0; r < RANKS; r++)
		answer(s->fd[r], "cmd=barrier_out\n");
}

static void serve(struct server *s, int r)
{
	char line[1024];
	ssize_t n = recv(s->fd[r], line, sizeof line - 1, 0);

	if (n <= 0) {
		close(s->fd[r]);
		s->fd[r] = -1;
		s->open--;
		return;
	}
	cr_assert_eq(line[n - 1], '\n', "a request that is no line");
	line[n - 1] = 0;
	if (!strncmp(line, "cmd=init ", 9))
		answer(s->fd[r], "cmd=response_to_init pmi_version=1 pmi_subversion=1 rc=0\n");
	else if (!strcmp(line, "cmd=get_maxes"))
		answer(s->fd[r], "cmd=maxes kvsname_max=256 keylen_max=64 vallen_max=128\n");
	else if (!strcmp(line, "cmd=get_my_kvsname"))
		answer(s->fd[r], "cmd=my_kvsname kvsname=kvs_1\n");
	else if (!strncmp(line, "cmd=put ", 8))
		serve_put(s, s->fd[r], line);
	else if (!strncmp(line, "cmd=get ", 8))
		serve_get(s, s->fd[r], line);
	else if (!strcmp(line, "cmd=barrier_in"))
		serve_barrier(s);
	else if (!strcmp(line, "cmd=finalize"))
		answer(s->fd[r], "cmd=finalize_ack\n"), s->ended++;
	else
		cr_assert_fail("what is \"%s\"?", line);
}

static void set(const char *name, int value)
{
	char text[16];

	snprintf(text, sizeof text, "%d", value);
	setenv(name, text, 1);
}

/* The leak sanitizer asks: a child's copy of memory has no threads that it could stop. */
static bool forked;
int __lsan_is_turned_off(void) __attribute__((visibility("default")));
int __lsan_is_turned_off(void) { return forked; }

/* In the child: two communicators of the environment, one after the other. It exits, and does not _exit: that is its goodbye. */
static void rank_main(int rank, int fd, const char *secret)
{
	forked = true;
	set("PMI_FD", fd);
	set("PMI_RANK", rank);
	set("PMI_SIZE", RANKS);
	setenv("TUTTI_IFACE", "lo", 1);
	if (secret)
		setenv("TUTTI_SECRET", secret, 1);
	for (int i = 0; i < 2; i++) {
		struct boot_spec s;
		struct boot *b;
		int all[RANKS] = { 0 }, rc = boot_from_env(&s, clock_after_ms(20000));

		if (!rc)
			rc = boot_open(&b, &s, clock_after_ms(secret ? 1500 : 20000));
		if (!rc)
			rc = boot_allgather(b, &rank, all, sizeof rank, soon());
		if (rc)
			fprintf(stderr, "rank %d: %s: %s\n", rank, err_name(rc), err_last());
		if (rc)
			exit(1);
		for (int r = 0; r < RANKS; r++)
			if (all[r] != r)
				exit(2);
		boot_close(b, soon());
	}
	exit(0);
}

static void run_job(struct server *s, const char *const *secrets, const char *err)
{
	struct pollfd polls[RANKS];
	int ends[2];

	for (int r = 0; r < RANKS; r++) {
		cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
		if (!fork()) {
			close(ends[0]);
			if (err && !freopen(err, "a", stderr))
				_exit(3);
			rank_main(r, ends[1], secrets ? secrets[r] : NULL);
		}
		close(ends[1]);
		s->fd[r] = ends[0];
		s->open++;
	}
	while (s->open) {
		for (int r = 0; r < RANKS; r++)
			polls[r] = (struct pollfd){ .fd = s->fd[r], .events = POLLIN };
		cr_assert_gt(poll(polls, RANKS, 60000), 0, "%d ranks hang", s->open);
		for (int r = 0; r < RANKS; r++)
			if (polls[r].revents)
				serve(s, r);
	}
}

/* How many children ended with this status */
static int ended_with(int status)
{
	int n = 0, how;

	for (int r = 0; r < RANKS; r++) {
		cr_assert_gt(wait(&how), 0);
		n += WIFEXITED(how) && WEXITSTATUS(how) == status;
	}
	return n;
}

static int count_in(const char *path, const char *words)
{
	char line[1024];
	FILE *f = fopen(path, "r");
	int n = 0;

	while (fgets(line, sizeof line, f))
		n += strstr(line, words) != NULL;
	fclose(f);
	unlink(path);
	return n;
}

Test(boot_pmi, ranks_meet_twice_by_one_conversation)
{
	struct server s = { .open = 0 };

	run_job(&s, NULL, NULL);
	cr_assert_eq(ended_with(0), RANKS);
	cr_assert_eq(s.ended, RANKS, "every rank says goodbye once, got %d", s.ended);
	cr_assert_gt(s.nputs, 4, "an id fits into no single value");
}

Test(boot_pmi, a_secret_that_is_given_is_needed)
{
	static const char *const secrets[RANKS] = { "correct horse battery staple", "correct horse battery staple",
		"correct horse battery stable", "correct horse battery staple" };
	char err[] = "/tmp/tutti-pmi-XXXXXX";
	struct server s = { .open = 0 };

	close(mkstemp(err));
	run_job(&s, secrets, err);
	cr_assert_eq(ended_with(1), RANKS);
	cr_assert_geq(count_in(err, "another key"), 1);
}

Test(boot_pmi, a_store_that_takes_nothing_ends_all_ranks)
{
	struct server s = { .refuses = true };
	char err[] = "/tmp/tutti-pmi-XXXXXX";

	close(mkstemp(err));
	run_job(&s, NULL, err);
	cr_assert_eq(ended_with(1), RANKS);
	cr_assert_eq(count_in(err, "PMI-1: the launcher refused \""), RANKS);
}

/* ---- answers ------------------------------------------------------------------------------------------------ */

#define INIT "cmd=response_to_init rc=0\n"
#define MAXES "cmd=maxes kvsname_max=256 keylen_max=64 vallen_max=1024\n"
#define NAME "cmd=my_kvsname kvsname=a\n"
#define OUT "cmd=barrier_out\n"
#define GOT(value) "cmd=get_result rc=0 value=" value "\n"
#define LONG "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
#define LONGER LONG LONG LONG LONG LONG LONG LONG LONG

/* What a rank other than 0 makes of these packets (a reply may come in several); then the launcher is gone. Two bytes are shared. */
static const struct { const char *packets[8], *said; } dialogues[] = {
	{ { INIT, MAXES, NAME, OUT, GOT("0aff") }, "" },
	{ { "cmd=response", "_to_init rc=0", "\n", MAXES, NAME, OUT, GOT("0aff") }, "" },
	{ { "rc=0 cmd=response_to_init\n", "cmd=maxes vallen_max=16\n", NAME, OUT, "value=0AFF cmd=get_result\n" }, "" },
	{ { NULL }, "the launcher closed PMI_FD * instead of answering \"init\"" },
	{ { INIT, MAXES, NAME, OUT }, "the launcher closed PMI_FD * instead of answering \"get\"" },
	{ { "cmd=response_to_init rc=0" }, "the launcher closed PMI_FD * instead of answering \"init\"" },
	{ { "\n" }, "expected cmd=response_to_init, got \"\"" },
	{ { "\1\xff GET / HTTP/1.1\n" }, "expected cmd=response_to_init, got \"?? GET / HTTP/1.1\"" },
	{ { "cmd=response_to_init rc=zero\n" }, "expected rc=0, got \"cmd=response_to_init rc=zero\"" },
	{ { "cmd=response_to_init rc=-1 msg=no\n" }, "the launcher refused \"init\": rc=-1 no" },
	{ { INIT INIT }, "expected one line of at most 4096 bytes in answer to \"init\", got more" },
	{ { LONGER, LONGER, LONGER, LONGER, LONGER, LONGER, LONGER, LONGER },
		"expected one line of at most 4096 bytes in answer to \"init\", got more" },
	{ { INIT, "cmd=maxes\n" }, "expected vallen_max=16 or more, got \"cmd=maxes\"" },
	{ { INIT, "cmd=maxes vallen_max=15\n" }, "expected vallen_max=16 or more, got \"cmd=maxes vallen_max=15\"" },
	{ { INIT, "cmd=maxes vallen_max=99999999999\n" }, "expected vallen_max=16 or more, got \"cmd=maxes vallen_max=99999999999\"" },
	{ { INIT, MAXES, "cmd=my_kvsname kvsname=\n" }, "expected kvsname= and at most 256 characters, got \"cmd=my_kvsname kvsname=\"" },
	{ { INIT, MAXES, "cmd=my_kvsname kvsname=" LONGER "\n" },
		"expected kvsname= and at most 256 characters, got \"cmd=my_kvsname kvsname=xx*" },
	{ { INIT, MAXES, NAME, NAME }, "expected cmd=barrier_out, got \"cmd=my_kvsname kvsname=a\"" },
	{ { INIT, MAXES, NAME, OUT, "cmd=get_result rc=-1 msg=none\n" }, "the launcher refused \"get\": rc=-1 none" },
	{ { INIT, MAXES, NAME, OUT, "cmd=get_result rc=0\n" }, "expected value= and rank 0's bytes in hexadecimal, got *" },
	{ { INIT, MAXES, NAME, OUT, GOT("0a") }, "expected value= and rank 0's bytes in hexadecimal, got *" },
	{ { INIT, MAXES, NAME, OUT, GOT("0aff00") }, "expected value= and rank 0's bytes in hexadecimal, got *" },
	{ { INIT, MAXES, NAME, OUT, GOT("0afg") }, "expected value= and rank 0's bytes in hexadecimal, got *" },
	{ { INIT, MAXES, NAME, OUT, GOT(LONGER LONGER LONGER) }, "expected value= and rank 0's bytes in hexadecimal, got *" },
};

/* '*' stands for anything */
static bool matches(const char *pattern, const char *text)
{
	if (*pattern == '*')
		return matches(pattern + 1, text) || (*text && matches(pattern, text + 1));
	return *pattern == *text && (!*text || matches(pattern + 1, text + 1));
}

Test(boot_pmi, every_answer_is_understood_or_refused_in_words)
{
	for (size_t i = 0; i < sizeof dialogues / sizeof *dialogues; i++) {
		char expected[300] = "";
		unsigned char bytes[2] = { 1, 1 };
		struct pmi p;
		int ends[2], rc;

		cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends), 0);
		for (int k = 0; k < 8 && dialogues[i].packets[k]; k++)
			answer(ends[0], dialogues[i].packets[k]);
		shutdown(ends[0], SHUT_WR);
		rc = pmi_start(&p, ends[1], soon());
		if (!rc)
			rc = pmi_cast(&p, bytes, 2, false, soon());
		snprintf(expected, sizeof expected, "PMI-1: %s", dialogues[i].said);
		cr_assert_eq(rc != 0, *dialogues[i].said != 0, "row %zu: %s", i, rc ? err_last() : "success");
		cr_assert(!rc || matches(expected, err_last()), "row %zu: expected %s, got %s", i, expected, err_last());
		cr_assert(rc || !memcmp(bytes, "\x0a\xff", 2), "row %zu: other bytes", i);
		close(ends[0]);
		close(ends[1]);
	}
}

Test(boot_pmi, a_launcher_that_is_silent_is_not_waited_for_beyond_the_deadline)
{
	unsigned char bytes[2];
	struct pmi p;
	int ends[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends), 0);
	cr_assert_eq(pmi_start(&p, ends[1], clock_after_ms(30)), TUTTI_ERR_TIMEOUT);
	cr_assert(matches("PMI-1: the launcher did not answer \"init\" within *", err_last()), "%s", err_last());
	cr_assert_eq(pmi_cast(&p, bytes, 2, true, soon()), TUTTI_ERR_PEER);
	for (const char *const *good = (const char *const[]){ INIT, MAXES, NAME, NULL }; *good; good++)
		answer(ends[0], *good);
	cr_assert_eq(pmi_start(&p, ends[1], soon()), TUTTI_OK);
	cr_assert_eq(pmi_cast(&p, bytes, 2, false, clock_after_ms(30)), TUTTI_ERR_TIMEOUT);
	cr_assert(matches("PMI-1: the launcher did not answer \"barrier_in, for all ranks to come\" within *", err_last()), "%s", err_last());
	answer(ends[0], OUT);
	cr_assert_eq(pmi_cast(&p, bytes, 2, true, soon()), TUTTI_ERR_PEER, "what comes now may be the answer to something else");
	pmi_end(&p, soon());
	close(ends[0]);
	close(ends[1]);
}
