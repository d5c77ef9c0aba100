/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is chosen for every call: a cell a collective, order kept or not, and size.
 *
 *                      8 B    32 B   128 B  ...  8 MiB      32 MiB  ...
 *      all_reduce      direct direct direct      hier_ring  hier_ring        any operator / only those that keep rank order
 *      broadcast       ...
 *
 * Made by rank 0 (project.c, from the model; or read from a file that `tutti tune` wrote) and given to the others as it is, so that all
 * choose alike. Looking up is an index. A cell without an algorithm leaves the choice to the rules (choose.c).
 */
#ifndef PLAN_TABLE_H
#define PLAN_TABLE_H
#include <algo/algo.h>
#include <stdbool.h>
#include <stdio.h>

#define PLAN_SECONDS 1e9
enum { PLAN_SIZES = 14 };       /* 8 B * 4^i: the last is 512 MiB, and stands for all above */
enum plan_source { PLAN_RULE, PLAN_MODEL, PLAN_MEASURED, PLAN_SOURCES };
extern const char *const plan_sources[PLAN_SOURCES];

struct plan_cell {              /* goes to other ranks of the same version as bytes; checked there */
	uint8_t algo;           /* 1 + its row in algo_table; 0: none */
	uint8_t channels, pieces;
	uint8_t slice;          /* log2 of bytes */
	uint8_t source;         /* enum plan_source */
	uint8_t runner_up;      /* 1 + row; 0: none */
	uint16_t loss;          /* of the runner-up, per mille; UINT16_MAX: that or more */
	float seconds;          /* projected or measured, below PLAN_SECONDS; 0: not known */
};

struct plan_table { struct plan_cell cell[COLLS][2][PLAN_SIZES]; };     /* [1]: rank order is kept */

static inline uint64_t plan_size(int i) { return 8ull << 2 * i; }
int plan_size_index(uint64_t bytes);    /* the size that stands for so many bytes of one rank's count: nearest on the scale of logarithms */

static inline const struct algo *plan_cell_algo(const struct plan_cell *c) { return c->algo ? &algo_table[c->algo - 1] : NULL; }

/* Is every cell legal: an algorithm of its collective, ordered where it must be, channels and slice in range? Otherwise a sentence. */
int plan_table_check(const struct plan_table *t);

/* A line a cell that has an algorithm: "all_reduce any 16777216 hier_ring channels 2 pieces 1 slice 131072 us 151000 measured". */
void plan_table_print(FILE *f, const struct plan_table *t);
/* *t on success only; a bad line is an error with its number, what was expected, what came. */
int plan_table_parse(struct plan_table *t, const char *text);
#endif
