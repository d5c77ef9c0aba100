/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shared-memory transport, inside.
 *
 *      shm.c      the table of slots: open, close, addresses, posting, progress
 *      conn.c     who is there: listening, dialling, proving, exchanging descriptors, noticing death
 *      frame.c    fixed-size frames with descriptors over the connection's socket
 *      region.c   memory regions lent to and by a peer
 *      tx.c rx.c  the two ends of a lane: messages
 *      wake.c     sleeping and waking
 *      layout.h   what lies in shared memory, and why reading and writing it is ordered
 *
 * An endpoint owns its socket, both areas' mappings, the mapped regions of the peer, and the peer's bell. Operations are on exactly one
 * list: tx.queue (not yet wholly published), tx.await (published, lent to the peer), or rx.queue.
 */
#ifndef SHM_H
#define SHM_H
#include "layout.h"
#include <sys/types.h>

struct shm_iface;
struct shm_ep;

/* Something in the epoll set. */
struct shm_watch {
	int fd;
	void (*event)(struct shm_iface *s, struct shm_watch *w, uint32_t events);
};

/* A lane's end with operations posted is on iface->active. */
struct shm_end {
	struct shm_end *next;
	struct shm_ep *e;
	struct shm_lane *mine, *its;    /* this lane in my area, and in the peer's */
	unsigned char *slots;           /* tx: my ring of bytes; rx: the peer's */
	uint64_t mask;                  /* its size - 1 */
	bool active, sends;
};

struct shm_tx {
	struct shm_end end;
	struct net_fifo queue, await;
	uint64_t line, room;            /* next line to write; lines consumed, as last seen */
	uint64_t next, released;        /* stream: where the next long message starts; released, as last seen */
	uint64_t settled;               /* released, when lent messages were last compared with it */
	uint64_t floor;                 /* stream: nothing before it is in the ring of slots */
	uint64_t base, sent;            /* the message at queue's head, once kind is set */
	uint32_t kind, seq;
	bool worn[SHM_LINES];           /* a message's bytes, or an older lap's line, lie where the flag of this one will be */
};

struct shm_rx {
	struct shm_end end;
	struct net_fifo queue;
	uint64_t line, told;            /* next line to read; consumed lines as the peer knows */
	uint64_t base, ready;           /* stream: the message at queue's head, once kind is set */
	uint64_t floor;                 /* stream: where the last long message ended */
	const unsigned char *from;      /* its bytes: LINE, MEM; PULL: address over there */
	uint64_t mem;                   /* MEM: the region it holds on to */
	uint32_t kind, seq, lines;
	unsigned char *stage;           /* PULL to views: bytes [staged, staged_end) of the message, once allocated */
	size_t staged, staged_end;
};

/* Regions by id, sorted. Lent to the peer: base is NULL. Borrowed: mapped until dropped and not in use. */
struct shm_region { uint64_t id; size_t len; void *base; unsigned users; bool dropped; };
struct shm_regions { struct shm_region **row; size_t n, cap; };

enum shm_state { SHM_WAITING, SHM_DIALLING, SHM_PROVING, SHM_MEETING, SHM_UP, SHM_DEAD };

struct shm_ep {
	struct net_ep ep;
	struct shm_watch watch;         /* the connection */
	struct shm_watch exit;          /* a pidfd: a child of the peer may hold the connection open when the peer has died */
	struct shm_ep *next;            /* of iface->eps */
	enum shm_state state;
	bool claimed;                   /* connect was called: somebody else knows this endpoint */
	bool fence;                     /* publish with a fence: membarrier does not work at both ends */
	bool pulls;                     /* the peer can read this process's private memory */
	pid_t pid;
	uint32_t rung;                  /* the peer's sleep that was rung for already */
	int bell_fd;
	struct shm_bell *bell;
	struct shm_area *mine, *its;
	size_t mine_len, its_len;
	struct shm_tx tx[NET_CHANNELS];
	struct shm_rx rx[NET_CHANNELS];
	struct shm_regions lent, borrowed;
	struct auth auth;
	char name[32];                  /* its listening socket, to dial */
};

/* An accepted connection that has not proved yet who it is. */
struct shm_guest { struct shm_watch watch; struct shm_guest *next; struct auth auth; };

