/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Panels of b, BLOCK rows by WIDTH columns, are packed side by side (16 KiB: they stay in the first cache) and met by ROWS rows of a at a time,
 * whose sums stay in registers: 6 x 2 vectors of 8, with one more pair for b, fill the 16 registers of AVX2.
 */
#include <string.h>

#include "gemm.h"

enum { ROWS = 6, WIDTH = 16, BLOCK = 256 };

typedef float vec __attribute__((vector_size(32)));

#define INLINE static inline __attribute__((always_inline))

/* Columns from n on are zeros: the kernel always computes WIDTH of them. */
static void pack(int k, int n, struct view b, float *panel)
{
	for (int p = 0; p < k; p++)
		for (int j = 0; j < WIDTH; j++)
			panel[p * WIDTH + j] = j < n ? b.p[p * b.row + j * b.col] : 0;
}

INLINE void kernel(int rows, int k, struct view a, const vec *panel, float out[][WIDTH])
{
	vec sum[ROWS][2] = { { { 0 } } };

	for (int p = 0; p < k; p++, panel += 2)
		for (int i = 0; i < rows; i++) {
			float x = a.p[i * a.row + p * a.col];
			sum[i][0] += x * panel[0];
			sum[i][1] += x * panel[1];
		}
	memcpy(out, sum, (size_t)rows * sizeof sum[0]);
}

INLINE void store(int rows, int n, float out[][WIDTH], float *c, int ldc, int add)
{
	for (int i = 0; i < rows; i++)
		for (int j = 0; j < n; j++)
			c[i * ldc + j] = add ? c[i * ldc + j] + out[i][j] : out[i][j];
}

INLINE void multiply(int m, int n, int k, struct view a, const float *panel, float *c, int ldc, int add)
{
	float out[ROWS][WIDTH];
	int i = 0;

	for (; i + ROWS <= m; i += ROWS) {
		kernel(ROWS, k, (struct view){ a.p + i * a.row, a.row, a.col }, (const vec *)panel, out);
		store(ROWS, n, out, c + i * ldc, ldc, add);
	}
	for (; i < m; i++) {
		kernel(1, k, (struct view){ a.p + i * a.row, a.row, a.col }, (const vec *)panel, out);
		store(1, n, out, c + i * ldc, ldc, add);
	}
}

static void multiply_any(int m, int n, int k, struct view a, const float *panel, float *c, int ldc, int add)
{
	multiply(m, n, k, a, panel, c, ldc, add);
}

#ifdef __x86_64__
__attribute__((target("avx2,fma")))
static void multiply_avx2(int m, int n, int k, struct view a, const float *panel, float *c, int ldc, int add)
{
	multiply(m, n, k, a, panel, c, ldc, add);
}
#define HAVE_AVX2() (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
#else
#define multiply_avx2 multiply_any
#define HAVE_AVX2() 0
#endif

void gemm(int m, int n, int k, struct view a, struct view b, float *c, int ldc, int add)
{
	float panel[BLOCK * WIDTH] __attribute__((aligned(32)));
	int avx2 = HAVE_AVX2();

	for (int p = 0; p < k; p += BLOCK)
		for (int j = 0; j < n; j += WIDTH) {
			int depth = k - p < BLOCK ? k - p : BLOCK, width = n - j < WIDTH ? n - j : WIDTH;
			struct view rows = { a.p + p * a.col, a.row, a.col };

			pack(depth, width, (struct view){ b.p + p * b.row + j * b.col, b.row, b.col }, panel);
			(avx2 ? multiply_avx2 : multiply_any)(m, width, depth, rows, panel, c + j, ldc, add || p > 0);
		}
}
