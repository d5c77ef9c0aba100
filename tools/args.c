/* SPDX-License-Identifier: Apache-2.0 */
/* Option tables on top of getopt_long, which knows the customs; the rows know types, ranges and words. No state. */
#include <base/config.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <tools/tools.h>

enum { VAL_ROW = 256, VAL_HELP = 'h', WIDTH = 100, COLUMN = 26 };

void args_refuse(const char *cmd, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "tutti %s: ", cmd);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\nTry: tutti %s --help\n", cmd);
	exit(EXIT_USAGE);
}

/* getopt's two views of the table */
static void tables(const struct arg *args, bool stops, char *letters, struct option *longs)
{
	*letters++ = stops ? '+' : ':';
	if (stops)
		*letters++ = ':';
	*letters++ = VAL_HELP;
	*longs++ = (struct option){ "help", no_argument, NULL, VAL_HELP };
	for (int i = 0; args[i].kind != ARG_END; i++) {
		*longs++ = (struct option){ args[i].name, args[i].meta ? required_argument : no_argument, NULL, VAL_ROW + i };
		if (!args[i].letter)
			continue;
		*letters++ = args[i].letter;
		if (args[i].meta)
			*letters++ = ':';
	}
	*letters = 0;
	*longs = (struct option){ NULL, 0, NULL, 0 };
}

static void store(const char *cmd, const struct arg *a, const char *text, void *into)
{
	void *field = (char *)into + a->offset;
	long v;

	switch (a->kind) {
	case ARG_FLAG:
		*(int *)field = a->max;
		return;
	case ARG_INT:
		if (parse_int(text, a->min, a->max, &v))
			args_refuse(cmd, "--%s: expected an integer %d..%d, got \"%s\"", a->name, a->min, a->max, text);
		*(int *)field = (int)v;
		return;
	case ARG_SIZE:
		if (parse_size(text, field))
			args_refuse(cmd, "--%s: expected a size in bytes (65536, 64k, 1M), got \"%s\"", a->name, text);
		return;
	case ARG_TIME:
		if (parse_time_ms(text, field))
			args_refuse(cmd, "--%s: expected a time (500ms, 30s, 5min), got \"%s\"", a->name, text);
		return;
	case ARG_STR:
		*(const char **)field = text;
		return;
	case ARG_END:
		abort();
	}
}

static const struct arg *row_of(const struct arg *args, int val)
{
	if (val >= VAL_ROW)
		return args + (val - VAL_ROW);
	while (args->kind != ARG_END && args->letter != val)
		args++;
	return args;
}

/* optopt is the letter, the row of a long option, or 0 for an unknown long option, which then stands in argv[optind - 1] */
static void refuse(const struct arg *args, char **argv, int got)
{
	char option[64];

	if (optopt >= VAL_ROW)
		snprintf(option, sizeof option, "--%s", row_of(args, optopt)->name);
	else if (optopt && optopt != VAL_HELP)
		snprintf(option, sizeof option, "-%c", optopt);
	else
		snprintf(option, sizeof option, "%s", argv[optind - 1]);
	if (got == ':')
		args_refuse(argv[0], "%s: expected an argument, got none", option);
	if (optopt >= VAL_ROW || optopt == VAL_HELP)
		args_refuse(argv[0], "%s: expected no argument", option);
	args_refuse(argv[0], "unknown option %s", option);
}

int args_parse(const struct arg *args, int argc, char **argv, bool stops, void *into)
{
	char letters[2 * ARGS_MAX + 4];
	struct option longs[ARGS_MAX + 2];
	int got;

	tables(args, stops, letters, longs);
	opterr = 0;
	optind = 1;
	while ((got = getopt_long(argc, argv, letters, longs, NULL)) != -1) {
		if (got == VAL_HELP) {
			tool_help(argv[0]);
			exit(EXIT_SUCCESS);
		}
		if (got == '?' || got == ':')
			refuse(args, argv, got);
		store(argv[0], row_of(args, got), optarg, into);
	}
	return optind;
}

/* One paragraph */
static void wrap(FILE *f, int column, const char *text, int len)
{
	while (len > WIDTH - column) {
		int cut = WIDTH - column;
		while (cut > 0 && text[cut] != ' ')
			cut--;
		if (!cut)
			break;
		fprintf(f, "%.*s\n%*s", cut, text, column, "");
		text += cut + 1;
		len -= cut + 1;
	}
	fprintf(f, "%.*s\n", len, text);
}

void args_wrap(FILE *f, int column, const char *text)
{
	for (size_t len = strcspn(text, "\n");; len = strcspn(text, "\n")) {
		wrap(f, column, text, (int)len);
		if (!text[len])
			return;
		text += len + 1;
		fprintf(f, "%*s", column, "");
	}
}

void args_print(FILE *f, const struct arg *args)
{
	char left[64], letter[4] = "   ";

	for (; args->kind != ARG_END; args++) {
		snprintf(letter, sizeof letter, args->letter ? "-%c," : "   ", args->letter);
		snprintf(left, sizeof left, "  %s --%s%s%s", letter, args->name, args->meta ? " " : "", args->meta ? args->meta : "");
		fprintf(f, "%-*s", COLUMN, left);
		if (strlen(left) >= COLUMN - 1)
			fprintf(f, "\n%*s", COLUMN, "");
		args_wrap(f, COLUMN, args->help);
	}
}

const char *args_nearest(const char *word, const char *const *names)
{
	const char *nearest = NULL;
	int best = 3;

	for (; *names; names++) {
		int d = parse_distance(word, *names);
		if (d < best) {
			best = d;
			nearest = *names;
		}
	}
	return nearest;
}
