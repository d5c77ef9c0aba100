/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loop: ranks as threads of one process. A transport for threaded programs, and the test double for all others.
 *
 *      sender's thread                        hub (one lock)                       receiver's thread
 *        send: append msg       --->   line (sender -> receiver, channel)   <---     pull: copies what msg's limit allows
 *        progress: see TAKEN    <---   msg->op->priv                        <---     release
 *
 * Everything shared is under the hub's lock. Only the receiver copies, into its own buffer or staging; the sender's operation is seen by others through LIMIT
 * and TAKEN alone, and its public fields are written by its own thread. Bytes count as taken when the receiver is done with them.
 *
 * Modes (TUTTI_LOOP): by default messages up to EAGER bytes are buffered, so that unexpected messages occur; "zero" buffers nothing; "random" moves
 * random slices; a number seeds it. Algorithms must survive all of them.
 */
#define _GNU_SOURCE
#include <net/transport.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { EAGER = 1024, STAGING = 1 << 16, TURN = 1 << 18 };
enum { LIMIT, TAKEN };                  /* of net_op.priv, at a sender; under the lock */
#define TAKEN_ALL UINT64_MAX

struct msg {                            /* sent, not wholly received */
	struct msg *next;
	struct net_op *op;              /* the sender's; NULL: buffered in data */
	struct net_head head;
	char data[];
};

struct line {                           /* what one peer sends to us on one channel */
	struct msg *first, **last;
	struct net_fifo recvs;          /* the owner's thread alone */
	uint32_t sent, posted;
	char *staging;
};

struct loop_ep {
	struct net_ep ep;
	struct line in[NET_CHANNELS];
	bool gone;                      /* the peer has quiesced its end; under the lock */
};

struct loop_iface {
	struct net_iface base;
	struct loop_iface *next;        /* of the hub */
	uint64_t id;
	uint64_t *peer_id;              /* by rank */
	struct loop_ep **eps;           /* by rank; under the lock, since senders append to in[] */
	struct net_op **sends;          /* posted by us, not complete */
	size_t nsends, cap;
	int event;
	bool armed;                     /* under the lock */
	atomic_bool stirred;            /* progress may find something */
	bool zero, random;
	uint64_t seed;
};

struct address { uint64_t process, id; };

static pthread_mutex_t hub = PTHREAD_MUTEX_INITIALIZER;
static struct loop_iface *ifaces;
static uint64_t last_id, process;

static struct loop_iface *own(const struct net_ep *ep) { return (struct loop_iface *)ep->iface; }

static struct loop_iface *find(uint64_t id)
{
	struct loop_iface *f = ifaces;
	while (f && f->id != id)
		f = f->next;
	return f;
}

static void stir(struct loop_iface *f)
{
	if (f && !atomic_exchange(&f->stirred, true) && f->armed)
		eventfd_write(f->event, 1);
}

/* ---- opening ---------------------------------------------------------------------------------------------------- */

static int loop_probe(const struct config *c, char *found, size_t cap)
{
	(void)c;
	snprintf(found, cap, "ranks as threads of one process");
	return TUTTI_OK;
}

static int parse_modes(struct loop_iface *f, const char *text)
{
	char copy[64], *save = NULL;
	snprintf(copy, sizeof(copy), "%s", text);
	for (char *w = strtok_r(copy, ",", &save); w; w = strtok_r(NULL, ",", &save)) {
		char *end;
		uint64_t seed = strtoull(w, &end, 10);
		if (!strcmp(w, "zero"))
			f->zero = true;
		else if (!strcmp(w, "random"))
			f->random = true;
		else if (!*end)
			f->seed ^= seed * 0x9e3779b97f4a7c15u;
		else
			return err_set(TUTTI_ERR_CONFIG, "TUTTI_LOOP: expected zero, random or a number, separated by commas; got \"%s\"", w);
	}
	return TUTTI_OK;
}

