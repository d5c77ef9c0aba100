/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reference: one element at a time, nothing clever. Integers of every width are computed in 64 bits and cut back after each operation.
 */
#include <base/half.h>
#include <base/kernel.h>
#include <base/type.h>
#include <string.h>

static uint64_t int_load(const void *p, size_t bytes, bool is_signed)
{
	uint64_t v = 0, sign = (uint64_t)1 << (8 * bytes - 1);

	switch (bytes) {
	case 1: v = *(const uint8_t *)p; break;
	case 2: { uint16_t x; memcpy(&x, p, 2); v = x; break; }
	case 4: { uint32_t x; memcpy(&x, p, 4); v = x; break; }
	case 8: memcpy(&v, p, 8); break;
	}
	return is_signed && v & sign ? v | ~(sign - 1) : v;
}

static void int_store(void *p, uint64_t v, size_t bytes)
{
	switch (bytes) {
	case 1: *(uint8_t *)p = (uint8_t)v; break;
	case 2: { uint16_t x = (uint16_t)v; memcpy(p, &x, 2); break; }
	case 4: { uint32_t x = (uint32_t)v; memcpy(p, &x, 4); break; }
	case 8: memcpy(p, &v, 8); break;
	}
}

static uint64_t int_op(uint64_t a, uint64_t b, int op, bool is_signed)
{
	bool less = is_signed ? (int64_t)a < (int64_t)b : a < b;

	switch (op) {
	case TUTTI_PROD: return a * b;
	case TUTTI_MIN:  return less ? a : b;
	case TUTTI_MAX:  return less ? b : a;
	case TUTTI_BAND: return a & b;
	case TUTTI_BOR:  return a | b;
	case TUTTI_BXOR: return a ^ b;
	default:         return a + b;
	}
}

static void int_reduce(char *dst, const void *const *src, int k, size_t n, size_t bytes, bool is_signed, int op, int scale)
{
	for (size_t at = 0; at < n * bytes; at += bytes) {
		char cut[TYPE_MAX_BYTES];
		uint64_t acc = int_load((const char *)src[0] + at, bytes, is_signed);

		for (int j = 1; j < k; j++) {
			int_store(cut, int_op(acc, int_load((const char *)src[j] + at, bytes, is_signed), op, is_signed), bytes);
			acc = int_load(cut, bytes, is_signed);
		}
		if (scale > 1)
			acc = is_signed ? (uint64_t)((int64_t)acc / scale) : acc / (uint64_t)scale;
		int_store(dst + at, acc, bytes);
	}
}

/* C storage, the type computed in, how to get there and back */
#define FLOAT_REDUCE(name, T, F, TO, FROM) \
static void name##_reduce(char *dst, const void *const *src, int k, size_t n, int op, int scale) \
{ \
	for (size_t at = 0; at < n * sizeof(T); at += sizeof(T)) { \
		T raw; \
		memcpy(&raw, (const char *)src[0] + at, sizeof raw); \
		F acc = TO(raw); \
		for (int j = 1; j < k; j++) { \
			memcpy(&raw, (const char *)src[j] + at, sizeof raw); \
			acc = F##_op(acc, TO(raw), op); \
		} \
		raw = FROM(scale > 1 ? acc / (F)scale : acc); \
		memcpy(dst + at, &raw, sizeof raw); \
	} \
}

/* IEEE 754-2019 minimum and maximum: the zeros are told apart by their sign, any NaN gives the canonical one. */
#define FLOAT_OP(F, SIGNBIT, QNAN) \
static F F##_op(F a, F b, int op) \
{ \
	bool less = a < b || (a == b && SIGNBIT(a)); \
	if (op == TUTTI_PROD) \
		return a * b; \
	if (op != TUTTI_MIN && op != TUTTI_MAX) \
		return a + b; \
	if (a != a || b != b) \
		return QNAN(""); \
	return less == (op == TUTTI_MIN) ? a : b; \
}

#define SAME(x) (x)
FLOAT_OP(float, __builtin_signbit, __builtin_nanf)
FLOAT_OP(double, __builtin_signbit, __builtin_nan)
FLOAT_REDUCE(float, float, float, SAME, SAME)
FLOAT_REDUCE(double, double, double, SAME, SAME)
FLOAT_REDUCE(half, uint16_t, float, float_from_half, half_from_float)
FLOAT_REDUCE(bfloat, uint16_t, float, float_from_bfloat, bfloat_from_float)

void reduce_k_plain(void *dst, const void *const *src, int k, size_t n, int type, int op, int scale)
{
	if (op >= TUTTI_OPS) {
		reduce_user(dst, src, k, n, type, op);
		return;
	}
	if (k == 1 && scale <= 1) {
		memmove(dst, src[0], n * type_bytes(type));
		return;
	}
	switch (type) {
	case TUTTI_FLOAT16:  half_reduce(dst, src, k, n, op, scale); break;
	case TUTTI_BFLOAT16: bfloat_reduce(dst, src, k, n, op, scale); break;
	case TUTTI_FLOAT32:  float_reduce(dst, src, k, n, op, scale); break;
	case TUTTI_FLOAT64:  double_reduce(dst, src, k, n, op, scale); break;
	default:             int_reduce(dst, src, k, n, type_bytes(type), type % 2 == 0, op, scale);
	}
}
