/* SPDX-License-Identifier: Apache-2.0 */
/* Each relay owns the read end of its pipe; outputs are the process's own stdout and stderr. One thread. */
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <tools/relay.h>
#include <unistd.h>

static void relay_close(struct relay *r)
{
	close(r->from);
	r->from = -1;
	r->used = 0;
}

/* In pieces that a pipe takes without blocking once it is writable, so that signals are seen while nobody reads. */
static bool put(const struct relay *r, const char *p, size_t n, const sigset_t *open, bool (*stop)(void))
{
	while (n) {
		struct pollfd fd = { .fd = r->to, .events = POLLOUT };
		size_t piece = n < PIPE_BUF ? n : PIPE_BUF;
		ssize_t done;

		if (ppoll(&fd, 1, NULL, open) < 0 && errno == EINTR) {
			if (stop())
				return false;
			continue;
		}
		done = write(r->to, p, piece);
		if (done < 0 && errno != EINTR && errno != EAGAIN) {
			if (errno != EPIPE)
				fprintf(stderr, "tutti: cannot pass on output: %s\n", strerror(errno));
			return false;
		}
		if (done > 0) {
			p += done;
			n -= (size_t)done;
		}
	}
	return true;
}

/* n bytes that end with a newline, or do not need one */
static bool lines(const struct relay *r, size_t n, const sigset_t *open, bool (*stop)(void))
{
	const char *p = r->buf, *end = p + n, *next;

	if (!*r->label)
		return put(r, p, n, open, stop);
	for (; p < end; p = next) {
		next = memchr(p, '\n', (size_t)(end - p));
		next = next ? next + 1 : end;
		if (!put(r, r->label, strlen(r->label), open, stop) || !put(r, p, (size_t)(next - p), open, stop))
			return false;
	}
	return true;
}

/* Pass on the whole lines; or everything, when all is wanted, the buffer is full of one line, or nobody could get in between. */
static bool flush(struct relay *r, bool all, const sigset_t *open, bool (*stop)(void))
{
	const char *last = memrchr(r->buf, '\n', r->used);
	size_t n = last ? (size_t)(last - r->buf) + 1 : 0;

	if (all || (!n && r->used == RELAY_LINE) || (r->alone && !*r->label))
		n = r->used;
	if (!lines(r, n, open, stop))
		return false;
	if (n && r->buf[n - 1] != '\n' && !r->alone && !put(r, "\n", 1, open, stop))
		return false;
	memmove(r->buf, r->buf + n, r->used - n);
	r->used -= n;
	return true;
}

/* True: something was passed on or kept. False with errno EAGAIN: nothing is there; otherwise the end, or an output that nobody takes. */
static bool step(struct relay *r, const sigset_t *open, bool (*stop)(void))
{
	ssize_t got = read(r->from, r->buf + r->used, RELAY_LINE - r->used);

	if (got <= 0) {
		errno = got ? errno : 0;
		return false;
	}
	r->used += (size_t)got;
	if (flush(r, false, open, stop))
		return true;
	errno = EPIPE;
	return false;
}

bool relay_move(struct relay *r, const sigset_t *open, bool (*stop)(void))
{
	if (step(r, open, stop) || errno == EAGAIN || errno == EINTR)
		return true;
	if (!errno)
		flush(r, true, open, stop);
	relay_close(r);
	return false;
}

void relay_end(struct relay *r, const sigset_t *open, bool (*stop)(void))
{
	while (r->from >= 0 && step(r, open, stop))
		;
	if (r->from < 0)
		return;
	flush(r, true, open, stop);
	relay_close(r);
}
