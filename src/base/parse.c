/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers as people write them. Whole text or nothing: no leading blanks, no trailing junk, no silent wrap. Pure functions. */
#include <base/config.h>
#include <ctype.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>
#include <tutti/tutti.h>

struct unit { const char *name; uint64_t factor; };

/* Digits into *value; *end is what follows. False: no digit, or more than 64 bits. */
static bool digits(const char *text, uint64_t *value, const char **end)
{
	const char *p = text;
	uint64_t v = 0;

	for (; isdigit((unsigned char)*p); p++)
		if (__builtin_mul_overflow(v, 10u, &v) || __builtin_add_overflow(v, (uint64_t)(*p - '0'), &v))
			return false;
	*value = v;
	*end = p;
	return p != text;
}

/* A decimal number with at most 9 digits behind the point and one of the units, exact to the unit 1 (the rest is cut). */
static bool scaled(const char *text, const struct unit *units, uint64_t *value)
{
	uint64_t whole, part = 0, parts = 1;
	const char *p, *q;

	if (!digits(text, &whole, &p))
		return false;
	if (*p == '.') {
		q = p + 1;
		if (!digits(q, &part, &p) || p - q > 9)
			return false;
		for (; q < p; q++)
			parts *= 10;
	}
	for (; units->name && strcasecmp(units->name, p); units++)
		;
	if (!units->name || (parts > 1 && units->factor == 1) || __builtin_mul_overflow(whole, units->factor, &whole))
		return false;
	/* part < 10^9 and factor < 2^33 (an hour, a gigabyte): no overflow */
	return !__builtin_add_overflow(whole, part * units->factor / parts, value);
}

int parse_size(const char *text, size_t *value)
{
	static const struct unit units[] = { { "", 1 }, { "B", 1 }, { "k", 1 << 10 }, { "M", 1 << 20 }, { "G", 1 << 30 },
	                                     { "KiB", 1 << 10 }, { "MiB", 1 << 20 }, { "GiB", 1 << 30 }, { NULL, 0 } };
	uint64_t v;

	if (!scaled(text, units, &v) || v > SIZE_MAX)
		return TUTTI_ERR_INVALID;
	*value = (size_t)v;
	return TUTTI_OK;
}

int parse_time_ms(const char *text, int64_t *ms)
{
	static const struct unit units[] = { { "", 1 }, { "ms", 1 }, { "s", 1000 }, { "min", 60000 }, { "h", 3600000 }, { NULL, 0 } };
	uint64_t v;

	if (!scaled(text, units, &v) || v > INT64_MAX / 1000000)        /* clocks count nanoseconds */
		return TUTTI_ERR_INVALID;
	*ms = (int64_t)v;
	return TUTTI_OK;
}

int parse_int(const char *text, long min, long max, long *value)
{
	bool minus = *text == '-';
	const char *end;
	uint64_t v;
	long result;

	if (!digits(text + (minus || *text == '+'), &v, &end) || *end || v > (uint64_t)LONG_MAX + minus)
		return TUTTI_ERR_INVALID;
	result = minus ? (long)(0 - v) : (long)v;
	if (result < min || result > max)
		return TUTTI_ERR_INVALID;
	*value = result;
	return TUTTI_OK;
}

int parse_distance(const char *a, const char *b)
{
	int line[PARSE_WORD_MAX + 1], n = (int)strlen(b);

	if (n > PARSE_WORD_MAX || strlen(a) > PARSE_WORD_MAX)
		return INT_MAX;
	for (int j = 0; j <= n; j++)
		line[j] = j;
	for (int i = 1; a[i - 1]; i++) {
		int diagonal = line[0];
		line[0] = i;
		for (int j = 1; j <= n; j++) {
			int best = diagonal + (a[i - 1] != b[j - 1]);
			best = line[j] + 1 < best ? line[j] + 1 : best;
			best = line[j - 1] + 1 < best ? line[j - 1] + 1 : best;
			diagonal = line[j];
			line[j] = best;
		}
	}
	return line[n];
}
