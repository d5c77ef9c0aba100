/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections. A rank listens on an abstract UNIX socket with a random name; the higher rank of a pair dials. Both check the other's user
 * and its knowledge of the key, then exchange areas, bells and eventfds. The socket stays open for regions, and to notice death.
 *
 *      dialler   DIALLING -> PROVING -> MEETING -> UP          any -> DEAD: socket closed, operations ended; mappings stay until the
 *      acceptor  guest -> WAITING -> MEETING -> UP             endpoint is freed (the user may still be looking at a view)
 *
 * An endpoint whose peer came before connect() was called is not claimed: nobody is told when it dies before that.
 */
#define _GNU_SOURCE
#include "shm.h"
#include <base/log.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

enum {
	PURPOSE = 0x73686d31,           /* "shm1": of the handshake */
	GUESTS_MAX = 256,               /* connections that have not proved who they are; more wait in the kernel */
	HAS_MEMBARRIER = 1, WILL_PULL = 2       /* flags of HELLO */
};
static const size_t ring_max = (size_t)1 << 30;

int shm_memfd(const char *name, size_t len)
{
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd >= 0 && (ftruncate(fd, (off_t)len) < 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)) {
		close(fd);
		fd = -1;
	}
	return fd;
}

void *shm_map(int fd, size_t len, bool write)
{
	struct stat st;
	int seals = fcntl(fd, F_GET_SEALS);
	if (seals < 0 || !(seals & F_SEAL_SHRINK) || fstat(fd, &st) < 0 || st.st_size < 0 || (size_t)st.st_size != len)
		return NULL;
	void *p = mmap(NULL, len, write ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fd, 0);
	return p == MAP_FAILED ? NULL : p;
}

int shm_watch_add(struct shm_iface *s, struct shm_watch *w, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = w };
	return epoll_ctl(s->epfd, EPOLL_CTL_ADD, w->fd, &ev) < 0 ? err_sys("cannot watch a descriptor") : TUTTI_OK;
}

static void watch_change(struct shm_iface *s, struct shm_watch *w, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = w };
	epoll_ctl(s->epfd, EPOLL_CTL_MOD, w->fd, &ev);
}

/* A forked child may hold the same socket open: take it out of the set, and end it for the peer, before it is closed here. */
void shm_watch_close(struct shm_iface *s, struct shm_watch *w)
{
	if (w->fd < 0)
		return;
	epoll_ctl(s->epfd, EPOLL_CTL_DEL, w->fd, NULL);
	shutdown(w->fd, SHUT_RDWR);
	close(w->fd);
	w->fd = -1;
}

static uint32_t auth_epoll(const struct auth *a) { return auth_events(a) & POLLOUT ? EPOLLOUT : EPOLLIN; }

/* ---- endpoints ------------------------------------------------------------------------------------------------- */

static void ep_state(struct shm_ep *e, enum shm_state state)
{
	shm_of(e)->unsettled += (state < SHM_UP) - (e->state < SHM_UP);
	e->state = state;
}

struct shm_ep *shm_ep_find(struct shm_iface *s, int peer)
{
	struct shm_ep *e = s->eps;
	while (e && e->ep.peer != peer)
		e = e->next;
	return e;
}

static void ep_event(struct shm_iface *s, struct shm_watch *w, uint32_t events);
static void exit_event(struct shm_iface *s, struct shm_watch *w, uint32_t events);

struct shm_ep *shm_ep_new(struct shm_iface *s, int peer)
{
	struct shm_ep *e = aligned_alloc(64, shm_grain(sizeof(*e)));
	if (!e)
		return NULL;
	memset(e, 0, sizeof(*e));
	e->ep = (struct net_ep){ .iface = &s->iface, .peer = peer };
	e->watch = (struct shm_watch){ -1, ep_event };
	e->exit = (struct shm_watch){ -1, exit_event };
	e->bell_fd = -1;
	for (int c = 0; c < NET_CHANNELS; c++) {
		net_fifo_init(&e->tx[c].queue);
		net_fifo_init(&e->tx[c].await);
		net_fifo_init(&e->rx[c].queue);
		e->tx[c].end.e = e->rx[c].end.e = e;
		e->tx[c].end.sends = true;
	}
	e->next = s->eps;
	s->eps = e;
	s->unsettled++;
	return e;
}

