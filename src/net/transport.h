/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The transport contract: what a transport promises to the executor, and all that it may assume.
 *
 *      executor                         transport
 *        net_op send  --- send() --->   FIFO (ep, channel)  ~~~ message ~~~>  FIFO  <--- recv() ---  net_op recv
 *        limit grows  --- advance() ->  may read  [0, limit)                  may write [0, limit)
 *        done grows   <--------------   finished with [0, done)               arrived   [0, done)
 *
 * Messages. The i-th message sent on (pair, direction, channel) meets the i-th receive posted there, whole: both know its length. Every message carries a head
 * (struct net_head); the receiver compares it with its own and fails the operation with TUTTI_ERR_MISMATCH when any field differs, before believing anything else.
 *
 * Frontiers. Bytes move as a prefix. The caller raises op->limit and calls advance(); the transport raises op->done, in any slot call. There are no callbacks: the
 * executor reads op->done, op->avail and op->complete after progress().
 *
 * Two kinds of receive. Plain: the bytes go to op->buf, straight from the wire where possible. View (NET_VIEW): the transport lends arrived bytes where they lie
 * (a slot, the peer's memory, a staging buffer of cache size) as op->view[0, op->avail); the caller reads them, then release()s some. So reductions, over one
 * peer or over many in one pass, are written once, in the executor, and a transport knows no data types.
 *
 * No progress depends on buffering (!): a send may stay at done == 0 until the receive is posted. And a message nobody has posted for never blocks another
 * FIFO: buffers belong to one FIFO. Any number of operations may be posted on a FIFO.
 *
 * Threads: one iface is used by one thread at a time; different ifaces by different threads at the same time.
 */
#ifndef NET_TRANSPORT_H
#define NET_TRANSPORT_H
#include <base/auth.h>
#include <base/config.h>
#include <base/err.h>
#include <stdbool.h>
#include <stdint.h>

enum {
	NET_CHANNELS = 9,       /* 0..7 collectives, 8 point-to-point */
	NET_SHORT = 1024,       /* no transport treats a message of up to this length by the memory it lies in */
	NET_GRAIN = 64,         /* view->avail is a multiple of this, except at a message's end: no element is ever split */
	NET_ADDR_MAX = 512,     /* bytes of an address blob */
	NET_FOUND_MAX = 2048    /* bytes of what a probe tells */
};

enum net_flag { NET_VIEW = 1 };

/* Travels in front of every message. Equal at both ends, or the operation fails. */
struct net_head {
	uint64_t sig;           /* the call's signature: collective, count, type, operator, root, schedule (exec decodes it into words) */
	uint64_t len;
	uint32_t opnum;         /* number of the operation on this communicator and FIFO class */
	uint32_t seq;           /* position in the FIFO, mod 2^32; filled and checked by the transport */
};

/* Memory that is used often, by kind (src/net/mem.c): */
enum net_mem_kind {
	NET_MEM_SHARED,         /* a memfd that other processes can map: tutti_mem_alloc, scratch */
	NET_MEM_PRIVATE,        /* the caller's own: tutti_register, buffers of persistent requests */
	NET_MEM_DMABUF          /* a device's, by its dma-buf; nothing makes such regions yet */
};
struct net_mem {
	void *base;
	size_t len;
	enum net_mem_kind kind;
	int fd;                 /* memfd, dma-buf, or -1 */
	uint64_t id;            /* unique in this process, never used again */
};

/* One posted message. The caller's memory, at a fixed address from posting until complete; no allocation. */
struct net_op {
	/* the caller's; set before posting */
	struct net_ep *ep;
	void *buf;              /* send: source (never written); plain recv: destination; view: unused */
	const struct net_mem *mem;      /* the region buf lies in, or NULL */
	struct net_head head;
	size_t limit;           /* bytes of buf the transport may touch: <= head.len; only grows. A view has none: the caller releases what it may */
	uint8_t channel, flags;
	/* the transport's; read by the caller; set anew by posting */
	bool passive;           /* send: all is published, the peer can take the rest without any further call here (the bytes must stay until complete) */
	bool complete;          /* done == len and the head has been exchanged; or status < 0. The transport does not touch the op again. */
	int status;             /* 0, or negative once complete */
	size_t done;            /* send: [0,done) may be overwritten. plain recv: [0,done) has arrived. view: [0,done) has been released */
	const void *view;       /* view: the byte at done, valid until release, or until the op completes */
	size_t avail;           /* view: bytes readable at view */
	/* the transport's alone */
	struct net_op *next;
	uint64_t priv[4];
};

/* One opened transport of one communicator, and one peer on it. A transport embeds these first in its own structs. */
struct net_iface {
	const struct net_transport *t;
	int rank, nranks;
	int expected;           /* set by the transport: endpoints that wait for letters, so that the control tree is looked at more often */
	bool restless;          /* set by open: moves only while it is called, so that a peer may need calls even when nothing is posted here */
	struct net_ep *dead;    /* set by the transport: the first endpoint that failed, even with nothing posted on it; NULL while all is well */
};

struct net_ep {
	struct net_iface *iface;
	int peer;
	int status;             /* negative once the connection is lost; then every operation posted completes with it */
	char why[160];          /* the reason in words: "connection reset by peer"; no rank, no transport name: the executor adds them */
	struct net_head got;    /* after TUTTI_ERR_MISMATCH: what came */
};

/*
 * Letters: a few bytes from an interface to the peer's interface of the same transport, by way of the authenticated control tree; for what is needed once a
 * pair. They keep their order, and may come before connect() was called here. post: 0 or negative; does not block.
 */
struct net_post { int (*post)(void *ctx, const struct net_iface *from, int peer, const void *bytes, size_t len); void *ctx; };
enum { NET_LETTER_MAX = 448 };

struct net_open {
	int rank, nranks;
	struct net_post post;
	const struct auth_key *key;     /* the communicator's; valid as long as the iface */
	const struct config *config;    /* likewise */
};

/* All slots are mandatory; net_find asserts it. "int": 0 or a negative status with err_set, unless said otherwise. Nothing blocks, unless said otherwise. */
struct net_transport {
	const char *name;       /* "shm" */
	const char *help;       /* one line */

	/* Can it run on this machine at all? TUTTI_OK, or TUTTI_ERR_UNSUPPORTED with the reason as the sentence. found: for people in both cases, a line
	 * ("memfd, process_vm_readv, 2 x 512 KiB L2") or more, cut at cap. May take milliseconds. Any thread. */
	int (*probe)(const struct config *c, char *found, size_t cap);

	/* *iface on success only; close() it. close: after quiesce of all endpoints; frees them too; leaves nothing behind. */
	int (*open)(struct net_iface **iface, const struct net_open *o);
	void (*close)(struct net_iface *iface);

	/* The bytes by which other ranks reach this one (<= NET_ADDR_MAX). Exchanged over the authenticated control tree. */
	int (*address)(struct net_iface *iface, void *buf, size_t *len);

	/* Can the rank with that address be reached? Symmetric: both ends compute the same answer from each other's address (and their own). TUTTI_OK or
	 * TUTTI_ERR_UNSUPPORTED (sentence: "another machine"). The bytes are another rank's: check lengths. */
	int (*reaches)(struct net_iface *iface, const void *addr, size_t len);

	/* An endpoint to peer, at once; the connection is made in later progress() calls, and operations may be posted before. Both ends call it when they first need
	 * the pair; the higher rank dials, the lower accepts (and keeps a connection that comes early, authenticated, until it calls connect).
	 * Freed by close. */
	int (*connect)(struct net_iface *iface, int peer, const void *addr, size_t len, struct net_ep **ep);

	/* A letter from peer's interface; the bytes are another rank's. net_no_letter where none is expected. */
	void (*letter)(struct net_iface *iface, int peer, const void *bytes, size_t len);

	/* Post op; ops of one FIFO in order. Never fails: errors come as op->status. May move bytes and complete at once. */
	void (*send)(struct net_op *op);
	void (*recv)(struct net_op *op);

	/* op->limit has grown. May move bytes. Not called on complete operations. */
	void (*advance)(struct net_op *op);

	/* The caller is done with n <= avail bytes of the view (multiples of NET_GRAIN, or all that remain of the message). Raises done, moves view, avail. */
	void (*release)(struct net_op *op, size_t n);

	/* Move bytes, make connections, see deaths. Positive when anything moved, else 0. One call does a bounded amount of work (about a slice per FIFO). The hot
	 * loop: costs nothing for idle FIFOs, and looks at rarely changing things (listening sockets) every Nth call only. */
	int (*progress)(struct net_iface *iface);

	/* Prepare to sleep: returns a descriptor that becomes readable when progress() has something to do (data, space, connection, death), or NET_BUSY when
	 * there is something already. The caller calls progress() once more after arm, and sleeps only if that returned 0; the next progress() disarms. */
	int (*arm)(struct net_iface *iface);

	/* Local, bounded, needs no peer: all operations on ep complete (TUTTI_ERR_ABORTED unless they failed before); afterwards no device, peer or thread writes
	 * memory that was posted. The endpoint is dead from then on. */
	void (*quiesce)(struct net_ep *ep);

	/* One line for people: "shm, memfd slots 128 KiB"; "tcp 127.0.0.1:4711, 1 connection". Returns what snprintf does. */
	int (*describe)(const struct net_ep *ep, char *buf, size_t cap);
};

enum { NET_BUSY = -1 };

/* ---- registry (src/net/registry.c): one row each --------------------------------------------------------------- */

const char *net_name(int i);                                    /* of row i = 0 ...; NULL after the last */
bool net_is_known(const char *name);
const struct net_transport *net_find(const char *name);         /* a module is loaded at first use; NULL: unknown, or not to be loaded (sentence) */

/* ---- help for transports (src/net/help.c) ---------------------------------------------------------------------- */

/* Compare what came with what op expects; on a difference complete op with TUTTI_ERR_MISMATCH, fill ep->got and ep->why, fail ep. */
void net_mismatch(struct net_op *op, const struct net_head *got);
static inline bool net_head_check(struct net_op *op, const struct net_head *got)
{
	const struct net_head *want = &op->head;
	if (got->sig == want->sig && got->len == want->len && got->opnum == want->opnum && got->seq == want->seq)
		return true;
	net_mismatch(op, got);
	return false;
}

/* Warns and drops it: for transports that send none. */
void net_no_letter(struct net_iface *iface, int peer, const void *bytes, size_t len);

/* Fail an endpoint: the first reason stays; sets iface->dead. The transport then completes its operations with ep->status. */
void net_ep_fail(struct net_ep *ep, int status, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* As many of a message's n bytes from `done` on as split no element. */
static inline size_t net_grains(size_t done, size_t n, size_t len) { return done + n < len ? n - n % NET_GRAIN : n; }

/* A posted op starts like this: the first thing that send and recv do. */
static inline void net_op_begin(struct net_op *op)
{
	op->passive = op->complete = false;
	op->status = 0;
	op->done = op->avail = 0;
	op->view = NULL;
}

/* Complete op with status. */
static inline void net_op_end(struct net_op *op, int status)
{
	op->status = status;
	op->complete = true;
}

/* The same, with op's place in its FIFO. False: the endpoint is lost, and op over. */
static inline bool net_op_post(struct net_op *op, uint32_t *seq)
{
	net_op_begin(op);
	op->head.seq = (*seq)++;
	if (op->ep->status)
		net_op_end(op, op->ep->status);
	return !op->ep->status;
}

/* An intrusive FIFO of posted operations. */
struct net_fifo { struct net_op *head, **tail; };
static inline void net_fifo_init(struct net_fifo *f) { f->head = NULL; f->tail = &f->head; }
static inline void net_fifo_push(struct net_fifo *f, struct net_op *op) { op->next = NULL; *f->tail = op; f->tail = &op->next; }
static inline struct net_op *net_fifo_pop(struct net_fifo *f)
{
	struct net_op *op = f->head;
	if (!(f->head = op->next))
		f->tail = &f->head;
	return op;
}

/* ---- regions (src/net/mem.c). Any thread. ------------------------------------------------------------------------- */

int net_mem_new(size_t bytes, const struct net_mem **mem);      /* memfd, mapped shared, zeroed, page-aligned */
/* The caller's memory: a region of its own, or a share in the one that holds it; TUTTI_ERR_INVALID when it overlaps one in part. */
int net_mem_adopt(void *p, size_t bytes, const struct net_mem **mem);
void net_mem_free(const struct net_mem *mem);           /* gone with the last share; then unmapped, unless it is the caller's */
const struct net_mem *net_mem_find(const void *p, size_t bytes);        /* the region that holds [p, p+bytes), or NULL; lock-free */
bool net_mem_alive(uint64_t id);                                        /* not freed yet? */
uint64_t net_mem_frees(void);           /* counts net_mem_free calls: a transport that exported regions looks for dead ones when it changes */
#endif
