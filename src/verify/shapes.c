/* SPDX-License-Identifier: Apache-2.0 */
/* Shapes to try: a number of machines and a style give one. */
#include <base/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <verify/verify.h>

enum style { EVEN, DEALT, EVEN_RACKS, UNEVEN, UNEVEN_RACKS, RANDOM, STYLES };

static uint32_t mix(uint32_t x)
{
	x = (x ^ x >> 16) * 0x45d9f3bu;
	return x ^ x >> 13;
}

/* Is there such a shape of h machines, and is it worth it? */
static bool worth(int n, int h, enum style style)
{
	bool even = n % h == 0, some = n <= 16 || h == 2 || h == 3 || h == 7 || h == n / 2;
	switch (style) {
	case EVEN: case DEALT: return even;
	case EVEN_RACKS: return even && h > 2;
	case UNEVEN: return !even && some;
	case UNEVEN_RACKS: return h > 3 && some;
	default: return some;
	}
}

static int machine(int n, int h, enum style style, int r)
{
	switch (style) {
	case DEALT: return r % h;
	case RANDOM: return r < h ? r : (int)(mix((uint32_t)(n * 131 + h * 17 + r)) % (uint32_t)(r % 2 ? h : (h + 1) / 2));
	default: return (int)((int64_t)r * h / n);
	}
}

static int rack(int h, enum style style, int m)
{
	switch (style) {
	case EVEN_RACKS: return m * 2 / h;
	case UNEVEN_RACKS: return m < 2 ? 0 : 1 + m % 2;
	default: return 0;              /* all together: no level */
	}
}

struct shape *verify_shape(int n, int *at)
{
	struct shape *s = NULL;
	int32_t *unit = calloc((size_t)n * 2, sizeof *unit);
	for (; unit && !s && *at / STYLES + 2 < n; ++*at) {
		int h = *at / STYLES + 2;
		enum style style = (enum style)(*at % STYLES);
		if (!worth(n, h, style))
			continue;
		for (int r = 0; r < n; r++) {
			unit[r] = machine(n, h, style, r);
			unit[n + r] = rack(h, style, unit[r]);
		}
		if (shape_make(&s, n, 2, (const int32_t *const[]){ unit, unit + n })) {
			*at = -1;
			break;
		}
	}
	if (!unit) {
		err_set(TUTTI_ERR_NOMEM, "no memory for a shape of %d ranks", n);
		*at = -1;
	}
	free(unit);
	return s;
}

int verify_shape_words(const struct shape *s, char *buf, size_t cap)
{
	size_t at = 0;
	for (int l = 0; l < s->nlevels; l++) {
		const struct shape_level *v = &s->level[l];
		at += (size_t)snprintf(buf + at, at < cap ? cap - at : 0, l ? " |" : ",");
		for (int u = 0; u < v->n && u < 16; u++)
			at += (size_t)snprintf(buf + (at < cap ? at : 0), at < cap ? cap - at : 0, " %d", v->first[u + 1] - v->first[u]);
	}
	return (int)at;
}
