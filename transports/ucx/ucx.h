/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ucx transport, inside: whatever UCX drives, by the active messages of its ucp layer.
 *
 *      ucx.c       the table of slots: posting, progress, sleeping
 *      context.c   UCX itself: settings, log, context and worker, what there is       wake.c   which of it cannot wake a sleeper
 *      mem.c       handles of registered memory
 *      ep.c        endpoints: letters, life and death
 *      tx.c rx.c   the two ends of a FIFO
 *
 * A FIFO's messages are cut in pieces, numbered from 0; a piece is one active message, whose header says what it is.
 *
 *      sender                                            receiver
 *        piece[n % WINDOW]  --- DATA n, net_head, bytes --->  slot[n % WINDOW]    eager: UCX's buffer, kept;  rendezvous: an offer, fetched
 *        freed              <-- credit (in CREDIT, or with DATA) --  taken           into the user's memory, or into stage[] of this FIFO
 *
 * Why active messages and not tags: a receiver sees a piece's header before it says where the bytes go, so that nothing lands in the
 * user's memory before the net_head was compared; offers can be refused, whereas a matched tag receive cannot be taken back; and eager
 * bytes are read where UCX has put them.
 *
 * What waits for what. At most WINDOW pieces of a FIFO have not been taken by the receiver; those up to EAGER bytes lie in UCX's buffers
 * meanwhile, the others at the sender. So a message nobody receives holds at most WINDOW * EAGER bytes, and blocks no other FIFO.
 *
 * Callbacks of UCX mark a piece or a slot, or copy an eager piece to where it belongs; what fails there is only noted: an endpoint is
 * buried by progress(), quiesce() or the slot that found it. A struct that UCX may still call back about lives until the worker is gone.
 *
 * UCX moves only while it is called. Where it does not end its requests with their endpoint (1.13: over shared memory, when the peer does
 * not read), all endpoints are buried, and it is not called again: so nothing of the user's is touched after an operation's end.
 */
#ifndef UCX_H
#define UCX_H
#include <net/regions.h>
#include <ucp/api/ucp.h>
#include <net/module.h>

enum {
	UCX_PIECE = 512 << 10,
	UCX_EAGER = 64 << 10,           /* bytes of a piece that may go without being asked for */
	UCX_WINDOW = 16,                /* pieces of a FIFO that the receiver has not taken; a power of 2 */
	UCX_STAGES = 4,                 /* pieces of a FIFO that are fetched to where they do not stay */
	UCX_ADDRESS_MAX = 64 << 10,     /* bytes of a worker's address */
	UCX_LETTER = 384                /* of these in a letter */
};

/* ---- what the peer sends ------------------------------------------------------------------------------------------------ */

enum ucx_kind { UCX_DATA = 1, UCX_CREDIT, UCX_BYE };

#define UCX_RANK_BITS 0xffffffull

/* A header. token: what the receiver has told this sender in a letter; its UCX_RANK_BITS are the sender's rank. */
struct ucx_wire {
	struct net_head head;
	uint64_t token;
	uint32_t number;
	uint32_t credit;                /* pieces taken of this channel's other direction */
	uint8_t kind, channel, first;   /* first: of a message */
	uint8_t unused[5];
};
_Static_assert(sizeof(struct ucx_wire) == 48, "no padding");

enum { UCX_HERE = 0x75637801, UCX_GONE };
/* HERE: a part of a worker's address. GONE: what BYE says, where UCX cannot. */
struct ucx_letter { uint32_t kind, total, at, len; uint64_t token; unsigned char bytes[UCX_LETTER]; };

/* far: UCX has something that leads to other machines */
struct ucx_address { uint32_t magic, version; uint64_t machine; uint8_t far, unused[7]; };

/* ---- this end -------------------------------------------------------------------------------------------------------- */

struct ucx_ep;

/* A FIFO's end; those that something has happened to are on iface->ready. */
struct ucx_end { struct ucx_end *next; struct ucx_ep *e; int channel; bool ready, sends; };

struct ucx_piece { struct ucx_wire wire; struct ucx_ep *e; struct ucx_end *end; uint32_t len; bool busy; };

struct ucx_tx {
	struct ucx_end end;
	struct net_fifo queue, await;   /* not wholly handed over; handed over, not done */
	uint32_t seq;
	uint32_t sent, done, freed;     /* pieces: handed over; done, in order; taken by the peer */
	size_t at;                      /* bytes handed over of the one at queue's head */
	struct ucx_piece piece[UCX_WINDOW];
};

enum ucx_slot_state {
	UCX_EMPTY,
	UCX_LENT,                       /* UCX's, until the callback returns */
	UCX_KEPT,                       /* UCX's, until released */
	UCX_COPIED,                     /* malloc */
	UCX_OFFERED,                    /* at the sender */
	UCX_FETCHING, UCX_FETCHED       /* to the user's memory, or to a stage */
};

struct ucx_slot {
	enum ucx_slot_state state;
	struct ucx_ep *e;
	struct ucx_wire wire;
	void *data;                     /* bytes, or UCX's descriptor of an offer */
	size_t len, used;
	struct net_op *op;              /* whose they are, and */
	size_t offset;                  /* where; once matched */
	int stage;                      /* -1: none */
};

