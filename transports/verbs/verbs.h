/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The verbs transport, inside: InfiniBand and RoCE v2 by reliable connections.
 *
 *      verbs.c     the table of slots: open, close, addresses, letters, posting, progress, sleeping
 *      device.c    ports as found on this machine       choose.c   which of them, a pure function
 *      qp.c        queue pairs: life, writing, completions, credits, errors in words
 *      mem.c       registered memory: regions of the user's, buffers of ours
 *      tx.c rx.c   the two ends of a FIFO
 *
 * Everything is an RDMA write with immediate into memory that the peer offered; there are no sends, and no receive has a buffer.
 *
 *      sender                                                              receiver
 *        MESSAGE  head and bytes of a short one, or the head of a long one ->  box.lane[c].slot[i % SLOTS]
 *        box.lane[c].advert[n % ADVERTS] <-  ADVERT    where the n-th long one goes: its place, or a ring that is copied from
 *        DATA     a piece (at most a slot), numbered, on any rail          ->  there
 *        box.lane[c].freed, .advert[].upto, box.consumed <-  CREDIT    slots read; more of the message or the ring may be written; completions seen
 *
 * A box is the memory of one endpoint that the peer writes; each end composes what it writes in a copy of the peer's box (mirror), which is its own.
 *
 * What waits for what. A FIFO's slots, adverts and rings are its own: a message that nobody receives blocks no other. The receive queue of a queue pair
 * never runs dry: each end counts the writes with immediate that the other has seen (box.consumed), and leaves RESERVE of them for telling that
 * count itself. Completions are always seen, whatever the user has posted, so this waits for no user.
 *
 * What is read from a box is another rank's: counters are compared with what this end knows, and nothing in it is used as an index or a local address.
 * Adverts are read after the completion that announces them; counters (aligned words that only grow) at any time.
 */
#ifndef VERBS_H
#define VERBS_H
#include "choose.h"
#include <infiniband/verbs.h>
#include <net/regions.h>
#include <stdatomic.h>
#include <net/module.h>

enum {
	VERBS_SHORT = NET_SHORT,        /* bytes of the longest short message */
	VERBS_SLOTS = 16,               /* of a FIFO: messages that the peer has not read */
	VERBS_ADVERTS = 4,              /* long messages of a FIFO that the receiver awaits at once */
	VERBS_RING = 4,                 /* pieces in a ring that is copied from, or to */
	VERBS_WINDOW = 64,              /* pieces of a FIFO not acknowledged */
	VERBS_TABLE = 512,              /* pieces of a FIFO that the receiver has not seen in order: some come early, on another rail */
	VERBS_SPARE = 16,               /* of the send queue, and */
	VERBS_RESERVE = 8,              /* of the peer's receive queue: only for credits */
	VERBS_SIGNAL = 16               /* writes between two completions, at most */
};

/* ---- what the peer writes -------------------------------------------------------------------------------------------- */

enum verbs_message { VERBS_WHOLE = 1, VERBS_LONG };

/* Every message carries what CREDIT would tell: of this FIFO's other direction, and of rail 0. */
struct verbs_slot { struct net_head head; uint32_t kind, unused[5]; uint64_t freed, consumed; unsigned char bytes[VERBS_SHORT]; };
_Static_assert(offsetof(struct verbs_slot, bytes) == 64, "bytes start at a cache line");

struct verbs_advert {
	struct net_head head;           /* of the receive that waits */
	uint64_t at;                    /* address of the message's place, or of the ring */
	uint64_t ring;                  /* bytes of the ring; 0: a place of its own */
	uint64_t pos;                   /* position of the message's first byte in the stream that goes round the ring */
	uint32_t rkey[VERBS_RAILS];
	_Atomic uint64_t upto;          /* bytes of the message that may be written */
	uint64_t unused[7];
};
_Static_assert(sizeof(struct verbs_advert) == 128, "two cache lines");

struct verbs_box {
	struct verbs_lane {
		struct verbs_slot slot[VERBS_SLOTS];
		struct verbs_advert advert[VERBS_ADVERTS];
		_Atomic uint64_t freed; /* messages that the peer has read of this end's, and */
		_Atomic uint64_t seen;  /* pieces that it has seen in order */
		uint64_t unused[6];
	} lane[NET_CHANNELS];
	_Atomic uint64_t consumed[VERBS_RAILS]; /* writes with immediate that the peer has seen, and has room for again */
};

