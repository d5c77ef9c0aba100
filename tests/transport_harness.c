/* SPDX-License-Identifier: Apache-2.0 */
#include "transport_harness.h"
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

/* ---- letters: instead of a control tree, boxes that forked ranks share ---- */

enum { BOX = 256 };

struct letter { int from; size_t len; unsigned char bytes[NET_LETTER_MAX]; };
struct office { pthread_mutex_t lock; struct box { unsigned put, taken; struct letter letter[BOX]; } box[PARTY_MAX]; };
static struct office *office;

__attribute__((constructor)) static void office_open(void)
{
	pthread_mutexattr_t shared;
	office = mmap(NULL, sizeof(*office), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	need(office != MAP_FAILED, "no memory for letters");
	pthread_mutexattr_init(&shared);
	pthread_mutexattr_setpshared(&shared, PTHREAD_PROCESS_SHARED);
	pthread_mutex_init(&office->lock, &shared);
}

static int office_post(void *ctx, const struct net_iface *from, int peer, const void *bytes, size_t len)
{
	struct box *b = &office->box[peer];
	(void)ctx;
	pthread_mutex_lock(&office->lock);
	need(len <= NET_LETTER_MAX && b->put - b->taken < BOX, "a letter of %zu bytes, %u in the box", len, b->put - b->taken);
	struct letter *l = &b->letter[b->put++ % BOX];
	l->from = from->rank;
	l->len = len;
	memcpy(l->bytes, bytes, len);
	pthread_mutex_unlock(&office->lock);
	return TUTTI_OK;
}

void letters_deliver(struct net_iface *f)
{
	struct box *b = &office->box[f->rank];
	for (;;) {
		pthread_mutex_lock(&office->lock);
		bool any = b->taken != b->put;
		struct letter l = b->letter[b->taken % BOX];
		b->taken += any;
		pthread_mutex_unlock(&office->lock);
		if (!any)
			return;
		f->t->letter(f, l.from, l.bytes, l.len);
	}
}

/* ---- ranks ---- */

void fixed_key(struct auth_key *key, int which)
{
	memset(key, 0, sizeof(*key));
	memset(key->bytes, which + 1, sizeof(key->bytes));
}

struct net_iface *rank_open(const char *transport, int rank, int n, const struct auth_key *key, struct config *config, struct address *addr)
{
	const struct net_transport *t = net_find(transport);
	struct net_iface *f = NULL;
	struct net_open o = { .rank = rank, .nranks = n, .post = { office_post, NULL }, .key = key, .config = config };
	char found[NET_FOUND_MAX];
	need(t, "no transport %s: %s", transport, err_last());
	need(config_parse(config) == TUTTI_OK, "%s", err_last());
	need(t->probe(config, found, sizeof(found)) == TUTTI_OK, "%s: %s", transport, err_last());
	need(t->open(&f, &o) == TUTTI_OK, "%s: %s", transport, err_last());
	need(f->rank == rank && f->nranks == n, "%s: the interface says who it is", transport);
	f->t = t;
	addr->len = sizeof(addr->bytes);
	need(t->address(f, addr->bytes, &addr->len) == TUTTI_OK, "%s: %s", transport, err_last());
	return f;
}

struct net_ep *rank_connect(struct net_iface *f, int peer, const struct address *addr)
{
	struct net_ep *ep = NULL;
	need(f->t->reaches(f, addr->bytes, addr->len) == TUTTI_OK, "%s: %s", f->t->name, err_last());
	need(f->t->connect(f, peer, addr->bytes, addr->len, &ep) == TUTTI_OK, "%s: %s", f->t->name, err_last());
	need(ep->peer == peer && ep->iface == f && !ep->status, "%s: the endpoint says where it leads", f->t->name);
	return ep;
}

/* A letter wakes nobody here: look for it now and then. */
static bool await(struct net_iface *f, struct pollfd *p)
{
	enum { LOOK_MS = 20 };
	struct box *b = &office->box[f->rank];
	for (int64_t end = clock_after_ms(DEADLINE_MS); clock_ns() < end;)
		if (poll(p, 1, LOOK_MS) > 0 || b->taken != b->put)
			return true;
	return false;
}

void rank_wait(struct net_iface *f, const volatile bool *complete)
{
	while (!*complete) {
		letters_deliver(f);
		if (f->t->progress(f) > 0)
			continue;
		struct pollfd p = { .fd = f->t->arm(f), .events = POLLIN };
		if (f->t->progress(f) > 0 || *complete || p.fd == NET_BUSY)
			continue;
		need(await(f, &p), "%s: rank %d was not woken", f->t->name, f->rank);
	}
}

struct crew {
	const char *transport;
	int n;
	struct auth_key key;
	struct config config[PARTY_MAX];
	struct address addr[PARTY_MAX];
	struct rank rank[PARTY_MAX];
	pthread_barrier_t barrier;
	void (*body)(struct rank *r);
};

enum { LETTER_ROUNDS = 3 };     /* more than any transport needs to connect */

struct member { struct crew *crew; int rank; };

static void *member_run(void *arg)
{
	struct crew *c = ((struct member *)arg)->crew;
	int me = ((struct member *)arg)->rank;
	struct rank *r = &c->rank[me];
	r->f = rank_open(c->transport, me, c->n, &c->key, &c->config[me], &c->addr[me]);
	pthread_barrier_wait(&c->barrier);
	for (int p = 0; p < c->n; p++)
		if (p != me)
			r->ep[p] = rank_connect(r->f, p, &c->addr[p]);
	for (int i = 0; i < LETTER_ROUNDS; i++) {
		pthread_barrier_wait(&c->barrier);
		letters_deliver(r->f);
	}
	c->body(r);
	pthread_barrier_wait(&c->barrier);
	for (int p = 0; p < c->n; p++)
		if (p != me)
			r->f->t->quiesce(r->ep[p]);
	r->f->t->close(r->f);
	return NULL;
}

void ranks_run(const char *transport, int n, void (*body)(struct rank *r), void *arg)
{
	struct crew c = { .transport = transport, .n = n, .body = body };
	struct member m[PARTY_MAX];
	pthread_t thread[PARTY_MAX];
	fixed_key(&c.key, 0);
	pthread_barrier_init(&c.barrier, NULL, (unsigned)n);
	for (int i = 0; i < n; i++) {
		c.rank[i].arg = arg;
		m[i] = (struct member){ &c, i };
		need(!pthread_create(&thread[i], NULL, member_run, &m[i]), "no thread");
	}
	for (int i = 0; i < n; i++)
		pthread_join(thread[i], NULL);
	pthread_barrier_destroy(&c.barrier);
}

void party_open(struct party *w, const char *transport, int n)
{
	memset(w, 0, sizeof(*w));
	w->transport = transport;
	w->n = n;
	fixed_key(&w->key, 0);
	for (int i = 0; i < n; i++)
		w->f[i] = rank_open(transport, i, n, &w->key, &w->config, &w->addr[i]);
	for (int i = 0; i < n; i++)
		for (int j = 0; j < n; j++)
			if (i != j)
				w->ep[i][j] = rank_connect(w->f[i], j, &w->addr[j]);
}

void party_close(struct party *w)
{
	for (int i = 0; i < w->n; i++)
		for (int j = 0; j < w->n; j++)
			if (w->ep[i][j])
				w->f[i]->t->quiesce(w->ep[i][j]);
	for (int i = 0; i < w->n; i++)
		w->f[i]->t->close(w->f[i]);
}

int party_progress(struct party *w)
{
	int moved = 0;
	for (int i = 0; i < w->n; i++) {
		letters_deliver(w->f[i]);
		moved += w->f[i]->t->progress(w->f[i]);
	}
	return moved;
}

void party_turn(struct party *w, int64_t deadline, const char *what)
{
	party_progress(w);
	need(clock_ns() < deadline, "%s: waited %d s until %s", w->transport, DEADLINE_MS / 1000, what);
}

void party_idle(struct party *w, int turns)
{
	while (turns--)
		party_progress(w);
}

/* ---- operations ---- */

static void set(struct net_op *op, struct net_ep *ep, int channel, void *buf, size_t len, int flags)
{
	memset(op, 0, sizeof(*op));
	op->ep = ep;
	op->buf = buf;
	op->mem = buf ? net_mem_find(buf, len) : NULL;
	op->head = (struct net_head){ .sig = 7, .len = len, .opnum = 1 };
	op->limit = len;
	op->channel = (uint8_t)channel;
	op->flags = (uint8_t)flags;
}

void send_set(struct net_op *op, struct net_ep *ep, int channel, const void *buf, size_t len)
{
	set(op, ep, channel, (void *)(uintptr_t)buf, len, 0);
}

void recv_set(struct net_op *op, struct net_ep *ep, int channel, void *buf, size_t len)
{
	set(op, ep, channel, buf, len, 0);
}

void view_set(struct net_op *op, struct net_ep *ep, int channel, size_t len)
{
	set(op, ep, channel, NULL, len, NET_VIEW);
}

void send_post(struct net_op *op, struct net_ep *ep, int channel, const void *buf, size_t len)
{
	send_set(op, ep, channel, buf, len);
	ep->iface->t->send(op);
}

void recv_post(struct net_op *op, struct net_ep *ep, int channel, void *buf, size_t len)
{
	recv_set(op, ep, channel, buf, len);
	ep->iface->t->recv(op);
}

void view_post(struct net_op *op, struct net_ep *ep, int channel, size_t len)
{
	view_set(op, ep, channel, len);
	ep->iface->t->recv(op);
}

void well(const struct net_op *op)
{
	need(op->complete && !op->status && op->done == op->head.len, "%s: %s, %zu of %zu bytes, %s", op->ep->iface->t->name,
	     err_name(op->status), op->done, (size_t)op->head.len, op->ep->why);
}

/* ---- bytes ---- */

void *bytes_new(size_t len)
{
	void *p = malloc(len + !len);
	need(p, "no memory for %zu bytes", len);
	memset(p, 0xee, len);
	return p;
}

static unsigned char pattern(size_t i, unsigned seed) { return (unsigned char)(i * 131 + (i >> 8) * 29 + (i >> 16) * 7 + seed * 57); }

void pattern_fill(void *p, size_t len, unsigned seed)
{
	for (size_t i = 0; i < len; i++)
		((unsigned char *)p)[i] = pattern(i, seed);
}

void pattern_check(const void *p, size_t from, size_t len, unsigned seed)
{
	const unsigned char *b = p;
	for (size_t i = 0; i < len; i++)
		need(b[i] == pattern(from + i, seed), "byte %zu: expected %d, got %d", from + i, pattern(from + i, seed), b[i]);
}

void canary_check(const void *p, size_t len)
{
	const unsigned char *b = p;
	for (size_t i = 0; i < len; i++)
		need(b[i] == 0xee, "byte %zu was written: %d", i, b[i]);
}

uint32_t random_below(uint32_t *state, uint32_t n)
{
	*state = *state * 1664525 + 1013904223;
	return (uint32_t)((uint64_t)(*state >> 4) * n >> 28);
}

size_t view_eat(struct net_op *op, size_t most, unsigned seed)
{
	size_t rest = op->head.len - op->done, n = op->avail <= most ? op->avail : most / NET_GRAIN * NET_GRAIN;
	if (op->complete || !op->avail)
		return 0;
	need(op->avail <= rest, "%zu bytes in view of the %zu that remain", op->avail, rest);
	need(op->avail % NET_GRAIN == 0 || op->avail == rest, "a view of %zu bytes splits a grain", op->avail);
	pattern_check(op->view, op->done, n, seed);
	op->ep->iface->t->release(op, n);
	return n;
}
