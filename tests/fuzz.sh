#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Every fuzzer for FUZZ_SECONDS (5): a finding, or a fuzzer that tried nothing, is a failure.

. "$top_srcdir/tests/tap.sh"

fuzz()
{
	mkdir "$tap_dir/corpus" && ASAN_OPTIONS=detect_leaks=1 "./$1" -max_total_time="${FUZZ_SECONDS:-5}" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
		-artifact_prefix="$tap_dir/" "$tap_dir/corpus" >"$tap_dir/log" 2>&1 &&
		[ "$(sed -n 's/^stat::number_of_executed_units: *//p' "$tap_dir/log")" -gt 100 ]
	ok $? "$1"
	rm -rf "$tap_dir/corpus"
}

for target in $FUZZ_TESTS; do
	fuzz "$target"
done
tap_done
