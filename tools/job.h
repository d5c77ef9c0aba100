/* SPDX-License-Identifier: Apache-2.0 */
/* What start.c and launch.c share: the job, which lives in launch() alone and owns all: processes, pipes, the held port. */
#ifndef TOOLS_JOB_H
#define TOOLS_JOB_H
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/types.h>
#include <tools/launch.h>
#include <tools/relay.h>

enum { EXIT_TIMEOUT = 124, EXIT_CANNOT = 126, EXIT_NOT_FOUND = 127, EXIT_SIGNAL = 128, SECRET_BYTES = 32 };

struct rank {
	pid_t pid;                      /* 0: gone */
	struct relay out, err;
};

struct job {
	const struct launch *l;
	struct rank *ranks;
	struct outlet out, err;         /* our own */
	struct pollfd *polls;           /* out and err of each rank, our own, the terminal */
	pid_t guard;
	int guard_fd;                   /* its end is the launcher's */
	int typed_fd;                   /* rank 0's input, typed at our terminal; -1: none */
	int port_fd;                    /* holds root_port, see reserve() */
	int root_port, master_port;
	char secret[2 * SECRET_BYTES + 1];
	int alive, failed, status;
	bool ending;                    /* ranks that die now are our own doing */
	int64_t deadline, kill_at;      /* clock_ns */
	sigset_t open, was;             /* signal masks: while waiting; the ranks' */
	struct sigaction pipe_was;
	struct rlimit files_was;
};

/* Start the guard and all ranks. -1 after a sentence on stderr; then some may run, and j->status may say how it ends. */
int job_start(struct job *j);
#endif
