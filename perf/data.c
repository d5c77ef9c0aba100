/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inputs and expected results, from rank and index alone, independent of the library's own reduction. Pure functions.
 *
 * Values repeat after PERIOD elements, a prime, so that no cut into chunks or slices can hide a displacement, and long buffers cost a copy. Small integers:
 * at most ACTIVE ranks give other values than 0 (prod: than +-1) at any index, and no sum leaves -256..256, which bfloat16 holds exactly.
 */
#include <base/half.h>
#include <base/type.h>
#include <perf/inner.h>

enum { PERIOD = 4093, ACTIVE = 64, ACTIVE_PROD = 6, EXACT = 256, SPREAD = 100 };

/* splitmix64 */
static uint64_t mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15u;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
	x = (x ^ x >> 27) * 0x94d049bb133111ebu;
	return x ^ x >> 31;
}

static bool is_float(int type)
{
	return type >= TUTTI_FLOAT16;
}

static bool is_unsigned(int type)
{
	return !is_float(type) && type % 2;
}

/* What rank gives at index i < PERIOD */
static int64_t value(const struct perf_data *d, int rank, size_t i)
{
	uint64_t h = mix(d->seed ^ (uint64_t)rank << 40 ^ i);
	int place = (int)(((size_t)rank + i) % (size_t)d->nranks);
	int active = d->nranks < ACTIVE ? d->nranks : ACTIVE, spread = EXACT / active < SPREAD ? EXACT / active : SPREAD;
	int64_t v;

	if (d->op == TUTTI_BAND || d->op == TUTTI_BOR || d->op == TUTTI_BXOR)
		return (int64_t)h;
	if (d->op == TUTTI_PROD) {
		v = place < ACTIVE_PROD ? 2 : 1;
		return h & 1 && !is_unsigned(d->type) ? -v : v;
	}
	if (place >= active)
		return 0;
	v = (int64_t)(h % (uint64_t)spread);
	return is_unsigned(d->type) ? v : v - spread / 2;
}

static int64_t fold(int op, int64_t a, int64_t b)
{
	switch (op) {
	case TUTTI_PROD: return (int64_t)((uint64_t)a * (uint64_t)b);
	case TUTTI_MIN: return a < b ? a : b;
	case TUTTI_MAX: return a > b ? a : b;
	case TUTTI_BAND: return a & b;
	case TUTTI_BOR: return a | b;
	case TUTTI_BXOR: return a ^ b;
	default: return (int64_t)((uint64_t)a + (uint64_t)b);
	}
}

static void put_float(void *at, int type, double v, int divisor)
{
	float f = (float)v / (float)divisor;
	double d = v / divisor;
	uint16_t half = type == TUTTI_FLOAT16 ? half_from_float(f) : bfloat_from_float(f);

	if (type == TUTTI_FLOAT64)
		memcpy(at, &d, sizeof d);
	else if (type == TUTTI_FLOAT32)
		memcpy(at, &f, sizeof f);
	else
		memcpy(at, &half, sizeof half);
}

/* The wrapped value, divided towards zero */
static void put_int(void *at, int type, int64_t v, int divisor)
{
	size_t bytes = type_bytes(type);
	int unused = 64 - 8 * (int)bytes;
	uint64_t u = (uint64_t)v << unused >> unused;
	int64_t s = (int64_t)((uint64_t)v << unused) >> unused;
	union { uint8_t b1; uint16_t b2; uint32_t b4; uint64_t b8; } x = { 0 };

	u = is_unsigned(type) ? u / (uint64_t)divisor : (uint64_t)(s / divisor);
	switch (bytes) {
	case 1: x.b1 = (uint8_t)u; break;
	case 2: x.b2 = (uint16_t)u; break;
	case 4: x.b4 = (uint32_t)u; break;
	default: x.b8 = u;
	}
	memcpy(at, &x, bytes);
}

static void put(void *at, const struct perf_data *d, int from, size_t i)
{
	int64_t v = value(d, from == DATA_ALL ? 0 : from, i);
	int divisor = from == DATA_ALL && d->op == TUTTI_AVG ? d->nranks : 1;

	for (int r = 1; from == DATA_ALL && r < d->nranks; r++)
		v = fold(d->op, v, value(d, r, i));
	if (is_float(d->type))
		put_float(at, d->type, (double)v, divisor);
	else
		put_int(at, d->type, v, divisor);
}

void perf_data_make(void *buf, const struct perf_data *d, int from, size_t first, size_t count)
{
	size_t bytes = type_bytes(d->type), done = count < PERIOD ? count : PERIOD;
	char *p = buf;

	for (size_t i = 0; i < done; i++)
		put(p + i * bytes, d, from, (first + i) % PERIOD);
	for (size_t n; done < count; done += n) {       /* whole periods, twice as many each time */
		n = done < count - done ? done : count - done;
		memcpy(p + done * bytes, p, n * bytes);
	}
}

size_t perf_data_wrong(const void *buf, const struct perf_data *d, int from, size_t first, size_t count)
{
	char expected[PERIOD * TYPE_MAX_BYTES];
	const char *p = buf;
	size_t bytes = type_bytes(d->type), wrong = 0;

	perf_data_make(expected, d, from, first, count < PERIOD ? count : PERIOD);
	for (size_t i = 0, n; i < count; i += n) {
		n = count - i < PERIOD ? count - i : PERIOD;
		if (!memcmp(p + i * bytes, expected, n * bytes))
			continue;
		for (size_t j = 0; j < n; j++)
			wrong += memcmp(p + (i + j) * bytes, expected + j * bytes, bytes) != 0;
	}
	return wrong;
}
