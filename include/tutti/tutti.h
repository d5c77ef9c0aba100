/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tutti: collective communication for distributed training.
 *
 *     communicator --- start ---> request --- wait ---> the result, or one sentence why not
 *
 * Rules that hold for every call, unless its own comment says otherwise:
 *
 *  - Status: 0 (TUTTI_OK), or a negative TUTTI_ERR_*; only test and wait may also return the positive TUTTI_PENDING.
 *    The sentence behind the last error is tutti_last_error().
 *  - Bad arguments are refused before anything is sent: the communicator stays usable.
 *  - Threads: one communicator is driven by one thread at a time (several communicators by as many threads as you like).
 *    The library starts no thread of its own (but short-lived ones that ask PMIx, while a communicator is made):
 *    operations move only inside tutti calls, and a blocking call moves every
 *    communicator that its thread drives, so two ranks may wait for two communicators in opposite order.
 *  - Order: all ranks of a communicator issue the same collectives in the same order, with the same count, type,
 *    operator and root. A difference is reported by name on the ranks that receive a message of the other call, and is the
 *    first cause for all. (Where ranks differ in root so that nobody sends to anybody, it is a time-out instead.)
 *  - Memory: operations in flight share no memory that any of them writes. Buffers belong to the library from the start
 *    of an operation until it completes or fails; on every error return they are the caller's again.
 *  - Counts are elements, of the type given; a count of 0 is legal. Buffers need the alignment of nothing: any address.
 *  - Failure is final: after a dead rank, a time-out or a mismatch every further call on that communicator returns the
 *    first cause. Destroy it and make another.
 */
#ifndef TUTTI_TUTTI_H
#define TUTTI_TUTTI_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TUTTI_API __attribute__((visibility("default")))

#define TUTTI_VERSION_MAJOR 0
#define TUTTI_VERSION_MINOR 1
#define TUTTI_VERSION_PATCH 0

/* ---- status ------------------------------------------------------------------------------------------------- */

enum tutti_status {
	TUTTI_PENDING = 1,          /* test, wait: not complete yet; the request lives on */
	TUTTI_OK = 0,
	TUTTI_ERR_INVALID = -1,     /* an argument is not legal; nothing was started */
	TUTTI_ERR_CONFIG = -2,      /* a variable or configuration value is not legal */
	TUTTI_ERR_NOMEM = -3,       /* out of memory */
	TUTTI_ERR_SYSTEM = -4,      /* a system call failed */
	TUTTI_ERR_TIMEOUT = -5,     /* the deadline passed; the sentence names whom it waited for */
	TUTTI_ERR_PEER = -6,        /* a rank died, or the connection to it was lost */
	TUTTI_ERR_MISMATCH = -7,    /* ranks disagree about the operation, or about the configuration */
	TUTTI_ERR_AUTH = -8,        /* a stranger, a wrong key, or no key where one is needed */
	TUTTI_ERR_ABORTED = -9,     /* tutti_comm_abort was called, here or on another rank */
	TUTTI_ERR_UNSUPPORTED = -10,/* not possible here: no such algorithm, transport or device */
	TUTTI_ERR_INTERNAL = -11    /* a defect of the library */
};

/* A short fixed sentence for a status, never NULL. Any thread. */
TUTTI_API const char *tutti_strerror(int status);

/* ---- types and operators ------------------------------------------------------------------------------------ */

enum tutti_type {
	TUTTI_INT8, TUTTI_UINT8, TUTTI_INT16, TUTTI_UINT16, TUTTI_INT32, TUTTI_UINT32, TUTTI_INT64, TUTTI_UINT64,
	TUTTI_FLOAT16,              /* IEEE 754 binary16 */
	TUTTI_BFLOAT16,             /* the upper half of a binary32 */
	TUTTI_FLOAT32, TUTTI_FLOAT64,
	TUTTI_TYPES                 /* how many there are; not a type */
};

