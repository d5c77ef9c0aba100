/* SPDX-License-Identifier: Apache-2.0 */
/* Every variant that this processor runs against plain C, and plain C against what tutti.h says. */
#include <base/half.h>
#include <base/kernel.h>
#include <base/type.h>
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MOST = 640, SOURCES = 9, ROOM = MOST * TYPE_MAX_BYTES + 128 };

static uint64_t seed = 1;

static uint64_t next(void)      /* splitmix64 */
{
	uint64_t z = seed += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

/* Bits of one element: anything at all, or one of the values where kernels go wrong. */
static uint64_t element(int type)
{
	static const float hard[] = { 0.0f, -0.0f, 1.0f, -1.0f, 0x1p-126f, -0x1p-149f, 0x1p-14f, 0x1p-24f, 0x1.ffcp15f, 65520.0f,
	                              0x1.fffffep127f, -0x1.fffffep127f, INFINITY, -INFINITY, NAN, 3.0f, 0.1f, 0x1p-133f, 0x1.8p-25f };
	uint64_t any = next();
	float f = hard[any % (sizeof hard / sizeof *hard)];
	double d = any & 64 ? (double)f : any & 128 ? 0x1p-1074 : 0x1.fffffffffffffp1023;
	uint64_t bits;

	if (any >> 63)
		return next();
	switch (type) {
	case TUTTI_FLOAT16:  return half_from_float(f);
	case TUTTI_BFLOAT16: return bfloat_from_float(f);
	case TUTTI_FLOAT32:  return float_bits(f);
	case TUTTI_FLOAT64:  memcpy(&bits, &d, 8); return bits;
	}
	bits = (uint64_t)1 << (8 * type_bytes(type) - 1);
	return any & 64 ? bits : any & 128 ? bits - 1 : any & 256 ? 0 : ~(uint64_t)0;
}

static void fill(char *p, size_t n, int type)
{
	for (size_t i = 0; i < n; i++) {
		uint64_t bits = element(type);

		memcpy(p + i * type_bytes(type), &bits, type_bytes(type));
	}
}

static bool is_nan(const char *p, int type)
{
	uint16_t h;
	float f;
	double d;

	memcpy(&h, p, sizeof h);
	switch (type) {
	case TUTTI_FLOAT16:  return isnan(float_from_half(h));
	case TUTTI_BFLOAT16: return isnan(float_from_bfloat(h));
	case TUTTI_FLOAT32:  memcpy(&f, p, sizeof f); return isnan(f);
	case TUTTI_FLOAT64:  memcpy(&d, p, sizeof d); return isnan(d);
	}
	return false;
}

/* Equal bits; NaN of sum, prod and avg, whose bits are not specified, need only be NaN. */
static void compare(const char *got, const char *want, size_t n, int type, int op, const char *what)
{
	size_t bytes = type_bytes(type);

	if (!memcmp(got, want, n * bytes))
		return;
	for (size_t i = 0; i < n; i++, got += bytes, want += bytes)
		cr_assert(!memcmp(got, want, bytes) || (op != TUTTI_MIN && op != TUTTI_MAX && is_nan(got, type) && is_nan(want, type)),
		          "%s, %s %s: element %zu of %zu", what, tutti_type_name((enum tutti_type)type), tutti_op_name(op), i, n);
}

/* One call at random addresses; alias: the source that is also the destination, or k. Nothing beside dst may change. */
static void once(const struct kernels *v, int type, int op, int k, int alias, size_t n, int scale)
{
	static char memory[SOURCES + 1][ROOM], before[ROOM], want[ROOM];
	const void *src[SOURCES];
	size_t bytes = n * type_bytes(type);
	char what[80], *dst;

	for (int j = 0; j < k; j++) {
		src[j] = memory[j] + next() % 64;
		fill((char *)src[j], n, type);
	}
	dst = alias < k ? (char *)src[alias] : memory[SOURCES] + next() % 64;
	reduce_k_plain(want, src, k, n, type, op, scale);
	memcpy(before, memory[alias < k ? alias : SOURCES], ROOM);
	reduce_with(v, dst, src, k, n, type, op, scale);
	snprintf(what, sizeof what, "%s, k %d, dst is source %d, scale %d", v->name, k, alias, scale);
	compare(dst, want, n, type, op, what);
	memcpy(dst, before + (dst - memory[alias < k ? alias : SOURCES]), bytes);
	cr_assert_arr_eq(before, memory[alias < k ? alias : SOURCES], ROOM, "%s, %s: wrote outside", what, tutti_op_name(op));
}

static void every_source_count(const struct kernels *v, int type, int op)
{
	for (int k = 1; k <= SOURCES; k++)
		for (int alias = 0; alias <= k; alias++)
			for (int turn = 0; turn < 3; turn++) {
				once(v, type, op, k, alias, next() % MOST, 1);
				if (op == TUTTI_SUM || op == TUTTI_AVG || turn == 0)
					once(v, type, op, k, alias, next() % MOST, 2 + (int)(next() % 300));
			}
}

/* f(variant, type, op) for all that runs here. A variant that does not is said, and counts for nothing. */
static int each(void (*f)(const struct kernels *, int, int))
{
	int ran = 0;

	for (const struct kernels *const *v = kernels_all; *v; v++) {
		if (!(*v)->runs()) {
			fprintf(stderr, "kernels: %s cannot run on this processor: NOT TESTED\n", (*v)->name);
			continue;
		}
		ran++;
		for (int type = 0; type < TUTTI_TYPES; type++)
			for (int op = 0; op < TUTTI_OPS; op++)
				if (op_legal(op, type))
					f(*v, type, op);
	}
	return ran;
}

Test(kernels, equal_plain_c_for_every_source_count_alias_and_address)
{
	cr_assert_geq(each(every_source_count), 1);
}

static void every_length(const struct kernels *v, int type, int op)
{
	for (size_t n = 0; n < 300; n++) {
		once(v, type, op, 2, (int)(n % 3), n, 1);
		if (op == TUTTI_AVG)
			once(v, type, op, 1 + (int)(n % 5), 0, n, 1 << n % 31);
	}
}

Test(kernels, equal_plain_c_for_every_length)
{
	cr_assert_geq(each(every_length), 1);
}

Test(kernels, every_table_is_full)
{
	for (const struct kernels *const *v = kernels_all; *v; v++)
		for (int type = 0; type < TUTTI_TYPES; type++)
			for (int op = 0; op < TUTTI_OPS; op++)
				cr_assert_eq((*v)->fold[type][op] != NULL, op_legal(op, type), "%s, type %d, op %d", (*v)->name, type, op);
}

Test(kernels, chosen_variant_runs_here)
{
	for (const struct kernels *const *v = kernels_all; *v; v++)
		if (!strcmp((*v)->name, reduce_isa())) {
			cr_assert((*v)->runs());
			return;
		}
	cr_assert(false, "%s is no variant", reduce_isa());
}

/* All pairs of 16-bit values would be too many; each against a few others is not. */
Test(kernels, every_half_value)
{
	static uint16_t a[65536], b[65536], got[65536], want[65536];
	const void *src[] = { a, b };

	for (int i = 0; i < 65536; i++)
		a[i] = (uint16_t)i;
	for (int type = TUTTI_FLOAT16; type <= TUTTI_BFLOAT16; type++)
		for (int turn = 0; turn < 8; turn++) {
			fill((char *)b, 65536, type);
			for (const struct kernels *const *v = kernels_all; *v; v++)
				for (int op = TUTTI_SUM; op <= TUTTI_AVG && (*v)->runs(); op++) {
					reduce_k_plain(want, src, 2, 65536, type, op, op == TUTTI_AVG ? 3 : 1);
					reduce_with(*v, got, src, 2, 65536, type, op, op == TUTTI_AVG ? 3 : 1);
					compare((char *)got, (char *)want, 65536, type, op, (*v)->name);
				}
		}
}

/* Every value of a half type goes to float32 and back unchanged; between neighbours the nearer one wins, and at half way the even one. */
static void half_rounds(float (*widen)(uint16_t), uint16_t (*narrow)(float), uint16_t infinity)
{
	for (uint16_t h = 0; h < infinity; h++) {
		float low = widen(h), step = h + 1 == infinity ? low - widen((uint16_t)(h - 1)) : widen((uint16_t)(h + 1)) - low;
		float half_way = low + step / 2;

		cr_assert_eq(narrow(low), h);
		cr_assert_eq(narrow(-low), h | 0x8000);
		cr_assert_eq(narrow(half_way), h + (h & 1), "%a", (double)half_way);
		cr_assert_eq(narrow(nextafterf(half_way, 0)), h);
		cr_assert_eq(narrow(nextafterf(half_way, INFINITY)), h + 1);
	}
	cr_assert_eq(narrow(INFINITY), infinity);
	cr_assert_eq(narrow(0x1.fffffep127f), infinity);
	cr_assert(isinf(widen(infinity)) && widen(infinity) > 0);
	for (int h = infinity + 1; h < 0x8000; h++)
		cr_assert(isnan(widen((uint16_t)h)) && isnan(widen(narrow(widen((uint16_t)h)))));
	cr_assert(isnan(widen(narrow(bits_float(0x7f800001)))) && isnan(widen(narrow(bits_float(0xffffffff)))));
}

Test(kernels, half_conversions_round_to_nearest_even)
{
	half_rounds(float_from_half, half_from_float, 0x7c00);
	half_rounds(float_from_bfloat, bfloat_from_float, 0x7f80);
	for (int h = 0; h < 0x7c00; h++) {
		int exponent = h >> 10, mantissa = h & 0x3ff;

		if (exponent)
			mantissa |= 0x400;
		cr_assert_eq(float_from_half((uint16_t)h), ldexpf((float)mantissa, (exponent ? exponent : 1) - 25));
	}
}

static float f32(float a, float b, int op)
{
	const void *src[] = { &a, &b };
	float r;

	reduce_k_plain(&r, src, 2, 1, TUTTI_FLOAT32, op, 1);
	return r;
}

Test(kernels, plain_minimum_and_maximum_are_those_of_the_standard)
{
	cr_assert_eq(float_bits(f32(0.0f, -0.0f, TUTTI_MIN)), 0x80000000);
	cr_assert_eq(float_bits(f32(-0.0f, 0.0f, TUTTI_MIN)), 0x80000000);
	cr_assert_eq(float_bits(f32(0.0f, -0.0f, TUTTI_MAX)), 0);
	cr_assert_eq(float_bits(f32(-0.0f, 0.0f, TUTTI_MAX)), 0);
	cr_assert_eq(float_bits(f32(bits_float(0xffc12345), 1, TUTTI_MIN)), 0x7fc00000);
	cr_assert_eq(float_bits(f32(1, bits_float(0xff812345), TUTTI_MAX)), 0x7fc00000);
	cr_assert_eq(f32(1, 2, TUTTI_MIN), 1);
	cr_assert_eq(f32(1, 2, TUTTI_MAX), 2);
	cr_assert_eq(f32(INFINITY, -INFINITY, TUTTI_MIN), -INFINITY);
	cr_assert_eq(f32(0x1p-149f, 0x1p-149f, TUTTI_SUM), 0x1p-148f);
	cr_assert_eq(f32(0x1.fffffep127f, 0x1.fffffep127f, TUTTI_SUM), INFINITY);
}

Test(kernels, plain_integers_wrap_and_average_towards_zero)
{
	int8_t a[] = { 127, -7, -128 }, b[] = { 1, 0, 0 }, r[3];
	uint8_t ua[] = { 255, 200 }, ub[] = { 1, 100 }, ur[2];
	uint16_t h[] = { 65535 }, hr[1];
	const void *src[] = { a, b }, *usrc[] = { ua, ub }, *hsrc[] = { h, h };

	reduce_k_plain(r, src, 2, 3, TUTTI_INT8, TUTTI_AVG, 2);
	cr_assert_eq(r[0], -64);
	cr_assert_eq(r[1], -3);
	cr_assert_eq(r[2], -64);
	reduce_k_plain(r, src, 2, 3, TUTTI_INT8, TUTTI_AVG, 1000);
	cr_assert_eq(r[2], 0);
	reduce_k_plain(ur, usrc, 2, 2, TUTTI_UINT8, TUTTI_AVG, 2);
	cr_assert_eq(ur[0], 0);
	cr_assert_eq(ur[1], 22);
	reduce_k_plain(hr, hsrc, 2, 1, TUTTI_UINT16, TUTTI_PROD, 1);
	cr_assert_eq(hr[0], 1);
}

/* float16: 2048 + 1 + 1 is 2050 when all three are folded in float32, and 2048 when rounded after each. */
Test(kernels, halves_round_once_a_pass)
{
	uint16_t a = half_from_float(2048), b = half_from_float(1), r;
	const void *src[] = { &a, &b, &b };

	reduce_k(&r, src, 3, 1, TUTTI_FLOAT16, TUTTI_SUM, 1);
	cr_assert_eq(float_from_half(r), 2050);
}

/* a - b is neither commutative nor associative: order and aliasing show. */
static void minus(const void *a, const void *b, void *out, size_t count, enum tutti_type type, void *ctx)
{
	const int32_t *x = a, *y = b;
	int32_t *z = out;

	cr_assert_eq(type, TUTTI_INT32);
	*(size_t *)ctx += count;
	for (size_t i = 0; i < count; i++)
		z[i] = x[i] - y[i];
}

Test(kernels, user_operator_goes_left_to_right_whatever_dst_is)
{
	static int32_t v[4][3000], other[3000];
	const void *src[] = { v[0], v[1], v[2], v[3] };
	size_t calls = 0;
	int op;

	cr_assert_eq(tutti_op_create(minus, &calls, 7, 0, &op), TUTTI_OK);
	for (int alias = 0; alias <= 4; alias++) {
		int32_t *dst = alias < 4 ? v[alias] : other;

		for (int j = 0; j < 4; j++)
			for (int i = 0; i < 3000; i++)
				v[j][i] = (j + 1) * (i + 5);
		calls = 0;
		reduce_k(dst, src, 4, 3000, TUTTI_INT32, op, 1);
		cr_assert_eq(calls, 3 * 3000);
		for (int i = 0; i < 3000; i++)
			cr_assert_eq(dst[i], (1 - 2 - 3 - 4) * (i + 5), "dst is source %d, element %d", alias, i);
	}
	cr_assert_eq(tutti_op_free(op), TUTTI_OK);
}

Test(kernels, copies_are_exact_at_any_address_and_length)
{
	enum { LONGEST = 5000, AROUND = 128 };
	static unsigned char from[LONGEST + AROUND], to[LONGEST + 2 * AROUND];
	for (int i = 0; i < LONGEST + AROUND; i++)
		from[i] = (unsigned char)(i * 7 + i / 251);
	for (size_t n = 0; n <= LONGEST; n += n < 300 ? 1 : 97)
		for (size_t shift = 0; shift < 64; shift += 13) {
			memset(to, 0xee, sizeof(to));
			copy_bytes(to + AROUND - shift, from + shift, n);
			cr_assert(!memcmp(to + AROUND - shift, from + shift, n), "%zu bytes at %zu", n, shift);
			cr_assert(to[AROUND - shift - 1] == 0xee && to[AROUND - shift + n] == 0xee, "%zu bytes at %zu: wrote outside", n, shift);
		}
}
