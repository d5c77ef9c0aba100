#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# `tutti tune`: what it measures is kept, later jobs of the same kind use it, bad files are left alone, and mistakes are refused. No time is tested.

. "$top_srcdir/tests/tap.sh"

tutti="$top_builddir/tutti" cache="$tap_dir/deep/cache" out="$tap_dir/out"
export TUTTI_CACHE="$cache"

# tune NAME ARGUMENT...: succeeds; what it prints is in $out
tune()
{
	name=$1
	shift
	timeout 300 "$tutti" tune "$@" >"$out" 2>"$tap_dir/log"
	status=$?
	cat "$out" >>"$tap_dir/log"
	echo "exit status $status" >>"$tap_dir/log"
	ok $status "$name"
}

# has NAME PATTERN [COUNT]: $out has so many such lines (any number above 0)
has()
{
	n=$(grep -Ec -e "$2" "$out")
	cp "$out" "$tap_dir/log"
	[ "$n" -eq "${3:-$n}" ] && [ "$n" -gt 0 ]
	ok $? "$1"
}

# runs NAME PATTERN RANKS: an all_reduce of 8 bytes runs this plan
runs()
{
	timeout 120 "$tutti" perf --ranks "$3" all_reduce -b 8 -n 1 -w 0 -J "$tap_dir/json" >"$tap_dir/log" 2>&1 && grep -Eq "\"plan\": \"all_reduce $2," "$tap_dir/json"
	status=$?
	grep -o '"plan": "[^"]*"' "$tap_dir/json" >>"$tap_dir/log"
	ok $status "$1"
}

# kept ENDING COUNT NAME
kept()
{
	n=$(find "$cache" -type f -name "*.$1" 2>/dev/null | wc -l)
	find "$tap_dir" >"$tap_dir/log"
	[ "$n" -eq "$2" ]
	ok $? "$3"
}

tune "a dry run" --ranks 2 all_reduce -e 100 --budget 20s --dry-run
has "says so" 'are not kept: --dry-run$' 2
[ ! -e "$cache" ]
ok $? "and keeps nothing"

tune "all_reduce is tuned" --ranks 2 all_reduce -e 64k --budget 60s
has "with a row a size" '^ +[0-9]+  [a-z_]+' 7
has "an algorithm, a time and others" '^ +32768  [a-z_]+\*?( [0-9]+(ch|pc|k))*\*? +[0-9]+\.[0-9]+ .*[0-9.]+$' 1
has "and the model's error" "the model's error over [0-9]+ measured candidates: median [0-9]+ %, 90th percentile [0-9]+ %" 1
kept costs 1 "costs are kept"
kept plans 1 "plans are kept"
plans=$(find "$cache" -name '*.plans') costs=$(find "$cache" -name '*.costs')
[ "$(stat -c %a "$plans" "$costs" "$cache" | tr '\n' ' ')" = "600 600 700 " ]
ok $? "for this user alone"
[ "$(grep -c '^all_reduce any .* measured$' "$plans")" -eq 7 ]
ok $? "as measured, every size"

# what a job runs is what stands in the file
sed -i 's/^\(all_reduce any [0-9]*\) .*/\1 circulant channels 1 pieces 1 slice 131072 us 1.000 measured/' "$plans"
runs "a later job uses them" circulant 2
TUTTI_CACHE=none runs "none: not" '(direct|direct_rs_ag|recursive_doubling)' 2
runs "nor does a job of another kind" '(direct|direct_rs_ag|recursive_doubling)' 3
TUTTI_LOG=info timeout 120 "$tutti" perf --ranks 2 all_reduce -b 8 -n 1 >"$out" 2>&1
has "it says what it knows" 'cache .* knows costs and plans of jobs like this one' 1
tune "another collective is tuned" --ranks 2 broadcast -e 200 --budget 30s
[ "$(grep -c '^all_reduce any .* circulant ' "$plans")" -eq 7 ] && [ "$(grep -c '^broadcast any ' "$plans")" -eq 3 ]
ok $? "beside what was there"
sed -i 's/^broadcast any 8 .*/broadcast any 8 waltz/' "$plans"
timeout 120 "$tutti" perf --ranks 2 all_reduce -b 8 -n 1 >"$out" 2>&1
ok $? "a damaged file is no failure"
has "it is left alone with the reason" 'warning: .*plans is left alone: .*expected an algorithm of the collective, got "waltz"' 1

