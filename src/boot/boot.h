/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bootstrap and the control tree: who are the ranks, where do they meet, are they who they say; and the authenticated TCP tree that stays alive after.
 *
 *      one all-gather of small blobs                      the tree, fan-out BOOT_FANOUT
 *        from a store inside rank 0 (environment,                    0
 *        unique id), or the caller's callback,      --->       1   2 ... 16
 *        or the parent communicator's tree                  17 ...
 *
 * In the all-gather every rank tells where it listens and brings random bytes for the communicator's key; then each connects to its parent (rank-1)/FANOUT,
 * both ends authenticated (base/auth.h). After the handshake every frame carries a counter and a tag under the connection's session key.
 * The tree carries: all-gathers, letters from rank to rank, first cause, goodbye. It has no thread: it moves inside boot_poll and the blocking calls here.
 *
 * Failure: a connection that ends without goodbye is a dead rank: the neighbours raise TUTTI_ERR_PEER, and the tree floods the first cause to
 * everybody. The first cause wins and never changes. A stopped process is not a dead one.
 */
#ifndef BOOT_BOOT_H
#define BOOT_BOOT_H
#include <base/auth.h>
#include <base/err.h>
#include <stdint.h>

enum { BOOT_FANOUT = 16, BOOT_BLOB_MAX = 1 << 20 };

struct boot;

/* How the ranks find each other. Filled by boot_from_env / boot_from_id, or by hand for tests. */
struct boot_spec {
	int rank, nranks;
	int local_rank, local_size;     /* -1, 0 when the launcher did not say */
	struct auth_key key;            /* key.none: none was given (refused beyond loopback unless TUTTI_AUTH=none) */
	char host[256];                 /* rank 0's store; "" with nranks 1 */
	int port, ports;                /* the store is at the first free one of `ports` from `port` on (0: of one) */
	int listen_fd;                  /* rank that serves the store: an already listening socket it takes over, or -1 to bind host:port itself */
	int serves;                     /* this rank serves the store */
	const char *source;             /* "TUTTI_RANK", "torchrun", "PMIx", "unique id", "alone": for messages and tutti info */
};

/* By the launcher's variables. Where it carries bytes between its ranks (PMI-1, PMIx), rank 0 tells the others a fresh key and where it
 * listens: then collective and blocking. */
int boot_from_env(struct boot_spec *spec, int64_t deadline);
const char *boot_env_source(void);                      /* which launcher boot_from_env would ask first; NULL after a bad configuration */
int boot_pmix_version(char *text, size_t cap);          /* "PMIx 4.2.2"; or TUTTI_ERR_UNSUPPORTED, and why it cannot be loaded */
int boot_make_id(struct tutti_unique_id *id);
int boot_from_id(struct boot_spec *spec, const struct tutti_unique_id *id, int nranks, int rank);

/* Meet through a store, then build the tree. Blocking; a time-out names the ranks that did not come. *b on success only. */
int boot_open(struct boot **b, const struct boot_spec *spec, int64_t deadline);

/* Meet through fn (the caller's exchange, or the parent's tree), then build the tree. */
int boot_open_with(struct boot **b, int nranks, int rank, tutti_allgather_fn fn, void *ctx, int64_t deadline);

/* The ranks of `parent` with equal color >= 0, ordered by (key, parent rank), get a tree of their own; a negative color gets *b = NULL. Collective.
 * parent_ranks[i] (caller's, nranks of the parent) = the parent's rank of the new rank i. */
int boot_split(struct boot **b, struct boot *parent, int color, int key, int *parent_ranks, int64_t deadline);

/* Ordered goodbye: waits (until deadline) for everybody's, so that nobody takes the end for a death. Then, or after a failure, frees. */
void boot_close(struct boot *b, int64_t deadline);

int boot_rank(const struct boot *b);
int boot_size(const struct boot *b);
const struct auth_key *boot_key(const struct boot *b);  /* the communicator's own, never none: for the transports' connections */

/* all[i*bytes ..] = mine of rank i. Collective, blocking, bytes equal everywhere and <= BOOT_BLOB_MAX. Calls must come in the same order on all ranks. */
int boot_allgather(struct boot *b, const void *mine, void *all, size_t bytes, int64_t deadline);

/* A few bytes to one rank, forwarded by the ranks between as they come to move the tree: for what is needed once a pair (how to connect). Does not block.
 * Letters between two ranks keep their order. They are dropped where nobody takes them, and after a failure. */
enum { BOOT_LETTER_MAX = 512 };
int boot_post(struct boot *b, int to, const void *bytes, size_t len);

/* Who takes the letters to this rank, inside boot_poll and the blocking calls; NULL: nobody. The bytes are another rank's: check them. */
typedef void boot_taker(void *ctx, int from, const void *bytes, size_t len);
void boot_letters(struct boot *b, boot_taker *take, void *ctx);

/* Move frames without blocking. TUTTI_OK while all is well, else the first cause's status (its sentence: boot_cause). Cheap enough for every Nth spin. */
int boot_poll(struct boot *b);
const char *boot_cause(const struct boot *b);

/* What a thread that waits in here for the tree should move meanwhile: returns how many things still run, so that the wait looks again soon. One for the
 * process, set before any tree waits. */
void boot_meanwhile(int (*move)(void));

/* Tell everybody. The first raise (here or anywhere) wins; later ones are dropped. Does not block; returns the first cause's status. */
int boot_raise(struct boot *b, int status, const char *sentence);

/* A descriptor that is readable when boot_poll has something to do (an epoll instance): for every sleep. */
int boot_fd(const struct boot *b);

/* The usable address of this machine by TUTTI_IFACE (name or subnet), else the first non-loopback that is up, else loopback. addr: sockaddr of *len bytes, port 0. */
int boot_local_address(void *addr, unsigned *len, char *text, size_t cap);
#endif
