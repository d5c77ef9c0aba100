/* SPDX-License-Identifier: Apache-2.0 */
/* The verbs transport: its slots. Read from the bottom. verbs.h says how it works. */
#define _GNU_SOURCE
#include "verbs.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#define MAGIC 0x7662746du
enum { PIECE = 128 << 10, PIECE_MIN = 4096, PIECE_MAX = 16 << 20 };

static struct verbs_iface *self(struct net_iface *iface) { return (struct verbs_iface *)iface; }

/* ---- what is here? -------------------------------------------------------------------------------------------------- */

static int choose(struct verbs_port *ports, int *n, const struct config *c, int rail[VERBS_RAILS], int *rails)
{
	struct verbs_wish w = { c->verbs_devices, c->verbs_gid, verbs_my_numa() };
	int status = verbs_find(ports, VERBS_PORTS, n);
	if (status < 0)
		return status;
	*rails = verbs_choose(ports, *n, &w, rail);
	if (*rails)
		return TUTTI_OK;
	return err_set(TUTTI_ERR_UNSUPPORTED, "none of %d RDMA ports can be used; %s:%d: %s", *n, ports[0].device, ports[0].port, ports[0].why);
}

static size_t port_text(const struct verbs_port *p, char *buf, size_t cap)
{
	char gid[64] = "no GID";
	if (p->rail)
		verbs_gid_text(p->gids[p->gid].raw, gid, sizeof(gid));
	int n = snprintf(buf, cap, "%s:%d %s%s%s, %g Gb/s, numa %d: %s\n", p->device, p->port, p->infiniband ? "InfiniBand" : "Ethernet", p->rail ? ", GID " : "",
	                 p->rail ? gid : "", p->gbits, p->numa, p->why);
	return n < 0 ? 0 : (size_t)n < cap ? (size_t)n : cap - 1;
}

/* CAP_IPC_LOCK: no limit on what is pinned. */
static bool may_pin_all(void)
{
	enum { IPC_LOCK = 14 };
	unsigned long long caps = 0;
	char line[256];
	FILE *f = fopen("/proc/self/status", "re");
	while (f && fgets(line, sizeof(line), f) && sscanf(line, "CapEff: %llx", &caps) != 1)
		;
	if (f)
		fclose(f);
	return caps >> IPC_LOCK & 1;
}

/* May so much be pinned as endpoints to that many ranks need? */
static int check_memlock(size_t piece, int peers)
{
	unsigned long long need = (unsigned long long)peers * (2 * sizeof(struct verbs_box) + 2 * VERBS_RING * piece);
	struct rlimit r;
	if (getrlimit(RLIMIT_MEMLOCK, &r) || r.rlim_cur >= need || may_pin_all())
		return TUTTI_OK;
	return err_set(TUTTI_ERR_UNSUPPORTED, "only %llu KiB of memory may be pinned, %d peers need %llu: set `ulimit -l unlimited` (in /etc/security/limits.conf: memlock)",
	               (unsigned long long)r.rlim_cur >> 10, peers, need >> 10);
}

static int verbs_probe(const struct config *c, char *found, size_t cap)
{
	struct verbs_port *ports = calloc(VERBS_PORTS, sizeof(*ports));
	int n = 0, rails = 0, rail[VERBS_RAILS];
	size_t at = 0;
	if (cap)
		*found = 0;
	if (!ports)
		return err_set(TUTTI_ERR_NOMEM, "no memory for the ports");
	int status = choose(ports, &n, c, rail, &rails);
	for (int i = 0; i < n && at + 1 < cap; i++)
		at += port_text(&ports[i], found + at, cap - at);
	if (!status)
		status = check_memlock(PIECE, 1);
	free(ports);
	return status;
}

/* ---- opening and closing -------------------------------------------------------------------------------------------- */

static int watch(struct verbs_iface *s, int fd)
{
	struct epoll_event e = { .events = EPOLLIN, .data.fd = fd };
	return epoll_ctl(s->epfd, EPOLL_CTL_ADD, fd, &e) ? err_sys("epoll_ctl") : TUTTI_OK;
}

static void ep_free(struct verbs_ep *e)
{
	for (int i = 0; i < VERBS_RAILS; i++)
		free(e->qp[i].signalled);
	for (int c = 0; c < NET_CHANNELS; c++) {
		verbs_buf_free(&e->tx[c].bounce);
		verbs_buf_free(&e->rx[c].stage);
		free(e->rx[c].table);
	}
	verbs_buf_free(&e->boxes);
	free(e);
}

