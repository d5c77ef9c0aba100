/* SPDX-License-Identifier: Apache-2.0 */
/* Tables: looking up, checking what comes from elsewhere, and their text. */
#include <base/config.h>
#include <base/err.h>
#include <plan/table.h>
#include <stdlib.h>
#include <string.h>

const char *const plan_sources[PLAN_SOURCES] = { "rule", "model", "measured" };

int plan_size_index(uint64_t bytes)
{
	int i = 0;
	while (i < PLAN_SIZES - 1 && bytes > plan_size(i) * 2)  /* the middle, in logarithms, to the next */
		i++;
	return i;
}

/* ---- is it legal? ------------------------------------------------------------------------------------------------------ */

static int rows(void)
{
	int n = 0;
	while (algo_table[n].name)
		n++;
	return n;
}

static bool cell_legal(const struct plan_cell *c, enum coll coll, bool ordered, int nrows)
{
	if (!c->algo)
		return true;
	const struct algo *a = c->algo <= nrows ? plan_cell_algo(c) : NULL;
	return a && a->coll == coll && (!ordered || a->ordered) && c->channels >= 1 && c->channels <= SCHED_MAX_CHANNELS && c->pieces >= 1 &&
	       c->pieces <= 64 && c->slice >= 6 && c->slice <= 30 && c->source < PLAN_SOURCES && c->runner_up <= nrows && c->seconds >= 0 &&
	       (double)c->seconds < PLAN_SECONDS;
}

int plan_table_check(const struct plan_table *t)
{
	int n = rows();
	for (int k = 0; k < COLLS; k++)
		for (int o = 0; o < 2; o++)
			for (int i = 0; i < PLAN_SIZES; i++)
				if (!cell_legal(&t->cell[k][o][i], (enum coll)k, o, n))
					return err_set(TUTTI_ERR_MISMATCH, "a table of plans: what stands for %s at %llu bytes is nothing this version can do",
					               coll_rows[k].name, (unsigned long long)plan_size(i));
	return TUTTI_OK;
}

/* ---- text -------------------------------------------------------------------------------------------------------------- */

static const char *const orders[2] = { "any", "ordered" };

void plan_table_print(FILE *f, const struct plan_table *t)
{
	for (int k = 0; k < COLLS; k++)
		for (int o = 0; o < 2; o++)
			for (int i = 0; i < PLAN_SIZES; i++) {
				const struct plan_cell *c = &t->cell[k][o][i];
				if (c->algo)
					fprintf(f, "%s %s %llu %s channels %u pieces %u slice %lu us %.3f %s\n", coll_rows[k].name, orders[o],
					        (unsigned long long)plan_size(i), plan_cell_algo(c)->name, c->channels, c->pieces, 1ul << c->slice,
					        (double)c->seconds * 1e6, plan_sources[c->source]);
			}
}

static int bad(int line, const char *expected, const char *got)
{
	return err_set(TUTTI_ERR_CONFIG, "table of plans, line %d: expected %s, got \"%.40s\"", line, expected, got ? got : "the end of the line");
}

static int word_of(const char *const *words, int n, const char *word)
{
	for (int i = 0; word && i < n; i++)
		if (!strcmp(words[i], word))
			return i;
	return -1;
}

static char *next(char **save) { return strtok_r(NULL, " \t", save); }

/* "NAME N": N within [min, max]. */
static bool named(char **save, const char *name, long min, long max, long *value)
{
	const char *word = next(save), *number = next(save);
	return word && number && !strcmp(word, name) && parse_int(number, min, max, value) == TUTTI_OK;
}

static int parse_cell(struct plan_table *t, int line, char *first, char **save)
{
	int coll = coll_from_name(first), order = word_of(orders, 2, next(save)), index = -1;
	long bytes = -1, channels, pieces, slice;
	const char *word = next(save), *algo = next(save);
	if (coll < 0)
		return bad(line, "a collective", first);
	if (order < 0)
		return bad(line, "\"any\" or \"ordered\" behind the collective", first);
	if (word && !parse_int(word, 8, LONG_MAX, &bytes))
		index = plan_size_index((uint64_t)bytes);
	if (index < 0 || plan_size(index) != (uint64_t)bytes)
		return bad(line, "8 * 4^i bytes", word);
	const struct algo *a = algo ? algo_find((enum coll)coll, algo) : NULL;
	if (!a || (order && !a->ordered))
		return bad(line, order ? "an algorithm of the collective that keeps rank order" : "an algorithm of the collective", algo);
	if (!named(save, "channels", 1, SCHED_MAX_CHANNELS, &channels) || !named(save, "pieces", 1, 64, &pieces) ||
	    !named(save, "slice", 64, 1l << 30, &slice))
		return bad(line, "channels 1..8, pieces 1..64 and slice 64..1073741824", algo);
	const char *us = next(save), *number = next(save);
	char *end = NULL;
	double t_us = us && number && !strcmp(us, "us") ? strtod(number, &end) : -1;
	if (!end || *end || !(t_us >= 0 && t_us < 1e15))
		return bad(line, "us and a time", number);
	int source = word_of(plan_sources, PLAN_SOURCES, next(save));
	if (source < 0)
		return bad(line, "rule, model or measured at the end", number);
	t->cell[coll][order][index] = (struct plan_cell){ .algo = (uint8_t)(a - algo_table + 1), .channels = (uint8_t)channels, .pieces = (uint8_t)pieces,
		.slice = (uint8_t)(63 - __builtin_clzll((unsigned long long)slice)), .source = (uint8_t)source, .seconds = (float)(t_us * 1e-6) };
	return TUTTI_OK;
}

int plan_table_parse(struct plan_table *out, const char *text)
{
	struct plan_table t = { 0 };
	int status = TUTTI_OK, line = 0;
	char *copy = strdup(text), *at = copy, *row, *save;
	if (!copy)
		return err_set(TUTTI_ERR_NOMEM, "no memory for a table of plans");
	while (!status && (row = strsep(&at, "\n"))) {
		char *first;
		line++;
		row[strcspn(row, "#")] = 0;
		if ((first = strtok_r(row, " \t", &save)))
			status = parse_cell(&t, line, first, &save);
	}
	free(copy);
	if (!status)
		*out = t;
	return status;
}
