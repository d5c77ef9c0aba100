/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Matrix product, single precision, one thread.
 *
 *     c[m][n]  =  a[m][k] b[k][n]        or  +=
 *
 * a and b are views with any strides, so that a transposed matrix is the same memory with the strides exchanged.
 */
#ifndef CHARLM_GEMM_H
#define CHARLM_GEMM_H

struct view { const float *p; int row, col; };          /* element (i, j) is p[i * row + j * col] */

/* c has ldc floats a row. add: 0 overwrites c, 1 adds to it. Sizes > 0. */
void gemm(int m, int n, int k, struct view a, struct view b, float *c, int ldc, int add);

#endif