/*
 * Operators. The result of k operands is the left fold over ranks 0, 1, ... in the order that the plan fixes: the same bits on
 * every rank, and from run to run for the same plan.
 *
 *  sum, prod  integers wrap (two's complement). Floats round to nearest even; denormals are kept; overflow gives infinity.
 *             float16 and bfloat16 compute in float32 and round once a pass (one pass may fold several operands).
 *             A NaN operand, inf-inf or 0*inf gives a NaN, whose sign and payload are not specified.
 *  min, max   as IEEE 754-2019 minimum/maximum: -0 < +0; a NaN operand gives the canonical quiet NaN (sign 0, payload 0).
 *  avg        the sum, divided by the number of ranks: integers (of the wrapped sum) towards zero; floats by one
 *             correctly rounded division (half types: in float32, before their one rounding).
 *  band, bor, bxor   bitwise; integer types only.
 */
enum {
	TUTTI_SUM, TUTTI_PROD, TUTTI_MIN, TUTTI_MAX, TUTTI_AVG, TUTTI_BAND, TUTTI_BOR, TUTTI_BXOR,
	TUTTI_OPS                   /* how many there are; operators made by the user are numbered from here on */
};

/*
 * A user's operator: out[i] = a[i] (op) b[i] for count elements; out may be a or b, never a part of them.
 * Runs on the thread inside a tutti call; must not call tutti.
 */
typedef void (*tutti_op_fn)(const void *a, const void *b, void *out, size_t count, enum tutti_type type, void *ctx);

/*
 * Make an operator of this process. id: the caller's name for it, equal on all ranks (ranks that reduce with different ids
 * get TUTTI_ERR_MISMATCH). commutes: 0 keeps rank order, a0 (op) a1 (op) ...; it must be associative. ctx is handed to fn.
 * *op is set on success only, and is valid until tutti_op_free. Any thread.
 */
TUTTI_API int tutti_op_create(tutti_op_fn fn, void *ctx, uint32_t id, int commutes, int *op);
TUTTI_API int tutti_op_free(int op);

TUTTI_API size_t tutti_type_size(enum tutti_type type);       /* bytes; 0 when not a type */
TUTTI_API const char *tutti_type_name(enum tutti_type type);  /* "float32"; "?" when not a type */
TUTTI_API const char *tutti_op_name(int op);                  /* "sum"; "user" for a user's; "?" when not an operator */

/* ---- communicators ------------------------------------------------------------------------------------------ */

struct tutti_comm;
struct tutti_request;

/* Where the ranks meet, and the job's random key. As good as a password: hand it on by a private way. */
#define TUTTI_UNIQUE_ID_BYTES 128
struct tutti_unique_id { unsigned char bytes[TUTTI_UNIQUE_ID_BYTES]; };

/* Start from TUTTI_CONFIG_INIT; zero means "as the TUTTI_* variable says, or its default". */
struct tutti_config {
	size_t size;                /* sizeof(struct tutti_config) of the caller: how the struct may grow */
	int timeout_ms;             /* deadline of every wait; TUTTI_TIMEOUT */
	const char *transport;      /* comma list in order of preference; TUTTI_TRANSPORT */
	const char *algo;           /* force an algorithm; TUTTI_ALGO. Must be equal on all ranks */
	size_t slice_bytes;         /* TUTTI_SLICE. Must be equal on all ranks */
	int channels;               /* TUTTI_CHANNELS. Must be equal on all ranks */
};
#define TUTTI_CONFIG_INIT { sizeof(struct tutti_config), 0, NULL, NULL, 0, 0 }

/*
 * Make the id of a job. The calling process opens the meeting place (a listening socket on the address that TUTTI_IFACE or,
 * failing that, the first usable interface gives) and serves it inside its own tutti_comm_init: call this in the process
 * that will be one of the ranks, and hand the bytes to the others. Used once.
 */
TUTTI_API int tutti_get_unique_id(struct tutti_unique_id *id);

/* Collective over nranks processes (or threads, each with its own communicator). config may be NULL. *comm on success only. */
TUTTI_API int tutti_comm_init(struct tutti_comm **comm, int nranks, const struct tutti_unique_id *id, int rank,
                              const struct tutti_config *config);

