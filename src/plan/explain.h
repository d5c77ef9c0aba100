/* SPDX-License-Identifier: Apache-2.0 */
/* A choice in words. */
#ifndef PLAN_EXPLAIN_H
#define PLAN_EXPLAIN_H
#include <plan/project.h>

/*
 * What limits it: "link of node 0: 2 x 7/8 of the bytes cross it", "core of rank 3: 4.5 passes over the bytes", "latency: nothing is
 * busy for more than 12 % of the time". bytes: of one rank's count. Returns what snprintf returns.
 */
int explain_limit(char *buf, size_t cap, const struct sim_result *r, uint64_t bytes, const struct topo *topo);
#endif
