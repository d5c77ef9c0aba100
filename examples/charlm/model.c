/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "gemm.h"
#include "model.h"

/* SplitMix64: a counter, mixed. */
uint64_t random_at(uint64_t seed, uint64_t k)
{
	uint64_t z = (seed + 1) * 0xd1b54a32d192ed03u + (k + 1) * 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

/* Inputs and outputs of the layer in a bucket. */
static int inputs(const struct shape *s, int bucket)
{
	return bucket == IN ? s->context * s->embed : s->hidden;
}

static int outputs(const struct shape *s, int bucket)
{
	return bucket == OUT ? s->symbols : s->hidden;
}

int model_init(struct model *m, struct shape s, int capacity)
{
	size_t n = (size_t)capacity, wide = (size_t)(s.context * s.embed), hidden = (size_t)s.hidden, symbols = (size_t)s.symbols;
	float *all = malloc(n * (2 * wide + 4 * hidden + symbols) * sizeof *all);

	*m = (struct model){ .s = s, .capacity = capacity };
	if (!all)
		return -1;
	for (int b = OUT; b <= IN; b++)
		m->start[b + 1] = m->start[b] + (size_t)(inputs(&s, b) + 1) * (size_t)outputs(&s, b);
	m->start[BUCKETS] = m->start[EMBED] + symbols * (size_t)s.embed;
	m->x = all;
	m->dx = m->x + n * wide;
	m->h1 = m->dx + n * wide;
	m->h2 = m->h1 + n * hidden;
	m->d1 = m->h2 + n * hidden;
	m->d2 = m->d1 + n * hidden;
	m->p = m->d2 + n * hidden;
	return 0;
}

void model_free(struct model *m)
{
	free(m->x);
}

/* Embeddings of variance 1, weights that keep it so through the layers, biases 0. */
void model_randomize(const struct model *m, float *w, uint64_t seed)
{
	for (int b = OUT; b < BUCKETS; b++) {
		size_t n = m->start[b + 1] - m->start[b], weights = b == EMBED ? n : n - (size_t)outputs(&m->s, b);
		float range = sqrtf(b == EMBED ? 3 : (b == OUT ? 1.0f : 2.0f) / (float)inputs(&m->s, b));

		for (size_t i = 0; i < n; i++) {
			float u = (float)(random_at(seed, m->start[b] + i) >> 40) / (float)(1 << 23) - 1;
			w[m->start[b] + i] = i < weights ? range * u : 0;
		}
	}
}

static void look_up(struct model *m, const float *embedding, const unsigned char *ids, int n)
{
	int context = m->s.context, embed = m->s.embed;

	for (int i = 0; i < n; i++)
		for (int c = 0; c < context; c++)
			memcpy(m->x + (i * context + c) * embed, embedding + ids[i * (context + 1) + c] * embed, (size_t)embed * sizeof(float));
}

/* y = in w + b; then max(y, 0)^2 in the hidden layers */
static void layer(const struct model *m, const float *w, int bucket, const float *in, float *y, int n)
{
	int k = inputs(&m->s, bucket), wide = outputs(&m->s, bucket);
	const float *weight = w + m->start[bucket], *bias = weight + (size_t)k * (size_t)wide;

	for (int i = 0; i < n; i++)
		memcpy(y + i * wide, bias, (size_t)wide * sizeof *y);
	gemm(n, wide, k, (struct view){ in, k, 1 }, (struct view){ weight, wide, 1 }, y, wide, 1);
	for (int i = 0; bucket != OUT && i < n * wide; i++)
		y[i] = y[i] > 0 ? y[i] * y[i] : 0;
}

/* Turns n rows into probabilities; returns -ln p of the characters that came. */
static double softmax(float *p, int symbols, const unsigned char *ids, int stride, int n)
{
	double loss = 0;

	for (int i = 0; i < n; i++, p += symbols) {
		float most = p[0], sum = 0, given = p[ids[i * stride + stride - 1]];

		for (int j = 1; j < symbols; j++)
			most = p[j] > most ? p[j] : most;
		for (int j = 0; j < symbols; j++)
			sum += p[j] = expf(p[j] - most);
		for (int j = 0; j < symbols; j++)
			p[j] /= sum;
		loss += logf(sum) - (given - most);
	}
	return loss;
}

double model_forward(struct model *m, const float *w, const unsigned char *ids, int n)
{
	look_up(m, w + m->start[EMBED], ids, n);
	layer(m, w, IN, m->x, m->h1, n);
	layer(m, w, MID, m->h1, m->h2, n);
	layer(m, w, OUT, m->h2, m->p, n);
	return softmax(m->p, m->s.symbols, ids, m->s.context + 1, n);
}

/* From dy, the gradient of a layer's outputs: those of its weights and biases, */
static void weights_back(const struct model *m, float *g, int bucket, const float *in, const float *dy, int n)
{
	int k = inputs(&m->s, bucket), wide = outputs(&m->s, bucket);
	float *dweight = g + m->start[bucket], *dbias = dweight + (size_t)k * (size_t)wide;

	gemm(k, wide, n, (struct view){ in, 1, k }, (struct view){ dy, wide, 1 }, dweight, wide, 0);
	memset(dbias, 0, (size_t)wide * sizeof *dbias);
	for (int i = 0; i < n; i++)
		for (int j = 0; j < wide; j++)
			dbias[j] += dy[i * wide + j];
}

/* and those of its inputs. */
static void inputs_back(const struct model *m, const float *w, int bucket, const float *dy, float *din, int n)
{
	int k = inputs(&m->s, bucket), wide = outputs(&m->s, bucket);

	gemm(n, k, wide, (struct view){ dy, wide, 1 }, (struct view){ w + m->start[bucket], 1, wide }, din, k, 0);
}

/* The gradient of max(y, 0)^2, from what it gave. */
static void squared_relu_back(float *d, const float *h, int n)
{
	for (int i = 0; i < n; i++)
		d[i] *= 2 * sqrtf(h[i]);
}

static void look_up_back(const struct model *m, float *g, const unsigned char *ids, int n)
{
	int context = m->s.context, embed = m->s.embed;

	memset(g, 0, (size_t)(m->s.symbols * embed) * sizeof *g);
	for (int i = 0; i < n; i++)
		for (int c = 0; c < context; c++)
			for (int e = 0; e < embed; e++)
				g[ids[i * (context + 1) + c] * embed + e] += m->dx[(i * context + c) * embed + e];
}

void model_backward(struct model *m, const float *w, float *g, const unsigned char *ids, int n, float scale,
                    void (*ready)(int bucket, void *arg), void *arg)
{
	int stride = m->s.context + 1, symbols = m->s.symbols;

	for (int i = 0; i < n; i++)
		m->p[i * symbols + ids[i * stride + stride - 1]] -= 1;
	for (int i = 0; i < n * symbols; i++)
		m->p[i] *= scale;

	weights_back(m, g, OUT, m->h2, m->p, n);
	ready(OUT, arg);
	inputs_back(m, w, OUT, m->p, m->d2, n);
	squared_relu_back(m->d2, m->h2, n * m->s.hidden);
	weights_back(m, g, MID, m->h1, m->d2, n);
	ready(MID, arg);
	inputs_back(m, w, MID, m->d2, m->d1, n);
	squared_relu_back(m->d1, m->h1, n * m->s.hidden);
	weights_back(m, g, IN, m->x, m->d1, n);
	ready(IN, arg);
	inputs_back(m, w, IN, m->d1, m->dx, n);
	look_up_back(m, g + m->start[EMBED], ids, n);
	ready(EMBED, arg);
}

void adam_step(struct adam *a, float *w, const float *g, size_t n, float rate)
{
	a->decay1 *= 0.9;
	a->decay2 *= 0.99;
	float *m1 = a->m1, *m2 = a->m2, size = rate / (float)(1 - a->decay1), spread = 1 / (float)(1 - a->decay2);

	for (size_t i = 0; i < n; i++) {
		m1[i] = 0.9f * m1[i] + 0.1f * g[i];
		m2[i] = 0.99f * m2[i] + 0.01f * g[i] * g[i];
		w[i] -= size * m1[i] / (sqrtf(m2[i] * spread) + 1e-5f);
	}
}
