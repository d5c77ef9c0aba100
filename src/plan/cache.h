/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was measured, kept for the next job of the same kind: two files in the folder of TUTTI_CACHE.
 *
 *      FOLDER/0123456789abcdef.costs     costs_print          what things cost here       (comm_calibrate)
 *      FOLDER/0123456789abcdef.plans     plan_table_print     what was measured as best   (tutti tune)
 *             key: version, processor, transports, and where the ranks are, without hosts' names
 *
 *  - Rank 0 alone reads and writes them. The files are for people, too: text behind a line that says what it is.
 *  - A file appears whole or not at all: it is written under another name and renamed. Who writes last wins.
 *  - A file is no more believed than any other input. One that is damaged, too long, of another version or job, or that others than its
 *    owner, root and this user could have written is left alone, with a warning that says why. A missing one is nothing to talk about.
 */
#ifndef PLAN_CACHE_H
#define PLAN_CACHE_H
#include <model/model.h>
#include <plan/table.h>

/* transport[near]: what joins pairs of that class; NULL: there is no such pair. */
uint64_t cache_key(const struct topo *topo, const char *const transport[NEARS]);

/* Where such a file is: "FOLDER/KEY.costs". */
enum cache_kind { CACHE_COSTS, CACHE_PLANS };
void cache_path(char *path, size_t cap, const char *folder, uint64_t key, enum cache_kind kind);

/* Is it there, and good? Then *out is set. */
bool cache_load_costs(const char *folder, uint64_t key, struct costs *out);
bool cache_load_table(const char *folder, uint64_t key, struct plan_table *out);

/* about: a line for people, what was measured where. Makes the folder. TUTTI_OK, or an error (sentence). */
int cache_save_costs(const char *folder, uint64_t key, const char *about, const struct costs *c);
int cache_save_table(const char *folder, uint64_t key, const char *about, const struct plan_table *t);
#endif
