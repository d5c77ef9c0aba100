/* SPDX-License-Identifier: Apache-2.0 */
/* One proved connection. The link owns its descriptor and buffers; nothing here blocks, and nothing knows what a frame means. */
#include <boot/inner.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A peer whose machine is silent for this long is lost. A stopped process is not: its kernel still answers. */
enum { LOST_SECONDS = 30, IDLE_SECONDS = 10, PROBE_SECONDS = 5, FIRST_READ = 4096 };

int buf_need(struct buf *s, size_t more)
{
	size_t cap = s->cap ? s->cap : 256;
	unsigned char *p;

	if (s->at == s->len)
		s->at = s->len = 0;
	while (cap < s->len + more)
		cap *= 2;
	if (cap == s->cap)
		return TUTTI_OK;
	p = realloc(s->p, cap);
	if (!p)
		return err_set(TUTTI_ERR_NOMEM, "control tree: no memory for %zu bytes", cap);
	s->p = p;
	s->cap = cap;
	return TUTTI_OK;
}

void buf_free(struct buf *s)
{
	free(s->p);
	*s = (struct buf){ 0 };
}

static void socket_options(int fd)
{
	static const struct { int level, name, value; } rows[] = {
		{ IPPROTO_TCP, TCP_NODELAY, 1 },
		{ SOL_SOCKET, SO_KEEPALIVE, 1 },
		{ IPPROTO_TCP, TCP_KEEPIDLE, IDLE_SECONDS },
		{ IPPROTO_TCP, TCP_KEEPINTVL, PROBE_SECONDS },
		{ IPPROTO_TCP, TCP_KEEPCNT, (LOST_SECONDS - IDLE_SECONDS) / PROBE_SECONDS },
		{ IPPROTO_TCP, TCP_USER_TIMEOUT, LOST_SECONDS * 1000 },
	};

	/* a kernel that lacks one finds deaths later: no reason to refuse */
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		setsockopt(fd, rows[i].level, rows[i].name, &rows[i].value, sizeof rows[i].value);
}

int link_start(struct link *l, int fd, int peer, bool dialler, const unsigned char *session)
{
	*l = (struct link){ .fd = fd, .peer = peer, .dialler = dialler };
	memcpy(l->session, session, sizeof l->session);
	socket_options(fd);
	return buf_need(&l->in, FIRST_READ);
}

unsigned char *link_room(struct link *l, size_t len)
{
	if (buf_need(&l->out, frame_bytes(len)))
		return NULL;
	return l->out.p + l->out.len + FRAME_HEAD;
}

void link_put(struct link *l, uint32_t kind, size_t len)
{
	frame_seal(l->out.p + l->out.len, l->session, l->dialler, l->sent++, kind, len);
	l->out.len += frame_bytes(len);
}

int link_flush(struct link *l)
{
	while (!link_idle(l)) {
		ssize_t n = send(l->fd, l->out.p + l->out.at, l->out.len - l->out.at, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return TUTTI_PENDING;
		if (n < 0) {
			l->why = errno;
			return TUTTI_ERR_PEER;
		}
		l->out.at += (size_t)n;
	}
	return TUTTI_OK;
}

int link_fill(struct link *l)
{
	ssize_t n;

	do
		n = recv(l->fd, l->in.p + l->in.len, l->in.cap - l->in.len, MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n > 0) {
		l->in.len += (size_t)n;
		return TUTTI_OK;
	}
	if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
		return TUTTI_PENDING;
	l->why = n < 0 ? errno : 0;
	return TUTTI_ERR_PEER;
}

int link_next(struct link *l, struct frame *f)
{
	size_t have = l->in.len - l->in.at, need;
	int rc = frame_open(l->in.p + l->in.at, have, l->session, !l->dialler, l->received, f, &need);

	if (rc == TUTTI_OK) {
		l->in.at += need;
		l->received++;
	}
	if (rc != TUTTI_PENDING)
		return rc;
	memmove(l->in.p, l->in.p + l->in.at, have);
	l->in.at = 0;
	l->in.len = have;
	rc = buf_need(&l->in, need - have);     /* need > have: there is always room for the next recv */
	return rc ? rc : TUTTI_PENDING;
}

void link_end(struct link *l)
{
	if (l->fd >= 0)
		close(l->fd);
	l->fd = -1;
	buf_free(&l->in);
	buf_free(&l->out);
	buf_free(&l->up);
}