static void verbs_close(struct net_iface *iface)
{
	struct verbs_iface *s = self(iface);
	if (s->straight | s->copied | s->lent | s->bounced)
		log_msg(LOG_INFO, "verbs: received %llu bytes in place, %llu by copying; sent %llu in place, %llu by copying", (unsigned long long)s->straight,
		        (unsigned long long)s->copied, (unsigned long long)s->lent, (unsigned long long)s->bounced);
	for (struct verbs_ep *e = s->eps; e; e = e->next)
		verbs_qps_destroy(e);
	while (s->eps) {
		struct verbs_ep *e = s->eps;
		s->eps = e->next;
		ep_free(e);
	}
	verbs_regions_free(s);
	for (int i = 0; i < VERBS_RAILS; i++)
		verbs_rail_close(&s->rail[i]);
	if (s->epfd >= 0)
		close(s->epfd);
	free(s);
}

static int open_rails(struct verbs_iface *s)
{
	enum { CQE_MIN = 1024, CQE_MAX = 16384 };       /* grown when endpoints need more, where the device can */
	int64_t all = (int64_t)s->iface.nranks * (s->send_depth + s->recv_depth);
	int cqe = all < CQE_MIN ? CQE_MIN : all > CQE_MAX ? CQE_MAX : (int)all;
	struct verbs_port *ports = calloc(VERBS_PORTS, sizeof(*ports));
	int n, rail[VERBS_RAILS], status = ports ? choose(ports, &n, s->config, rail, &s->rails) : err_set(TUTTI_ERR_NOMEM, "no memory for the ports");
	for (int i = 0; i < s->rails && !status; i++) {
		s->rail[i].port = ports[rail[i]];
		status = verbs_rail_open(&s->rail[i], cqe);
		if (!status)
			status = watch(s, s->rail[i].wake->fd);
		if (!status)
			status = watch(s, s->rail[i].ctx->async_fd);
	}
	free(ports);
	return status;
}

static int verbs_open(struct net_iface **iface, const struct net_open *o)
{
	const struct config *c = o->config;
	size_t piece = c->verbs_slot ? verbs_grain(c->verbs_slot) : PIECE;
	if (piece < PIECE_MIN || piece > PIECE_MAX)
		return err_set(TUTTI_ERR_CONFIG, "TUTTI_VERBS_SLOT: expected %d..%d bytes, got %zu", PIECE_MIN, PIECE_MAX, c->verbs_slot);
	struct verbs_iface *s = calloc(1, sizeof(*s));
	if (!s)
		return err_set(TUTTI_ERR_NOMEM, "no memory for the verbs transport");
	s->iface = (struct net_iface){ .t = &verbs_transport, .rank = o->rank, .nranks = o->nranks };
	s->config = c;
	s->post = o->post;
	s->piece = piece;
	s->send_depth = c->verbs_sends;
	s->recv_depth = c->verbs_receives;
	s->epfd = epoll_create1(EPOLL_CLOEXEC);
	int status = s->epfd < 0 ? err_sys("epoll_create1") : check_memlock(piece, o->nranks - 1);
	if (!status)
		status = open_rails(s);
	if (status < 0)
		verbs_close(&s->iface);
	else
		*iface = &s->iface;
	return status;
}

/* ---- addresses ------------------------------------------------------------------------------------------------------ */

static void address_of(const struct verbs_iface *s, struct verbs_address *a)
{
	*a = (struct verbs_address){ .magic = MAGIC, .rails = (uint32_t)s->rails };
	for (int i = 0; i < s->rails; i++) {
		const struct verbs_port *p = &s->rail[i].port;
		struct verbs_place *l = &a->rail[i];
		l->infiniband = p->infiniband;
		l->lid = (uint16_t)p->lid;
		l->mtu = (uint16_t)verbs_mtu(s, p);
		memcpy(l->gid, p->gids[p->gid].raw, sizeof(l->gid));
	}
}

static int verbs_address_out(struct net_iface *iface, void *buf, size_t *len)
{
	struct verbs_address a;
	address_of(self(iface), &a);
	memcpy(buf, &a, sizeof(a));
	*len = sizeof(a);
	return TUTTI_OK;
}

