/* SPDX-License-Identifier: Apache-2.0 */
/* Ranks as threads of the test's process, each with a communicator of its own; and data that depends on rank and index, with the expected result. */
#ifndef TESTS_RANKS_H
#define TESTS_RANKS_H
#include <sched/coll.h>
#include <stdbool.h>
#include <tutti/tutti.h>

/* What one rank does. Returns NULL, or a sentence why it failed (static or heap: it is printed). */
typedef const char *(*rank_fn)(struct tutti_comm *comm, void *ctx);

/* Run fn on n ranks. config may be NULL. Returns the number of ranks that failed, having printed their sentences. Fails, not hangs: 60 s. */
int comms_run(int n, const struct tutti_config *config, rank_fn fn, void *ctx);

/* The same for an fn that makes its communicator fail: then tutti_comm_destroy must fail, too. */
int comms_run_to_failure(int n, const struct tutti_config *config, rank_fn fn, void *ctx);

/* The same, without communicators: fn makes its own by the exchange, e.g. tutti_comm_init_allgather(&c, n, rank, meet_allgather, meet, config). */
struct meet;
struct meet *meet_new(int n);
void meet_free(struct meet *m);
struct meet_seat { struct meet *meet; int rank; };
int meet_allgather(const void *mine, void *all, size_t bytes, void *seat);      /* a tutti_allgather_fn */

/* ---- data -------------------------------------------------------------------------------------------------------------- */

/* Element i of block b of rank's input: small, exact in every type, different in rank, block and index. */
void data_fill(void *buf, int type, int op, int rank, uint32_t block, size_t count);

/* A call, as one test wants it. */
struct trial { enum coll coll; int type, op, root; size_t count; bool in_place; };

/* Run it on comm and check every element that is defined, that in (out of place) and guard bytes are untouched. NULL, or a sentence. */
const char *trial_run(struct tutti_comm *comm, const struct trial *t);
#endif
