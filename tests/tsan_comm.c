/* SPDX-License-Identifier: Apache-2.0 */
/* Communicators in many threads of one process, for the thread sanitizer: collectives, requests in flight, two communicators a thread. Prints TAP. */
#include "ranks.h"
#include <stdio.h>
#include <stdlib.h>

static const char *collectives(struct tutti_comm *c, void *ctx)
{
	(void)ctx;
	const char *why = NULL;
	for (int k = 0; !why && k < COLL_SEND; k++)
		for (size_t count = 0; !why && count < 40000; count = count * 17 + 3)
			why = trial_run(c, &(struct trial){ (enum coll)k, TUTTI_FLOAT32, TUTTI_SUM, (int)count % tutti_comm_size(c), count, false });
	return why;
}

static const char *two_communicators(struct tutti_comm *c, void *ctx)
{
	(void)ctx;
	enum { COUNT = 50000 };
	struct tutti_comm *d, *both[2];
	struct tutti_request *r[2];
	int64_t *x = calloc(2 * COUNT, sizeof(*x));
	int rank = tutti_comm_rank(c), status = tutti_comm_split(c, 0, rank, &d, NULL);
	both[0] = c;
	both[1] = d;
	for (int turn = 0; !status && turn < 10; turn++) {
		for (int i = 0; !status && i < 2; i++)
			status = tutti_all_reduce_async(x + i * COUNT, x + i * COUNT, COUNT, TUTTI_INT64, TUTTI_SUM, both[i], &r[i]);
		for (int i = 0; !status && i < 2; i++)
			status = tutti_wait(&r[(i + rank) % 2], -1);
	}
	free(x);
	if (!status)
		status = tutti_comm_destroy(d);
	return status ? tutti_last_error(NULL) : NULL;
}

int main(void)
{
	static const char *const transports[] = { "loop", "verbs,shm", "tcp" };
	static const struct { const char *name; rank_fn fn; } tests[] = { { "every collective", collectives }, { "two communicators a thread", two_communicators } };
	int number = 0, failed = 0;
	printf("1..6\n");
	for (int t = 0; t < 3; t++)
		for (int i = 0; i < 2; i++) {
			struct tutti_config config = TUTTI_CONFIG_INIT;
			config.transport = transports[t];
			int bad = comms_run(4, &config, tests[i].fn, NULL);
			printf("%sok %d - %s over %s\n", bad ? "not " : "", ++number, tests[i].name, transports[t]);
			failed += bad;
		}
	return failed != 0;
}
