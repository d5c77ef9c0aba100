/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ranks as processes, and what the library itself does when one of them dies or stops. No launcher: nobody but the library ends the survivors' waits.
 * A survivor exits with 0 only after it got the right error, in time, with its memory its own again.
 */
#define _GNU_SOURCE
#include <base/clock.h>
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <tutti/tutti.h>
#include <unistd.h>

#ifdef HARNESS_UCX
static char transports[][8] = { "ucx" };
#else
static char transports[][8] = { "shm", "tcp" };
#endif
#define OVER_TRANSPORTS(name) \
	ParameterizedTestParameters(faults, name) { return cr_make_param_array(char[8], transports, sizeof(transports) / sizeof(*transports)); } \
	ParameterizedTest(char (*transport)[8], faults, name, .timeout = 60)

typedef int (*process_fn)(struct tutti_comm *comm, int ready);  /* an exit status; writes a byte to ready when the fault may come */

static int free_port(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(fd, (struct sockaddr *)&a, len) || getsockname(fd, (struct sockaddr *)&a, &len))
		abort();
	close(fd);
	return ntohs(a.sin_port);
}

static void child(int rank, const char *transport, process_fn fn, int ready)
{
	char text[16];
	struct tutti_comm *comm;
	struct tutti_config config = TUTTI_CONFIG_INIT;
	config.transport = transport;
	snprintf(text, sizeof(text), "%d", rank);
	setenv("RANK", text, 1);
	if (tutti_comm_init_env(&comm, &config) < 0) {
		fprintf(stderr, "rank %d: %s\n", rank, tutti_last_error(NULL));
		_exit(9);
	}
	int status = fn(comm, ready);
	tutti_comm_destroy(comm);
	_exit(status);
}

/* Start n ranks, wait until all are ready, send signal to the victim, and reap: returns how many survivors did not exit with 0. */
static int run(int n, const char *transport, process_fn fn, int victim, int sig)
{
	pid_t pid[16];
	int ready[2], bad = 0, status;
	char text[64], byte;
	snprintf(text, sizeof(text), "127.0.0.1:%d", free_port());
	setenv("TUTTI_ROOT", text, 1);
	setenv("TUTTI_TIMEOUT", "30s", 0);
	setenv("TUTTI_SECRET", "a secret of this test alone", 1);
	snprintf(text, sizeof(text), "%d", n);
	setenv("WORLD_SIZE", text, 1);
	if (pipe(ready))
		abort();
	for (int r = 0; r < n; r++)
		if (!(pid[r] = fork()))
			child(r, transport, fn, ready[1]);
	close(ready[1]);
	for (int r = 0; r < n && read(ready[0], &byte, 1) == 1; r++)
		;
	usleep(100000);
	kill(pid[victim], sig);
	for (int r = 0; r < n; r++) {
		if (r == victim && sig == SIGSTOP)
			continue;
		waitpid(pid[r], &status, 0);
		if (r != victim && (!WIFEXITED(status) || WEXITSTATUS(status)))
			bad++;
	}
	if (sig == SIGSTOP) {
		kill(pid[victim], SIGKILL);
		waitpid(pid[victim], &status, 0);
	}
	close(ready[0]);
	return bad;
}

static void say_ready(int ready)
{
	if (write(ready, "", 1) != 1)
		abort();
}

static int check_peer_error(struct tutti_comm *c, int status, int64_t since)
{
	const char *why = tutti_last_error(c);
	if (status != TUTTI_ERR_PEER || !strstr(why, "rank 2")) {
		fprintf(stderr, "rank %d: status %d, %s\n", tutti_comm_rank(c), status, why);
		return 1;
	}
	return clock_ns() - since > 10000000000 ? 2 : 0;
}

/* All-reduces one after the other: the victim dies in the middle of one. */
static int in_traffic(struct tutti_comm *c, int ready)
{
	size_t count = 1 << 20;
	float *x = calloc(count, sizeof(*x));
	int status = tutti_all_reduce(x, x, count, TUTTI_FLOAT32, TUTTI_SUM, c);
	say_ready(ready);
	int64_t since = clock_ns();
	while (!status)
		status = tutti_all_reduce(x, x, count, TUTTI_FLOAT32, TUTTI_SUM, c);
	memset(x, 0xff, count * sizeof(*x));    /* ours again */
	int bad = check_peer_error(c, status, since);
	free(x);
	return bad;
}
OVER_TRANSPORTS(a_rank_killed_in_traffic_is_an_error_on_every_other) { cr_assert_eq(run(5, *transport, in_traffic, 2, SIGKILL), 0); }

/* Ranks 0 and 1 wait for each other's message, and never talk to the one that dies. */
static int asleep_elsewhere(struct tutti_comm *c, int ready)
{
	int x = 0, rank = tutti_comm_rank(c);
	say_ready(ready);
	int64_t since = clock_ns();
	if (rank == 2)
		pause();
	return check_peer_error(c, tutti_recv(&x, 1, TUTTI_INT32, rank ? 0 : 1, c), since);
}
OVER_TRANSPORTS(ranks_that_never_talk_to_the_dead_one_hear_of_it) { cr_assert_eq(run(4, *transport, asleep_elsewhere, 2, SIGKILL), 0); }

/* A stopped rank is not a dead one: the others wait, up to the deadline. */
static int with_a_sleeper(struct tutti_comm *c, int ready)
{
	struct tutti_request *r;
	int status = tutti_barrier(c);
	say_ready(ready);
	if (tutti_comm_rank(c) == 2)
		pause();
	if (status || tutti_barrier_async(c, &r))
		return 1;
	return tutti_wait(&r, 1500) == TUTTI_PENDING ? 0 : 2;
}
OVER_TRANSPORTS(a_stopped_rank_is_waited_for)
{
	/* the survivors end after their wait gave up; destroying fails then, for they never meet again */
	setenv("TUTTI_TIMEOUT", "3s", 1);
	cr_assert_eq(run(3, *transport, with_a_sleeper, 2, SIGSTOP), 0);
}
