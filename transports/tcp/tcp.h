/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tcp: one connection per (peer, channel). TCP's own flow control of each is what keeps FIFOs from blocking one another: no credits, no
 * shared buffers.
 *
 *      tcp_iface                      listens on one port; one epoll set for everything that may wake it
 *        +- tcp_ep (peer)             candidates: the peer's addresses, the best one first
 *        |    +- tcp_chan 0..8        sends --> | head | payload | head | payload ... --> recvs      one socket, both directions
 *        +- young                     connections not authenticated yet: the higher rank dialled, or a stranger did
 *        +- early                     authenticated, for a peer that we have not connected to yet
 *
 *      chan:  NONE --(post, higher rank)--> DIALLING --(welcome)-> UP
 *             NONE --(accepted, proved)---------------------------> UP         an endpoint that failed has every fd at -1 and ep.status set
 *
 * Invariants: a young or early connection has moved no byte of a message. The FIFO's first operation alone is on the wire. Payload reaches
 * the user's memory after its head has been checked. A channel is in iface->active while it has operations.
 */
#ifndef TCP_TCP_H
#define TCP_TCP_H
#include <base/iface.h>
#include <net/transport.h>
#include <netinet/in.h>

enum {
	TCP_HEAD = 24,                  /* struct net_head on the wire: sig, len, opnum, seq; little-endian */
	TCP_STAGING = 256 << 10,        /* of a channel with view receives */
	TCP_INBOX = 16 << 10,           /* payload taken along with a head; copied once the head is checked */
	TCP_TURN = 128 << 10,           /* bytes a channel moves each way in one progress() */
	TCP_CANDIDATES = 16,
	TCP_YOUNG = 256,                /* handshakes at a time; more wait in the listening socket's queue */
	TCP_HANDSHAKE_MS = 4000,       /* between two steps of a stranger's handshake */
	TCP_RETRY_MS = 1000,            /* without listening, when there are no resources for another connection */
	TCP_CONNECT_MS = 5000           /* for one address, when there is another to try */
};

/* What epoll's user data points to. */
enum tcp_kind { WATCH_LISTEN, WATCH_YOUNG, WATCH_CHANNEL };
struct tcp_watch {
	int fd;                         /* -1: none */
	uint32_t events;                /* as the epoll set has them */
	enum tcp_kind kind;
};

struct tcp_chan {
	struct tcp_watch w;
	struct tcp_ep *ep;
	struct tcp_chan *next;          /* in iface->active */
	bool active, dialling;
	uint8_t index;
	struct net_fifo sends, recvs;
	uint32_t send_seq, recv_seq;    /* of the next to be posted */
	size_t head_out, head_in;       /* bytes of the first operation's head that went out, that came in */
	unsigned char out[TCP_HEAD], in[TCP_HEAD];
	char *staging;                  /* view receives: message bytes [done, done + held) lie at staging + start */
	size_t start, held;
};

struct tcp_addr { struct sockaddr_storage sa; socklen_t len; };

struct tcp_ep {
	struct net_ep base;
	struct tcp_ep *next;
	struct tcp_addr to[TCP_CANDIDATES];     /* the best one first */
	int ncandidates;
	struct tcp_chan chan[NET_CHANNELS];
};

struct tcp_young {
	struct tcp_watch w;
	struct tcp_young *next;
	struct auth auth;
	struct tcp_chan *chan;          /* ours, when we dialled; NULL when we accepted */
	int candidate;
	bool connecting;
	uint8_t stage;                  /* auth.state when the deadline was set */
	int64_t began, deadline;
};

struct tcp_early { struct tcp_early *next; int fd, peer; uint32_t channel; };

/* Which network this process is in: addresses of equal ones are reachable without leaving the machine. */
struct tcp_place { unsigned char bytes[44]; };

struct tcp_iface {
	struct net_iface base;
	const struct auth_key *key;
	struct tcp_watch listen;
	int epfd;
	int sockbuf;                    /* 0: the system's own tuning */
	unsigned turn;
	uint8_t look;                   /* so many progress() calls look at the epoll set, having been armed */
	bool warned, news;              /* news: a channel came up or an endpoint failed, and progress() has not told yet */
	int64_t listen_at;              /* listen.events == 0: not before */
	struct tcp_place place;
	struct iface addr[TCP_CANDIDATES];
	int naddr;
	uint16_t port;                  /* network byte order */
	struct tcp_ep *eps;
	struct tcp_chan *active;
	struct tcp_young *young;
	int nyoung;
	struct tcp_early *early;
	char inbox[TCP_INBOX];
};

static inline struct tcp_iface *tcp_iface_of(const struct tcp_ep *ep) { return (struct tcp_iface *)ep->base.iface; }

/* addr.c: who am I, and how does one reach the other */
int tcp_addr_open(struct tcp_iface *f, const char *want);       /* fills place and addr */
int tcp_addr_put(const struct tcp_iface *f, void *buf, size_t *len);
int tcp_addr_candidates(const struct tcp_iface *f, const void *blob, size_t len, struct tcp_addr *to);  /* how many, or negative */
int tcp_addr_text(const struct tcp_addr *a, char *buf, size_t cap);

/* conn.c: from nothing to an authenticated connection */
int tcp_listen(struct tcp_iface *f, const char *want);
int tcp_watch(struct tcp_iface *f, struct tcp_watch *w, uint32_t events);       /* add or modify; to the epoll set */
void tcp_unwatch(struct tcp_iface *f, struct tcp_watch *w);     /* takes the descriptor from the set and closes it */
void tcp_dial(struct tcp_chan *c);
void tcp_adopt(struct tcp_ep *ep);                              /* take over early connections */
void tcp_accept(struct tcp_iface *f);
void tcp_handshake(struct tcp_iface *f, struct tcp_young *y);
void tcp_sweep(struct tcp_iface *f, bool all);                  /* frees young connections that are over, or all of them */

/* stream.c: messages on a connection */
int tcp_send_some(struct tcp_chan *c);                          /* positive when anything moved */
int tcp_recv_some(struct tcp_chan *c);
void tcp_release(struct net_op *op, size_t n);
void tcp_sever(struct tcp_ep *ep);                              /* ep.status is set: close its connections, complete its operations */
void tcp_lost(struct tcp_ep *ep, int error);                    /* an errno, 0: closed by peer */
bool tcp_wants_send(const struct tcp_chan *c);
bool tcp_wants_recv(const struct tcp_chan *c);
#endif