static void loop_close(struct net_iface *iface);

static int loop_open(struct net_iface **iface, const struct net_open *o)
{
	struct loop_iface *f = calloc(1, sizeof(*f));
	if (!f)
		return err_set(TUTTI_ERR_NOMEM, "no memory for a loop interface");
	f->base = (struct net_iface){ .rank = o->rank, .nranks = o->nranks };
	f->event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	f->eps = calloc((size_t)o->nranks, sizeof(*f->eps));
	f->peer_id = calloc((size_t)o->nranks, sizeof(*f->peer_id));
	f->seed = (uint64_t)o->rank + 1;
	int status = f->event < 0 ? err_sys("loop: eventfd") : !f->eps || !f->peer_id ? err_set(TUTTI_ERR_NOMEM, "no memory for %d peers", o->nranks) : 0;
	if (!status)
		status = parse_modes(f, o->config->loop_mode);
	pthread_mutex_lock(&hub);
	if (!status && !process)
		status = auth_random(&process, sizeof(process));
	f->id = ++last_id;
	f->next = ifaces;
	ifaces = f;
	pthread_mutex_unlock(&hub);
	if (status < 0) {
		loop_close(&f->base);
		return status;
	}
	*iface = &f->base;
	return TUTTI_OK;
}

static void free_line(struct line *l)
{
	for (struct msg *m = l->first, *next; m; m = next) {
		next = m->next;
		free(m);
	}
	free(l->staging);
}

static void loop_close(struct net_iface *iface)
{
	struct loop_iface *f = (struct loop_iface *)iface;
	pthread_mutex_lock(&hub);
	for (struct loop_iface **p = &ifaces; *p; p = &(*p)->next)
		if (*p == f) {
			*p = f->next;
			break;
		}
	for (struct loop_iface *o = ifaces; o; o = o->next)
		stir(o);                /* they may be waiting for us: let them look */
	pthread_mutex_unlock(&hub);
	for (int r = 0; f->eps && f->peer_id && r < iface->nranks; r++)
		if (f->eps[r]) {
			for (int c = 0; c < NET_CHANNELS; c++)
				free_line(&f->eps[r]->in[c]);
			free(f->eps[r]);
		}
	if (f->event >= 0)
		close(f->event);
	free(f->eps);
	free(f->peer_id);
	free(f->sends);
	free(f);
}

static int loop_address(struct net_iface *iface, void *buf, size_t *len)
{
	struct address a = { process, ((struct loop_iface *)iface)->id };
	memcpy(buf, &a, sizeof(a));
	*len = sizeof(a);
	return TUTTI_OK;
}

static int loop_reaches(struct net_iface *iface, const void *addr, size_t len)
{
	(void)iface;
	struct address a;
	if (len != sizeof(a))
		return err_set(TUTTI_ERR_UNSUPPORTED, "not a loop address: expected %zu bytes, got %zu", sizeof(a), len);
	memcpy(&a, addr, sizeof(a));
	return a.process == process ? TUTTI_OK : err_set(TUTTI_ERR_UNSUPPORTED, "another process");
}

/* The endpoint's lines must exist before the peer sends: so whoever comes first makes them. Called with the lock held. */
static struct loop_ep *ep_of(struct loop_iface *f, int peer)
{
	struct loop_ep *e = f->eps[peer];
	if (e || !(e = calloc(1, sizeof(*e))))
		return e;
	e->ep = (struct net_ep){ .iface = &f->base, .peer = peer };
	for (int c = 0; c < NET_CHANNELS; c++) {
		e->in[c].last = &e->in[c].first;
		net_fifo_init(&e->in[c].recvs);
	}
	return f->eps[peer] = e;
}

