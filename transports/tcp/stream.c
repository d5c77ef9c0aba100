/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages on a connection. The first operation of a FIFO is on the wire; the others wait behind it. A head comes together with the first
 * payload in one system call: of a plain receive into the interface's inbox, copied once the head is checked; of a view into the channel's
 * staging. The rest goes straight to where it belongs. Every function may find that the endpoint fails below it: then the descriptor is -1
 * and the FIFOs are empty.
 */
#define _GNU_SOURCE
#include "tcp.h"
#include <endian.h>
#include <errno.h>
#include <string.h>
#include <sys/uio.h>

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

/* ---- failure ------------------------------------------------------------------------------------------------------- */

static void end_all(struct net_fifo *q, int status)
{
	while (q->head)
		net_op_end(net_fifo_pop(q), status);
}

void tcp_sever(struct tcp_ep *ep)
{
	struct tcp_iface *f = tcp_iface_of(ep);
	f->news = true;
	for (struct tcp_chan *c = ep->chan; c < ep->chan + NET_CHANNELS; c++) {
		tcp_unwatch(f, &c->w);
		end_all(&c->sends, ep->base.status);
		end_all(&c->recvs, ep->base.status);
	}
	for (struct tcp_young *y = f->young; y; y = y->next)
		if (y->chan && y->chan->ep == ep)
			tcp_unwatch(f, &y->w);
}

void tcp_lost(struct tcp_ep *ep, int error)
{
	if (!error || error == EPIPE)
		net_ep_fail(&ep->base, TUTTI_ERR_PEER, "connection closed by peer");
	else if (error == ECONNRESET)
		net_ep_fail(&ep->base, TUTTI_ERR_PEER, "connection reset by peer");
	else
		net_ep_fail(&ep->base, TUTTI_ERR_PEER, "connection lost: %s", strerror(error));
	tcp_sever(ep);
}

/* After a system call that did not move a byte. */
static void look_at(struct tcp_chan *c, ssize_t n)
{
	if (n == 0 || (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR))
		tcp_lost(c->ep, n ? errno : 0);
}

/* ---- heads --------------------------------------------------------------------------------------------------------- */

struct wire { uint64_t sig, len; uint32_t opnum, seq; };
_Static_assert(sizeof(struct wire) == TCP_HEAD, "no padding");

static void head_put(unsigned char *out, const struct net_head *h)
{
	struct wire w = { htole64(h->sig), htole64(h->len), htole32(h->opnum), htole32(h->seq) };
	memcpy(out, &w, sizeof(w));
}

static struct net_head head_get(const unsigned char *in)
{
	struct wire w;
	memcpy(&w, in, sizeof(w));
	return (struct net_head){ .sig = le64toh(w.sig), .len = le64toh(w.len), .opnum = le32toh(w.opnum), .seq = le32toh(w.seq) };
}

/* ---- sending ------------------------------------------------------------------------------------------------------- */

/* A head waits for its first payload: one packet. */
bool tcp_wants_send(const struct tcp_chan *c)
{
	const struct net_op *op = c->sends.head;
	return op && c->w.fd >= 0 && (op->limit > op->done || !op->head.len || (c->head_out && c->head_out < TCP_HEAD));
}

static void sent(struct tcp_chan *c, struct net_op *op, size_t n)
{
	size_t of_head = least(n, TCP_HEAD - c->head_out);
	c->head_out += of_head;
	op->done += n - of_head;
	if (c->head_out < TCP_HEAD || op->done < op->head.len)
		return;
	net_fifo_pop(&c->sends);
	c->head_out = 0;
	net_op_end(op, TUTTI_OK);
}

int tcp_send_some(struct tcp_chan *c)
{
	size_t moved = 0;
	while (moved < TCP_TURN && tcp_wants_send(c)) {
		struct net_op *op = c->sends.head;
		if (!c->head_out)
			head_put(c->out, &op->head);
		size_t body = least(op->limit - op->done, TCP_TURN - moved), want = TCP_HEAD - c->head_out + body;
		struct iovec iov[2] = { { c->out + c->head_out, TCP_HEAD - c->head_out }, { (char *)op->buf + op->done, body } };
		bool headless = c->head_out == TCP_HEAD;
		struct msghdr m = { .msg_iov = iov + headless, .msg_iovlen = 1 + (!headless && body) };
		ssize_t n = sendmsg(c->w.fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n <= 0) {
			look_at(c, n);
			break;
		}
		moved += (size_t)n;
		sent(c, op, (size_t)n);
		if ((size_t)n < want)
			break;          /* the socket is full */
	}
	return moved > 0;
}

