/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file of costs: refused in words, or costs whose text gives the same text again. Half of the inputs are lines put into a good file,
 * which are hard to guess.
 */
#include <base/err.h>
#include <model/model.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *print(const struct costs *c)
{
	char *text = NULL;
	size_t n = 0;
	FILE *f = open_memstream(&text, &n);

	costs_print(f, c);
	fclose(f);
	return text;
}

static void check(const char *text)
{
	struct costs c, d;
	int status = costs_parse(&c, text);

	if (status) {
		if (status != TUTTI_ERR_CONFIG || !*err_last())
			abort();
		return;
	}
	char *once = print(&c), *twice;
	if (costs_parse(&d, once))
		abort();
	twice = print(&d);
	if (strcmp(once, twice))
		abort();
	free(once);
	free(twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *line = malloc(size + 1), *good, *all;
	struct costs c;

	memcpy(line, data, size);
	line[size] = 0;
	check(line);
	costs_default(&c);
	good = print(&c);
	/* in place of the first line: the key that it begins with is there, the value is the input's */
	char *next = strchr(good, '\n') + 1;
	size_t n = strlen(next) + size + 32;
	all = malloc(n);
	snprintf(all, n, "core.latency = %s\n%s", line, next);
	check(all);
	free(all);
	free(good);
	free(line);
	return 0;
}
