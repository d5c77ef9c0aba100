/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gemm.h"
#include "model.h"
#include "selftest.h"

static int tests, failures;

static void result(int ok, const char *what)
{
	printf("%sok %d - %s\n", ok ? "" : "not ", ++tests, what);
	failures += !ok;
}

/* Small whole numbers: every order of adding gives the same float. */
static void whole(float *x, size_t n, uint64_t seed)
{
	for (size_t i = 0; i < n; i++)
		x[i] = (float)(random_at(seed, i) % 7) - 3;
}

static int product_is_right(int m, int n, int k, int transposed, int add)
{
	float *a = malloc((size_t)(m * k) * sizeof *a), *b = malloc((size_t)(k * n) * sizeof *b), *c = malloc((size_t)(m * n) * sizeof *c);
	struct view va = transposed ? (struct view){ a, 1, m } : (struct view){ a, k, 1 };
	struct view vb = transposed ? (struct view){ b, 1, k } : (struct view){ b, n, 1 };
	int right = a && b && c;

	if (right) {
		whole(a, (size_t)(m * k), 1);
		whole(b, (size_t)(k * n), 2);
		whole(c, (size_t)(m * n), 3);
		gemm(m, n, k, va, vb, c, n, add);
	}
	for (int i = 0; right && i < m; i++)
		for (int j = 0; right && j < n; j++) {
			float sum = add ? (float)(random_at(3, (uint64_t)(i * n + j)) % 7) - 3 : 0;

			for (int p = 0; p < k; p++)
				sum += va.p[i * va.row + p * va.col] * vb.p[p * vb.row + j * vb.col];
			right = c[i * n + j] == sum;
		}
	free(a);
	free(b);
	free(c);
	return right;
}

static void check_products(void)
{
	static const int sizes[][3] = { { 1, 1, 1 }, { 6, 16, 256 }, { 7, 17, 257 }, { 13, 31, 600 }, { 64, 113, 48 } };

	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
		for (int how = 0; how < 4; how++) {
			const int *s = sizes[i];
			char what[100];

			snprintf(what, sizeof what, "product %dx%dx%d%s%s equals plain loops", s[0], s[1], s[2], how & 1 ? ", transposed" : "", how & 2 ? ", added" : "");
			result(product_is_right(s[0], s[1], s[2], how & 1, how & 2), what);
		}
}

static void nothing(int bucket, void *arg)
{
	*(int *)arg |= 1 << bucket;
}

/*
 * Along a random direction d within one bucket, (L(w + e d) - L(w - e d)) / 2e must be g.d. The direction leans towards g, so that g.d is large against the
 * rounding of L; a wrong gradient then has a wrong length along itself.
 */
static void check_bucket(struct model *m, float *w, const float *g, const unsigned char *ids, int n, int bucket)
{
	static const char *const names[BUCKETS] = { "output layer", "second layer", "first layer", "embedding" };
	size_t from = m->start[bucket], size = m->start[bucket + 1] - from;
	float *kept = malloc(size * sizeof *kept), *d = malloc(size * sizeof *d);
	double norm = 0, expected = 0, up, down, found;
	const double e = 1e-3;
	char what[100];

	if (!kept || !d) {
		result(0, "no memory");
		goto done;
	}
	memcpy(kept, w + from, size * sizeof *kept);
	for (size_t i = 0; i < size; i++)
		norm += (double)g[from + i] * g[from + i];
	norm = sqrt(norm);
	for (size_t i = 0; i < size; i++) {
		double noise = (double)(random_at(9, i) >> 11) / (double)(1ull << 52) - 1;

		d[i] = (float)(g[from + i] / norm + noise * 2 / sqrt((double)size));
		expected += (double)d[i] * g[from + i];
	}
	for (size_t i = 0; i < size; i++)
		w[from + i] = kept[i] + (float)e * d[i];
	up = model_forward(m, w, ids, n);
	for (size_t i = 0; i < size; i++)
		w[from + i] = kept[i] - (float)e * d[i];
	down = model_forward(m, w, ids, n);
	memcpy(w + from, kept, size * sizeof *kept);
	found = (up - down) / (2 * e);
	snprintf(what, sizeof what, "gradient of the %s: %.6g, by finite differences %.6g", names[bucket], expected, found);
	result(fabs(found - expected) < 0.001 * fabs(expected), what);
done:
	free(kept);
	free(d);
}

static void check_gradients(void)
{
	enum { N = 50, CONTEXT = 5, SYMBOLS = 11 };
	struct shape s = { CONTEXT, 3, 19, SYMBOLS };
	struct model m;
	unsigned char ids[N * (CONTEXT + 1)];
	int ready = 0;
	float *w, *g;

	if (model_init(&m, s, N) < 0) {
		result(0, "no memory");
		return;
	}
	w = malloc(m.start[BUCKETS] * sizeof *w);
	g = malloc(m.start[BUCKETS] * sizeof *g);
	if (w && g) {
		for (size_t i = 0; i < sizeof ids; i++)
			ids[i] = (unsigned char)(random_at(5, i) % SYMBOLS);
		model_randomize(&m, w, 1);
		memset(g, 0xff, m.start[BUCKETS] * sizeof *g);
		model_forward(&m, w, ids, N);
		model_backward(&m, w, g, ids, N, 1, nothing, &ready);
		result(ready == (1 << BUCKETS) - 1, "every bucket was said to be ready");
		for (int b = 0; b < BUCKETS; b++)
			check_bucket(&m, w, g, ids, N, b);
	} else {
		result(0, "no memory");
	}
	free(w);
	free(g);
	model_free(&m);
}

int selftest(void)
{
	check_products();
	check_gradients();
	printf("1..%d\n", tests);
	return failures != 0;
}
