/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From nothing to an authenticated connection. The higher rank dials a channel's connection when it first posts there, the lower accepts.
 * Both run in progress(), from events of the epoll set. A young connection is freed by tcp_sweep alone, so that events of one batch never
 * point to a freed one.
 *
 * A dialler whose peer has accepted is in no hurry: the peer answers when it next calls us, which may be after minutes of computing. The
 * acceptor drops whoever is slow at a step; a rank that was slow for good reason finds its handshake closed after a long time, and dials
 * again. So that a dialler knows which of the two happened, the acceptor ends every handshake that it takes by one byte of welcome: a proof
 * that was sent may have found nobody.
 */
#define _GNU_SOURCE
#include "tcp.h"
#include <base/clock.h>
#include <base/log.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define PURPOSE 0x74637002      /* "tcp", version 2 */
#define WELCOME 'w'

int tcp_watch(struct tcp_iface *f, struct tcp_watch *w, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = w };
	if (epoll_ctl(f->epfd, EPOLL_CTL_MOD, w->fd, &ev) < 0 && (errno != ENOENT || epoll_ctl(f->epfd, EPOLL_CTL_ADD, w->fd, &ev) < 0))
		return err_sys("tcp: epoll_ctl");
	w->events = events;
	return TUTTI_OK;
}

/* A forked child may hold the connection too: closing alone would not tell the peer. */
static void hang_up(int fd)
{
	(void)shutdown(fd, SHUT_RDWR);
	close(fd);
}

/* By hand out of the set: while a forked child holds the descriptor, closing does not do that. The listening socket stays the child's. */
void tcp_unwatch(struct tcp_iface *f, struct tcp_watch *w)
{
	if (w->fd >= 0) {
		(void)epoll_ctl(f->epfd, EPOLL_CTL_DEL, w->fd, NULL);
		if (w->kind == WATCH_LISTEN)
			close(w->fd);
		else
			hang_up(w->fd);
	}
	w->fd = -1;
	w->events = 0;
}

static void set(int fd, int level, int name, int value)
{
	(void)setsockopt(fd, level, name, &value, sizeof(value));       /* each only improves a connection that works without it */
}

/*
 * Keepalive finds a machine that is gone while a connection is idle. No TCP_USER_TIMEOUT: it also ends connections whose receiver keeps its
 * window closed, as a rank that computes for long does; machines that vanish in mid-message are found by the control tree.
 */
