/* SPDX-License-Identifier: Apache-2.0 */
/* The shared-memory transport: its slots. Read from the bottom. shm.h says who owns what. */
#define _GNU_SOURCE
#include "shm.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
	LOOK = 512,             /* progress calls between two looks at the connections */
	LOOK_UNSETTLED = 32,    /* while connections are being made */
	SLOT_MIN = SHM_PAGE, SLOT_MAX = 64 << 20
};

/* Who can share memory with whom: equal in everything but the name. */
struct address {
	uint32_t magic, uid;
	uint64_t net_ns, user_ns;
	char boot[40], node[64], name[32];
};
#define MAGIC 0x74736d31u

static struct shm_iface *self(struct net_iface *iface) { return (struct shm_iface *)iface; }

/* ---- what is this machine? -------------------------------------------------------------------------------------- */

static uint64_t inode(const char *path)
{
	struct stat st;
	return stat(path, &st) < 0 ? 0 : st.st_ino;
}

static bool read_text(const char *path, char *text, size_t cap)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, cap - 1);
	if (fd >= 0)
		close(fd);
	text[n > 0 ? n : 0] = 0;
	text[strcspn(text, "\n")] = 0;
	return n > 0;
}

static bool can_pull_self(void)
{
	int word = 1, copy = 0;
	struct iovec here = { &copy, sizeof(copy) }, there = { &word, sizeof(word) };
	return process_vm_readv(getpid(), &here, 1, &there, 1, 0) == sizeof(copy) && copy == word;
}

static int shm_probe(const struct config *c, char *found, size_t cap)
{
	char yama[8], boot[40];
	(void)c;
	int fd = shm_memfd("tutti-probe", SHM_PAGE);
	if (fd < 0) {
		snprintf(found, cap, "no memfd");
		return err_set(TUTTI_ERR_UNSUPPORTED, "memfd_create does not work here");
	}
	close(fd);
	if (!read_text("/proc/sys/kernel/random/boot_id", boot, sizeof(boot))) {
		snprintf(found, cap, "no boot id");
		return err_set(TUTTI_ERR_UNSUPPORTED, "/proc/sys/kernel/random/boot_id cannot be read");
	}
	bool scoped = read_text("/proc/sys/kernel/yama/ptrace_scope", yama, sizeof(yama)) && strcmp(yama, "0");
	snprintf(found, cap, "memfd, process_vm_readv %s%s, L2 %ld KiB, L3 %ld KiB, %s",
	         scoped ? "restricted by yama ptrace_scope " : can_pull_self() ? "allowed" : "not allowed", scoped ? yama : "",
	         sysconf(_SC_LEVEL2_CACHE_SIZE) >> 10, sysconf(_SC_LEVEL3_CACHE_SIZE) >> 10,
	         shm_membarrier_ready() ? "membarrier" : "no membarrier");
	return TUTTI_OK;
}

/* ---- opening and closing ----------------------------------------------------------------------------------------- */

/* A slot streams through the second-level cache together with what it is reduced with. */
static int slot_size(const struct config *c, size_t *slot)
{
	long l2 = sysconf(_SC_LEVEL2_CACHE_SIZE);
	size_t want = c->shm_slot ? c->shm_slot : l2 >= 1 << 20 ? 128 << 10 : 64 << 10;
	if (want < SLOT_MIN || want > SLOT_MAX)
		return err_set(TUTTI_ERR_CONFIG, "TUTTI_SHM_SLOT: expected %d..%d bytes, got %zu", SLOT_MIN, SLOT_MAX, want);
	for (*slot = SLOT_MIN; *slot < want;)
		*slot *= 2;
	return TUTTI_OK;
}

static void shm_close(struct net_iface *iface)
{
	struct shm_iface *s = self(iface);
	while (s->guests)
		shm_guest_free(s, s->guests);
	while (s->eps) {
		struct shm_ep *e = s->eps;
		s->eps = e->next;
		shm_ep_free(e);
	}
	if (s->bell)
		munmap(s->bell, SHM_PAGE);
	const int fds[] = { s->door.fd, s->event.fd, s->epfd, s->bell_fd };
	for (size_t i = 0; i < sizeof(fds) / sizeof(*fds); i++)
		if (fds[i] >= 0)
			close(fds[i]);
	free(s);
}

static void event_event(struct shm_iface *s, struct shm_watch *w, uint32_t events)
{
	eventfd_t n;
	(void)s, (void)events;
	eventfd_read(w->fd, &n);
}

