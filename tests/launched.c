/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One rank, by whatever launcher: two communicators of the environment one after the other, each shown and used; and a forked child between
 * them, whose end must not be this process's goodbye to the launcher. For tests/sh_launchers.sh.
 */
#include <base/clock.h>
#include <boot/boot.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static int meet(void)
{
	struct boot_spec s;
	struct boot *b = NULL;
	int64_t deadline = clock_after_ms(60000);
	int all[256], rc = boot_from_env(&s, deadline);

	if (!rc)
		rc = boot_open(&b, &s, deadline);
	if (!rc && s.nranks <= 256)
		rc = boot_allgather(b, &s.rank, all, sizeof s.rank, deadline);
	if (rc) {
		fprintf(stderr, "launched: %s\n", err_last());
		return rc;
	}
	for (int r = 0; r < s.nranks && r < 256; r++)
		if (all[r] != r)
			rc = TUTTI_ERR_INTERNAL;
	printf("%s: rank %d of %d, local %d of %d, %s\n", s.source, s.rank, s.nranks, s.local_rank, s.local_size, rc ? "wrong" : "right");
	fflush(stdout);
	boot_close(b, deadline);
	return rc;
}

/* The leak sanitizer asks: the child's copy of memory has no threads that it could stop. */
static bool forked;
int __lsan_is_turned_off(void) __attribute__((visibility("default")));
int __lsan_is_turned_off(void) { return forked; }

int main(void)
{
	int rc = meet();
	pid_t child = fork();

	forked = !child;
	if (!child)
		exit(0);
	waitpid(child, NULL, 0);
	return rc || meet() ? EXIT_FAILURE : EXIT_SUCCESS;
}
