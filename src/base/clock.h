/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H
#include <stdint.h>
#include <time.h>

/* Monotonic nanoseconds. About 50 ns a call: not on the data path. */
static inline int64_t clock_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Deadlines are absolute clock_ns values; CLOCK_NEVER is no deadline. */
#define CLOCK_NEVER INT64_MAX
static inline int64_t clock_after_ms(int64_t ms) { return ms < 0 ? CLOCK_NEVER : clock_ns() + ms * 1000000; }

/* One turn of a spinning loop: the processor's hint, where it has one. */
static inline void clock_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}
#endif