/* Ranks, place and key from the first launcher that is there: TUTTI_RANK, TUTTI_SIZE, TUTTI_ROOT, TUTTI_SECRET; torchrun's RANK, WORLD_SIZE,
 * MASTER_ADDR, MASTER_PORT (whose port is torch's and never bound); PMIx; PMI-1; Open MPI's variables; Slurm's; else one rank.
 * Collective: all ranks of the job make as many. The conversation with a PMIx or PMI-1 launcher ends when the process exits. */
TUTTI_API int tutti_comm_init_env(struct tutti_comm **comm, const struct tutti_config *config);

/* The caller's own exchange: all[i * bytes ...] = the `bytes` bytes of rank i. Blocking; returns 0, else init fails. */
typedef int (*tutti_allgather_fn)(const void *mine, void *all, size_t bytes, void *ctx);
TUTTI_API int tutti_comm_init_allgather(struct tutti_comm **comm, int nranks, int rank, tutti_allgather_fn fn, void *ctx,
                                        const struct tutti_config *config);

/* Collective. Ranks with equal color (>= 0) form a communicator, ordered by key, then by old rank; a negative color gets *out = NULL.
 * What config leaves at zero (all, when NULL) is as in comm. */
TUTTI_API int tutti_comm_split(struct tutti_comm *comm, int color, int key, struct tutti_comm **out,
                               const struct tutti_config *config);

/* Collective; waits for operations in flight. Frees the communicator on success and on failure; its requests must have been waited for or freed before.
 * NULL is legal. */
TUTTI_API int tutti_comm_destroy(struct tutti_comm *comm);

/* Local, bounded, needs no peer: every operation in flight fails with TUTTI_ERR_ABORTED, here and on the other ranks; all memory is the
 * caller's again. The communicator must still be destroyed. The one call that any thread may make at any time: a call that blocks in another thread then
 * fails within a second, and only after that is the memory the caller's. */
TUTTI_API int tutti_comm_abort(struct tutti_comm *comm);

TUTTI_API int tutti_comm_rank(const struct tutti_comm *comm);
TUTTI_API int tutti_comm_size(const struct tutti_comm *comm);

/* What went wrong last, in words: on comm, or (NULL) in the calling thread. Never NULL; valid until the next call on comm or thread. */
TUTTI_API const char *tutti_last_error(const struct tutti_comm *comm);

/* ---- collectives -------------------------------------------------------------------------------------------- */
/*
 * count is elements per rank: of the whole vector (all_reduce, broadcast, reduce), of one rank's block otherwise. Shapes in elements, n ranks:
 *
 *      all_reduce      send[count]     recv[count]    every rank: op over all ranks          in place: send == recv
 *      reduce_scatter  send[n*count]   recv[count]    rank r: op over block r                in place: recv == send + r*count
 *      all_gather      send[count]     recv[n*count]  block i = send of rank i               in place: send == recv + r*count
 *      broadcast       send[count]     recv[count]    send of root (others: unread)          in place: send == recv
 *      reduce          send[count]     recv[count]    root only (others: recv unwritten)     in place: send == recv
 *      gather          send[count]     recv[n*count]  root only                              in place, root: send == recv + root*count
 *      scatter         send[n*count]   recv[count]    send read at root only                 in place, root: recv == send + root*count
 *      all_to_all      send[n*count]   recv[n*count]  recv block i = block r of rank i       in place: send == recv
 *      barrier         nobody leaves before everybody has come
 *      send, recv      between two ranks, matched in the order issued; apart from the collectives
 *
 * Buffers that are not used at a rank may be NULL there. Ranks may differ in being in place. send and recv must otherwise not overlap.
 *
 * Each comes three times: NAME blocks; NAME_async starts and gives a request for tutti_test/tutti_wait; NAME_init gives a persistent request
 * for tutti_start. All three run the same plan. *req is set on success only.
 */