/* Immediate: kind << 28 | channel << 24 | number of the piece, mod 2^24 */
enum verbs_imm { VERBS_MESSAGE = 1, VERBS_ADVERT, VERBS_DATA, VERBS_CREDIT };
#define VERBS_NUMBER 0xffffffu

/* ---- this end -------------------------------------------------------------------------------------------------------- */

struct verbs_iface;
struct verbs_ep;

struct verbs_rail {
	struct verbs_port port;
	struct ibv_context *ctx;
	struct ibv_pd *pd;
	struct ibv_comp_channel *wake;
	struct ibv_cq *cq;
	int cqe, used;                  /* completions there is room for, and that queue pairs may need */
	int most_cqe;
	uint32_t inline_max;            /* as the first queue pair got it */
};

/* Memory known to every rail. */
struct verbs_buf { unsigned char *at; size_t len; struct ibv_mr *mr[VERBS_RAILS]; };

struct verbs_qp {
	struct verbs_ep *e;
	int rail;
	struct ibv_qp *qp;              /* NULL: not made, or destroyed */
	uint32_t psn;
	uint64_t posted, completed;     /* writes */
	uint64_t *signalled;            /* ring: `posted` at each that asked for a completion */
	uint64_t asked, answered;
	uint64_t immediates, room;      /* immediates sent; of those, seen by the peer as last looked */
	uint64_t consumed, told;        /* seen here and reposted; as the peer knows */
	unsigned unposted, silent;      /* receives to repost; writes since one that asked */
	uint64_t bytes, bytes_done;     /* of data */
};

/* A FIFO's end; those with something to do are on iface->active. */
struct verbs_end { struct verbs_end *next; struct verbs_ep *e; int channel; bool active, sends; };

struct verbs_piece { uint32_t len; uint8_t rail; bool lent; uint64_t count; };

struct verbs_tx {
	struct verbs_end end;
	struct net_fifo queue, await;   /* not wholly written; written, not acknowledged */
	uint32_t seq;
	uint64_t slots, freed;          /* messages written; read by the peer, as last looked */
	uint64_t longs, adverts;        /* long messages begun; adverts that came */
	uint64_t pieces, acked;
	bool announced, matched, lends; /* the one at queue's head: its head is out; the advert fits; written from the user's memory */
	uint64_t head_at;               /* write number of its head, on rail 0 */
	uint64_t at, ring, pos;         /* its advert's, which the peer could change */
	uint32_t rkey[VERBS_RAILS], lkey[VERBS_RAILS];
	size_t sent;
	struct verbs_piece piece[VERBS_WINDOW];
	struct verbs_buf bounce;
};

/* A long message that was advertised. */
struct verbs_want { struct net_op *op; bool staged; uint64_t pos; size_t told; };

struct verbs_rx {
	struct verbs_end end;
	struct net_fifo queue;
	struct net_op *next;            /* not advertised yet; NULL: all are */
	uint32_t seq;
	uint64_t arrived, taken, told;  /* messages: in the box; read; as the peer knows */
	uint64_t adverts, finished;     /* long messages */
	uint64_t stream, start;         /* bytes of long messages that have come; where the one at queue's head starts */
	uint64_t granted;               /* bytes of long messages that the peer may have written */
	uint64_t number, seen;          /* of the next piece; as the peer knows */
	uint32_t *table;                /* lengths of pieces that came early */
	bool announced, open;           /* the one at queue's head: its head has come and fits */
	struct verbs_buf stage;
	uint64_t stage_end, released;   /* positions: given to messages; free again */
	struct verbs_want want[VERBS_ADVERTS];
};

enum verbs_state { VERBS_NEW, VERBS_CONNECTING, VERBS_UP, VERBS_DEAD };

/* Letters. HERE: to be connected to; READY: whoever sent it can be written to. */
enum verbs_letter_kind { VERBS_HERE = 0x76620001, VERBS_READY };
struct verbs_letter {
	uint32_t kind, rails;
	uint32_t receives, unused;      /* of each queue pair */
	uint32_t qpn[VERBS_RAILS], psn[VERBS_RAILS], rkey[VERBS_RAILS];
	uint64_t box;
};

/* An address: a rail each. */
struct verbs_place { uint8_t gid[16]; uint16_t lid, mtu; uint8_t infiniband, unused[3]; };
struct verbs_address { uint32_t magic, rails; struct verbs_place rail[VERBS_RAILS]; };

