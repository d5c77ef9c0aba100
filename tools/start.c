/* SPDX-License-Identifier: Apache-2.0 */
/* Start the processes of a job: what they are given, and whom they die with. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <tools/job.h>
#include <unistd.h>

/*
 * A free port of the loopback. The socket, bound but not listening, keeps it from being given to others, while rank 0 may bind it: both set SO_REUSEADDR.
 */
static int reserve(int *port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof a;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) || bind(fd, (struct sockaddr *)&a, len) ||
	    getsockname(fd, (struct sockaddr *)&a, &len)) {
		close(fd);
		return -1;
	}
	*port = ntohs(a.sin_port);
	return fd;
}

static int make_secret(char *text)
{
	unsigned char raw[SECRET_BYTES];

	if (getrandom(raw, sizeof raw, 0) != sizeof raw)
		return -1;
	for (size_t i = 0; i < sizeof raw; i++)
		sprintf(text + 2 * i, "%02x", raw[i]);
	return 0;
}

static void set_number(const char *name, int value)
{
	char text[16];

	snprintf(text, sizeof text, "%d", value);
	setenv(name, text, 1);
}

static void set_environment(const struct job *j, int rank)
{
	const struct { const char *name; int value; } numbers[] = {
		{ "RANK", rank }, { "LOCAL_RANK", rank }, { "GROUP_RANK", 0 }, { "MASTER_PORT", j->master_port },
		{ "WORLD_SIZE", j->l->nranks }, { "LOCAL_WORLD_SIZE", j->l->nranks },
	};
	static const char *const outer[] = { "TUTTI_RANK", "TUTTI_SIZE", "TUTTI_SECRET_FILE" };      /* would win over ours */
	char root[32];

	for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
		set_number(numbers[i].name, numbers[i].value);
	snprintf(root, sizeof root, "127.0.0.1:%d", j->root_port);
	setenv("MASTER_ADDR", "127.0.0.1", 1);
	setenv("TUTTI_ROOT", root, 1);
	setenv("TUTTI_SECRET", j->secret, 1);
	for (size_t i = 0; i < sizeof outer / sizeof *outer; i++)
		unsetenv(outer[i]);
}

/* ---- starting --------------------------------------------------------------------------------------------------- */

static int fail(const struct job *j, const char *what)
{
	fprintf(stderr, "tutti %s: cannot %s: %s\n", j->l->cmd, what, strerror(errno));
	return -1;
}

/* In the guard: sleep until nobody holds the other end, which is to say the launcher is gone. */
static void guard_main(int fd, int other)
{
	char byte;

	close(other);
	for (int i = 0; i <= STDERR_FILENO; i++)
		close(i);
	setpgid(0, 0);
	while (read(fd, &byte, 1) < 0 && errno == EINTR)
		;
	kill(0, SIGKILL);
	_exit(0);
}

static int start_guard(struct job *j)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC))
		return fail(j, "make a pipe");
	fflush(NULL);
	j->guard = fork();
	if (!j->guard)
		guard_main(ends[0], ends[1]);
	close(ends[0]);
	j->guard_fd = ends[1];
	if (j->guard < 0)
		return fail(j, "fork");
	setpgid(j->guard, j->guard);
	return 0;
}

/* In the child: become rank `rank`. fds: stdin, stdout, stderr. Returns only when exec fails. */
static void become(const struct job *j, int rank, const int *fds, pid_t launcher)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != launcher)      /* died before prctl */
		_exit(EXIT_FAILURE);
	if (setpgid(0, j->guard))
		return;
	set_environment(j, rank);
	for (int i = 0; i < 3; i++)
		if (dup2(fds[i], i) < 0)
			return;
	setrlimit(RLIMIT_NOFILE, &j->files_was);
	sigaction(SIGPIPE, &j->pipe_was, NULL);
	sigprocmask(SIG_SETMASK, &j->was, NULL);
	execvp(j->l->argv[0], j->l->argv);
}

static int start_process(struct job *j, int rank, const int *fds)
{
	pid_t launcher = getpid(), pid;
	int ends[2], why = 0;

	if (pipe2(ends, O_CLOEXEC))
		return fail(j, "make a pipe");
	pid = fork();
	if (!pid) {
		become(j, rank, fds, launcher);
		why = errno;
		_exit(write(ends[1], &why, sizeof why) != sizeof why);
	}
	close(ends[1]);
	if (pid > 0 && read(ends[0], &why, sizeof why) == sizeof why) {
		fprintf(stderr, "tutti %s: cannot run \"%s\": %s\n", j->l->cmd, j->l->argv[0], strerror(why));
		j->status = why == ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT;
		waitpid(pid, NULL, 0);
	}
	close(ends[0]);
	if (pid < 0)
		return fail(j, "fork");
	if (why)
		return -1;
	j->ranks[rank].pid = pid;
	j->alive++;
	return 0;
}

/* One output of a rank: returns the end that the rank writes to */
static int open_relay(const struct job *j, struct relay *r, int rank, struct outlet *to)
{
	int ends[2];

	r->to = to;
	r->alone = j->l->nranks == 1;
	if (j->l->label)
		snprintf(r->label, sizeof r->label, "[%d] ", rank);
	if (pipe2(ends, O_CLOEXEC))
		return -1;
	fcntl(ends[0], F_SETFL, O_NONBLOCK);
	r->from = ends[0];
	return ends[1];
}

/* Ranks are not in the terminal's foreground group, so rank 0 cannot read it itself; anything else it can. */
static int open_input(struct job *j, int rank)
{
	int ends[2];

	if (rank)
		return open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (!isatty(STDIN_FILENO))
		return fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
	if (pipe2(ends, O_CLOEXEC))
		return -1;
	j->typed_fd = ends[1];
	return ends[0];
}

static int start_rank(struct job *j, int rank)
{
	struct rank *r = &j->ranks[rank];
	int fds[3] = { open_input(j, rank), open_relay(j, &r->out, rank, &j->out), open_relay(j, &r->err, rank, &j->err) };
	int status = fds[0] < 0 || fds[1] < 0 || fds[2] < 0 ? fail(j, "make the pipes of a rank") : start_process(j, rank, fds);

	for (int i = 0; i < 3; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	return status;
}

/* Descriptors 0, 1 and 2 exist, so that no pipe of ours becomes one of them; and there may be as many as the system allows. */
static void prepare_descriptors(struct job *j)
{
	struct rlimit most;
	int fd;

	while ((fd = open("/dev/null", O_RDWR)) >= 0 && fd <= STDERR_FILENO)
		;
	close(fd);
	getrlimit(RLIMIT_NOFILE, &j->files_was);
	most = j->files_was;
	most.rlim_cur = most.rlim_max;
	setrlimit(RLIMIT_NOFILE, &most);
}

int job_start(struct job *j)
{
	int master;

	prepare_descriptors(j);
	if (!j->ranks || !j->polls)
		return fail(j, "start so many ranks");
	for (int r = 0; r < j->l->nranks; r++)
		j->ranks[r].out.from = j->ranks[r].err.from = -1;
	master = reserve(&j->master_port);
	j->port_fd = reserve(&j->root_port);
	if (master < 0 || j->port_fd < 0)
		return fail(j, "find a free port on 127.0.0.1");
	close(master);          /* its user may not share it */
	if (make_secret(j->secret))
		return fail(j, "read random bytes");
	if (start_guard(j))
		return -1;
	for (int r = 0; r < j->l->nranks; r++)
		if (start_rank(j, r))
			return -1;
	return 0;
}