static int loop_connect(struct net_iface *iface, int peer, const void *addr, size_t len, struct net_ep **ep)
{
	struct loop_iface *f = (struct loop_iface *)iface;
	struct address a;
	int status = loop_reaches(iface, addr, len);
	if (status < 0)
		return status;
	memcpy(&a, addr, sizeof(a));
	pthread_mutex_lock(&hub);
	struct loop_ep *e = ep_of(f, peer);
	f->peer_id[peer] = a.id;
	pthread_mutex_unlock(&hub);
	if (!e)
		return err_set(TUTTI_ERR_NOMEM, "no memory for an endpoint to rank %d", peer);
	*ep = &e->ep;
	return TUTTI_OK;
}

/* ---- sending ---------------------------------------------------------------------------------------------------- */

static bool remember(struct loop_iface *f, struct net_op *op)
{
	if (f->nsends == f->cap) {
		size_t cap = f->cap ? 2 * f->cap : 64;
		struct net_op **more = realloc(f->sends, cap * sizeof(*more));
		if (!more)
			return false;
		f->sends = more;
		f->cap = cap;
	}
	f->sends[f->nsends++] = op;
	return true;
}

/* Append to the peer's line; called with the lock held. */
static int post(struct loop_iface *f, struct net_op *op)
{
	struct loop_iface *peer = find(f->peer_id[op->ep->peer]);
	struct loop_ep *e = peer ? ep_of(peer, f->base.rank) : NULL;
	bool eager = !f->zero && op->head.len <= EAGER && op->limit == op->head.len;
	if (!e) {
		net_ep_fail(op->ep, TUTTI_ERR_PEER, peer ? "out of memory" : "its thread has closed");
		return op->ep->status;
	}
	struct line *l = &e->in[op->channel];
	struct msg *m = calloc(1, sizeof(*m) + (eager ? op->head.len : 0));
	if (!m || (!eager && !remember(f, op))) {
		free(m);
		net_ep_fail(op->ep, TUTTI_ERR_NOMEM, "out of memory");
		return op->ep->status;
	}
	op->priv[LIMIT] = op->limit;
	op->priv[TAKEN] = 0;
	op->head.seq = l->sent++;
	m->head = op->head;
	if (!eager)
		m->op = op;
	else if (op->head.len)
		memcpy(m->data, op->buf, op->head.len);
	*l->last = m;
	l->last = &m->next;
	stir(peer);
	if (!eager)
		return TUTTI_PENDING;
	op->done = op->head.len;
	return TUTTI_OK;
}

static void loop_send(struct net_op *op)
{
	int status = op->ep->status;
	net_op_begin(op);
	if (!status) {
		pthread_mutex_lock(&hub);
		status = post(own(op->ep), op);
		pthread_mutex_unlock(&hub);
	}
	if (status <= 0)
		net_op_end(op, status);
}

/* What receivers have taken since. Called with the lock held. */
static int sync_sends(struct loop_iface *f)
{
	int moved = 0;
	for (size_t i = 0; i < f->nsends;) {
		struct net_op *op = f->sends[i];
		bool all = op->priv[TAKEN] == TAKEN_ALL;
		size_t done = all ? op->head.len : op->priv[TAKEN];
		bool gone = !all && (!find(f->peer_id[op->ep->peer]) || ((struct loop_ep *)op->ep)->gone);
		if (gone)
			net_ep_fail(op->ep, TUTTI_ERR_PEER, "its thread has closed");
		moved += done != op->done || all || gone;
		op->done = done;
		if (all || gone) {
			net_op_end(op, all ? TUTTI_OK : op->ep->status);
			f->sends[i] = f->sends[--f->nsends];
		} else {
			i++;
		}
	}
	return moved;
}

/* ---- receiving: all with the lock held --------------------------------------------------------------------------- */

/* How many of n bytes to move this time: all, or in random mode some whole grains. */
static size_t some(struct loop_iface *f, size_t n)
{
	if (n > TURN)
		n = TURN;
	if (!f->random || n <= NET_GRAIN)
		return n;
	f->seed = f->seed * 6364136223846793005u + 1442695040888963407u;
	size_t grains = (n + NET_GRAIN - 1) / NET_GRAIN, pick = (1 + (size_t)(f->seed >> 33) % grains) * NET_GRAIN;
	return pick < n ? pick : n;
}

