/* SPDX-License-Identifier: Apache-2.0 */
/* Run a job: pass on output, input and signals; bury the dead; end the others. Signal handlers only set flags; signals are open only inside ppoll. */
#define _GNU_SOURCE
#include <base/clock.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <tools/job.h>
#include <unistd.h>

enum { GRACE_MS = 2000, PATIENCE_MS = 500 };

/* ---- signals ---------------------------------------------------------------------------------------------------- */

static volatile sig_atomic_t got[NSIG], told;

/* To whom a signal is passed on: those that end programs to the whole group, as a terminal does; the others mean something to the ranks only. */
static const struct { int sig; bool ends, group; } signals[] = {
	{ SIGINT, true, true }, { SIGTERM, true, true }, { SIGHUP, true, true }, { SIGUSR1, false, false }, { SIGUSR2, false, false },
	{ SIGCONT, false, true },
};
enum { SIGNALS = sizeof signals / sizeof *signals };

static void on_signal(int sig)
{
	got[sig] = 1;
	for (int i = 0; i < SIGNALS; i++)
		told |= signals[i].sig == sig && signals[i].ends;
}

static bool told_to_end(void)
{
	return told;
}

static void take(struct job *j, int sig)
{
	struct sigaction act = { .sa_handler = on_signal }, was;

	sigaction(sig, NULL, &was);
	if (was.sa_handler == SIG_IGN && sig != SIGCHLD)        /* nohup, or a shell's background job: stays ignored, by the ranks too */
		return;
	sigfillset(&act.sa_mask);
	sigaction(sig, &act, NULL);
	sigdelset(&j->open, sig);
}

static void take_signals(struct job *j)
{
	struct sigaction ignore = { .sa_handler = SIG_IGN };
	sigset_t mine;

	sigemptyset(&mine);
	sigaddset(&mine, SIGCHLD);
	for (int i = 0; i < SIGNALS; i++)
		sigaddset(&mine, signals[i].sig);
	sigprocmask(SIG_BLOCK, &mine, &j->was);
	j->open = j->was;
	take(j, SIGCHLD);
	for (int i = 0; i < SIGNALS; i++)
		take(j, signals[i].sig);
	sigaction(SIGPIPE, &ignore, &j->pipe_was);
}

static void pass_signals(struct job *j)
{
	for (int i = 0; i < SIGNALS; i++) {
		int sig = signals[i].sig;

		if (!got[sig])
			continue;
		got[sig] = 0;
		if (signals[i].group)
			kill(-j->guard, sig);
		for (int r = 0; r < j->l->nranks && !signals[i].group; r++)
			if (j->ranks[r].pid)
				kill(j->ranks[r].pid, sig);
	}
}

/* ---- running ---------------------------------------------------------------------------------------------------- */

static void end_all(struct job *j)
{
	if (j->ending)
		return;
	j->ending = true;
	kill(-j->guard, SIGTERM);
	kill(-j->guard, SIGCONT);       /* a stopped rank takes it too */
	j->kill_at = clock_after_ms(GRACE_MS);
}

/* What a dead rank still had to say comes before what is said about it. */
static void drain(struct job *j, struct rank *r)
{
	for (int i = 0; i < 4 && r->out.from >= 0; i++)
		relay_move(&r->out);
	for (int i = 0; i < 4 && r->err.from >= 0; i++)
		relay_move(&r->err);
	outlet_flush(&j->out);
	outlet_flush(&j->err);
}

static void report(struct job *j, int rank, pid_t pid, int wstatus)
{
	char how[96], then[48] = "";

	if (WIFSIGNALED(wstatus))
		snprintf(how, sizeof how, "was killed by signal %d (%s%s)", WTERMSIG(wstatus), strsignal(WTERMSIG(wstatus)),
		         WCOREDUMP(wstatus) ? ", core dumped" : "");
	else
		snprintf(how, sizeof how, "exited with status %d", WEXITSTATUS(wstatus));
	if (j->alive && !j->l->keep_going)
		snprintf(then, sizeof then, "; ending the other %d", j->alive);
	fprintf(stderr, "tutti %s: rank %d (pid %d) %s%s\n", j->l->cmd, rank, (int)pid, how, then);
}

static void buried(struct job *j, int rank, pid_t pid, int wstatus)
{
	j->alive--;
	drain(j, &j->ranks[rank]);
	if (!wstatus)
		return;
	j->failed++;
	if (!j->status)
		j->status = WIFSIGNALED(wstatus) ? EXIT_SIGNAL + WTERMSIG(wstatus) : WEXITSTATUS(wstatus);
	if (j->ending)          /* our own doing */
		return;
	report(j, rank, pid, wstatus);
	if (!j->l->keep_going)
		end_all(j);
}

static void bury(struct job *j)
{
	int wstatus;

	for (int r = 0; r < j->l->nranks; r++) {
		pid_t pid = j->ranks[r].pid;
		if (!pid || waitpid(pid, &wstatus, WNOHANG) != pid)
			continue;
		j->ranks[r].pid = 0;
		buried(j, r, pid, wstatus);
	}
}