/* ---- receiving ----------------------------------------------------------------------------------------------------- */

/* Where the next payload of op goes, and how much of it may. */
static size_t room(const struct tcp_chan *c, const struct net_op *op)
{
	if (op->flags & NET_VIEW)
		return least(op->head.len - op->done - c->held, TCP_STAGING - c->start - c->held);
	return op->limit - op->done;
}

bool tcp_wants_recv(const struct tcp_chan *c)
{
	const struct net_op *op = c->recvs.head;
	return op && c->w.fd >= 0 && (room(c, op) || !op->head.len || (c->head_in && c->head_in < TCP_HEAD));
}

static void received_all(struct tcp_chan *c, struct net_op *op)
{
	net_fifo_pop(&c->recvs);
	c->head_in = c->start = c->held = 0;
	net_op_end(op, TUTTI_OK);
}

/* n bytes of payload are where room() said. */
static void arrived(struct tcp_chan *c, struct net_op *op, size_t n)
{
	if (!(op->flags & NET_VIEW)) {
		op->done += n;
	} else {
		c->held += n;
		op->view = c->staging + c->start;
		op->avail = net_grains(op->done, c->held, op->head.len);
	}
	if (op->done == op->head.len)
		received_all(c, op);
}

/* The head may be for another operation than ours: nothing of it is in the user's memory yet. */
static bool head_arrived(struct tcp_chan *c, struct net_op *op)
{
	struct net_head got = head_get(c->in);
	if (got.sig == op->head.sig && got.len == op->head.len && got.opnum == op->head.opnum && got.seq == op->head.seq)
		return true;
	net_fifo_pop(&c->recvs);
	net_head_check(op, &got);
	tcp_sever(c->ep);
	return false;
}

static ssize_t recv_head(struct tcp_chan *c, struct net_op *op, size_t *want)
{
	bool view = op->flags & NET_VIEW;
	char *to = view ? c->staging : tcp_iface_of(c->ep)->inbox;
	size_t body = view ? room(c, op) : least(room(c, op), TCP_INBOX), of_head = TCP_HEAD - c->head_in;
	struct iovec iov[2] = { { c->in + c->head_in, of_head }, { to, body } };
	ssize_t n = readv(c->w.fd, iov, body ? 2 : 1);
	*want = of_head + body;
	if (n <= 0)
		return n;
	of_head = least(of_head, (size_t)n);
	c->head_in += of_head;
	if (c->head_in < TCP_HEAD || !head_arrived(c, op))
		return n;
	if (!view && (size_t)n > of_head)
		memcpy(op->buf, to, (size_t)n - of_head);
	arrived(c, op, (size_t)n - of_head);
	return n;
}

static ssize_t recv_body(struct tcp_chan *c, struct net_op *op, size_t most, size_t *want)
{
	char *to = op->flags & NET_VIEW ? c->staging + c->start + c->held : (char *)op->buf + op->done;
	*want = least(room(c, op), most);
	ssize_t n = recv(c->w.fd, to, *want, MSG_DONTWAIT);
	if (n > 0)
		arrived(c, op, (size_t)n);
	return n;
}

int tcp_recv_some(struct tcp_chan *c)
{
	size_t moved = 0, want;
	while (moved < TCP_TURN && tcp_wants_recv(c)) {
		struct net_op *op = c->recvs.head;
		ssize_t n = c->head_in < TCP_HEAD ? recv_head(c, op, &want) : recv_body(c, op, TCP_TURN - moved, &want);
		if (n <= 0) {
			look_at(c, n);
			break;
		}
		moved += (size_t)n;
		if ((size_t)n < want)
			break;          /* the socket is empty */
	}
	return moved > 0;
}

/* What is left of a grain moves to the front of the staging, so that the next receive has room for whole ones. */
void tcp_release(struct net_op *op, size_t n)
{
	struct tcp_chan *c = &((struct tcp_ep *)op->ep)->chan[op->channel];
	op->done += n;
	op->avail -= n;
	c->start += n;
	c->held -= n;
	if (!op->avail && op->done < op->head.len) {
		memmove(c->staging, c->staging + c->start, c->held);
		c->start = 0;
	}
	op->view = c->staging + c->start;
	if (op->done == op->head.len)
		received_all(c, op);
}