/* Another rank's bytes. Rails pair up by their number; how many do, or why none. */
static int pair_up(const struct verbs_iface *s, const void *addr, size_t len, struct verbs_address *its)
{
	struct verbs_address mine;
	address_of(s, &mine);
	if (len != sizeof(*its))
		return err_set(TUTTI_ERR_UNSUPPORTED, "a verbs address has %zu bytes, expected %zu", len, sizeof(*its));
	memcpy(its, addr, len);
	if (its->magic != MAGIC || its->rails < 1 || its->rails > VERBS_RAILS)
		return err_set(TUTTI_ERR_UNSUPPORTED, "not a verbs address of this version");
	int rails = mine.rails < its->rails ? (int)mine.rails : (int)its->rails;
	for (int i = 0; i < rails; i++) {
		const struct verbs_place *a = &mine.rail[i], *b = &its->rail[i];
		const char *apart = verbs_apart(a->infiniband, a->gid, b->infiniband, b->gid);
		if (apart && !i)
			return err_set(TUTTI_ERR_UNSUPPORTED, "rail 0 (%s:%d): %s", s->rail[0].port.device, s->rail[0].port.port, apart);
		if (apart)
			return i;
	}
	return rails;
}

static int verbs_reaches(struct net_iface *iface, const void *addr, size_t len)
{
	struct verbs_address its;
	int rails = pair_up(self(iface), addr, len, &its);
	return rails < 0 ? rails : TUTTI_OK;
}

/* ---- endpoints ------------------------------------------------------------------------------------------------------ */

static struct verbs_ep *ep_of(struct verbs_iface *s, int peer)
{
	struct verbs_ep *e = s->eps;
	while (e && e->ep.peer != peer)
		e = e->next;
	if (e || !(e = calloc(1, sizeof(*e))))
		return e;
	e->ep = (struct net_ep){ .iface = &s->iface, .peer = peer };
	for (int c = 0; c < NET_CHANNELS; c++) {
		e->tx[c].end = (struct verbs_end){ .e = e, .channel = c, .sends = true };
		e->rx[c].end = (struct verbs_end){ .e = e, .channel = c };
		net_fifo_init(&e->tx[c].queue);
		net_fifo_init(&e->tx[c].await);
		net_fifo_init(&e->rx[c].queue);
	}
	e->next = s->eps;
	s->eps = e;
	return e;
}

static void end_all(struct net_fifo *f, int status)
{
	while (f->head)
		net_op_end(net_fifo_pop(f), status);
}

void verbs_lost(struct verbs_ep *e, int status, const char *why)
{
	net_ep_fail(&e->ep, status, "%s", why);
	if (e->state == VERBS_DEAD)
		return;
	e->ep.iface->expected -= e->state == VERBS_CONNECTING;
	e->state = VERBS_DEAD;
	verbs_qps_destroy(e);
	for (int c = 0; c < NET_CHANNELS; c++) {
		end_all(&e->tx[c].await, e->ep.status);
		end_all(&e->tx[c].queue, e->ep.status);
		end_all(&e->rx[c].queue, e->ep.status);
		e->rx[c].next = NULL;
	}
}

static int say(struct verbs_ep *e, enum verbs_letter_kind kind)
{
	struct verbs_iface *s = verbs_of(e);
	struct verbs_letter l = { .kind = kind, .rails = (uint32_t)e->rails, .receives = (uint32_t)s->recv_depth, .box = (uintptr_t)e->box };
	for (int i = 0; i < e->rails; i++) {
		l.qpn[i] = e->qp[i].qp->qp_num;
		l.psn[i] = e->qp[i].psn;
		l.rkey[i] = e->boxes.mr[i]->rkey;
	}
	return s->post.post(s->post.ctx, &s->iface, e->ep.peer, &l, sizeof(l));
}

/* Both know how to reach each other: from here on the peer may write. */
static void meet(struct verbs_ep *e)
{
	if (e->state == VERBS_CONNECTING && e->here) {
		int status = (int)e->its.rails == e->rails ? verbs_qps_connect(e) : err_set(TUTTI_ERR_PEER, "it sees another number of rails");
		if (!status)
			status = say(e, VERBS_READY);
		if (status < 0)
			verbs_lost(e, status, err_last());
		e->here = false;
	}
	if (e->state == VERBS_CONNECTING && e->ready && !e->here && e->its.rails) {
		e->state = VERBS_UP;
		e->ep.iface->expected--;
		verbs_of(e)->owing = true;      /* credits of what came before it could be answered */
	}
}

