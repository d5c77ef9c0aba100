/* SPDX-License-Identifier: Apache-2.0 */
/* Each relay owns the read end of its pipe; outlets are the process's own stdout and stderr, whose blocking mode is not ours to change. One thread. */
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tools/relay.h>
#include <unistd.h>

/* ---- outlets ------------------------------------------------------------------------------------------------------ */

static void shut(struct outlet *o)
{
	o->shut = true;
	o->used = 0;
}

static void push(struct outlet *o, const char *p, size_t n)
{
	char *more;

	if (o->shut || !n)
		return;
	if (o->room - o->used < n) {
		if (!(more = realloc(o->text, 2 * (o->used + n)))) {
			fprintf(stderr, "tutti: no memory to pass on output\n");
			shut(o);
			return;
		}
		o->text = more;
		o->room = 2 * (o->used + n);
	}
	memcpy(o->text + o->used, p, n);
	o->used += n;
}

/* A pipe that is ready takes this much without blocking. False when nothing was taken. */
static bool put(struct outlet *o)
{
	ssize_t n = write(o->fd, o->text, o->used < PIPE_BUF ? o->used : PIPE_BUF);

	if (n < 0 && errno != EINTR && errno != EAGAIN) {
		if (errno != EPIPE)
			fprintf(stderr, "tutti: cannot pass on output: %s\n", strerror(errno));
		shut(o);
	}
	if (n <= 0)
		return false;
	o->used -= (size_t)n;
	memmove(o->text, o->text + n, o->used);
	return true;
}

void outlet_flush(struct outlet *o)
{
	struct pollfd ready = { .fd = o->fd, .events = POLLOUT };

	while (o->used && poll(&ready, 1, 0) == 1 && put(o))
		;
}

void outlet_drain(struct outlet *o, const sigset_t *open, bool (*hurry)(void), int patience_ms)
{
	struct timespec patience = { patience_ms / 1000, patience_ms % 1000 * 1000000 };
	struct pollfd ready = { .fd = o->fd, .events = POLLOUT };

	while (o->used) {
		int got = ppoll(&ready, 1, hurry() ? &patience : NULL, open);

		if (got > 0)
			put(o);
		else if (got == 0)
			shut(o);
	}
	free(o->text);
	o->text = NULL;
	o->room = 0;
}

/* ---- relays ------------------------------------------------------------------------------------------------------- */

static void relay_close(struct relay *r)
{
	close(r->from);
	r->from = -1;
	r->used = 0;
}

/* n bytes that end with a newline, or do not need one */
static void lines(const struct relay *r, size_t n)
{
	const char *p = r->buf, *end = p + n, *next;

	if (!*r->label) {
		push(r->to, p, n);
		return;
	}
	for (; p < end; p = next) {
		next = memchr(p, '\n', (size_t)(end - p));
		next = next ? next + 1 : end;
		push(r->to, r->label, strlen(r->label));
		push(r->to, p, (size_t)(next - p));
	}
}

/* Pass on the whole lines; or everything, when all is wanted, the buffer is full of one line, or nobody could get in between. */
static void pass(struct relay *r, bool all)
{
	const char *last = memrchr(r->buf, '\n', r->used);
	size_t n = last ? (size_t)(last - r->buf) + 1 : 0;

	if (all || (!n && r->used == RELAY_LINE) || (r->alone && !*r->label))
		n = r->used;
	lines(r, n);
	if (n && r->buf[n - 1] != '\n' && !r->alone)
		push(r->to, "\n", 1);
	memmove(r->buf, r->buf + n, r->used - n);
	r->used -= n;
}

/* What read() gave: more than 0, 0 at the end, or negative with nothing there */
static ssize_t take(struct relay *r)
{
	ssize_t n = read(r->from, r->buf + r->used, RELAY_LINE - r->used);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? n : 0;
	r->used += (size_t)n;
	pass(r, n == 0);
	return n;
}

void relay_move(struct relay *r)
{
	if (!take(r) || r->to->shut)
		relay_close(r);
}

void relay_end(struct relay *r)
{
	if (r->from < 0)
		return;
	while (take(r) > 0)
		;
	pass(r, true);
	relay_close(r);
}
