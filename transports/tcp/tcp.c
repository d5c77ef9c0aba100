/* SPDX-License-Identifier: Apache-2.0 */
/* The slots of the tcp transport: lifetime, posting and the progress loop. One thread at a time owns an interface and all below it. */
#define _GNU_SOURCE
#include "tcp.h"
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { EVENTS = 32, RARELY = 64 };

static struct tcp_chan *chan_of(const struct net_op *op) { return &((struct tcp_ep *)op->ep)->chan[op->channel]; }

/* ---- lifetime ------------------------------------------------------------------------------------------------------ */

static int tcp_probe(const struct config *config, char *found, size_t cap)
{
	struct iface list[TCP_CANDIDATES];
	char why[ERR_TEXT];
	int n = iface_list(config->iface, list, TCP_CANDIDATES);
	if (n < 0) {
		snprintf(why, sizeof(why), "%s", err_last());
		snprintf(found, cap, "no address");
		return err_set(TUTTI_ERR_UNSUPPORTED, "%s", why);
	}
	size_t used = (size_t)snprintf(found, cap, "%d address%s:", n, n == 1 ? "" : "es");
	for (int i = 0; i < n && used < cap; i++)
		used += (size_t)snprintf(found + used, cap - used, "%s %s %s", i ? "," : "", list[i].name, list[i].text);
	return TUTTI_OK;
}

static void ep_free(struct tcp_ep *ep)
{
	for (int i = 0; i < NET_CHANNELS; i++)
		free(ep->chan[i].staging);
	free(ep);
}

static void tcp_quiesce(struct net_ep *base)
{
	if (!base->status) {            /* not a failure: iface->dead is for those */
		base->status = TUTTI_ERR_ABORTED;
		snprintf(base->why, sizeof(base->why), "aborted");
	}
	tcp_sever((struct tcp_ep *)base);
}

static void tcp_close(struct net_iface *iface)
{
	struct tcp_iface *f = (struct tcp_iface *)iface;
	tcp_sweep(f, true);
	for (struct tcp_ep *ep = f->eps, *next; ep; ep = next) {
		next = ep->next;
		tcp_quiesce(&ep->base);
		ep_free(ep);
	}
	for (struct tcp_early *e = f->early, *next; e; e = next) {
		next = e->next;
		shutdown(e->fd, SHUT_RDWR);
		close(e->fd);
		free(e);
	}
	tcp_unwatch(f, &f->listen);
	if (f->epfd >= 0)
		close(f->epfd);
	free(f);
}

static int tcp_open(struct net_iface **iface, const struct net_open *o)
{
	struct tcp_iface *f = calloc(1, sizeof(*f));
	if (!f)
		return err_set(TUTTI_ERR_NOMEM, "no memory for a tcp interface");
	f->base = (struct net_iface){ .rank = o->rank, .nranks = o->nranks };
	f->key = o->key;
	f->sockbuf = o->config->tcp_sockbuf > INT_MAX / 2 ? INT_MAX / 2 : (int)o->config->tcp_sockbuf;
	f->listen = (struct tcp_watch){ .fd = -1, .kind = WATCH_LISTEN };
	f->epfd = epoll_create1(EPOLL_CLOEXEC);
	int status = f->epfd < 0 ? err_sys("tcp: epoll_create1") : tcp_addr_open(f, o->config->iface);
	if (!status)
		status = tcp_listen(f, o->config->iface);
	if (status < 0) {
		tcp_close(&f->base);
		return status;
	}
	*iface = &f->base;
	return TUTTI_OK;
}

static int tcp_address(struct net_iface *iface, void *buf, size_t *len)
{
	return tcp_addr_put((struct tcp_iface *)iface, buf, len);
}

static int tcp_reaches(struct net_iface *iface, const void *addr, size_t len)
{
	struct tcp_addr to[TCP_CANDIDATES];
	int n = tcp_addr_candidates((struct tcp_iface *)iface, addr, len, to);
	return n < 0 ? n : TUTTI_OK;
}

static int tcp_connect(struct net_iface *iface, int peer, const void *addr, size_t len, struct net_ep **out)
{
	struct tcp_iface *f = (struct tcp_iface *)iface;
	struct tcp_ep *ep = calloc(1, sizeof(*ep));
	if (!ep)
		return err_set(TUTTI_ERR_NOMEM, "no memory for a tcp endpoint");
	ep->base = (struct net_ep){ .iface = iface, .peer = peer };
	ep->ncandidates = tcp_addr_candidates(f, addr, len, ep->to);
	if (ep->ncandidates < 0) {
		int status = ep->ncandidates;
		free(ep);
		return status;
	}
	for (int i = 0; i < NET_CHANNELS; i++) {
		struct tcp_chan *c = &ep->chan[i];
		*c = (struct tcp_chan){ .w = { .fd = -1, .kind = WATCH_CHANNEL }, .ep = ep, .index = (uint8_t)i };
		net_fifo_init(&c->sends);
		net_fifo_init(&c->recvs);
	}
	ep->next = f->eps;
	f->eps = ep;
	tcp_adopt(ep);
	*out = &ep->base;
	return TUTTI_OK;
}

