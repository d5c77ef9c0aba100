/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The transports' behaviour suite: one body, every transport.
 *
 *      EVERY_TRANSPORT(order_is_kept)          makes loop::order_is_kept, shm::order_is_kept, tcp::order_is_kept
 *      {
 *              struct party w;
 *              party_open(&w, transport, 2);   ranks 0 and 1, driven by this thread, connected to one another
 *              ...
 *              until(&w, op.complete);         progress of all of them, with a deadline
 *              party_close(&w);
 *      }
 *
 * Ranks in threads or in processes of their own use rank_open and rank_wait. A failed need() says where and why, and aborts the program: it
 * works in every thread and process, with Criterion and without.
 */
#ifndef TRANSPORT_HARNESS_H
#define TRANSPORT_HARNESS_H
#include <base/clock.h>
#include <net/transport.h>
#include <stdio.h>
#include <stdlib.h>

#ifdef HARNESS_UCX              /* a program of its own for a module: */
#define HARNESS_MODULE ucx
#elif defined(HARNESS_VERBS)
#define HARNESS_MODULE verbs
#endif

#ifdef HARNESS_VERBS            /* devices made of software, on an emulated processor: some 20 MB/s */
enum { PARTY_MAX = 6, DEADLINE_MS = 120000, HUGE_UNIT = 1 << 28 };
#else
enum { PARTY_MAX = 6, DEADLINE_MS = 30000, HUGE_UNIT = 1 << 30 };
#endif

/* The same files make two programs: tests/unit, and, for each module, one of its own: tests/verbs, for machines that have such devices, and tests/ucx. */
#ifdef HARNESS_MODULE
#define MODULE_TEST2(suite, what) Test(suite, what) { what(#suite); }
#define MODULE_TEST(suite, what) MODULE_TEST2(suite, what)
#define EVERY_TRANSPORT(what) \
	static void what(const char *transport); \
	MODULE_TEST(HARNESS_MODULE, what) \
	static void what(const char *transport)
#define EVERY_PROCESS_TRANSPORT(what) EVERY_TRANSPORT(what)
#define EVERY_SOCKET_TRANSPORT(what) \
	static __attribute__((unused)) void what(const char *transport)
#else
#define EVERY_TRANSPORT(what) \
	static void what(const char *transport); \
	Test(loop, what) { what("loop"); } \
	Test(shm, what) { what("shm"); } \
	Test(tcp, what) { what("tcp"); } \
	static void what(const char *transport)

/* Those whose ranks may be processes. */
#define EVERY_PROCESS_TRANSPORT(what) \
	static void what(const char *transport); \
	Test(shm, what) { what("shm"); } \
	Test(tcp, what) { what("tcp"); } \
	static void what(const char *transport)

/* Those that hold a socket to the peer: it proves who it is there, and its death is seen there. Others leave both to the control tree. */
#define EVERY_SOCKET_TRANSPORT(what) EVERY_PROCESS_TRANSPORT(what)
#endif

#define need(cond, ...) \
	do { \
		if (!(cond)) { \
			fprintf(stderr, "%s:%d: not true: %s: ", __FILE__, __LINE__, #cond); \
			fprintf(stderr, __VA_ARGS__); \
			fprintf(stderr, "\n"); \
			abort(); \
		} \
	} while (0)

/* ---- ranks ---- */

struct address { unsigned char bytes[NET_ADDR_MAX]; size_t len; };

void fixed_key(struct auth_key *key, int which);
/* An interface configured by the environment. key and config must live as long as it. */
struct net_iface *rank_open(const char *transport, int rank, int n, const struct auth_key *key, struct config *config,
                            struct address *addr);
struct net_ep *rank_connect(struct net_iface *f, int peer, const struct address *addr);
void rank_wait(struct net_iface *f, const volatile bool *complete);     /* sleeps: arm and poll; a wake-up that is lost fails */

/* Letters to f that have come, also from other processes. */
void letters_deliver(struct net_iface *f);

/* n threads, one a rank; all close when all are done. */
struct rank { struct net_iface *f; struct net_ep *ep[PARTY_MAX]; void *arg; };
void ranks_run(const char *transport, int n, void (*body)(struct rank *r), void *arg);

struct party {
	const char *transport;
	int n;
	struct auth_key key;
	struct config config;
	struct address addr[PARTY_MAX];
	struct net_iface *f[PARTY_MAX];
	struct net_ep *ep[PARTY_MAX][PARTY_MAX];        /* [a][b]: at a, to b */
};

void party_open(struct party *w, const char *transport, int n);
void party_close(struct party *w);
int party_progress(struct party *w);

/* until(&w, cond) turn();  progress of all ranks, and the statement, until cond. */
#define until(w, cond) \
	for (int64_t until_ = clock_after_ms(DEADLINE_MS); !(cond); party_turn(w, until_, #cond))
void party_turn(struct party *w, int64_t deadline, const char *what);

/* Progress a while; for what must not happen. */
void party_idle(struct party *w, int turns);

/* ---- operations: limit is len, the head is { sig 7, opnum 1 } ---- */

void send_set(struct net_op *op, struct net_ep *ep, int channel, const void *buf, size_t len);
void recv_set(struct net_op *op, struct net_ep *ep, int channel, void *buf, size_t len);
void view_set(struct net_op *op, struct net_ep *ep, int channel, size_t len);
void send_post(struct net_op *op, struct net_ep *ep, int channel, const void *buf, size_t len);
void recv_post(struct net_op *op, struct net_ep *ep, int channel, void *buf, size_t len);
void view_post(struct net_op *op, struct net_ep *ep, int channel, size_t len);
void well(const struct net_op *op);             /* complete and without error */

/* ---- bytes ---- */

void *bytes_new(size_t len);                    /* malloc that succeeds, filled with 0xee */
void pattern_fill(void *p, size_t len, unsigned seed);
void pattern_check(const void *p, size_t from, size_t len, unsigned seed);      /* p holds the bytes [from, from + len) of the pattern */
void canary_check(const void *p, size_t len);   /* still 0xee */
uint32_t random_below(uint32_t *state, uint32_t n);

/* Check what a view shows and release up to `most` bytes of it, in whole grains. How many. */
size_t view_eat(struct net_op *op, size_t most, unsigned seed);
#endif
