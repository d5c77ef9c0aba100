/* SPDX-License-Identifier: Apache-2.0 */
/* What every processor of the target has: SSE2 on x86-64, whatever the compiler makes of 16-byte vectors elsewhere. */
#ifdef __x86_64__
#include <immintrin.h>
#define MM(f) _mm_##f
#endif
#include <stdbool.h>

static bool always(void)
{
	return true;
}

#define KERNELS kernels_baseline
#define NAME "baseline"
#define RUNS always
#define VB 16
#include <base/kernel_body.h>
