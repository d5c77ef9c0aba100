/* SPDX-License-Identifier: Apache-2.0 */
/* The perf suite's own arithmetic: a check that could not fail would be worth nothing. */
#include <base/type.h>
#include <criterion/criterion.h>
#include <perf/inner.h>
#include <stdlib.h>
#include <string.h>

enum { COUNT = 10007 };         /* more than two periods */

static char *made(const struct perf_data *d, int from, size_t first, size_t count)
{
	char *buf = malloc(count * TYPE_MAX_BYTES);

	cr_assert(buf);
	perf_data_make(buf, d, from, first, count);
	return buf;
}

static void for_each_pair(void (*f)(const struct perf_data *d))
{
	static const int ranks[] = { 1, 2, 3, 7, 100 };

	for (size_t n = 0; n < sizeof ranks / sizeof *ranks; n++)
		for (int type = 0; type < TUTTI_TYPES; type++)
			for (int op = 0; op < TUTTI_OPS; op++)
				if (op_legal(op, type))
					f(&(struct perf_data){ type, op, ranks[n], 5 });
}

/* The kernel folds all ranks in one pass, and one by one backwards: both must give what is expected. */
static void same_as_kernel(const struct perf_data *d)
{
	const void *src[100];
	size_t count = d->nranks > 7 ? 300 : COUNT;
	char *expected = made(d, DATA_ALL, 3, count), *got = malloc(count * TYPE_MAX_BYTES);
	size_t bytes = count * type_bytes(d->type);

	for (int r = 0; r < d->nranks; r++)
		src[r] = made(d, r, 3, count);
	reduce_k_plain(got, src, d->nranks, count, d->type, d->op, d->op == TUTTI_AVG ? d->nranks : 1);
	cr_assert_eq(memcmp(got, expected, bytes), 0, "type %d op %d ranks %d", d->type, d->op, d->nranks);
	memcpy(got, src[d->nranks - 1], bytes);
	for (int r = d->nranks - 2; r >= 0; r--)
		reduce_k_plain(got, (const void *[]){ src[r], got }, 2, count, d->type, d->op, !r && d->op == TUTTI_AVG ? d->nranks : 1);
	cr_assert_eq(memcmp(got, expected, bytes), 0, "type %d op %d ranks %d, backwards", d->type, d->op, d->nranks);
	for (int r = 0; r < d->nranks; r++)
		free((void *)(uintptr_t)src[r]);
	free(expected);
	free(got);
}

Test(perf, expected_results_are_exact_in_any_order)
{
	for_each_pair(same_as_kernel);
}

Test(perf, a_changed_element_is_counted)
{
	for (int type = 0; type < TUTTI_TYPES; type++) {
		struct perf_data d = { type, TUTTI_SUM, 3, 0 };
		size_t bytes = type_bytes(type);
		char *buf = made(&d, DATA_ALL, 100, COUNT);

		cr_expect_eq(perf_data_wrong(buf, &d, DATA_ALL, 100, COUNT), 0);
		buf[0] ^= 1;
		buf[COUNT * bytes - 1] ^= 1;
		buf[5000 * bytes] ^= 1;
		cr_expect_eq(perf_data_wrong(buf, &d, DATA_ALL, 100, COUNT), 3, "type %d", type);
		free(buf);
	}
}

/* Most elements differ when a result is another's, or lies elsewhere. */
static void is_told_apart(const struct perf_data *d, int from, size_t first)
{
	char *buf = made(d, 0, 0, COUNT);

	cr_expect_gt(perf_data_wrong(buf, d, from, first, COUNT), COUNT / 4, "type %d from %d first %zu", d->type, from, first);
	free(buf);
}

Test(perf, data_depends_on_rank_and_index)
{
	static const size_t shifts[] = { 1, 2, 64, 1000, 1024, 4096, 65536, 1 << 20 };

	for (int type = 0; type < TUTTI_TYPES; type++) {
		struct perf_data d = { type, TUTTI_SUM, 4, 0 };

		is_told_apart(&d, 1, 0);
		is_told_apart(&d, DATA_ALL, 0);
		for (size_t i = 0; i < sizeof shifts / sizeof *shifts; i++)
			is_told_apart(&d, 0, shifts[i]);
	}
}

Test(perf, seeds_give_other_data)
{
	struct perf_data d = { TUTTI_FLOAT32, TUTTI_SUM, 2, 0 }, other = { TUTTI_FLOAT32, TUTTI_SUM, 2, 1ull << 52 };
	char *buf = made(&d, 0, 0, COUNT);

	cr_expect_gt(perf_data_wrong(buf, &other, 0, 0, COUNT), COUNT / 2);
	free(buf);
}

Test(perf, bus_bandwidth_factors)
{
	cr_expect_eq(perf_busbw_factor(FACTOR_TWICE, 4), 1.5);
	cr_expect_eq(perf_busbw_factor(FACTOR_SHARE, 4), 0.75);
	cr_expect_eq(perf_busbw_factor(FACTOR_ONE, 4), 1);
	cr_expect_eq(perf_busbw_factor(FACTOR_TWICE, 1), 0);
}