struct verbs_ep {
	struct net_ep ep;
	struct verbs_ep *next;
	enum verbs_state state;
	bool here, ready;               /* letters that came */
	struct verbs_letter its;
	struct verbs_address place;
	int rails;
	struct verbs_qp qp[VERBS_RAILS];
	struct verbs_buf boxes;         /* box, which the peer writes, and mirror */
	struct verbs_box *box, *mirror;
	struct verbs_tx tx[NET_CHANNELS];
	struct verbs_rx rx[NET_CHANNELS];
};

struct verbs_iface {
	struct net_iface iface;
	const struct config *config;
	struct net_post post;
	int rails;
	struct verbs_rail rail[VERBS_RAILS];
	size_t piece;                   /* bytes */
	int send_depth, recv_depth;
	struct verbs_end *active;
	struct verbs_ep *eps;
	struct net_regions regions;     /* of struct ibv_mr *[VERBS_RAILS] */
	int epfd, armed;
	bool owing;                     /* credits that could not be told */
	uint64_t straight, copied, lent, bounced;       /* bytes received and sent, in place and through a copy */
};

static inline struct verbs_iface *verbs_of(const struct verbs_ep *e) { return (struct verbs_iface *)e->ep.iface; }
/* What this end wants of a path; the lesser of both counts. */
static inline int verbs_mtu(const struct verbs_iface *s, const struct verbs_port *p)
{
	return s->config->verbs_mtu && s->config->verbs_mtu < p->mtu ? s->config->verbs_mtu : p->mtu;
}
static inline uint64_t verbs_grain(uint64_t n) { return (n + NET_GRAIN - 1) / NET_GRAIN * NET_GRAIN; }

/* verbs.c */
extern const struct net_transport verbs_transport;
void verbs_lost(struct verbs_ep *e, int status, const char *why);       /* fail it: no device touches its memory any more; end its operations */
void verbs_activate(struct verbs_end *end);

/* device.c */
int verbs_find(struct verbs_port *ports, int most, int *found);         /* ports of this machine */
int verbs_my_numa(void);
int verbs_rail_open(struct verbs_rail *l, int cqe);                     /* cqe: completions wanted */
void verbs_rail_close(struct verbs_rail *l);

/* mem.c */
int verbs_buf_new(struct verbs_iface *s, struct verbs_buf *b, size_t len);      /* sentence on failure */
void verbs_buf_free(struct verbs_buf *b);
struct ibv_mr *const *verbs_region(struct verbs_iface *s, const struct net_mem *mem);  /* NULL: cannot be registered; valid until the next call */
void verbs_regions_sweep(struct verbs_iface *s);                        /* forget those that were freed */
void verbs_regions_free(struct verbs_iface *s);

/* qp.c */
int verbs_qps_make(struct verbs_ep *e);
int verbs_qps_connect(struct verbs_ep *e);
void verbs_qps_destroy(struct verbs_ep *e);
int verbs_poll(struct verbs_iface *s);                                  /* completions; 1 when any */
void verbs_rail_failed(struct verbs_iface *s, int rail, const char *why);       /* all endpoints that use it are lost */
bool verbs_room(struct verbs_ep *e, int rail);                          /* may something be written? */
int verbs_pick(struct verbs_ep *e);                                     /* the rail that will be through first; -1: none has room */
struct verbs_write { int rail; const void *from; uint32_t lkey; size_t len; uint64_t to; uint32_t rkey, imm; bool signal; };
bool verbs_write(struct verbs_ep *e, const struct verbs_write *w);      /* false: the endpoint is lost */
/* A field of the mirror, to the same place of the peer's box, on rail 0; signal: its completion will be seen. */
bool verbs_tell(struct verbs_ep *e, const void *field, size_t len, enum verbs_imm kind, int channel, bool signal);

/* tx.c, rx.c: 1 when anything moved */
int verbs_tx_step(struct verbs_tx *t);
int verbs_rx_step(struct verbs_rx *r);
void verbs_rx_release(struct verbs_rx *r, struct net_op *op, size_t n);
bool verbs_rx_piece(struct verbs_rx *r, uint32_t number, uint32_t len); /* false: broken */
bool verbs_rx_owes(const struct verbs_rx *r);
void verbs_rx_arrived(struct verbs_rx *r);                              /* a message */
#endif
