/* SPDX-License-Identifier: Apache-2.0 */
/* PMI-1 against launchers of our own, which give good answers and such as no launcher should. */
#include "boot_crew.h"
#include <boot/inner.h>
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void answer(int fd, const char *line)
{
	cr_assert_eq(send(fd, line, strlen(line), MSG_NOSIGNAL), (ssize_t)strlen(line));
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