static void unmap(void *p, size_t len)
{
	if (p)
		munmap(p, len);
}

/* Its operations have ended (quiesce, or shm_ep_lost). */
void shm_ep_free(struct shm_ep *e)
{
	ep_state(e, SHM_DEAD);
	unmap(e->mine, e->mine_len);
	unmap(e->its, e->its_len);
	unmap(e->bell, SHM_PAGE);
	for (int c = 0; c < NET_CHANNELS; c++)
		free(e->rx[c].stage);
	shm_regions_free(&e->lent);
	shm_regions_free(&e->borrowed);
	if (e->bell_fd >= 0)
		close(e->bell_fd);
	shm_watch_close(shm_of(e), &e->watch);
	shm_watch_close(shm_of(e), &e->exit);
	free(e);
}

static void end_all(struct net_fifo *f, int status)
{
	while (f->head) {
		struct net_op *op = net_fifo_pop(f);
		op->avail = 0;
		if (!op->complete)
			net_op_end(op, status);
	}
}

void shm_ep_lost(struct shm_ep *e, int status, const char *why)
{
	if (e->claimed)
		net_ep_fail(&e->ep, status, "%s", why);
	else if (!e->ep.status) {
		e->ep.status = status;
		snprintf(e->ep.why, sizeof(e->ep.why), "%s", why);
	}
	ep_state(e, SHM_DEAD);
	for (int c = 0; c < NET_CHANNELS; c++) {
		end_all(&e->tx[c].await, e->ep.status);
		end_all(&e->tx[c].queue, e->ep.status);
		end_all(&e->rx[c].queue, e->ep.status);
		e->tx[c].kind = e->rx[c].kind = SHM_NONE;
	}
	shm_watch_close(shm_of(e), &e->watch);
	shm_watch_close(shm_of(e), &e->exit);
}

static void ep_lost_errno(struct shm_ep *e, const char *what, int error)
{
	char why[160];
	snprintf(why, sizeof(why), "%s: %s", what, strerror(error));
	shm_ep_lost(e, TUTTI_ERR_PEER, why);
}

/* ---- meeting --------------------------------------------------------------------------------------------------- */

static void set_lanes(struct shm_ep *e)
{
	uint64_t mine = (e->mine_len - SHM_SLOTS_AT) / NET_CHANNELS, its = (e->its_len - SHM_SLOTS_AT) / NET_CHANNELS;
	for (int c = 0; c < NET_CHANNELS; c++) {
		struct shm_end *tx = &e->tx[c].end, *rx = &e->rx[c].end;
		tx->mine = rx->mine = &e->mine->lane[c];
		tx->its = rx->its = &e->its->lane[c];
		tx->slots = (unsigned char *)e->mine + SHM_SLOTS_AT + (size_t)c * mine;
		rx->slots = (unsigned char *)e->its + SHM_SLOTS_AT + (size_t)c * its;
		tx->mask = mine - 1;
		rx->mask = its - 1;
	}
}

