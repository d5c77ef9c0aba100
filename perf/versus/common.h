/* SPDX-License-Identifier: Apache-2.0 */
/* What the measuring programs share: a clock, a core for each rank, a median, ordinary memory. */
#ifndef VERSUS_COMMON_H
#define VERSUS_COMMON_H
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static inline double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* When there is a core for each rank: rank i on the i-th of those it may use (whoever has bound it before: on the only one). */
static inline void pin(int rank, int nranks)
{
	cpu_set_t may, one;
	int turn = rank, cpu = -1;

	if (nranks > sysconf(_SC_NPROCESSORS_ONLN) || sched_getaffinity(0, sizeof may, &may))
		return;
	turn %= CPU_COUNT(&may);
	do
		cpu++;
	while (!CPU_ISSET(cpu, &may) || turn--);
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	sched_setaffinity(0, sizeof one, &one);
}

static inline int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Sorts them. */
static inline double median(double *values, size_t n)
{
	qsort(values, n, sizeof *values, by_value);
	return values[n / 2];
}

/* Memory as any program has it; for --memory plain */
static inline void *plain_memory(size_t bytes)
{
	return aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
}

static inline int wants_plain(void)
{
	const char *memory = getenv("VERSUS_MEMORY");

	return memory && !strcmp(memory, "plain");
}
#endif
