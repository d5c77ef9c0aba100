/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All kernels of one variant. Included once by kernel_VARIANT.c, which defines
 *
 *      KERNELS   the struct kernels to make            NAME, RUNS   its fields
 *      VB        bytes of a vector                     MM(f)     x86's intrinsic of that width (_mm256_##f); undefined elsewhere
 *      HALVES    when MM(cvtph_ps) exists: the integer type of half a vector
 *
 * A type t has: t_elem in memory, t_one and t_vec to compute with, load and store of both kinds (any address). A vector covers VB bytes of
 * memory: the half types compute with a pair of float32 vectors. An operator has a t_OP1 on t_one and a t_OP on t_vec; FOLD makes the loop.
 */
#include <base/half.h>
#include <base/kernel.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline, unused))
#define VECTOR __attribute__((vector_size(VB)))

/* ---- types --------------------------------------------------------------------------------------------------- */

#define MEMORY(t, elem, one, vec) \
	typedef elem t##_elem; typedef one t##_one; typedef vec t##_vec VECTOR; \
	INLINE t##_one t##_load1(const char *p) { t##_elem x; memcpy(&x, p, sizeof x); return x; } \
	INLINE t##_vec t##_load(const char *p) { t##_vec v; memcpy(&v, p, sizeof v); return v; } \
	INLINE void t##_store1(char *p, t##_one x) { t##_elem e = (t##_elem)x; memcpy(p, &e, sizeof e); } \
	INLINE void t##_store(char *p, t##_vec v) { memcpy(p, &v, sizeof v); }

/* One element of a narrow unsigned type is computed in uint32_t: in int, as C would, uint16_t * uint16_t overflows. */
MEMORY(s8, int8_t, int32_t, int8_t)    MEMORY(u8, uint8_t, uint32_t, uint8_t)
MEMORY(s16, int16_t, int32_t, int16_t) MEMORY(u16, uint16_t, uint32_t, uint16_t)
MEMORY(s32, int32_t, int32_t, int32_t) MEMORY(u32, uint32_t, uint32_t, uint32_t)
MEMORY(s64, int64_t, int64_t, int64_t) MEMORY(u64, uint64_t, uint64_t, uint64_t)
MEMORY(f32, float, float, float)       MEMORY(f64, double, double, double)

typedef struct { f32_vec a, b; } pair;

#define HALF_MEMORY(t, to_float, from_float) \
	typedef uint16_t t##_elem; typedef float t##_one; typedef pair t##_vec; \
	INLINE float t##_load1(const char *p) { uint16_t x; memcpy(&x, p, sizeof x); return to_float(x); } \
	INLINE void t##_store1(char *p, float f) { uint16_t x = from_float(f); memcpy(p, &x, sizeof x); }

HALF_MEMORY(bf16, float_from_bfloat, bfloat_from_float)

/* A bfloat16 is the upper half of a float32: of each 32 bits one is shifted up, the other stands in place. */
INLINE pair bf16_load(const char *p)
{
	u32_vec v = u32_load(p);
	return (pair){ (f32_vec)(v << 16), (f32_vec)(v & 0xffff0000) };
}

/* A NaN needs no care here: it comes from a bfloat16 or is the processor's own, its lower half is zero, and nothing is carried. */
INLINE u32_vec bf16_round(f32_vec f)
{
	u32_vec u = (u32_vec)f;
	return u + 0x7fff + (u >> 16 & 1);
}

INLINE void bf16_store(char *p, pair v)
{
	u32_store(p, bf16_round(v.a) >> 16 | (bf16_round(v.b) & 0xffff0000));
}

#ifdef HALVES
#define half_from_float1(f) _cvtss_sh(f, _MM_FROUND_TO_NEAREST_INT)
HALF_MEMORY(f16, _cvtsh_ss, half_from_float1)

INLINE pair f16_load(const char *p)
{
	HALVES a, b;
	memcpy(&a, p, sizeof a);
	memcpy(&b, p + sizeof a, sizeof b);
	return (pair){ (f32_vec)MM(cvtph_ps)(a), (f32_vec)MM(cvtph_ps)(b) };
}

