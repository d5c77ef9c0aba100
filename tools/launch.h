/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A job of ranks on this machine.
 *
 *      launcher --+-- guard           leader of the job's process group; kills the group when the launcher is gone
 *                 +-- rank 0   \
 *                 +-- rank 1    > one process group, and all their descendants in it
 *                 +-- ...      /
 *
 *  - Ranks die with the launcher (parent-death signal), their descendants with the guard's group, even after kill -9 of the launcher.
 *  - Their outputs are pipes, passed on by whole lines (relay.h).
 */
#ifndef TOOLS_LAUNCH_H
#define TOOLS_LAUNCH_H
#include <stdint.h>

enum { LAUNCH_RANKS_MAX = 1024 };

struct launch {
	const char *cmd;        /* "run": who speaks */
	int nranks;
	int keep_going;         /* a failed rank does not end the others */
	int label;              /* lines are preceded by "[rank] " */
	int64_t timeout_ms;     /* of the whole job; 0: none */
	char **argv;            /* the program and its arguments, ends with NULL */
};

/* Run the job to its end. Returns the exit status as `tutti run --help` tells it. One job at a time; takes over the process's signals. */
int launch(const struct launch *l);
#endif
