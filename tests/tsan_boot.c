/* SPDX-License-Identifier: Apache-2.0 */
/* Ranks as threads through the whole of src/boot, for the thread sanitizer: what they share must be sockets and the table of unique ids. */
#include "boot_crew.h"
#include <stdio.h>

static void exchange(struct hand *h)
{
	int mine = boot_rank(h->b), all[CREW_MAX], parents[CREW_MAX];
	struct boot *half;

	for (int k = 0; k < 5 && !h->status; k++)
		h->status = boot_allgather(h->b, &mine, all, sizeof mine, soon());
	if (!h->status)
		h->status = boot_split(&half, h->b, mine % 2, 0, parents, soon());
	if (!h->status)
		boot_close(half, soon());
}

static void fail_together(struct hand *h)
{
	int mine = 0, all[CREW_MAX];

	if (boot_rank(h->b) == boot_size(h->b) - 1)
		boot_raise(h->b, TUTTI_ERR_ABORTED, "the last rank aborts");
	h->status = boot_allgather(h->b, &mine, all, sizeof mine, soon()) == TUTTI_ERR_ABORTED ? TUTTI_OK : -99;
}

static int crew_ok(struct crew *c)
{
	int ok = 1;

	crew_run(c);
	for (int r = 0; r < c->n; r++)
		if (c->hands[r].status) {
			printf("# rank %d: %d %s\n", r, c->hands[r].status, c->hands[r].said);
			ok = 0;
		}
	return ok;
}

static void *by_id(void *arg)
{
	struct tutti_unique_id id;
	struct boot_spec s;
	struct boot *b;
	int *status = arg;

	*status = boot_make_id(&id);
	if (!*status)
		*status = boot_from_id(&s, &id, 1, 0);
	if (!*status)
		*status = boot_open(&b, &s, soon());
	if (!*status)
		boot_close(b, soon());
	return NULL;
}

static int ids_ok(void)
{
	enum { THREADS = 8 };
	pthread_t threads[THREADS];
	int status[THREADS], ok = 1;

	for (int i = 0; i < THREADS; i++)
		if (pthread_create(&threads[i], NULL, by_id, &status[i]))
			return 0;
	for (int i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
		ok = ok && !status[i];
	}
	return ok;
}

static int report(int number, int ok, const char *what)
{
	printf("%sok %d - %s\n", ok ? "" : "not ", number, what);
	return !ok;
}

int main(void)
{
	static struct crew c;
	int failed = 0;

	printf("1..3\n");
	crew_make(&c, 20, exchange);
	failed += report(1, crew_ok(&c), "20 threads meet, exchange, split and close");
	crew_make(&c, 20, fail_together);
	failed += report(2, crew_ok(&c), "20 threads learn of an abort");
	failed += report(3, ids_ok(), "8 threads make and use unique ids");
	return failed != 0;
}
