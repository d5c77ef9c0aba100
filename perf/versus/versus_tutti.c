/* SPDX-License-Identifier: Apache-2.0 */
/* The loop over tutti. */
#define _GNU_SOURCE
#include "loop.h"
#include <tutti/tutti.h>

static struct tutti_comm *comm;

static int check(int status)
{
	if (status)
		fprintf(stderr, "versus: %s\n", tutti_last_error(comm));
	return status;
}

static void *own_memory(size_t bytes)
{
	void *p;

	return check(tutti_mem_alloc(&p, bytes)) ? NULL : p;
}

static int all_reduce(const void *in, void *out, size_t count)
{
	return check(tutti_all_reduce(in, out, count, TUTTI_FLOAT32, TUTTI_SUM, comm));
}

static int slowest(double *value)
{
	return check(tutti_all_reduce(value, value, 1, TUTTI_FLOAT64, TUTTI_MAX, comm));
}

int main(int argc, char **argv)
{
	struct peer p = { .alloc = wants_plain() ? plain_memory : own_memory, .all_reduce = all_reduce, .slowest = slowest };

	if (check(tutti_comm_init_env(&comm, NULL)))
		return EXIT_FAILURE;
	p.rank = tutti_comm_rank(comm);
	p.nranks = tutti_comm_size(comm);
	if (sweep(&p, argc, argv))
		return EXIT_FAILURE;
	return tutti_comm_destroy(comm) ? EXIT_FAILURE : EXIT_SUCCESS;
}
