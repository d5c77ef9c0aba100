/* SPDX-License-Identifier: Apache-2.0 */
/* The variant is chosen at the first call and never changes. */
#include <base/config.h>
#include <base/kernel.h>
#include <base/log.h>
#include <base/type.h>
#include <base/user_op.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

const struct kernels *const kernels_all[] = {
#ifdef __x86_64__
	&kernels_avx512, &kernels_avx2,
#endif
	&kernels_baseline, NULL
};

enum { LONG_COPY = 1024 };

static _Atomic(const struct kernels *) chosen;

/* The best that runs here, from the wanted one downwards. */
static void choose(void)
{
	const struct config *config = config_get();
	const char *wanted = config ? config->isa : "";
	const struct kernels *const *k = kernels_all;

	while (*wanted && *k && strcmp((*k)->name, wanted))
		k++;
	if (!*k || (*wanted && !(*k)->runs()))
		log_msg(LOG_WARN, "TUTTI_ISA=%s: this processor does not have it", wanted);
	if (!*k)
		k = kernels_all;
	while (!(*k)->runs())
		k++;
	atomic_store_explicit(&chosen, *k, memory_order_release);
}

static const struct kernels *kernels(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	const struct kernels *k = atomic_load_explicit(&chosen, memory_order_acquire);

	if (__builtin_expect(k != NULL, 1))
		return k;
	pthread_once(&once, choose);
	return atomic_load_explicit(&chosen, memory_order_acquire);
}

/* The part of every source that fits the block is folded into a block of our own, because dst may be a source that is still to come. */
void reduce_user(void *dst, const void *const *src, int k, size_t n, int type, int op)
{
	_Alignas(64) char block[4096];
	const struct user_op *user = user_op(op);
	size_t bytes = type_bytes(type), most = sizeof block / bytes, m;

	for (size_t i = 0; i < n; i += m) {
		const char *acc = (const char *)src[0] + i * bytes;

		m = n - i < most ? n - i : most;
		for (int j = 1; j < k; j++) {
			user->fn(acc, (const char *)src[j] + i * bytes, block, m, (enum tutti_type)type, user->ctx);
			acc = block;
		}
		memmove((char *)dst + i * bytes, acc, m * bytes);
	}
}

void reduce_with(const struct kernels *kernels, void *dst, const void *const *src, int k, size_t n, int type, int op, int scale)
{
	if (__builtin_expect(op >= TUTTI_OPS, 0)) {
		reduce_user(dst, src, k, n, type, op);
	} else if (scale <= 1) {
		if (k > 1)
			kernels->fold[type][op == TUTTI_AVG ? TUTTI_SUM : op](dst, src, k, n, 1);
		else if (dst != src[0])
			copy_bytes(dst, src[0], n * type_bytes(type));
	} else if (op == TUTTI_AVG || op == TUTTI_SUM) {
		kernels->fold[type][TUTTI_AVG](dst, src, k, n, scale);
	} else {
		reduce_k_plain(dst, src, k, n, type, op, scale);        /* nobody scales these; right, if ever */
	}
}

void reduce_k(void *dst, const void *const *src, int k, size_t n, int type, int op, int scale)
{
	reduce_with(kernels(), dst, src, k, n, type, op, scale);
}

void copy_bytes(void *dst, const void *src, size_t n)
{
	if (n < LONG_COPY)
		memcpy(dst, src, n);
	else
		kernels()->copy(dst, src, n);
}

const char *reduce_isa(void)
{
	return kernels()->name;
}
