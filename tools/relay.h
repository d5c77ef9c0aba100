/* SPDX-License-Identifier: Apache-2.0 */
/* Pass on the lines that come out of a pipe, never mixing parts of lines of different pipes. */
#ifndef TOOLS_RELAY_H
#define TOOLS_RELAY_H
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>

enum { RELAY_LINE = 64 << 10 };         /* longer lines are broken here */

struct relay {
	int from, to;                   /* non-blocking read end of a pipe, or -1 once it has ended; where its lines go */
	bool alone;                     /* the only one that writes to `to`: nothing needs breaking or ending */
	char label[16];                 /* in front of each line; "" for none */
	size_t used;
	char buf[RELAY_LINE];
};

/*
 * Pass on what is there. False once the pipe has ended or nobody takes the output any more; it is closed then. While the output is full, waits for room
 * with the signal mask `open`; a signal for which stop() is true ends that wait, and the relay.
 */
bool relay_move(struct relay *r, const sigset_t *open, bool (*stop)(void));

/* Pass on all that is left, with an incomplete last line, and close. */
void relay_end(struct relay *r, const sigset_t *open, bool (*stop)(void));
#endif