/* Proved: give the peer what it needs. */
static void ep_meet(struct shm_ep *e)
{
	struct shm_iface *s = shm_of(e);
	struct ucred cred;
	socklen_t n = sizeof(cred);
	e->mine_len = SHM_SLOTS_AT + NET_CHANNELS * SHM_SLOTS * s->slot;
	int area = shm_memfd("tutti-shm", e->mine_len), error = -errno;
	if (area >= 0 && (e->mine = shm_map(area, e->mine_len, true)) && getsockopt(e->watch.fd, SOL_SOCKET, SO_PEERCRED, &cred, &n) == 0) {
		struct shm_frame f = { .type = SHM_HELLO, .a = SHM_SLOTS * s->slot, .b = (uint64_t)(uintptr_t)&s->secret, .c = s->secret };
		f.flags = (s->membarrier ? HAS_MEMBARRIER : 0) | (s->config->shm_pull ? WILL_PULL : 0);
		e->pid = cred.pid;
		error = shm_frame_send(e->watch.fd, &f, (int[]){ area, s->bell_fd, s->event.fd }, SHM_FDS);
	} else if (area >= 0) {
		error = -errno;
	}
	if (area >= 0)
		close(area);
	if (error < 0) {
		ep_lost_errno(e, "cannot share memory", -error);
		return;
	}
	ep_state(e, SHM_MEETING);
	if (e->pid > 0 && e->pid != getpid()) {
		e->exit.fd = (int)syscall(SYS_pidfd_open, e->pid, 0);
		if (e->exit.fd >= 0)
			shm_watch_add(s, &e->exit, EPOLLIN);
	}
	watch_change(s, &e->watch, EPOLLIN | EPOLLRDHUP);
}

/* Private memory of the peer can be read, and it wants to know. */
static void try_pull(struct shm_ep *e, const struct shm_frame *hello)
{
	uint64_t found = 0;
	struct iovec here = { &found, sizeof(found) }, there = { (void *)(uintptr_t)hello->b, sizeof(found) };
	struct shm_frame f = { .type = SHM_CAN_PULL };
	if (process_vm_readv(e->pid, &here, 1, &there, 1, 0) == sizeof(found) && found == hello->c)
		shm_frame_send(e->watch.fd, &f, NULL, 0);
}

/* The peer's HELLO; fds: area, bell, eventfd. Returns the reason when it is not good. */
static const char *ep_hello(struct shm_ep *e, const struct shm_frame *f, const int *fds, int nfds)
{
	if (e->state != SHM_MEETING || nfds != SHM_FDS || f->a < SHM_PAGE || f->a > ring_max || f->a & (f->a - 1))
		return "its hello is broken";
	e->its_len = SHM_SLOTS_AT + NET_CHANNELS * (size_t)f->a;
	e->its = shm_map(fds[0], e->its_len, false);
	e->bell = shm_map(fds[1], SHM_PAGE, false);
	e->bell_fd = fcntl(fds[2], F_DUPFD_CLOEXEC, 0);
	if (!e->its || !e->bell || e->bell_fd < 0 || fcntl(e->bell_fd, F_SETFL, O_NONBLOCK) < 0)
		return "cannot map its memory";
	e->fence = !(shm_of(e)->membarrier && f->flags & HAS_MEMBARRIER);
	set_lanes(e);
	ep_state(e, SHM_UP);
	if (f->flags & WILL_PULL)
		try_pull(e, f);
	for (int c = 0; c < NET_CHANNELS; c++) {
		if (e->tx[c].queue.head)
			shm_activate(&e->tx[c].end);
		if (e->rx[c].queue.head)
			shm_activate(&e->rx[c].end);
	}
	return NULL;
}

static const char *ep_frame(struct shm_ep *e, const struct shm_frame *f, const int *fds, int nfds)
{
	if (f->type == SHM_HELLO)
		return ep_hello(e, f, fds, nfds);
	if (e->state == SHM_UP && f->type == SHM_LEND && nfds == 1)
		return shm_borrow(e, f->a, f->b, fds[0]) < 0 ? "cannot map a region that it lent" : NULL;
	if (e->state == SHM_UP && f->type == SHM_DROP)
		return shm_borrow_drop(e, f->a), NULL;
	if (e->state == SHM_UP && f->type == SHM_CAN_PULL)
		return e->pulls = true, NULL;
	return "a frame is broken";
}

/* The peer is gone: what it had published is still received. */
static void ep_gone(struct shm_ep *e, int error)
{
	if (e->state == SHM_UP)
		for (int c = 0; c < NET_CHANNELS; c++)
			while (e->state == SHM_UP && shm_rx_step(&e->rx[c]))
				;
	if (e->state == SHM_DEAD)
		return;
	bool closed = e->its && atomic_load(&e->its->closed);
	if (error != ECONNRESET)
		ep_lost_errno(e, "connection failed", error);
	else
		shm_ep_lost(e, TUTTI_ERR_PEER, closed ? "closed by the peer" : "connection reset by peer (it died)");
}

