#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# check_lengths.sh [TREE]: no function over 80 lines, no file over 700. Prints what is longer, and fails.

cd "${1:-.}" || exit 1
dirs=
for d in include src transports tools perf examples tests bindings; do
	[ ! -d "$d" ] || dirs="$dirs $d"
done
# shellcheck disable=SC2086
find $dirs -name '*.[ch]' -o -name '*.sh' | sort | xargs awk '
	function end_file() {
		if (lines > 700) { printf "%s: %d lines, 700 are allowed\n", name, lines; bad = 1 }
	}
	FNR == 1 { end_file(); name = FILENAME; start = 0 }
	{ lines = FNR }
	/^\{/ { start = FNR }
	/^\}/ && start {
		if (FNR - start + 1 > 80) { printf "%s:%d: a function of %d lines, 80 are allowed\n", FILENAME, start, FNR - start + 1; bad = 1 }
		start = 0
	}
	END { end_file(); exit bad }'