INLINE void f16_store(char *p, pair v)
{
	HALVES a = MM(cvtps_ph)(v.a, _MM_FROUND_TO_NEAREST_INT), b = MM(cvtps_ph)(v.b, _MM_FROUND_TO_NEAREST_INT);
	memcpy(p, &a, sizeof a);
	memcpy(p + sizeof a, &b, sizeof b);
}
#else
HALF_MEMORY(f16, float_from_half, half_from_float)

/* Where the mask is all ones x, where it is zero y. */
INLINE u32_vec choose(s32_vec mask, u32_vec x, u32_vec y)
{
	return (x & (u32_vec)mask) | (y & ~(u32_vec)mask);
}

/* float_from_half and half_from_float of half.h, on vectors: all ways are computed, then chosen from. */
INLINE f32_vec f16_widen(u32_vec h)
{
	u32_vec rest = h & 0x7fff, f = (u32_vec)((f32_vec)(rest << 13) * 0x1p112f);
	return (f32_vec)((h & 0x8000) << 16 | choose(rest >= 0x7c00, rest << 13 | 0x7f800000, f));
}

INLINE u32_vec f16_narrow(f32_vec f)
{
	u32_vec u = (u32_vec)f, rest = u & 0x7fffffff;
	u32_vec denormal = (u32_vec)((f32_vec)rest + 0.5f) - 0x3f000000;
	u32_vec normal = (rest - 0x38000000 + 0xfff + (rest >> 13 & 1)) >> 13;
	u32_vec h = choose(rest < 0x38800000, denormal, normal);

	h = choose(rest >= 0x47800000, (u32_vec){ 0 } + 0x7c00, h);
	h = choose(f == f, h, 0x7e00 | (rest >> 13 & 0x3ff));
	return (u >> 16 & 0x8000) | h;
}

INLINE pair f16_load(const char *p)
{
	u32_vec v = u32_load(p);
	return (pair){ f16_widen(v & 0xffff), f16_widen(v >> 16) };
}

INLINE void f16_store(char *p, pair v)
{
	u32_store(p, f16_narrow(v.a) | f16_narrow(v.b) << 16);
}
#endif

/* ---- operators ----------------------------------------------------------------------------------------------- */

#define BOTH(t, op, expression) \
	INLINE t##_one t##_##op##1(t##_one a, t##_one b) { return expression; } \
	INLINE t##_vec t##_##op(t##_vec a, t##_vec b) { return expression; }

#define WRAPPING(t) BOTH(t, sum, a + b) BOTH(t, prod, a * b)
#define BITWISE(t)  BOTH(t, band, a & b) BOTH(t, bor, a | b) BOTH(t, bxor, a ^ b)

#define CHOICE(t, op, compare) \
	INLINE t##_one t##_##op##1(t##_one a, t##_one b) { return a compare b ? a : b; } \
	INLINE t##_vec t##_##op(t##_vec a, t##_vec b) { t##_vec m = (t##_vec)(a compare b); return (a & m) | (b & ~m); }
#define EXTREMES(t) CHOICE(t, min, <) CHOICE(t, max, >)

WRAPPING(u8) WRAPPING(u16) WRAPPING(u32) WRAPPING(u64) WRAPPING(f32) WRAPPING(f64) BITWISE(u8)
EXTREMES(s8) EXTREMES(u8) EXTREMES(s16) EXTREMES(u16) EXTREMES(s32) EXTREMES(u32) EXTREMES(s64) EXTREMES(u64)

/*
 * x86's MIN(a, b) is a < b ? a : b, so that for two zeros and for NaN the second comes out. Both orders together tell the zeros apart:
 * -0 | +0 is -0 for min, -0 & +0 is +0 for max; equal bits stay as they are. NaN is put in last.
 */