rm -rf "$cache"
TUTTI_CALIBRATE=100ms timeout 120 "$tutti" perf --ranks 2 all_reduce -b 8 -n 1 >"$tap_dir/log" 2>&1
ok $? "a job measures when it starts, if it is told to"
kept costs 1 "and keeps it"
rm -rf "$cache"
tune "no time" --ranks 2 all_reduce --budget 1ms
has "leaves sizes out, and says so" 'the time was over before 12 of 12 sizes' 1
kept plans 0 "and keeps no plans"
export TUTTI_CACHE=none
tune "no cache" --ranks 2 barrier --budget 10s
has "is said" 'are not kept: TUTTI_CACHE names no folder' 2
timeout 300 "$tutti" run -n 2 -- "$tutti" tune all_gather -b 16 -e 100 --budget 10s >"$out" 2>"$tap_dir/log"
ok $? "a launcher's ranks"
has "print one table, of the sizes asked for" '^ +[0-9]+  ' 2

# -- mistakes

# refused PATTERN ARGUMENT...: exit status 2 and these words
refused()
{
	pattern=$1
	shift
	timeout 60 "$tutti" tune "$@" >"$tap_dir/log" 2>&1
	status=$?
	echo "exit status $status, expected 2 and: $pattern" >>"$tap_dir/log"
	[ $status -eq 2 ] && sed '$d' "$tap_dir/log" | grep -Eq -e "$pattern"
	ok $? "tune $*"
}

refused 'no collective "all_redcue"; did you mean all_reduce\?' --ranks 2 all_redcue
refused 'expected a collective .*, got "waltz"' waltz
refused '\-\-maxbytes: expected at least --minbytes, 8, got 4' -e 4
refused '\-\-budget: expected a time .*, got "soon"' --budget soon
refused '\-\-top: expected an integer 1\.\.16, got "0"' --top 0
refused 'unknown option --fast' --fast
TUTTI_ALGO=ring refused 'expected TUTTI_ALGO.* to force nothing, got ring' --ranks 2
refused '\-\-fabric: expected no collective, got reduce: ' --fabric "$tap_dir/fabric" reduce
TUTTI_TOPOLOGY=rank:2 refused '\-\-fabric: expected no TUTTI_TOPOLOGY.*, got "rank:2"' --fabric "$tap_dir/fabric"

# machines NAME PATTERN FILE [ARGUMENT...]: ranks that take themselves for machines fail, and say so; TUTTI_NODE as $node says
machines()
{
	name=$1 pattern=$2
	shift 2
	says "$name" "^tutti tune: rank 0: $pattern" "$tutti" run -n 3 -- sh -c "TUTTI_NODE=\"$node\" exec \"\$@\"" sh "$tutti" tune --fabric "$@"
}
node='m$RANK'
machines "a fabric file in no folder" '--fabric: cannot write .*/none/file: No such file' "$tap_dir/none/file"
machines "one that is a folder" '--fabric: expected the name of a file, got .*, which is none' "$tap_dir"
machines "one without a name" '--fabric: expected the name of a file, got ""' ''
machines "too little time for all pairs" '--budget: expected time for 3 pairs of machines, it was over after [0-2]' "$tap_dir/fabric" --budget 1ms
node='m $RANK' machines "a name that no file can hold" '--fabric: expected a host.s name without blanks, # and /, got "m 0"' "$tap_dir/fabric"
[ -z "$(find "$tap_dir" -name 'fabric*')" ]
ok $? "and nothing is written"
says "a fabric of one machine" '--fabric: expected ranks on at least 2 machines, got 1' "$tutti" tune --ranks 2 --fabric "$tap_dir/fabric"
says "tune by one rank" 'expected at least 2 ranks, got 1' "$tutti" tune

tap_done
