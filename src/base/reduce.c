/* SPDX-License-Identifier: Apache-2.0 */
#include <base/kernel.h>
#include <base/type.h>
#include <base/user_op.h>
#include <string.h>

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

void reduce_k(void *dst, const void *const *src, int k, size_t n, int type, int op, int scale)
{
	if (k == 1 && scale <= 1 && dst == src[0])
		return;
	reduce_k_plain(dst, src, k, n, type, op, scale);
}

const char *reduce_isa(void)
{
	return "baseline";
}