static int tcp_describe(const struct net_ep *base, char *buf, size_t cap)
{
	const struct tcp_ep *ep = (const struct tcp_ep *)base;
	char to[IFACE_TEXT + 16];
	int n = 0;
	for (int i = 0; i < NET_CHANNELS; i++)
		n += ep->chan[i].w.fd >= 0;
	tcp_addr_text(&ep->to[0], to, sizeof(to));
	return snprintf(buf, cap, "tcp %s, %d connection%s", to, n, n == 1 ? "" : "s");
}

/* ---- posting ------------------------------------------------------------------------------------------------------- */

/* False: the operation is over already. */
static bool post(struct tcp_chan *c, struct net_op *op, struct net_fifo *q, uint32_t *seq)
{
	struct tcp_iface *f = tcp_iface_of(c->ep);
	if (!net_op_post(op, seq))
		return false;
	net_fifo_push(q, op);
	if (!c->active) {
		c->active = true;
		c->next = f->active;
		f->active = c;
	}
	if (c->w.fd < 0 && !c->dialling && f->base.rank > c->ep->base.peer)
		tcp_dial(c);
	return !op->complete;
}

static void tcp_send(struct net_op *op)
{
	struct tcp_chan *c = chan_of(op);
	if (post(c, op, &c->sends, &c->send_seq) && c->sends.head == op)
		tcp_send_some(c);
}

static void tcp_recv(struct net_op *op)
{
	struct tcp_chan *c = chan_of(op);
	if (!post(c, op, &c->recvs, &c->recv_seq) || !(op->flags & NET_VIEW) || c->staging)
		return;
	if (!(c->staging = aligned_alloc(4096, TCP_STAGING))) {
		net_ep_fail(op->ep, TUTTI_ERR_NOMEM, "no memory for a staging buffer of %d bytes", (int)TCP_STAGING);
		tcp_sever(c->ep);
	}
}

static void tcp_advance(struct net_op *op)
{
	struct tcp_chan *c = chan_of(op);
	if (c->sends.head == op)
		tcp_send_some(c);
	else if (c->recvs.head == op)
		tcp_recv_some(c);
}

/* ---- moving -------------------------------------------------------------------------------------------------------- */

static void chan_event(struct tcp_chan *c, uint32_t events)
{
	int error = 0;
	socklen_t len = sizeof(error);
	if (!(events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)))
		return;
	tcp_recv_some(c);               /* what came before the end */
	if (c->w.fd < 0)
		return;
	getsockopt(c->w.fd, SOL_SOCKET, SO_ERROR, &error, &len);
	tcp_lost(c->ep, error);
}

/* What changes rarely: the listening socket, handshakes, deaths of idle connections. */
static void look_around(struct tcp_iface *f)
{
	struct epoll_event ev[EVENTS];
	int n = epoll_wait(f->epfd, ev, EVENTS, 0);
	for (int i = 0; i < n; i++) {
		struct tcp_watch *w = ev[i].data.ptr;
		if (w->fd < 0)
			continue;       /* failed by an event before it */
		if (w->kind == WATCH_LISTEN)
			tcp_accept(f);
		else if (w->kind == WATCH_YOUNG)
			tcp_handshake(f, (struct tcp_young *)w);
		else
			chan_event((struct tcp_chan *)w, ev[i].events);
	}
	tcp_sweep(f, false);
}

/* A channel without operations stays in the list while the epoll set still wakes for it; arm() ends that. */
static bool idle(const struct tcp_chan *c)
{
	return !c->sends.head && !c->recvs.head && !(c->w.events & (EPOLLIN | EPOLLOUT));
}

static int tcp_progress(struct net_iface *iface)
{
	struct tcp_iface *f = (struct tcp_iface *)iface;
	int moved = 0;
	for (struct tcp_chan **p = &f->active, *c; (c = *p);) {
		moved |= tcp_send_some(c) | tcp_recv_some(c);
		c->active = !idle(c);
		if (c->active)
			p = &c->next;
		else
			*p = c->next;
	}
	if ((f->look && !moved) || ++f->turn % RARELY == 0)
		look_around(f);
	f->look -= f->look > 0;
	moved |= f->news;
	f->news = false;
	return moved;
}

static int tcp_arm(struct net_iface *iface)
{
	struct tcp_iface *f = (struct tcp_iface *)iface;
	for (struct tcp_chan *c = f->active; c; c = c->next) {
		uint32_t want = EPOLLRDHUP | (tcp_wants_recv(c) ? EPOLLIN : 0) | (tcp_wants_send(c) ? EPOLLOUT : 0);
		if (c->w.fd >= 0 && c->w.events != want && tcp_watch(f, &c->w, want) < 0) {
			net_ep_fail(&c->ep->base, TUTTI_ERR_SYSTEM, "%s", err_last());
			tcp_sever(c->ep);
		}
	}
	f->look = 2;            /* before the sleep and after it */
	return f->epfd;
}

const struct net_transport tcp_transport = {
	.name = "tcp",
	.help = "TCP, IPv4 and IPv6: one connection per peer and channel",
	.probe = tcp_probe,
	.open = tcp_open,
	.close = tcp_close,
	.address = tcp_address,
	.reaches = tcp_reaches,
	.connect = tcp_connect,
	.letter = net_no_letter,
	.send = tcp_send,
	.recv = tcp_recv,
	.advance = tcp_advance,
	.release = tcp_release,
	.progress = tcp_progress,
	.arm = tcp_arm,
	.quiesce = tcp_quiesce,
	.describe = tcp_describe,
};