struct shm_iface {
	struct net_iface iface;
	const struct auth_key *key;
	const struct config *config;
	struct shm_end *active;
	struct shm_ep *eps;
	struct shm_guest *guests;
	int nguests, unsettled;         /* unsettled: connections being made; the set is polled more often */
	unsigned turn;
	int armed;                      /* progress calls until the alarm is off */
	uint32_t sleeps;
	bool membarrier;
	int epfd, bell_fd;
	struct shm_watch door, event;   /* listening socket; eventfd */
	struct shm_bell *bell;
	size_t slot;                    /* bytes of a slot, a power of two */
	uint64_t frees;                 /* net_mem_frees() as last seen */
	uint64_t secret;                /* what a peer must find when it reads this process's memory */
	char name[32];
};

/* shm.c */
extern const struct net_transport shm_transport;
void shm_activate(struct shm_end *end);

/* conn.c */
int shm_door_open(struct shm_iface *s);
struct shm_ep *shm_ep_find(struct shm_iface *s, int peer);
struct shm_ep *shm_ep_new(struct shm_iface *s, int peer);
void shm_ep_free(struct shm_ep *e);
void shm_ep_dial(struct shm_ep *e);
bool shm_dialling(const struct shm_iface *s);                           /* does a dial wait to be tried again? */
void shm_ep_lost(struct shm_ep *e, int status, const char *why);        /* fail it, end its operations */
void shm_guest_free(struct shm_iface *s, struct shm_guest *g);
int shm_watch_add(struct shm_iface *s, struct shm_watch *w, uint32_t events);
void shm_watch_close(struct shm_iface *s, struct shm_watch *w);
int shm_poll(struct shm_iface *s);                                      /* connections; 1 when anything moved */
int shm_ep_read(struct shm_ep *e);                                      /* frames that have come; negative errno at the connection's end */
void *shm_map(int fd, size_t len, bool write);                          /* NULL when it is not a sealed memfd of that length */
int shm_memfd(const char *name, size_t len);

/* frame.c: status 0, or negative errno (-EAGAIN: none; -ECONNRESET: closed). Who receives descriptors closes them. */
enum shm_type { SHM_HELLO = 0x73686d01, SHM_LEND, SHM_DROP, SHM_CAN_PULL };
enum { SHM_FDS = 3 };
struct shm_frame { uint32_t type, flags; uint64_t a, b, c; };
int shm_frame_send(int fd, const struct shm_frame *f, const int *fds, int nfds);
int shm_frame_recv(int fd, struct shm_frame *f, int fds[SHM_FDS], int *nfds);

/* region.c */
bool shm_lend(struct shm_ep *e, const struct net_mem *mem);             /* false: cannot now */
bool shm_lent_sweep(struct shm_ep *e);                                  /* tell the peer of freed ones; false: not of all */
int shm_borrow(struct shm_ep *e, uint64_t id, size_t len, int fd);
void shm_borrow_drop(struct shm_ep *e, uint64_t id);
struct shm_region *shm_region_find(struct shm_regions *t, uint64_t id);
void shm_region_unuse(struct shm_ep *e, uint64_t id);
void shm_regions_free(struct shm_regions *t);

/* tx.c, rx.c: 1 when anything moved */
bool shm_tx_at_once(struct shm_tx *t, struct net_op *op);               /* op was sent; false: queue it */
int shm_tx_step(struct shm_tx *t);
int shm_rx_step(struct shm_rx *r);
void shm_rx_release(struct shm_rx *r, struct net_op *op, size_t n);

/* wake.c */
bool shm_membarrier_ready(void);
int shm_arm(struct net_iface *iface);
void shm_disarm(struct shm_iface *s);
void shm_ring(struct shm_ep *e, uint32_t asleep);

/* Something was published to the peer: data (SHM_ASLEEP), or space (SHM_SENDING: only sleepers with sends under way care). */
static inline void shm_wake(struct shm_ep *e, uint32_t who)
{
	if (e->fence)
		shm_fence(memory_order_seq_cst);
	else
		atomic_signal_fence(memory_order_seq_cst);
	uint32_t asleep = atomic_load_explicit(&e->bell->asleep, memory_order_relaxed);
	if (__builtin_expect(asleep & who, 0) && asleep != e->rung)
		shm_ring(e, asleep);
}

static inline struct shm_iface *shm_of(struct shm_ep *e) { return (struct shm_iface *)e->ep.iface; }
static inline uint64_t shm_grain(uint64_t n) { return (n + NET_GRAIN - 1) / NET_GRAIN * NET_GRAIN; }
#endif
