/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pass on the lines that come out of pipes, never mixing parts of lines of different pipes. Nothing here blocks, but outlet_drain.
 *
 *      pipe of a rank --- relay: an incomplete line ---+
 *      pipe of a rank --- relay ------------------------+--- outlet: whole lines not yet taken ---> stdout, or stderr
 */
#ifndef TOOLS_RELAY_H
#define TOOLS_RELAY_H
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>

enum { RELAY_LINE = 64 << 10 };         /* longer lines are broken here */

struct outlet {
	int fd;
	bool shut;                      /* nobody takes it any more: relays into it end */
	char *text;
	size_t used, room;              /* beyond RELAY_LINE used, relays wait */
};

struct relay {
	int from;                       /* non-blocking read end of a pipe, or -1 once it has ended */
	struct outlet *to;
	bool alone;                     /* the only one into `to`: nothing needs breaking or ending */
	char label[16];                 /* in front of each line; "" for none */
	size_t used;
	char buf[RELAY_LINE];
};

/* Read what is there. Closes the pipe when it has ended, or its outlet is shut. */
void relay_move(struct relay *r);

/* Read all that is left, with an incomplete last line, and close. */
void relay_end(struct relay *r);

/* Write as much as is taken at once. */
void outlet_flush(struct outlet *o);

/* Write everything, waiting with the signal mask `open`; but once hurry() is true not longer than patience_ms for each piece. Frees the text. */
void outlet_drain(struct outlet *o, const sigset_t *open, bool (*hurry)(void), int patience_ms);
#endif