static int verbs_connect(struct net_iface *iface, int peer, const void *addr, size_t len, struct net_ep **ep)
{
	struct verbs_iface *s = self(iface);
	struct verbs_address its;
	int rails = pair_up(s, addr, len, &its);
	if (rails < 0)
		return rails;
	struct verbs_ep *e = ep_of(s, peer);
	if (!e)
		return err_set(TUTTI_ERR_NOMEM, "no memory for an endpoint");
	if (e->state != VERBS_NEW) {
		*ep = &e->ep;
		return TUTTI_OK;
	}
	e->rails = rails;
	e->place = its;
	int status = verbs_buf_new(s, &e->boxes, 2 * sizeof(struct verbs_box));
	e->box = (struct verbs_box *)e->boxes.at;
	e->mirror = e->box + 1;
	if (!status)
		status = verbs_qps_make(e);
	if (!status)
		status = say(e, VERBS_HERE);
	if (status < 0) {
		verbs_lost(e, status, err_last());
		return status;
	}
	*ep = &e->ep;
	e->state = VERBS_CONNECTING;
	iface->expected++;
	meet(e);
	return TUTTI_OK;
}

static void verbs_letter_in(struct net_iface *iface, int peer, const void *bytes, size_t len)
{
	struct verbs_letter l;
	struct verbs_ep *e = ep_of(self(iface), peer);
	if (!e || e->state == VERBS_DEAD)
		return;
	if (len == sizeof(l))
		memcpy(&l, bytes, len);
	if (len != sizeof(l) || l.rails < 1 || l.rails > VERBS_RAILS || l.receives <= VERBS_RESERVE || (l.kind != VERBS_HERE && l.kind != VERBS_READY) ||
	    (l.kind == VERBS_HERE && e->its.rails)) {
		verbs_lost(e, TUTTI_ERR_PEER, "a letter of it cannot be read");
		return;
	}
	if (l.kind == VERBS_HERE) {
		e->its = l;
		e->here = true;
	} else {
		e->ready = true;
	}
	meet(e);
}

static void verbs_quiesce(struct net_ep *ep)
{
	struct verbs_ep *e = (struct verbs_ep *)ep;
	if (!ep->status) {
		ep->status = TUTTI_ERR_ABORTED;
		snprintf(ep->why, sizeof(ep->why), "quiesced");
	}
	verbs_lost(e, ep->status, "");
}

static int verbs_describe(const struct net_ep *ep, char *buf, size_t cap)
{
	const struct verbs_ep *e = (const struct verbs_ep *)ep;
	const struct verbs_iface *s = verbs_of(e);
	int n = snprintf(buf, cap, "verbs");
	for (int i = 0; i < e->rails; i++) {
		const struct verbs_port *p = &s->rail[i].port;
		char gid[64];
		size_t at = (size_t)n < cap ? (size_t)n : cap;
		if (i)
			n += snprintf(buf ? buf + at : NULL, cap - at, " + %s:%d", p->device, p->port);
		else
			n += snprintf(buf ? buf + at : NULL, cap - at, " %s:%d %s gid %d %s, numa %d, %g Gb/s", p->device, p->port,
			              p->infiniband ? "InfiniBand" : "RoCE v2", p->gids[p->gid].index, verbs_gid_text(p->gids[p->gid].raw, gid, sizeof(gid)),
			              p->numa, p->gbits);
	}
	return n;
}

/* ---- operations ----------------------------------------------------------------------------------------------------- */

void verbs_activate(struct verbs_end *end)
{
	struct verbs_iface *s = verbs_of(end->e);
	if (end->active)
		return;
	end->active = true;
	end->next = s->active;
	s->active = end;
}

static void verbs_send(struct net_op *op)
{
	struct verbs_ep *e = (struct verbs_ep *)op->ep;
	struct verbs_tx *t = &e->tx[op->channel];
	if (!net_op_post(op, &t->seq))
		return;
	net_fifo_push(&t->queue, op);
	verbs_activate(&t->end);
	if (t->queue.head == op && e->state == VERBS_UP)
		verbs_tx_step(t);
}

static void verbs_recv(struct net_op *op)
{
	struct verbs_ep *e = (struct verbs_ep *)op->ep;
	struct verbs_rx *r = &e->rx[op->channel];
	if (!net_op_post(op, &r->seq))
		return;
	net_fifo_push(&r->queue, op);
	if (!r->next)
		r->next = op;
	verbs_activate(&r->end);
	if (e->state == VERBS_UP)
		verbs_rx_step(r);
}

static int step(struct verbs_end *end)
{
	if (end->e->state != VERBS_UP)
		return 0;
	return end->sends ? verbs_tx_step((struct verbs_tx *)end) : verbs_rx_step((struct verbs_rx *)end);
}

static void verbs_advance(struct net_op *op)
{
	struct verbs_ep *e = (struct verbs_ep *)op->ep;
	bool sends = e->tx[op->channel].queue.head == op;
	step(sends ? &e->tx[op->channel].end : &e->rx[op->channel].end);
}

