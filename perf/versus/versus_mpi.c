/* SPDX-License-Identifier: Apache-2.0 */
/* The loop over MPI, whose errors end the job by themselves. */
#define _GNU_SOURCE
#include "loop.h"
#include <mpi.h>

static void *own_memory(size_t bytes)
{
	void *p;

	return MPI_Alloc_mem((MPI_Aint)bytes, MPI_INFO_NULL, &p) ? NULL : p;
}

static int all_reduce(const void *in, void *out, size_t count)
{
	return MPI_Allreduce(in == out ? MPI_IN_PLACE : in, out, (int)count, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
}

static int slowest(double *value)
{
	return MPI_Allreduce(MPI_IN_PLACE, value, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
}

int main(int argc, char **argv)
{
	struct peer p = { .alloc = wants_plain() ? plain_memory : own_memory, .all_reduce = all_reduce, .slowest = slowest };

	MPI_Init(&argc, &argv);
	MPI_Comm_rank(MPI_COMM_WORLD, &p.rank);
	MPI_Comm_size(MPI_COMM_WORLD, &p.nranks);
	if (sweep(&p, argc, argv))
		MPI_Abort(MPI_COMM_WORLD, EXIT_FAILURE);
	MPI_Finalize();
	return EXIT_SUCCESS;
}
