/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A character-level language model: from `context` characters, the probabilities of the next.
 *
 *     characters -> embedding -> x[context * embed] -> w1,b1 -> h1[hidden] -> w2,b2 -> h2[hidden] -> w3,b3, softmax -> p[symbols]
 *
 * Hidden layers give max(y, 0)^2, whose slope has no jump: two runs whose gradients differ in the last bit stay together.
 *
 * All parameters lie in one array, and all gradients in another of the same layout, in the order in which the backward pass
 * finishes them, so that a bucket is a range which can be reduced while the next one is computed:
 *
 *     | w3 b3 | w2 b2 | w1 b1 | embedding |
 *       OUT     MID     IN      EMBED
 */
#ifndef CHARLM_MODEL_H
#define CHARLM_MODEL_H

#include <stddef.h>
#include <stdint.h>

enum { OUT, MID, IN, EMBED, BUCKETS };

struct shape { int context, embed, hidden, symbols; };

struct model {
	struct shape s;
	size_t start[BUCKETS + 1];      /* bucket b is start[b] .. start[b + 1]; start[BUCKETS] is how many parameters there are */
	int capacity;                   /* samples the activations have room for */
	float *x, *h1, *h2, *p;         /* [capacity][...]: activations; p becomes the gradient of what softmax was given */
	float *d1, *d2, *dx;            /* gradients of h1, h2, x */
};

/* 0, or -1 when out of memory. */
int model_init(struct model *m, struct shape s, int capacity);
void model_free(struct model *m);

/* First parameters, from a seed. */
void model_randomize(const struct model *m, float *w, uint64_t seed);

/*
 * n <= capacity samples: ids[i * (context + 1) ...] are the context's symbols, then the one to predict. Returns the sum of -ln p.
 * model_backward, after it, writes (does not add) the gradients of scale * that sum to g; ready(b, arg) says that bucket b is finished, as soon as it is.
 */
double model_forward(struct model *m, const float *w, const unsigned char *ids, int n);
void model_backward(struct model *m, const float *w, float *g, const unsigned char *ids, int n, float scale,
                    void (*ready)(int bucket, void *arg), void *arg);

/* Adam. m1 and m2 start as zeros; step counts from 1. Plain arithmetic in a fixed order: equal gradients give equal bits. */
struct adam { float *m1, *m2; double decay1, decay2; };
void adam_step(struct adam *a, float *w, const float *g, size_t n, float rate);

/* The k-th number of a stream that any rank can compute without the ones before it. */
uint64_t random_at(uint64_t seed, uint64_t k);

#endif
