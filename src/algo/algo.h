/* SPDX-License-Identifier: Apache-2.0 */
/* The table of algorithms: one row each, in algo.c; each row's builder in a file of its own. */
#ifndef ALGO_ALGO_H
#define ALGO_ALGO_H
#include <sched/sched.h>

extern const struct algo algo_table[];                                  /* ends with a row whose name is NULL */
const struct algo *algo_find(enum coll coll, const char *name);         /* NULL when there is none */
#endif
