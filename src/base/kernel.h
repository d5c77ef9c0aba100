/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between reduce_k and its variants.
 *
 *      reduce_k  --->  the chosen struct kernels  --->  fold[type][op](dst, src, k, n)          k >= 2
 *                                                 --->  divide[type](dst, n, scale)
 *
 * One struct an instruction set, all from kernel_body.h.
 */
#ifndef BASE_KERNEL_H
#define BASE_KERNEL_H
#include <stddef.h>
#include <tutti/tutti.h>

void reduce_user(void *dst, const void *const *src, int k, size_t n, int type, int op);
#endif