static int shm_open_iface(struct net_iface **iface, const struct net_open *o)
{
	struct shm_iface *s = calloc(1, sizeof(*s));
	if (!s)
		return err_set(TUTTI_ERR_NOMEM, "no memory for the shm transport");
	s->iface = (struct net_iface){ .t = &shm_transport, .rank = o->rank, .nranks = o->nranks };
	s->key = o->key;
	s->config = o->config;
	s->frees = net_mem_frees();
	s->membarrier = shm_membarrier_ready();
	s->door.fd = -1;
	s->epfd = epoll_create1(EPOLL_CLOEXEC);
	s->event = (struct shm_watch){ eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), event_event };
	s->bell_fd = shm_memfd("tutti-bell", SHM_PAGE);
	int status = slot_size(o->config, &s->slot);
	if (status == TUTTI_OK && (s->epfd < 0 || s->event.fd < 0 || s->bell_fd < 0 || !(s->bell = shm_map(s->bell_fd, SHM_PAGE, true))))
		status = err_sys("cannot open the shm transport");
	if (status < 0 || (status = auth_random(&s->secret, sizeof(s->secret))) < 0 ||
	    (status = shm_watch_add(s, &s->event, EPOLLIN)) < 0 || (status = shm_door_open(s)) < 0)
		shm_close(&s->iface);
	else
		*iface = &s->iface;
	return status;
}

/* ---- addresses and endpoints ------------------------------------------------------------------------------------- */

static void address_of(struct shm_iface *s, struct address *a)
{
	memset(a, 0, sizeof(*a));
	a->magic = MAGIC;
	a->uid = geteuid();
	a->net_ns = inode("/proc/self/ns/net");         /* abstract names are the network namespace's */
	a->user_ns = inode("/proc/self/ns/user");       /* users are compared */
	read_text("/proc/sys/kernel/random/boot_id", a->boot, sizeof(a->boot));
	snprintf(a->node, sizeof(a->node), "%s", s->config->node);
	memcpy(a->name, s->name, sizeof(a->name));
}

static int shm_address(struct net_iface *iface, void *buf, size_t *len)
{
	struct address a;
	address_of(self(iface), &a);
	memcpy(buf, &a, sizeof(a));
	*len = sizeof(a);
	return TUTTI_OK;
}

/* Another rank's bytes. */
static int address_parse(struct address *a, const void *addr, size_t len)
{
	if (len != sizeof(*a))
		return err_set(TUTTI_ERR_UNSUPPORTED, "an shm address has %zu bytes, expected %zu", len, sizeof(*a));
	memcpy(a, addr, len);
	if (a->magic != MAGIC || memchr(a->name, 0, sizeof(a->name)) == NULL || !a->name[0])
		return err_set(TUTTI_ERR_UNSUPPORTED, "not an shm address of this version");
	return TUTTI_OK;
}

static int shm_reaches(struct net_iface *iface, const void *addr, size_t len)
{
	struct address mine, its;
	int status = address_parse(&its, addr, len);
	if (status < 0)
		return status;
	address_of(self(iface), &mine);
	if (memcmp(mine.boot, its.boot, sizeof(mine.boot)) || memcmp(mine.node, its.node, sizeof(mine.node)))
		return err_set(TUTTI_ERR_UNSUPPORTED, "another machine");
	if (mine.net_ns != its.net_ns || mine.user_ns != its.user_ns)
		return err_set(TUTTI_ERR_UNSUPPORTED, "another %s namespace", mine.net_ns != its.net_ns ? "network" : "user");
	if (mine.uid != its.uid)
		return err_set(TUTTI_ERR_UNSUPPORTED, "another user");
	return TUTTI_OK;
}

static int shm_connect(struct net_iface *iface, int peer, const void *addr, size_t len, struct net_ep **ep)
{
	struct shm_iface *s = self(iface);
	struct address a;
	int status = address_parse(&a, addr, len);
	if (status < 0)
		return status;
	struct shm_ep *e = shm_ep_find(s, peer);
	if (!e && !(e = shm_ep_new(s, peer)))
		return err_set(TUTTI_ERR_NOMEM, "no memory for an endpoint");
	e->claimed = true;
	if (e->ep.status && !iface->dead)       /* came and went before */
		iface->dead = &e->ep;
	memcpy(e->name, a.name, sizeof(e->name));
	if (iface->rank > peer)
		shm_ep_dial(e);
	*ep = &e->ep;
	return TUTTI_OK;
}

