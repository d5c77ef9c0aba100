/* SPDX-License-Identifier: Apache-2.0 */
/* `tutti run`: the options of launch(). */
#include <stdint.h>
#include <tools/launch.h>
#include <tools/tools.h>

const struct arg run_args[] = {
	{ 'n', "ranks", "N", "ranks to start", ARG_INT, offsetof(struct launch, nranks), 1, LAUNCH_RANKS_MAX },
	{ 'k', "keep-going", NULL, "when a rank fails leave the others alone", ARG_FLAG, offsetof(struct launch, keep_going), 0, 1 },
	{ 'l', "label", NULL, "begin each line of output with the rank that wrote it: \"[2] \"", ARG_FLAG, offsetof(struct launch, label), 0, 1 },
	{ 0, "no-label", NULL, "do not (default)", ARG_FLAG, offsetof(struct launch, label), 0, 0 },
	{ 't', "timeout", "TIME", "end the ranks when they are not done by then (90s, 5min)", ARG_TIME, offsetof(struct launch, timeout_ms), 0, 0 },
	{ .kind = ARG_END },
};

int tool_run(int argc, char **argv)
{
	struct launch l = { .cmd = argv[0] };
	int first = args_parse(run_args, argc, argv, true, &l);

	if (!l.nranks)
		args_refuse(argv[0], "how many ranks? -n N is missing");
	if (first == argc)
		args_refuse(argv[0], "which program? Expected PROG [ARG...] after the options");
	l.argv = argv + first;
	return launch(&l);
}
