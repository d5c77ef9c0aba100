/* SPDX-License-Identifier: Apache-2.0 */
/* Slurm's lists of hosts and tasks: refused in words, or a host that is one and a number of tasks that can be. */
#include <boot/inner.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1), host[24];        /* on the heap: a byte too far is noticed */
	int tasks = 0, node = size ? data[0] : 0;

	memcpy(text, data, size);
	text[size] = 0;
	if (!slurm_first_host(text, host, sizeof host) && (!*host || strlen(host) >= sizeof host || strpbrk(host, " ,[]/\n")))
		abort();
	if (!slurm_tasks_on(text, node, &tasks) && (tasks < 1 || tasks > MOST_RANKS))
		abort();
	free(text);
	return 0;
}
