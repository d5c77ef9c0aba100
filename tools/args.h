/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Options of a command are rows of a table; parsing, --help and the man page read the same rows.
 *
 *      { 'n', "ranks", "N", "ranks to start", ARG_INT, offsetof(struct run, ranks), 1, 1024 }
 *        -n N, --ranks N  (--ranks=N, -nN)                 field of the command's struct
 *
 * A table ends with a row whose kind is ARG_END. Every command also has -h, --help.
 */
#ifndef TOOLS_ARGS_H
#define TOOLS_ARGS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum arg_kind {
	ARG_END,
	ARG_FLAG,       /* int: max */
	ARG_INT,        /* int: min..max */
	ARG_SIZE,       /* size_t */
	ARG_TIME,       /* int64_t, milliseconds */
	ARG_STR         /* const char * into argv */
};

struct arg {
	char letter;            /* 0: none */
	const char *name;       /* long name, never NULL */
	const char *meta;       /* what its argument is called; NULL for a flag */
	const char *help;
	enum arg_kind kind;
	size_t offset;
	int min, max;
};

enum { ARGS_MAX = 48, EXIT_USAGE = 2 };

/*
 * Parse argv[1..argc-1] by the table into the struct at `into`; argv[0] is the command's name. Returns the index of the first operand
 * (argc when none): operands are moved behind the options, unless stops: then the first operand ends the options. After --help exits with 0;
 * on anything illegal says so on stderr and exits with EXIT_USAGE.
 */
int args_parse(const struct arg *args, int argc, char **argv, bool stops, void *into);

/* Say "tutti CMD: ..." and how to get help, on stderr, and exit with EXIT_USAGE. */
void args_refuse(const char *cmd, const char *fmt, ...) __attribute__((format(printf, 2, 3), noreturn));

/* "  -n, --ranks N     ranks to start" for each row. */
void args_print(FILE *f, const struct arg *args);

/* Text whose first line begins at that column, wrapped at 100 and continued there; each line of the text is a paragraph. */
void args_wrap(FILE *f, int column, const char *text);

/* The name of the list (ends with NULL) that is nearest to word; NULL when none is near. */
const char *args_nearest(const char *word, const char *const *names);
#endif
