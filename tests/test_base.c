/* SPDX-License-Identifier: Apache-2.0 */
/* Errors, log lines, types, operators. */
#define _GNU_SOURCE
#include <base/err.h>
#include <base/log.h>
#include <base/machine.h>
#include <base/type.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

Test(err, sentence_and_status)
{
	cr_assert_eq(err_set(TUTTI_ERR_PEER, "rank %d of %d", 3, 8), TUTTI_ERR_PEER);
	cr_assert_str_eq(err_last(), "rank 3 of 8");
	err_set(TUTTI_ERR_PEER, "again: %s", err_last());
	cr_assert_str_eq(err_last(), "again: rank 3 of 8", "a sentence may quote the one before");
}

Test(err, system_errors_say_why)
{
	errno = ENOENT;
	cr_assert_eq(err_sys("open %s", "x"), TUTTI_ERR_SYSTEM);
	cr_assert_str_eq(err_last(), "open x: No such file or directory");
	errno = ENOMEM;
	cr_assert_eq(err_sys("mmap"), TUTTI_ERR_NOMEM);
}

Test(err, long_sentences_are_cut)
{
	char text[2 * ERR_TEXT];

	memset(text, 'x', sizeof text - 1);
	text[sizeof text - 1] = 0;
	err_set(TUTTI_ERR_INVALID, "%s", text);
	cr_assert_eq(strlen(err_last()), ERR_TEXT - 1);
	errno = ENOENT;
	err_sys("%s", text);
	cr_assert_eq(strlen(err_last()), ERR_TEXT - 1);
}

static void *other_thread(void *arg)
{
	cr_assert_str_eq(err_last(), "");
	err_set(TUTTI_ERR_INVALID, "theirs");
	return arg;
}

Test(err, each_thread_has_its_own)
{
	pthread_t t;

	err_set(TUTTI_ERR_INVALID, "mine");
	cr_assert_eq(pthread_create(&t, NULL, other_thread, NULL), 0);
	cr_assert_eq(pthread_join(t, NULL), 0);
	cr_assert_str_eq(err_last(), "mine");
}

Test(err, every_status_has_a_name_and_a_sentence)
{
	for (int status = TUTTI_ERR_INTERNAL; status <= TUTTI_PENDING; status++) {
		cr_assert_eq(strncmp(err_name(status), "TUTTI_", 6), 0, "%d", status);
		cr_assert_str_neq(tutti_strerror(status), "unknown status");
	}
	cr_assert_str_eq(err_name(TUTTI_ERR_PEER), "TUTTI_ERR_PEER");
	cr_assert_str_eq(tutti_strerror(12345), "unknown status");
}

/* What one line looks like on stderr; "" when nothing came. */
static const char *logged(enum log_level level, const char *fmt, const char *arg)
{
	static char text[4096];
	int saved = dup(STDERR_FILENO), fd[2];
	ssize_t n;

	cr_assert_eq(pipe(fd), 0);
	dup2(fd[1], STDERR_FILENO);
	log_msg(level, fmt, arg);
	dup2(saved, STDERR_FILENO);
	close(fd[1]);
	n = read(fd[0], text, sizeof text - 1);
	close(fd[0]);
	close(saved);
	cr_assert_geq(n, 0);
	text[n] = 0;
	return text;
}

Test(log, lines_and_levels)
{
	cr_assert_str_eq(logged(LOG_WARN, "slow %s", "peer"), "tutti warning: slow peer\n");
	log_rank(3);
	cr_assert_str_eq(logged(LOG_ERROR, "%s", "x"), "tutti[rank 3] error: x\n");
	cr_assert_str_eq(logged(LOG_INFO, "%s", "x"), "");
	log_limit(LOG_DEBUG);
	cr_assert_str_eq(logged(LOG_DEBUG, "%s", "x"), "tutti[rank 3] debug: x\n");
}

Test(log, long_lines_are_cut_and_end)
{
	static char text[3000];
	const char *line;

	memset(text, 'x', sizeof text - 1);
	line = logged(LOG_ERROR, "%s", text);
	cr_assert_lt(strlen(line), 1025);
	cr_assert_eq(strchr(line, '\n'), line + strlen(line) - 1);
}

