/* SPDX-License-Identifier: Apache-2.0 */
/* Sum a vector over all ranks:  tutti run -n 4 -- ./allreduce */
#include <stdio.h>
#include <tutti/tutti.h>

enum { COUNT = 1000000 };

int main(void)
{
	struct tutti_comm *comm = NULL;
	float *x = NULL;

	if (tutti_comm_init_env(&comm, NULL) < 0 || tutti_mem_alloc((void **)&x, COUNT * sizeof *x) < 0) {
		fprintf(stderr, "allreduce: %s\n", tutti_last_error(NULL));
		return 1;
	}
	for (int i = 0; i < COUNT; i++)
		x[i] = (float)(tutti_comm_rank(comm) + 1);

	if (tutti_all_reduce(x, x, COUNT, TUTTI_FLOAT32, TUTTI_SUM, comm) < 0) {
		fprintf(stderr, "allreduce: %s\n", tutti_last_error(comm));
		return 1;
	}
	printf("rank %d of %d: the sum is %g\n", tutti_comm_rank(comm), tutti_comm_size(comm), x[COUNT - 1]);

	tutti_mem_free(x);
	return tutti_comm_destroy(comm) < 0;
}