int shm_ep_read(struct shm_ep *e)
{
	int error = 0;
	while (!error && (e->state == SHM_MEETING || e->state == SHM_UP)) {
		struct shm_frame f;
		int fds[SHM_FDS], nfds;
		error = shm_frame_recv(e->watch.fd, &f, fds, &nfds);
		const char *why = error ? NULL : ep_frame(e, &f, fds, nfds);
		for (int i = 0; i < nfds; i++)
			close(fds[i]);
		if (why)
			shm_ep_lost(e, TUTTI_ERR_PEER, why);
	}
	return error == -EAGAIN ? 0 : error;
}

static void exit_event(struct shm_iface *s, struct shm_watch *w, uint32_t events)
{
	(void)s, (void)events;
	ep_gone((struct shm_ep *)((char *)w - offsetof(struct shm_ep, exit)), ECONNRESET);
}

static void ep_prove(struct shm_iface *s, struct shm_ep *e)
{
	int status = auth_step(&e->auth);
	if (status == TUTTI_PENDING)
		watch_change(s, &e->watch, auth_epoll(&e->auth));
	else if (status < 0)
		shm_ep_lost(e, status, err_last());
	else
		ep_meet(e);
}

static void ep_event(struct shm_iface *s, struct shm_watch *w, uint32_t events)
{
	struct shm_ep *e = (struct shm_ep *)((char *)w - offsetof(struct shm_ep, watch));
	int error;
	(void)events;
	if (e->state == SHM_PROVING)
		ep_prove(s, e);
	else if ((error = shm_ep_read(e)))
		ep_gone(e, -error);
}

/* ---- dialling -------------------------------------------------------------------------------------------------- */

static socklen_t abstract(struct sockaddr_un *a, const char *name)
{
	*a = (struct sockaddr_un){ .sun_family = AF_UNIX };
	memcpy(a->sun_path + 1, name, strlen(name));
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name));
}

static bool same_user(int fd)
{
	struct ucred cred;
	socklen_t n = sizeof(cred);
	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &n) == 0 && cred.uid == geteuid();
}

void shm_ep_dial(struct shm_ep *e)
{
	struct shm_iface *s = shm_of(e);
	struct sockaddr_un a;
	socklen_t n = abstract(&a, e->name);
	ep_state(e, SHM_DIALLING);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&a, n) < 0) {
		int error = errno;
		if (fd >= 0)
			close(fd);
		if (error != EAGAIN)    /* its queue is full: again in a later progress */
			ep_lost_errno(e, "cannot connect", error);
		return;
	}
	e->watch.fd = fd;
	if (!same_user(fd)) {
		shm_ep_lost(e, TUTTI_ERR_AUTH, "the listening socket is another user's");
		return;
	}
	auth_dial(&e->auth, s->key, fd, PURPOSE, 0, s->iface.rank, e->ep.peer);
	ep_state(e, SHM_PROVING);
	if (shm_watch_add(s, &e->watch, EPOLLIN) < 0)
		shm_ep_lost(e, TUTTI_ERR_SYSTEM, err_last());
	else
		ep_prove(s, e);
}

bool shm_dialling(const struct shm_iface *s)
{
	const struct shm_ep *e = s->eps;
	while (e && e->state != SHM_DIALLING)
		e = e->next;
	return e != NULL;
}

/* ---- accepting ------------------------------------------------------------------------------------------------- */

void shm_guest_free(struct shm_iface *s, struct shm_guest *g)
{
	struct shm_guest **p = &s->guests;
	while (*p != g)
		p = &(*p)->next;
	*p = g->next;
	s->nguests--;
	shm_watch_close(s, &g->watch);
	free(g);
}