/* The receiver is done with the first `done` bytes; the last of them frees the message. */
static void taken(struct loop_iface *f, struct line *l, struct net_op *r)
{
	struct msg *m = l->first;
	bool all = r->done == r->head.len;
	if (m->op)
		m->op->priv[TAKEN] = all ? TAKEN_ALL : r->done;
	stir(find(f->peer_id[r->ep->peer]));
	if (!all)
		return;
	if (!(l->first = m->next))
		l->last = &l->first;
	free(m);
	net_fifo_pop(&l->recvs);
	net_op_end(r, TUTTI_OK);
}

/* Move bytes of the first message into the first receive. */
static bool pull(struct loop_iface *f, struct line *l)
{
	struct net_op *r = l->recvs.head;
	struct msg *m = l->first;
	if (!r || !m)
		return false;
	if (!net_head_check(r, &m->head)) {
		net_fifo_pop(&l->recvs);
		return true;
	}
	size_t sent = m->op ? m->op->priv[LIMIT] : m->head.len;
	const char *from = m->op ? m->op->buf : m->data;
	if (r->flags & NET_VIEW) {
		size_t n = net_grains(r->done, sent - r->done < STAGING ? sent - r->done : STAGING, r->head.len);
		if (r->head.len && (r->avail || !n))
			return false;
		n = r->head.len ? some(f, n) : 0;
		if (n)
			memcpy(l->staging, from + r->done, n);
		r->view = l->staging;
		r->avail = n;
		if (!r->head.len)
			taken(f, l, r);
		return true;
	}
	size_t end = sent < r->limit ? sent : r->limit, n = some(f, end - r->done);
	if (r->head.len && !n)
		return false;
	if (n)
		memcpy((char *)r->buf + r->done, from + r->done, n);
	r->done += n;
	taken(f, l, r);
	return true;
}

/* The posted receives of a failed endpoint. */
static void flush(struct loop_ep *e, int status)
{
	for (int c = 0; c < NET_CHANNELS; c++)
		while (e->in[c].recvs.head)
			net_op_end(net_fifo_pop(&e->in[c].recvs), status);
}

static int pull_all(struct loop_iface *f)
{
	int moved = 0;
	for (int r = 0; r < f->base.nranks; r++) {
		struct loop_ep *e = f->eps[r];
		bool waits = false;
		for (int c = 0; e && c < NET_CHANNELS; c++) {
			struct line *l = &e->in[c];
			bool more = pull(f, l);
			moved += more;
			if (more && l->recvs.head && l->first)
				atomic_store(&f->stirred, true);
			waits |= l->recvs.head && !l->first;
		}
		if (e && waits && (e->gone || !find(f->peer_id[r])))
			net_ep_fail(&e->ep, TUTTI_ERR_PEER, "its thread has closed");
		if (e && e->ep.status)
			flush(e, e->ep.status);
	}
	return moved;
}

static void loop_recv(struct net_op *op)
{
	struct loop_ep *e = (struct loop_ep *)op->ep;
	struct line *l = &e->in[op->channel];
	net_op_begin(op);
	pthread_mutex_lock(&hub);
	if ((op->flags & NET_VIEW) && !l->staging && !(l->staging = malloc(STAGING)))
		net_ep_fail(op->ep, TUTTI_ERR_NOMEM, "no memory for staging");
	if (op->ep->status) {
		net_op_end(op, op->ep->status);
	} else {
		op->head.seq = l->posted++;
		net_fifo_push(&l->recvs, op);
		if (pull(own(op->ep), l) || l->first || !find(own(op->ep)->peer_id[op->ep->peer]))
			atomic_store(&own(op->ep)->stirred, true);
	}
	pthread_mutex_unlock(&hub);
}