Test(type, names_lead_back)
{
	for (int type = 0; type < TUTTI_TYPES; type++) {
		cr_assert_eq(type_from_name(tutti_type_name((enum tutti_type)type)), type);
		cr_assert_eq(tutti_type_size((enum tutti_type)type), type_bytes(type));
		cr_assert(type_bytes(type) && type_bytes(type) <= TYPE_MAX_BYTES);
	}
	for (int op = 0; op < TUTTI_OPS; op++)
		cr_assert_eq(op_from_name(tutti_op_name(op)), op);
	cr_assert_eq(type_from_name("float"), TUTTI_FLOAT32);
	cr_assert_eq(type_from_name("half"), TUTTI_FLOAT16);
	cr_assert_eq(type_from_name("double"), TUTTI_FLOAT64);
	cr_assert_eq(type_from_name("int"), TUTTI_INT32);
	cr_assert_eq(type_from_name("quad"), -1);
	cr_assert_eq(op_from_name("mean"), -1);
}

Test(type, what_is_none)
{
	cr_assert(!type_valid(-1) && !type_valid(TUTTI_TYPES));
	cr_assert_eq(type_bytes(-1), 0);
	cr_assert_eq(type_bytes(TUTTI_TYPES), 0);
	cr_assert_str_eq(tutti_type_name(TUTTI_TYPES), "?");
	cr_assert_str_eq(tutti_op_name(-1), "?");
	cr_assert_str_eq(tutti_op_name(TUTTI_OPS), "?");
	cr_assert(!op_legal(-1, TUTTI_INT32) && !op_legal(TUTTI_OPS, TUTTI_INT32));
	cr_assert(!op_legal(TUTTI_SUM, -1) && !op_legal(TUTTI_SUM, TUTTI_TYPES));
	cr_assert(op_legal(TUTTI_BAND, TUTTI_UINT8) && !op_legal(TUTTI_BAND, TUTTI_FLOAT32) && !op_legal(TUTTI_BXOR, TUTTI_BFLOAT16));
}

static void first(const void *a, const void *b, void *out, size_t count, enum tutti_type type, void *ctx)
{
	(void)b;
	(void)ctx;
	memmove(out, a, count * type_bytes(type));
}

Test(op, of_a_user_lives_until_freed)
{
	int op, other;

	cr_assert_eq(tutti_op_create(first, NULL, 99, 0, &op), TUTTI_OK);
	cr_assert_geq(op, TUTTI_OPS);
	cr_assert(op_legal(op, TUTTI_FLOAT16) && !op_legal(op, TUTTI_TYPES) && !op_commutes(op));
	cr_assert_eq(op_user_id(op), 99);
	cr_assert_str_eq(tutti_op_name(op), "user");
	cr_assert_eq(tutti_op_free(op), TUTTI_OK);
	cr_assert(!op_legal(op, TUTTI_FLOAT16));
	cr_assert_eq(tutti_op_create(first, NULL, 98, 1, &other), TUTTI_OK);
	cr_assert_neq(other, op, "a freed handle does not name its successor");
	cr_assert(op_commutes(other) && !op_legal(op, TUTTI_FLOAT16));
	cr_assert_eq(tutti_op_free(op), TUTTI_ERR_INVALID);
	cr_assert_eq(tutti_op_free(TUTTI_SUM), TUTTI_ERR_INVALID);
	cr_assert_eq(op_user_id(TUTTI_SUM), 0);
	cr_assert(op_commutes(TUTTI_SUM));
}

Test(op, bad_arguments_and_a_full_table)
{
	int op = -5, n = 0;

	cr_assert_eq(tutti_op_create(NULL, NULL, 1, 1, &op), TUTTI_ERR_INVALID);
	cr_assert_str_eq(err_last(), "op_create: fn must not be NULL");
	cr_assert_eq(tutti_op_create(first, NULL, 1, 1, NULL), TUTTI_ERR_INVALID);
	while (tutti_op_create(first, NULL, 1, 1, &op) == TUTTI_OK)
		cr_assert_lt(n++, 1000);
	cr_assert_geq(n, 64);
	cr_assert(strstr(err_last(), "in use"), "%s", err_last());
}

/* A container has namespaces of its own. In a child, for this process must stay where it is. */
static int id_in_new_namespaces(uint64_t here)
{
	if (unshare(CLONE_NEWUSER | CLONE_NEWNET))
		return 2;
	return machine_id("") != here ? 0 : 1;
}

Test(base, a_machine_is_where_memory_can_be_shared)
{
	uint64_t here = machine_id("");
	int status;
	cr_assert_eq(machine_id(""), here);
	cr_assert_neq(machine_id("a"), machine_id("b"));
	cr_assert_eq(machine_id("a"), machine_id("a"));
	pid_t child = fork();
	if (child == 0)
		_exit(id_in_new_namespaces(here));
	cr_assert_eq(waitpid(child, &status, 0), child);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 2)
		cr_skip_test("no namespaces may be made here");
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "a container counts as this machine");
}
