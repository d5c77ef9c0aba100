/* SPDX-License-Identifier: Apache-2.0 */
/*
 * float16 and bfloat16 to float32 and back, in plain C: to nearest even, denormals kept, a NaN stays a (quiet) NaN.
 *
 *      float16   s eeeee mmmmmmmmmm          bfloat16  s eeeeeeee mmmmmmm          float32   s eeeeeeee mmmmmmmmmmmmmmmmmmmmmmm
 */
#ifndef BASE_HALF_H
#define BASE_HALF_H
#include <stdint.h>
#include <string.h>

static inline uint32_t float_bits(float f)
{
	uint32_t u;
	memcpy(&u, &f, sizeof u);
	return u;
}

static inline float bits_float(uint32_t u)
{
	float f;
	memcpy(&f, &u, sizeof f);
	return f;
}

static inline float float_from_half(uint16_t h)
{
	uint32_t sign = (uint32_t)(h & 0x8000) << 16, rest = h & 0x7fff;

	if (rest >= 0x7c00)                                     /* infinity, NaN */
		return bits_float(sign | 0x7f800000 | rest << 13);
	return bits_float(sign | float_bits(bits_float(rest << 13) * 0x1p112f));        /* the exponents' bias; exact for denormals too */
}

static inline uint16_t half_from_float(float f)
{
	uint32_t u = float_bits(f), sign = u >> 16 & 0x8000, rest = u & 0x7fffffff;

	if (rest > 0x7f800000)
		rest = 0x7e00 | (rest >> 13 & 0x3ff);
	else if (rest >= 0x47800000)                            /* 2^16 and more */
		rest = 0x7c00;
	else if (rest < 0x38800000)                             /* below 2^-14: the sum with 0.5 rounds where a denormal's last bit is */
		rest = float_bits(bits_float(rest) + 0.5f) - 0x3f000000;
	else
		rest = (rest - 0x38000000 + 0xfff + (rest >> 13 & 1)) >> 13;
	return (uint16_t)(sign | rest);
}

static inline float float_from_bfloat(uint16_t b)
{
	return bits_float((uint32_t)b << 16);
}

static inline uint16_t bfloat_from_float(float f)
{
	uint32_t u = float_bits(f);

	if ((u & 0x7fffffff) > 0x7f800000)
		return (uint16_t)(u >> 16 | 0x40);
	return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}
#endif