struct ucx_rx {
	struct ucx_end end;
	struct net_fifo queue;
	struct net_op *next;            /* whose piece comes next; NULL: not posted yet */
	size_t at;                      /* bytes of it that have been matched */
	uint32_t seq;
	uint32_t matched, taken, told;  /* pieces; told: as the peer knows taken */
	struct ucx_slot slot[UCX_WINDOW];
	unsigned char *stage[UCX_STAGES];
	bool staged[UCX_STAGES];        /* in use */
};

enum ucx_state { UCX_NEW, UCX_CONNECTING, UCX_UP, UCX_DEAD };

struct ucx_ep {
	struct net_ep ep;
	enum ucx_state state;
	ucp_ep_h h;                     /* NULL: not made, or closed */
	bool broken;                    /* UCX says so: nothing can be told to the peer */
	int pending;                    /* requests that UCX will call back about; */
	uint64_t mine, its;             /* tokens: of what comes, of what goes */
	struct ucx_saying *sayings;     /* headers under way */
	unsigned char *address;         /* the peer's worker's; as much as has come */
	uint32_t address_len, address_got;
	struct ucx_tx tx[NET_CHANNELS];
	struct ucx_rx rx[NET_CHANNELS];
};

struct ucx_iface {
	struct net_iface iface;
	struct net_post post;
	ucp_context_h context;
	ucp_worker_h worker;
	ucp_address_t *address;
	size_t address_len;
	int fd;                         /* to sleep on; */
	bool wakes;                     /* UCX's, or a timer of ours */
	bool far;
	uint64_t machine;
	struct net_regions regions;     /* of ucp_mem_h */
	bool failing;                   /* some endpoint is to be buried */
	int64_t give_up;                /* clock; not 0: UCX is given up, and by then every endpoint must be buried */
	bool frozen;                    /* UCX is not called any more, until it is closed */
	bool busy;                      /* UCX had more to do */
	struct ucx_ep **eps;            /* by rank */
	int pending;                    /* and of all endpoints */
	uint32_t events;                /* counts what came and what ended */
	struct ucx_end *ready;
};

static inline struct ucx_iface *ucx_of(const struct ucx_ep *e) { return (struct ucx_iface *)e->ep.iface; }
/* n requests more, or less: those have ended. */
static inline void ucx_pend(struct ucx_ep *e, int n)
{
	e->pending += n;
	ucx_of(e)->pending += n;
	ucx_of(e)->events += n < 0;
}

/* The next progress() is to step it. */
static inline void ucx_wake(struct ucx_end *end)
{
	struct ucx_iface *s = ucx_of(end->e);
	if (end->ready)
		return;
	end->ready = true;
	end->next = s->ready;
	s->ready = end;
}

/* Fail an endpoint, from wherever; it is buried later. */
#define ucx_fail(e, status, ...) (net_ep_fail(&(e)->ep, status, __VA_ARGS__), (void)(ucx_of(e)->failing = true))

/* ucx.c */
extern const struct net_transport ucx_transport;

/* wake.c */
void ucx_sleepless(const char *among, char *list, size_t cap);  /* "self/memory0": those of "tcp/lo, self/memory0" */

bool ucx_is_among(const char *list, const char *name);          /* name is one of "tcp/lo, posix/memory" */

/* context.c */
int ucx_context_open(struct ucx_iface *s);              /* sentence on failure; ucx_context_close in any case */
void ucx_context_close(struct ucx_iface *s);
int ucx_probe(const struct config *c, char *found, size_t cap);
int ucx_lanes(const struct ucx_ep *e, char *buf, size_t cap);   /* what UCX has chosen: "posix/memory, cma/memory" */
void ucx_log_here(void);                                /* UCX's log lines become ours */
void ucx_signals_alone(void);                           /* UCX takes no fatal signals, unless the user wants it to */

/* mem.c */
ucp_mem_h ucx_mem_of(struct ucx_iface *s, const struct net_mem *mem);   /* NULL: none */
void ucx_mem_sweep(struct ucx_iface *s);                /* nothing is posted: forget what was freed */
void ucx_mem_close(struct ucx_iface *s);

/* ep.c */
struct ucx_ep *ucx_ep_of(struct ucx_iface *s, int peer);        /* made if need be; NULL: no memory */
void ucx_ep_free(struct ucx_ep *e);
int ucx_ep_call(struct ucx_ep *e);                      /* post the letters */
void ucx_ep_meet(struct ucx_ep *e);                     /* all that is needed may be there */
void ucx_ep_letter(struct ucx_ep *e, const void *bytes, size_t len);
void ucx_ep_say(struct ucx_ep *e, const struct ucx_wire *w);     /* a header without bytes */
/* ep.status is set; not from a callback. Afterwards nothing touches what was posted. */
void ucx_ep_bury(struct ucx_ep *e);

/* tx.c, rx.c; step: 1 when anything moved */
int ucx_tx_step(struct ucx_tx *t);
bool ucx_tx_at_once(struct ucx_tx *t, struct net_op *op);        /* a short message; false: by the queue */
void ucx_tx_credit(struct ucx_tx *t, uint32_t taken);
int ucx_rx_step(struct ucx_rx *r);
void ucx_rx_release(struct ucx_rx *r, struct net_op *op, size_t n);
void ucx_rx_drop(struct ucx_rx *r);                     /* what has come and is not on its way to memory */
ucs_status_t ucx_rx_came(struct ucx_rx *r, const struct ucx_wire *w, void *data, size_t len, uint64_t attr);
#endif