static void shm_quiesce(struct net_ep *ep)
{
	struct shm_ep *e = (struct shm_ep *)ep;
	if (!ep->status) {
		ep->status = TUTTI_ERR_ABORTED;
		snprintf(ep->why, sizeof(ep->why), "quiesced");
	}
	if (e->mine) {                          /* lent bytes that a peer reads from now on are not the ones that were lent */
		atomic_store_explicit(&e->mine->closed, 1, memory_order_relaxed);
		shm_fence(memory_order_seq_cst);
	}
	shm_ep_lost(e, ep->status, "");
}

static int shm_describe(const struct net_ep *ep, char *buf, size_t cap)
{
	const struct shm_ep *e = (const struct shm_ep *)ep;
	return snprintf(buf, cap, "shm, %d slots of %zu KiB%s%s", SHM_SLOTS, self(ep->iface)->slot >> 10,
	                e->pulls ? ", process_vm_readv" : "", e->state == SHM_UP || e->state == SHM_DEAD ? "" : ", connecting");
}

/* ---- operations -------------------------------------------------------------------------------------------------- */

void shm_activate(struct shm_end *end)
{
	struct shm_iface *s = shm_of(end->e);
	if (end->active)
		return;
	end->active = true;
	end->next = s->active;
	s->active = end;
}

static bool up(const struct net_op *op) { return ((const struct shm_ep *)op->ep)->state == SHM_UP; }

static void shm_send(struct net_op *op)
{
	struct shm_tx *t = &((struct shm_ep *)op->ep)->tx[op->channel];
	if (!net_op_post(op, &t->seq) || (up(op) && shm_tx_at_once(t, op)))
		return;
	if (op->ep->status) {                   /* lost in the attempt */
		net_op_end(op, op->ep->status);
		return;
	}
	net_fifo_push(&t->queue, op);
	if (t->queue.head != op || !up(op))
		return;
	shm_tx_step(t);
	if (t->queue.head || t->await.head)
		shm_activate(&t->end);
}

static void shm_recv(struct net_op *op)
{
	struct shm_rx *r = &((struct shm_ep *)op->ep)->rx[op->channel];
	if (!net_op_post(op, &r->seq))
		return;
	net_fifo_push(&r->queue, op);
	if (r->queue.head != op || !up(op))
		return;
	shm_rx_step(r);
	if (r->queue.head)
		shm_activate(&r->end);
}

static int step(struct shm_end *end)
{
	return end->sends ? shm_tx_step((struct shm_tx *)end) : shm_rx_step((struct shm_rx *)end);
}

static bool idle(const struct shm_end *end)
{
	const struct shm_tx *t = (const struct shm_tx *)end;
	return end->sends ? !t->queue.head && !t->await.head : !((const struct shm_rx *)end)->queue.head;
}

/* The end stays on the active list for progress to take it off. */
static void shm_advance(struct net_op *op)
{
	struct shm_ep *e = (struct shm_ep *)op->ep;
	struct shm_tx *t = &e->tx[op->channel];
	struct shm_rx *r = &e->rx[op->channel];
	if (e->state != SHM_UP)
		return;
	if (t->queue.head == op)
		shm_tx_step(t);
	else if (r->queue.head == op)
		shm_rx_step(r);
}

static void shm_release(struct net_op *op, size_t n)
{
	struct shm_ep *e = (struct shm_ep *)op->ep;
	shm_rx_release(&e->rx[op->channel], op, n);
}

static int shm_progress(struct net_iface *iface)
{
	struct shm_iface *s = self(iface);
	int moved = 0;
	if (__builtin_expect(s->armed && --s->armed == 0, 0))
		shm_disarm(s);
	for (struct shm_end **p = &s->active, *end; (end = *p);) {
		moved |= step(end);
		if (idle(end)) {
			*p = end->next;
			end->active = false;
		} else {
			p = &end->next;
		}
	}
	if (++s->turn % (s->unsettled || s->guests ? LOOK_UNSETTLED : LOOK) == 0)
		moved |= shm_poll(s);
	return moved;
}

const struct net_transport shm_transport = {
	.name = "shm",
	.help = "ranks of one machine and user: memory shared between processes",
	.probe = shm_probe,
	.open = shm_open_iface,
	.close = shm_close,
	.address = shm_address,
	.reaches = shm_reaches,
	.connect = shm_connect,
	.letter = net_no_letter,
	.send = shm_send,
	.recv = shm_recv,
	.advance = shm_advance,
	.release = shm_release,
	.progress = shm_progress,
	.arm = shm_arm,
	.quiesce = shm_quiesce,
	.describe = shm_describe,
};