static void tune(const struct tcp_iface *f, int fd)
{
	set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	set(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
	set(fd, IPPROTO_TCP, TCP_KEEPIDLE, 10);
	set(fd, IPPROTO_TCP, TCP_KEEPINTVL, 5);
	set(fd, IPPROTO_TCP, TCP_KEEPCNT, 4);
	if (f->sockbuf) {
		set(fd, SOL_SOCKET, SO_SNDBUF, f->sockbuf);
		set(fd, SOL_SOCKET, SO_RCVBUF, f->sockbuf);
	}
}

/* ---- listening ---------------------------------------------------------------------------------------------------- */

/* Bound to one address when the user chose, else to all. */
static int listen_on(const struct tcp_iface *f, const struct sockaddr *sa, socklen_t len)
{
	int fd = socket(sa->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	if (sa->sa_family == AF_INET6)
		set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
	tune(f, fd);
	if (bind(fd, sa, len) < 0 || listen(fd, SOMAXCONN) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

int tcp_listen(struct tcp_iface *f, const char *want)
{
	struct sockaddr_in6 any6 = { .sin6_family = AF_INET6, .sin6_addr = in6addr_any };
	struct sockaddr_in any4 = { .sin_family = AF_INET };
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);
	if (*want) {
		f->naddr = 1;
		f->listen.fd = listen_on(f, (struct sockaddr *)&f->addr[0].addr, f->addr[0].len);
	} else {
		f->listen.fd = listen_on(f, (struct sockaddr *)&any6, sizeof(any6));
		if (f->listen.fd < 0)           /* no IPv6 here */
			f->listen.fd = listen_on(f, (struct sockaddr *)&any4, sizeof(any4));
	}
	if (f->listen.fd < 0 || getsockname(f->listen.fd, (struct sockaddr *)&sa, &len) < 0)
		return err_sys("tcp: cannot listen on %s", *want ? f->addr[0].text : "any address");
	f->port = ((struct sockaddr_in *)&sa)->sin_port;
	return tcp_watch(f, &f->listen, EPOLLIN);
}

/* ---- young connections --------------------------------------------------------------------------------------------- */

static struct tcp_young *young_new(struct tcp_iface *f, int fd, struct tcp_chan *c)
{
	struct tcp_young *y = calloc(1, sizeof(*y));
	if (!y)
		return NULL;
	y->w = (struct tcp_watch){ .fd = fd, .kind = WATCH_YOUNG };
	y->chan = c;
	y->deadline = CLOCK_NEVER;
	y->next = f->young;
	f->young = y;
	f->nyoung++;
	return y;
}

static void fail(struct tcp_ep *ep, int status)
{
	net_ep_fail(&ep->base, status, "%s", err_last());
	tcp_sever(ep);
}

/* The connection is proved: from now on it is the channel's. */
static void chan_up(struct tcp_chan *c, int fd)
{
	c->w.fd = fd;
	tcp_iface_of(c->ep)->news = true;
	if (tcp_watch(tcp_iface_of(c->ep), &c->w, EPOLLRDHUP) < 0)
		fail(c->ep, TUTTI_ERR_SYSTEM);
}

static int cannot_connect(const struct tcp_young *y, int error)
{
	char to[IFACE_TEXT + 16];
	tcp_addr_text(&y->chan->ep->to[y->candidate], to, sizeof(to));
	return err_set(TUTTI_ERR_PEER, "cannot connect to %s: %s", to, strerror(error));
}

static int dial_one(struct tcp_iface *f, struct tcp_young *y)
{
	struct tcp_chan *c = y->chan;
	const struct tcp_addr *to = &c->ep->to[y->candidate];
	tcp_unwatch(f, &y->w);
	y->w.fd = socket(to->sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (y->w.fd < 0)
		return cannot_connect(y, errno);
	tune(f, y->w.fd);
	if (connect(y->w.fd, (const struct sockaddr *)&to->sa, to->len) < 0 && errno != EINPROGRESS)
		return cannot_connect(y, errno);
	auth_dial(&y->auth, f->key, y->w.fd, PURPOSE, c->index, f->base.rank, c->ep->base.peer);
	y->connecting = true;
	y->began = clock_ns();
	y->deadline = y->candidate + 1 < c->ep->ncandidates ? clock_after_ms(TCP_CONNECT_MS) : CLOCK_NEVER;
	return tcp_watch(f, &y->w, EPOLLOUT);
}

/* Try y->candidate and those after it until one does not fail at once. status and err_last: why the one before did. */
static void dial_on(struct tcp_iface *f, struct tcp_young *y, int status)
{
	for (; y->candidate < y->chan->ep->ncandidates; y->candidate++)
		if (!(status = dial_one(f, y)))
			return;
	fail(y->chan->ep, status);
}

void tcp_dial(struct tcp_chan *c)
{
	struct tcp_iface *f = tcp_iface_of(c->ep);
	struct tcp_young *y = young_new(f, -1, c);
	c->dialling = true;
	if (y)
		dial_on(f, y, TUTTI_OK);
	else
		fail(c->ep, err_set(TUTTI_ERR_NOMEM, "no memory for a connection"));
}

static int connected(struct tcp_young *y)
{
	int error = 0;
	socklen_t len = sizeof(error);
	if (getsockopt(y->w.fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		error = errno;
	if (error)
		return cannot_connect(y, error);
	y->connecting = false;
	y->deadline = CLOCK_NEVER;
	return TUTTI_OK;
}

static int welcomed(const struct tcp_young *y)
{
	unsigned char byte;
	ssize_t n = recv(y->w.fd, &byte, 1, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
		return TUTTI_PENDING;
	if (n <= 0)
		return err_set(TUTTI_ERR_PEER, "the peer closed the connection at the end of the handshake");
	return byte == WELCOME ? TUTTI_OK : err_set(TUTTI_ERR_AUTH, "handshake: expected a welcome (%02x), got %02x", WELCOME, byte);
}

static void dialled(struct tcp_iface *f, struct tcp_young *y, int status)
{
	if (!status) {
		chan_up(y->chan, y->w.fd);
		y->w.fd = -1;
		return;
	}
	bool dropped_for_slowness = !y->connecting && clock_ns() - y->began > TCP_HANDSHAKE_MS / 2 * (int64_t)1000000;
	y->candidate += !dropped_for_slowness;
	dial_on(f, y, status);
}

/* ---- accepting ----------------------------------------------------------------------------------------------------- */

static struct tcp_ep *ep_of(struct tcp_iface *f, int peer)
{
	struct tcp_ep *ep = f->eps;
	while (ep && ep->base.peer != peer)
		ep = ep->next;
	return ep;
}

/* A connection for a peer that we have not connected to yet. A second for the channel replaces the first: its dialler gave that one up. */
static void keep_early(struct tcp_iface *f, struct tcp_young *y)
{
	struct tcp_early *e = f->early;
	while (e && (e->peer != y->auth.peer || e->channel != y->auth.tag))
		e = e->next;
	if (e) {
		hang_up(e->fd);
	} else {
		if (!(e = malloc(sizeof(*e))))
			return;
		*e = (struct tcp_early){ f->early, -1, y->auth.peer, y->auth.tag };
		f->early = e;
	}
	(void)epoll_ctl(f->epfd, EPOLL_CTL_DEL, y->w.fd, NULL);
	e->fd = y->w.fd;
	y->w.fd = -1;
}

static bool welcome(const struct tcp_young *y)
{
	return send(y->w.fd, &(unsigned char){ WELCOME }, 1, MSG_DONTWAIT | MSG_NOSIGNAL) == 1;
}

static void accepted(struct tcp_iface *f, struct tcp_young *y, int status)
{
	const struct auth *a = &y->auth;
	struct tcp_ep *ep = status ? NULL : ep_of(f, a->peer);
	if (status)
		log_msg(LOG_INFO, "tcp: refused a connection: %s", err_last());
	else if (a->peer <= f->base.rank || a->peer >= f->base.nranks || a->tag >= NET_CHANNELS)
		log_msg(LOG_WARN, "tcp: expected a connection of a rank %d..%d for a channel below %d, got rank %d, channel %u",
		        f->base.rank + 1, f->base.nranks - 1, NET_CHANNELS, a->peer, (unsigned)a->tag);
	else if (ep && (ep->base.status || ep->chan[a->tag].w.fd >= 0))
		log_msg(LOG_INFO, "tcp: refused a connection of rank %d: channel %u needs none", a->peer, (unsigned)a->tag);
	else if (!welcome(y))
		log_msg(LOG_INFO, "tcp: rank %d left at the end of the handshake", a->peer);
	else if (!ep)
		keep_early(f, y);
	else {
		chan_up(&ep->chan[a->tag], y->w.fd);
		y->w.fd = -1;
	}
	tcp_unwatch(f, &y->w);  /* whatever was not taken over */
}

void tcp_adopt(struct tcp_ep *ep)
{
	for (struct tcp_early **p = &tcp_iface_of(ep)->early, *e; (e = *p);) {
		if (e->peer != ep->base.peer) {
			p = &e->next;
			continue;
		}
		*p = e->next;
		chan_up(&ep->chan[e->channel], e->fd);
		free(e);
	}
}

/* accept4 failed. What waits for resources would keep the listening socket readable and this rank awake: it listens again in a while. */
static void not_accepted(struct tcp_iface *f, int error)
{
	if (error != EMFILE && error != ENFILE && error != ENOBUFS && error != ENOMEM)
		return;
	if (!f->warned)
		log_msg(LOG_WARN, "tcp: cannot accept a connection: %s%s", strerror(error), error == EMFILE ? " (ulimit -n)" : "");
	f->warned = true;
	f->listen_at = clock_after_ms(TCP_RETRY_MS);
	(void)tcp_watch(f, &f->listen, 0);
}

void tcp_accept(struct tcp_iface *f)
{
	while (f->nyoung < TCP_YOUNG) {
		int fd = accept4(f->listen.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		struct tcp_young *y = fd < 0 ? NULL : young_new(f, fd, NULL);
		if (!y) {
			not_accepted(f, fd < 0 ? errno : ENOMEM);
			if (fd >= 0)
				close(fd);
			return;
		}
		tune(f, fd);
		auth_accept(&y->auth, f->key, fd, PURPOSE, f->base.rank);
		y->stage = UINT8_MAX;
		tcp_handshake(f, y);
	}
	(void)tcp_watch(f, &f->listen, 0);      /* tcp_sweep listens again */
}

/* ---- both ---------------------------------------------------------------------------------------------------------- */

static int await(struct tcp_iface *f, struct tcp_young *y)
{
	uint32_t events = auth_events(&y->auth) == POLLOUT ? EPOLLOUT : EPOLLIN;
	if (!y->chan && y->stage != y->auth.state)
		y->deadline = clock_after_ms(TCP_HANDSHAKE_MS);
	y->stage = y->auth.state;
	return y->w.events == events ? TUTTI_OK : tcp_watch(f, &y->w, events);
}

void tcp_handshake(struct tcp_iface *f, struct tcp_young *y)
{
	int status = y->connecting ? connected(y) : TUTTI_OK;
	if (!status)
		status = auth_step(&y->auth);
	if (!status && y->chan)
		status = welcomed(y);
	if (status == TUTTI_PENDING && !(status = await(f, y)))
		return;
	if (y->chan)
		dialled(f, y, status);
	else
		accepted(f, y, status);
}

/* The late one may be us: what an accepted one is waited for may be there already. */
static void expire(struct tcp_iface *f, struct tcp_young *y, int64_t now)
{
	if (y->chan) {
		dialled(f, y, cannot_connect(y, ETIMEDOUT));
		return;
	}
	tcp_handshake(f, y);
	if (now > y->deadline)
		tcp_unwatch(f, &y->w);
}

void tcp_sweep(struct tcp_iface *f, bool all)
{
	int64_t now = f->young || !f->listen.events ? clock_ns() : 0;
	for (struct tcp_young **p = &f->young, *y; (y = *p);) {
		if (all)
			tcp_unwatch(f, &y->w);
		else if (y->w.fd >= 0 && now > y->deadline)
			expire(f, y, now);
		if (y->w.fd >= 0) {
			p = &y->next;
			continue;
		}
		*p = y->next;
		f->nyoung--;
		free(y);
	}
	if (!f->listen.events && f->nyoung < TCP_YOUNG && now >= f->listen_at && !all)
		(void)tcp_watch(f, &f->listen, EPOLLIN);
}
