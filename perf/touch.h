/* SPDX-License-Identifier: Apache-2.0 */
/* What an application does between calls: it writes the input and reads the result. So the caches are as an application leaves them. */
#ifndef PERF_TOUCH_H
#define PERF_TOUCH_H
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Every byte; as float32 these are ordinary numbers. */
static inline void touch_write(void *buf, size_t bytes, unsigned turn)
{
	uint32_t word = 0x3f800000u + (turn & 0xff);
	char *p = buf;

	for (size_t i = 0; i + sizeof word <= bytes; i += sizeof word)
		memcpy(p + i, &word, sizeof word);
	memset(p + bytes / sizeof word * sizeof word, 0, bytes % sizeof word);
}

static inline uint64_t touch_read(const void *buf, size_t bytes)
{
	const char *p = buf;
	uint64_t sum = 0, word;

	for (size_t i = 0; i + sizeof word <= bytes; i += sizeof word) {
		memcpy(&word, p + i, sizeof word);
		sum += word;
	}
	return sum;
}
#endif
