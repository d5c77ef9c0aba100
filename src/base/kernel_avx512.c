/* SPDX-License-Identifier: Apache-2.0 */
/* AVX-512 (F, BW, DQ, VL), whole registers. */
#ifdef __x86_64__
#include <immintrin.h>
#include <stdbool.h>

static bool has_avx512(void)
{
	return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
	       __builtin_cpu_supports("avx512vl");
}

#include <base/half.h>
#include <base/kernel.h>
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,f16c"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,f16c")
#endif
#define KERNELS kernels_avx512
#define NAME "avx512"
#define RUNS has_avx512
#define VB 64
#define MM(f) _mm512_##f
#define HALVES __m256i
#include <base/kernel_body.h>
#ifdef __clang__
#pragma clang attribute pop
#endif
#endif
