/* SPDX-License-Identifier: Apache-2.0 */
/* AVX2 with float16 conversions. Without FMA: nothing could be contracted even if the compiler were allowed to. */
#ifdef __x86_64__
#include <cpuid.h>
#include <immintrin.h>
#include <stdbool.h>

static bool has_avx2(void)
{
	unsigned a, b, c, d;

	return __builtin_cpu_supports("avx2") && __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}

#include <base/half.h>
#include <base/kernel.h>
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,f16c"))), apply_to = function)
#else
#pragma GCC target("avx2,f16c")
#endif
#define KERNELS kernels_avx2
#define NAME "avx2"
#define RUNS has_avx2
#define VB 32
#define MM(f) _mm256_##f
#define HALVES __m128i
#include <base/kernel_body.h>
#ifdef __clang__
#pragma clang attribute pop
#endif
#endif