#ifdef MM
#define PICK(bits, x86, compare, a, b) ((bits##_vec)MM(x86)(a, b))
#else
#define PICK(bits, x86, compare, a, b) (((bits##_vec)a & (a compare b)) | ((bits##_vec)b & ~(a compare b)))
#endif
#define FLOAT_EXTREME(t, bits, op, x86, compare, join, is_a, nan) \
	INLINE t##_vec t##_##op(t##_vec a, t##_vec b) \
	{ \
		bits##_vec number = (a == a) & (b == b); \
		bits##_vec r = PICK(bits, x86, compare, a, b) join PICK(bits, x86, compare, b, a); \
		return (t##_vec)((r & number) | (~number & nan)); \
	} \
	INLINE t##_one t##_##op##1(t##_one a, t##_one b) \
	{ \
		if (a != a || b != b) \
			return (t##_one)__builtin_nan(""); \
		return a compare b || (a == b && is_a __builtin_signbit(a)) ? a : b; \
	}
FLOAT_EXTREME(f32, s32, min, min_ps, <, |, !!, 0x7fc00000)
FLOAT_EXTREME(f32, s32, max, max_ps, >, &, !, 0x7fc00000)
FLOAT_EXTREME(f64, s64, min, min_pd, <, |, !!, 0x7ff8000000000000)
FLOAT_EXTREME(f64, s64, max, max_pd, >, &, !, 0x7ff8000000000000)

#define HALF_OP(t, op) \
	INLINE float t##_##op##1(float a, float b) { return f32_##op##1(a, b); } \
	INLINE pair t##_##op(pair x, pair y) { return (pair){ f32_##op(x.a, y.a), f32_##op(x.b, y.b) }; }
HALF_OP(f16, sum) HALF_OP(f16, prod) HALF_OP(bf16, sum) HALF_OP(bf16, prod)

/* Half types are compared as they are: with the other bits of the negative ones turned over they are ordered as integers, -0 < +0. */
#define ORDINAL(x) ((x) ^ ((x) >> 15 & 0x7fff))
#define HALF_EXTREME(t, op, compare, infinity, nan) \
	INLINE int32_t s16_##t##op##1(int32_t a, int32_t b) \
	{ \
		if ((a & 0x7fff) > infinity || (b & 0x7fff) > infinity) \
			return nan; \
		return ORDINAL(a) compare ORDINAL(b) ? a : b; \
	} \
	INLINE s16_vec s16_##t##op(s16_vec a, s16_vec b) \
	{ \
		s16_vec m = ORDINAL(a) compare ORDINAL(b), number = ((a & 0x7fff) <= infinity) & ((b & 0x7fff) <= infinity); \
		return (((a & m) | (b & ~m)) & number) | (~number & nan); \
	}
HALF_EXTREME(f16, min, <, 0x7c00, 0x7e00)  HALF_EXTREME(f16, max, >, 0x7c00, 0x7e00)
HALF_EXTREME(bf16, min, <, 0x7f80, 0x7fc0) HALF_EXTREME(bf16, max, >, 0x7f80, 0x7fc0)

#define AS_IS(x, scale)  (x)
#define DIVIDE(x, scale) ((x) / (scale))
#define DIVIDE_PAIR(x, scale) ((pair){ (x).a / (scale), (x).b / (scale) })

/* ---- loops --------------------------------------------------------------------------------------------------- */

/*
 *      | 4 vectors | 4 vectors | 1 | 1 | 1 |
 *                                    | last |
 *
 * The last vector ends with the data and may overlap the one before; it is computed first, before dst, which may be a source, changes.
 * Less than a vector goes by elements. Two sources have code of their own; for more, the loop over sources costs nothing beside their memory.
 */
#define FOLD(t, name, op, end1, endv) \
INLINE t##_one t##_##name##_one(const char *const *s, const int k, size_t at, t##_one scale) \
{ \
	t##_one x = t##_load1(s[0] + at); \
	for (int j = 1; j < k; j++) \
		x = t##_##op##1(x, t##_load1(s[j] + at)); \
	(void)scale; \
	return end1(x, scale); \
} \
INLINE t##_vec t##_##name##_vec(const char *const *s, const int k, size_t at, t##_one scale) \
{ \
	t##_vec v = t##_load(s[0] + at); \
	for (int j = 1; j < k; j++) \
		v = t##_##op(v, t##_load(s[j] + at)); \
	(void)scale; \
	return endv(v, scale); \
} \
INLINE void t##_##name##_four(char *dst, const char *const *s, const int k, size_t at, t##_one scale) \
{ \
	const char *p = s[0] + at; \
	t##_vec a = t##_load(p), b = t##_load(p + VB), c = t##_load(p + 2 * VB), d = t##_load(p + 3 * VB); \
	for (int j = 1; j < k; j++) { \
		p = s[j] + at; \
		a = t##_##op(a, t##_load(p)); \
		b = t##_##op(b, t##_load(p + VB)); \
		c = t##_##op(c, t##_load(p + 2 * VB)); \
		d = t##_##op(d, t##_load(p + 3 * VB)); \
	} \
	(void)scale; \
	t##_store(dst + at, endv(a, scale)); \
	t##_store(dst + at + VB, endv(b, scale)); \
	t##_store(dst + at + 2 * VB, endv(c, scale)); \
	t##_store(dst + at + 3 * VB, endv(d, scale)); \
} \
INLINE void t##_##name##_all(char *dst, const char *const *s, const int k, size_t bytes, t##_one scale) \
{ \
	size_t at = 0; \
	if (bytes < VB) { \
		for (; at < bytes; at += sizeof(t##_elem)) \
			t##_store1(dst + at, t##_##name##_one(s, k, at, scale)); \
		return; \
	} \
	bytes -= VB; \
	t##_vec last = t##_##name##_vec(s, k, bytes, scale); \
	for (; at + 4 * VB <= bytes; at += 4 * VB) \
		t##_##name##_four(dst, s, k, at, scale); \
	for (; at < bytes; at += VB) \
		t##_store(dst + at, t##_##name##_vec(s, k, at, scale)); \
	t##_store(dst + bytes, last); \
} \
static void t##_##name##_k(void *dst, const void *const *src, int k, size_t n, int scale) \
{ \
	const char *s[2] = { src[0], k == 2 ? src[1] : NULL };  /* not read again after each store to dst */ \
	if (k == 2) \
		t##_##name##_all(dst, s, 2, n * sizeof(t##_elem), (t##_one)scale); \
	else \
		t##_##name##_all(dst, (const char *const *)src, k, n * sizeof(t##_elem), (t##_one)scale); \
}

#define PLAIN_FOLD(t, op) FOLD(t, op, op, AS_IS, AS_IS)
#define ARITHMETIC(t) PLAIN_FOLD(t, sum) PLAIN_FOLD(t, prod)
#define ORDER(t) PLAIN_FOLD(t, min) PLAIN_FOLD(t, max)

ARITHMETIC(u8) ARITHMETIC(u16) ARITHMETIC(u32) ARITHMETIC(u64)
ORDER(s8) ORDER(u8) ORDER(s16) ORDER(u16) ORDER(s32) ORDER(u32) ORDER(s64) ORDER(u64)
ARITHMETIC(f16) PLAIN_FOLD(s16, f16min) PLAIN_FOLD(s16, f16max) FOLD(f16, avg, sum, DIVIDE, DIVIDE_PAIR)
ARITHMETIC(bf16) PLAIN_FOLD(s16, bf16min) PLAIN_FOLD(s16, bf16max) FOLD(bf16, avg, sum, DIVIDE, DIVIDE_PAIR)
ARITHMETIC(f32) ORDER(f32) FOLD(f32, avg, sum, DIVIDE, DIVIDE)
ARITHMETIC(f64) ORDER(f64) FOLD(f64, avg, sum, DIVIDE, DIVIDE)
PLAIN_FOLD(u8, band) PLAIN_FOLD(u8, bor) PLAIN_FOLD(u8, bxor)

/* Bits have no width. */
#define BITS(op, bytes) \
static void op##bytes(void *dst, const void *const *src, int k, size_t n, int scale) { u8_##op##_k(dst, src, k, n * bytes, scale); }
#define ALL_BITS(bytes) BITS(band, bytes) BITS(bor, bytes) BITS(bxor, bytes)
ALL_BITS(2) ALL_BITS(4) ALL_BITS(8)

/*
 * Integers have no division by vectors. They are summed, then divided in a float type F that holds quotients well enough: with |x| < 2^b
 * and a divisor d, a quotient that is not whole is at least 1/d away from a whole number, that is 2^-b of its size; float32 is exact to
 * 2^-24 (8 and 16 bits), float64 to 2^-53 (32 bits). 64 bits stay integers. The loop of fixed length is there for the vectoriser.
 */
#define INTEGER_AVG(t, u, F) \
static void t##_avg_k(void *dst, const void *const *src, int k, size_t n, int scale) \
{ \
	enum { STEP = 32 }; \
	typedef t##_elem elem __attribute__((aligned(1), may_alias)); \
	elem *x = dst; \
	F by = (F)scale; \
	if (k > 1) \
		u##_sum_k(dst, src, k, n, 1); \
	else if (dst != src[0]) \
		memcpy(dst, src[0], n * sizeof *x); \
	for (; n >= STEP; n -= STEP, x += STEP) \
		for (int i = 0; i < STEP; i++) \
			x[i] = (t##_elem)((F)x[i] / by); \
	for (; n; n--, x++) \
		*x = (t##_elem)((F)*x / by); \
}
INTEGER_AVG(s8, u8, float)   INTEGER_AVG(u8, u8, float)   INTEGER_AVG(s16, u16, float)   INTEGER_AVG(u16, u16, float)
INTEGER_AVG(s32, u32, double) INTEGER_AVG(u32, u32, double) INTEGER_AVG(s64, u64, int64_t) INTEGER_AVG(u64, u64, uint64_t)

/* ---- copying ------------------------------------------------------------------------------------------------- */

static void copy(char *dst, const char *src, size_t n)
{
	for (; n >= 4 * VB; n -= 4 * VB, src += 4 * VB, dst += 4 * VB) {
		u8_vec a = u8_load(src), b = u8_load(src + VB), c = u8_load(src + 2 * VB), d = u8_load(src + 3 * VB);
		u8_store(dst, a);
		u8_store(dst + VB, b);
		u8_store(dst + 2 * VB, c);
		u8_store(dst + 3 * VB, d);
	}
	memcpy(dst, src, n);
}

/* ---- the table ----------------------------------------------------------------------------------------------- */

#define INTEGER(t, u, b, o, x) { \
	[TUTTI_SUM] = u##_sum_k, [TUTTI_PROD] = u##_prod_k, [TUTTI_MIN] = t##_min_k, [TUTTI_MAX] = t##_max_k, [TUTTI_AVG] = t##_avg_k, \
	[TUTTI_BAND] = b, [TUTTI_BOR] = o, [TUTTI_BXOR] = x }
#define FLOAT(t, min, max) { \
	[TUTTI_SUM] = t##_sum_k, [TUTTI_PROD] = t##_prod_k, [TUTTI_MIN] = min, [TUTTI_MAX] = max, [TUTTI_AVG] = t##_avg_k }

const struct kernels KERNELS = {
	.name = NAME,
	.runs = RUNS,
	.copy = copy,
	.fold = {
		[TUTTI_INT8]  = INTEGER(s8, u8, u8_band_k, u8_bor_k, u8_bxor_k),
		[TUTTI_UINT8] = INTEGER(u8, u8, u8_band_k, u8_bor_k, u8_bxor_k),
		[TUTTI_INT16] = INTEGER(s16, u16, band2, bor2, bxor2),      [TUTTI_UINT16] = INTEGER(u16, u16, band2, bor2, bxor2),
		[TUTTI_INT32] = INTEGER(s32, u32, band4, bor4, bxor4),      [TUTTI_UINT32] = INTEGER(u32, u32, band4, bor4, bxor4),
		[TUTTI_INT64] = INTEGER(s64, u64, band8, bor8, bxor8),      [TUTTI_UINT64] = INTEGER(u64, u64, band8, bor8, bxor8),
		[TUTTI_FLOAT16] = FLOAT(f16, s16_f16min_k, s16_f16max_k), [TUTTI_BFLOAT16] = FLOAT(bf16, s16_bf16min_k, s16_bf16max_k),
		[TUTTI_FLOAT32] = FLOAT(f32, f32_min_k, f32_max_k),       [TUTTI_FLOAT64] = FLOAT(f64, f64_min_k, f64_max_k),
	},
};
