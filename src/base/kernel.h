/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between reduce_k and its variants.
 *
 *      reduce_k ---> the variant chosen for this processor ---> fold[type][op](dst, src, k, n, scale)
 *
 * fold[type][TUTTI_AVG] sums and divides by scale (> 1), k >= 1; the others have k >= 2 and no scale. A variant is kernel_body.h compiled
 * for one instruction set.
 */
#ifndef BASE_KERNEL_H
#define BASE_KERNEL_H
#include <stdbool.h>
#include <stddef.h>
#include <tutti/tutti.h>

typedef void kernel_fn(void *dst, const void *const *src, int k, size_t n, int scale);

struct kernels {
	const char *name;
	bool (*runs)(void);                             /* on this processor? */
	kernel_fn *fold[TUTTI_TYPES][TUTTI_OPS];        /* NULL where the operator is not defined for the type */
	void (*copy)(char *dst, const char *src, size_t n);
};

extern const struct kernels kernels_baseline;
#ifdef __x86_64__
extern const struct kernels kernels_avx2, kernels_avx512;
#endif
extern const struct kernels *const kernels_all[];       /* the best first; NULL ends */

/* reduce_k with a variant of the caller's choice, which runs here. */
void reduce_with(const struct kernels *kernels, void *dst, const void *const *src, int k, size_t n, int type, int op, int scale);

void reduce_user(void *dst, const void *const *src, int k, size_t n, int type, int op);
#endif