static void check_time(struct job *j)
{
	int64_t now = j->deadline == CLOCK_NEVER && j->kill_at == CLOCK_NEVER ? 0 : clock_ns();

	if (now >= j->kill_at) {
		kill(-j->guard, SIGKILL);
		j->kill_at = CLOCK_NEVER;
	}
	if (now >= j->deadline) {
		fprintf(stderr, "tutti %s: not done after %lld ms; ending %d ranks\n", j->l->cmd, (long long)j->l->timeout_ms, j->alive);
		j->deadline = CLOCK_NEVER;
		j->status = j->status ? j->status : EXIT_TIMEOUT;
		end_all(j);
	}
}

/* Poll the terminal only while it is ours to read, and rank 0 has room for it. */
static struct pollfd typed(const struct job *j)
{
	struct pollfd room = { .fd = j->typed_fd, .events = POLLOUT };

	if (j->typed_fd < 0 || tcgetpgrp(STDIN_FILENO) != getpgrp())
		return (struct pollfd){ .fd = -1 };
	return poll(&room, 1, 0) == 1 ? (struct pollfd){ .fd = STDIN_FILENO, .events = POLLIN } : room;
}

static void pass_typed(struct job *j)
{
	char text[PIPE_BUF];
	ssize_t n = read(STDIN_FILENO, text, sizeof text);

	if (n > 0 && write(j->typed_fd, text, (size_t)n) == n)
		return;
	close(j->typed_fd);
	j->typed_fd = -1;
}

/* A relay is not read while its outlet is full: the rank then waits, as it would for any reader. */
static struct pollfd readable(const struct relay *r)
{
	return (struct pollfd){ .fd = r->to->used < RELAY_LINE ? r->from : -1, .events = POLLIN };
}

static struct pollfd writable(const struct outlet *o)
{
	return (struct pollfd){ .fd = o->used ? o->fd : -1, .events = POLLOUT };
}

static int poll_all(struct job *j)
{
	int n = 0;
	int64_t until = j->kill_at < j->deadline ? j->kill_at : j->deadline, ns = until - clock_ns();
	struct timespec t = { ns > 0 ? ns / 1000000000 : 0, ns > 0 ? ns % 1000000000 : 0 };

	for (int r = 0; r < j->l->nranks; r++) {
		j->polls[n++] = readable(&j->ranks[r].out);
		j->polls[n++] = readable(&j->ranks[r].err);
	}
	j->polls[n++] = typed(j);
	j->polls[n++] = writable(&j->out);
	j->polls[n++] = writable(&j->err);
	return ppoll(j->polls, (nfds_t)n, until == CLOCK_NEVER ? NULL : &t, &j->open);
}

static void wait_something(struct job *j)
{
	int n = 2 * j->l->nranks;

	if (poll_all(j) <= 0)
		return;
	for (int i = 0; i < n; i++)
		if (j->polls[i].revents)
			relay_move(i % 2 ? &j->ranks[i / 2].err : &j->ranks[i / 2].out);
	if (j->polls[n].revents && j->polls[n].fd == STDIN_FILENO)
		pass_typed(j);
	outlet_flush(&j->out);
	outlet_flush(&j->err);
}

static void run(struct job *j)
{
	while (j->alive) {
		wait_something(j);
		pass_signals(j);
		if (got[SIGCHLD]) {
			got[SIGCHLD] = 0;
			bury(j);
		}
		check_time(j);
	}
	if (j->failed && j->l->keep_going)
		fprintf(stderr, "tutti %s: %d of %d ranks failed\n", j->l->cmd, j->failed, j->l->nranks);
}

static void finish(struct job *j)
{
	if (j->guard > 0) {
		kill(-j->guard, SIGKILL);       /* descendants of ranks, and the guard */
		waitpid(j->guard, NULL, 0);
	}
	for (int r = 0; j->ranks && r < j->l->nranks; r++) {
		if (j->ranks[r].pid)
			waitpid(j->ranks[r].pid, NULL, 0);
		relay_end(&j->ranks[r].out);
		relay_end(&j->ranks[r].err);
	}
	outlet_drain(&j->out, &j->open, told_to_end, PATIENCE_MS);
	outlet_drain(&j->err, &j->open, told_to_end, PATIENCE_MS);
	free(j->ranks);
	free(j->polls);
}

int launch(const struct launch *l)
{
	struct job j = { .l = l, .guard_fd = -1, .typed_fd = -1, .port_fd = -1, .kill_at = CLOCK_NEVER,
	                 .out.fd = STDOUT_FILENO, .err.fd = STDERR_FILENO };

	j.ranks = calloc((size_t)l->nranks, sizeof *j.ranks);
	j.polls = calloc(2 * (size_t)l->nranks + 3, sizeof *j.polls);
	j.deadline = l->timeout_ms ? clock_after_ms(l->timeout_ms) : CLOCK_NEVER;
	take_signals(&j);
	if (!job_start(&j))
		run(&j);
	else if (!j.status)
		j.status = EXIT_FAILURE;
	finish(&j);
	return j.status;
}
