/* SPDX-License-Identifier: Apache-2.0 */
/* The commands behind `tutti`: rows of main.c's table. A command returns the exit status; argv[0] is its name. */
#ifndef TOOLS_TOOLS_H
#define TOOLS_TOOLS_H
#include <tools/args.h>

extern const struct arg run_args[], perf_args[], info_args[], plan_args[], tune_args[];

int tool_run(int argc, char **argv);
int tool_perf(int argc, char **argv);
int tool_info(int argc, char **argv);
int tool_plan(int argc, char **argv);
int tool_tune(int argc, char **argv);

/* Print the help of a command on stdout. */
void tool_help(const char *name);
#endif