static void verbs_release(struct net_op *op, size_t n)
{
	struct verbs_ep *e = (struct verbs_ep *)op->ep;
	verbs_rx_release(&e->rx[op->channel], op, n);
}

static bool idle(const struct verbs_end *end)
{
	const struct verbs_tx *t = (const struct verbs_tx *)end;
	const struct verbs_rx *r = (const struct verbs_rx *)end;
	if (end->e->state == VERBS_DEAD)
		return true;
	return end->sends ? !t->queue.head && t->acked == t->pieces : !r->queue.head && !verbs_rx_owes(r);
}

/* ---- moving and sleeping -------------------------------------------------------------------------------------------- */

/* The device or a queue pair has failed, or a port has come or gone: the first two end endpoints. */
static void async_events(struct verbs_iface *s, struct verbs_rail *l)
{
	struct ibv_async_event ev;
	while (l->ctx && !ibv_get_async_event(l->ctx, &ev)) {
		bool fatal = ev.event_type == IBV_EVENT_DEVICE_FATAL || ev.event_type == IBV_EVENT_CQ_ERR;
		struct verbs_qp *q = ev.event_type == IBV_EVENT_QP_FATAL || ev.event_type == IBV_EVENT_QP_ACCESS_ERR || ev.event_type == IBV_EVENT_QP_REQ_ERR ?
		                     ev.element.qp->qp_context : NULL;
		log_msg(fatal || q ? LOG_WARN : LOG_INFO, "verbs: %s: %s", l->port.device, ibv_event_type_str(ev.event_type));
		if (q)
			net_ep_fail(&q->e->ep, TUTTI_ERR_PEER, "%s: %s", l->port.device, ibv_event_type_str(ev.event_type));
		for (struct verbs_ep *e = s->eps; e && fatal; e = e->next)
			net_ep_fail(&e->ep, TUTTI_ERR_SYSTEM, "%s: %s", l->port.device, ibv_event_type_str(ev.event_type));
		ibv_ack_async_event(&ev);
	}
	for (struct verbs_ep *e = s->eps; e; e = e->next)
		if (e->ep.status && e->state != VERBS_DEAD)
			verbs_lost(e, e->ep.status, "");
}

static void disarm(struct verbs_iface *s)
{
	struct ibv_cq *cq;
	void *ctx;
	for (int i = 0; i < s->rails; i++) {
		while (!ibv_get_cq_event(s->rail[i].wake, &cq, &ctx))
			ibv_ack_cq_events(cq, 1);
		async_events(s, &s->rail[i]);
	}
}

static int verbs_progress(struct net_iface *iface)
{
	struct verbs_iface *s = self(iface);
	if (s->armed && --s->armed == 0)
		disarm(s);
	int moved = verbs_poll(s);
	for (struct verbs_end **p = &s->active, *end; (end = *p);) {
		moved |= step(end);
		end->active = !idle(end);
		if (end->active)
			p = &end->next;
		else
			*p = end->next;
	}
	if (!s->active)                 /* an operation may still use what its owner has freed */
		verbs_regions_sweep(s);
	return moved;
}

static int verbs_arm(struct net_iface *iface)
{
	struct verbs_iface *s = self(iface);
	for (int i = 0; i < s->rails; i++)
		if (ibv_req_notify_cq(s->rail[i].cq, 0))
			return NET_BUSY;
	s->armed = 2;
	return s->epfd;
}

const struct net_transport verbs_transport = {
	.name = "verbs",
	.help = "InfiniBand and RoCE v2: RDMA writes over reliable connections",
	.probe = verbs_probe,
	.open = verbs_open,
	.close = verbs_close,
	.address = verbs_address_out,
	.reaches = verbs_reaches,
	.connect = verbs_connect,
	.letter = verbs_letter_in,
	.send = verbs_send,
	.recv = verbs_recv,
	.advance = verbs_advance,
	.release = verbs_release,
	.progress = verbs_progress,
	.arm = verbs_arm,
	.quiesce = verbs_quiesce,
	.describe = verbs_describe,
};

/* ---- as a module ---------------------------------------------------------------------------------------------------- */

/* Forked children of a program that has registered memory must not take its pages along, where the kernel does not see to that itself. */
static const struct net_transport *start(const struct net_core *given)
{
	if (!net_module_fits(given))
		return NULL;
	if (ibv_fork_init())
		log_msg(LOG_INFO, "verbs: ibv_fork_init failed: do not fork while operations run");
	return &verbs_transport;
}

const struct net_module tutti_module = { sizeof(tutti_module), NET_MODULE_VERSION, start };