/* g has proved to be a rank: its socket goes to the endpoint. */
static void guest_in(struct shm_iface *s, struct shm_guest *g)
{
	int peer = g->auth.peer;
	struct shm_ep *e = peer > s->iface.rank && peer < s->iface.nranks ? shm_ep_find(s, peer) : NULL;
	if (!e && peer > s->iface.rank && peer < s->iface.nranks)
		e = shm_ep_new(s, peer);
	if (!e || e->state != SHM_WAITING) {
		log_msg(LOG_WARN, "shm: a second connection, or one that should not be, from rank %d is refused", peer);
		return;
	}
	e->watch.fd = g->watch.fd;
	g->watch.fd = -1;
	watch_change(s, &e->watch, EPOLLIN | EPOLLRDHUP);
	ep_meet(e);
}

static void guest_event(struct shm_iface *s, struct shm_watch *w, uint32_t events)
{
	struct shm_guest *g = (struct shm_guest *)((char *)w - offsetof(struct shm_guest, watch));
	int status = auth_step(&g->auth);
	(void)events;
	if (status == TUTTI_PENDING) {
		watch_change(s, w, auth_epoll(&g->auth));
		return;
	}
	if (status == TUTTI_OK)
		guest_in(s, g);
	else
		log_msg(LOG_DEBUG, "shm: a stranger was refused: %s", err_last());
	shm_guest_free(s, g);
}

static void door_event(struct shm_iface *s, struct shm_watch *door, uint32_t events)
{
	(void)events;
	int fd = accept4(door->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0)
		return;
	if (s->nguests == GUESTS_MAX)           /* the newest has been silent for the shortest time; the oldest goes */
		for (struct shm_guest *g = s->guests, *last; g; g = last) {
			last = g->next;
			if (!last)
				shm_guest_free(s, g);
		}
	struct shm_guest *g = same_user(fd) ? calloc(1, sizeof(*g)) : NULL;
	if (!g) {
		close(fd);
		return;
	}
	*g = (struct shm_guest){ .watch = { fd, guest_event }, .next = s->guests };
	s->guests = g;
	s->nguests++;
	auth_accept(&g->auth, s->key, fd, PURPOSE, s->iface.rank);
	if (shm_watch_add(s, &g->watch, EPOLLIN) < 0)
		shm_guest_free(s, g);
}

int shm_door_open(struct shm_iface *s)
{
	struct sockaddr_un a;
	unsigned char random[12];
	s->door = (struct shm_watch){ socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), door_event };
	if (s->door.fd < 0 || auth_random(random, sizeof(random)) < 0)
		return err_sys("cannot make a UNIX socket");
	size_t n = (size_t)snprintf(s->name, sizeof(s->name), "tutti-");
	for (size_t i = 0; i < sizeof(random); i++)
		n += (size_t)snprintf(s->name + n, sizeof(s->name) - n, "%02x", random[i]);
	if (bind(s->door.fd, (struct sockaddr *)&a, abstract(&a, s->name)) < 0 || listen(s->door.fd, 1024) < 0)
		return err_sys("cannot listen on a UNIX socket");
	return shm_watch_add(s, &s->door, EPOLLIN);
}

/*
 * One event at a time: handling one may free what the next would point to. All but the door's count: an eventfd's was taken from a sleeper,
 * who has to look again; but a caller who cannot be let in, for lack of descriptors, stays at the door, and a guest has events of its own.
 */
int shm_poll(struct shm_iface *s)
{
	struct epoll_event ev;
	int moved = 0;
	for (int n = 0; n < 64 && epoll_wait(s->epfd, &ev, 1, 0) == 1; n++) {
		struct shm_watch *w = ev.data.ptr;
		moved |= w != &s->door;
		w->event(s, w, ev.events);
	}
	for (struct shm_ep *e = s->unsettled ? s->eps : NULL; e; e = e->next)
		if (e->state == SHM_DIALLING)
			shm_ep_dial(e);
	uint64_t frees = net_mem_frees();
	if (s->frees != frees) {
		bool all = true;
		for (struct shm_ep *e = s->eps; e; e = e->next)
			all &= e->state != SHM_UP || shm_lent_sweep(e);
		s->frees = all ? frees : s->frees;
	}
	return moved;
}