static void loop_advance(struct net_op *op)
{
	struct loop_iface *f = own(op->ep);
	pthread_mutex_lock(&hub);
	op->priv[LIMIT] = op->limit;
	stir(find(f->peer_id[op->ep->peer]));
	atomic_store(&f->stirred, true);
	pthread_mutex_unlock(&hub);
}

static void loop_release(struct net_op *op, size_t n)
{
	struct loop_iface *f = own(op->ep);
	struct line *l = &((struct loop_ep *)op->ep)->in[op->channel];
	pthread_mutex_lock(&hub);
	op->done += n;
	op->avail -= n;
	op->view = (const char *)op->view + n;
	if (l->first)                   /* else its sender has withdrawn it: progress ends the operation */
		taken(f, l, op);
	atomic_store(&f->stirred, true);
	pthread_mutex_unlock(&hub);
}

/* ---- progress ---------------------------------------------------------------------------------------------------- */

static int loop_progress(struct net_iface *iface)
{
	struct loop_iface *f = (struct loop_iface *)iface;
	if (!atomic_load_explicit(&f->stirred, memory_order_relaxed))
		return 0;
	pthread_mutex_lock(&hub);
	eventfd_t ignored;
	if (f->armed)
		eventfd_read(f->event, &ignored);
	atomic_store(&f->stirred, false);
	int moved = sync_sends(f) + pull_all(f);
	if (moved)
		f->armed = false;       /* else the caller may be about to sleep */
	pthread_mutex_unlock(&hub);
	return moved;
}

static int loop_arm(struct net_iface *iface)
{
	struct loop_iface *f = (struct loop_iface *)iface;
	pthread_mutex_lock(&hub);
	f->armed = true;
	int fd = atomic_load(&f->stirred) ? NET_BUSY : f->event;
	pthread_mutex_unlock(&hub);
	return fd;
}

/* Withdraw our messages from the peer's lines, and end our operations. */
static void loop_quiesce(struct net_ep *ep)
{
	struct loop_iface *f = own(ep);
	pthread_mutex_lock(&hub);
	struct loop_iface *peer = find(f->peer_id[ep->peer]);
	struct loop_ep *theirs = peer ? peer->eps[f->base.rank] : NULL;
	for (int c = 0; theirs && c < NET_CHANNELS; c++) {
		struct line *l = &theirs->in[c];
		for (struct msg **p = &l->first, *m; (m = *p);) {
			if (!m->op) {
				p = &m->next;
				continue;
			}
			*p = NULL;      /* what was sent after it can never be received */
			l->last = p;
			for (struct msg *next; m; m = next) {
				next = m->next;
				free(m);
			}
			break;
		}
	}
	if (theirs)
		theirs->gone = true;
	stir(peer);
	net_ep_fail(ep, TUTTI_ERR_ABORTED, "aborted");
	flush((struct loop_ep *)ep, ep->status);
	for (size_t i = 0; i < f->nsends;) {
		if (f->sends[i]->ep == ep) {
			net_op_end(f->sends[i], ep->status);
			f->sends[i] = f->sends[--f->nsends];
		} else {
			i++;
		}
	}
	pthread_mutex_unlock(&hub);
}

static int loop_describe(const struct net_ep *ep, char *buf, size_t cap)
{
	return snprintf(buf, cap, "loop, thread of rank %d", ep->peer);
}

const struct net_transport loop_transport = {
	.name = "loop",
	.help = "ranks as threads of one process",
	.probe = loop_probe,
	.open = loop_open,
	.close = loop_close,
	.address = loop_address,
	.reaches = loop_reaches,
	.connect = loop_connect,
	.letter = net_no_letter,
	.send = loop_send,
	.recv = loop_recv,
	.advance = loop_advance,
	.release = loop_release,
	.progress = loop_progress,
	.arm = loop_arm,
	.quiesce = loop_quiesce,
	.describe = loop_describe,
};