#define TUTTI_ARGS_REDUCE  const void *send, void *recv, size_t count, enum tutti_type type, int op
#define TUTTI_ARGS_MOVE    const void *send, void *recv, size_t count, enum tutti_type type
#define TUTTI_DECLARE(name, ...) \
	TUTTI_API int tutti_##name(__VA_ARGS__, struct tutti_comm *comm); \
	TUTTI_API int tutti_##name##_async(__VA_ARGS__, struct tutti_comm *comm, struct tutti_request **req); \
	TUTTI_API int tutti_##name##_init(__VA_ARGS__, struct tutti_comm *comm, struct tutti_request **req);

TUTTI_DECLARE(all_reduce, TUTTI_ARGS_REDUCE)
TUTTI_DECLARE(reduce_scatter, TUTTI_ARGS_REDUCE)
TUTTI_DECLARE(reduce, TUTTI_ARGS_REDUCE, int root)
TUTTI_DECLARE(all_gather, TUTTI_ARGS_MOVE)
TUTTI_DECLARE(broadcast, TUTTI_ARGS_MOVE, int root)
TUTTI_DECLARE(gather, TUTTI_ARGS_MOVE, int root)
TUTTI_DECLARE(scatter, TUTTI_ARGS_MOVE, int root)
TUTTI_DECLARE(all_to_all, TUTTI_ARGS_MOVE)
TUTTI_DECLARE(send, const void *send, size_t count, enum tutti_type type, int peer)
TUTTI_DECLARE(recv, void *recv, size_t count, enum tutti_type type, int peer)

TUTTI_API int tutti_barrier(struct tutti_comm *comm);
TUTTI_API int tutti_barrier_async(struct tutti_comm *comm, struct tutti_request **req);
TUTTI_API int tutti_barrier_init(struct tutti_comm *comm, struct tutti_request **req);

/* ---- requests ----------------------------------------------------------------------------------------------- */

/* Start a persistent request. TUTTI_ERR_INVALID when it is not persistent or still running. */
TUTTI_API int tutti_start(struct tutti_request *req);

/*
 * Has it completed? Moves operations on, never blocks. TUTTI_PENDING: no. Otherwise the operation's status, and the request is gone
 * (*req = NULL), or, if persistent, may be started again. *req == NULL is complete.
 */
TUTTI_API int tutti_test(struct tutti_request **req);

/* The same, waiting up to timeout_ms (< 0: until it completes or the communicator's own deadline makes it fail). */
TUTTI_API int tutti_wait(struct tutti_request **req, int timeout_ms);

/* Free a persistent request, *req = NULL. One still running is waited for first; its status is returned. Its buffers must not be freed before it (a device may
 * know their pages). */
TUTTI_API int tutti_request_free(struct tutti_request **req);

/* ---- memory ------------------------------------------------------------------------------------------------- */
/*
 * Any memory will do. Memory from here moves with fewer copies (shared memory: peers read it in place; verbs: registered once), and
 * ranks may differ in using it. bytes > 0; aligned to a page; zeroed. Freed only when no operation uses it. Any thread.
 */
TUTTI_API int tutti_mem_alloc(void **ptr, size_t bytes);
TUTTI_API int tutti_mem_free(void *ptr);       /* NULL is legal */

/*
 * Tell comm about memory of the caller's own that will be used often: verbs then moves it without copies. It stays the caller's, who deregisters it before
 * freeing it. bytes > 0, any address; memory that overlaps other registered memory in part is refused (TUTTI_ERR_INVALID). Pages are pinned at the first use,
 * and until a call of the communicator after tutti_deregister finds no operation in flight. Deregister when no operation uses it.
 */
struct tutti_mem;
TUTTI_API int tutti_register(struct tutti_comm *comm, void *ptr, size_t bytes, struct tutti_mem **mem);
TUTTI_API int tutti_deregister(struct tutti_comm *comm, struct tutti_mem *mem);

/* ---- information -------------------------------------------------------------------------------------------- */

TUTTI_API const char *tutti_version(void);     /* "0.1.0" */

/* One line a peer: how this rank reaches it; and what the last operation ran. Written to buf (cap bytes, always terminated). */
TUTTI_API int tutti_comm_describe(const struct tutti_comm *comm, char *buf, size_t cap);

#ifdef __cplusplus
}
#endif
#endif
