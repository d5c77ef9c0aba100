#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# `tutti perf`: every collective is right on shm and tcp, the columns are nccl-tests', the JSON is JSON, and mistakes are refused.

. "$top_srcdir/tests/tap.sh"

tutti="$top_builddir/tutti" out="$tap_dir/out"

all="all_reduce reduce_scatter all_gather broadcast reduce gather scatter all_to_all barrier sendrecv"

# perf NAME ARGUMENT...: succeeds, and every row has as many columns as the head
perf()
{
	name=$1
	shift
	timeout 120 "$tutti" perf "$@" >"$out" 2>"$tap_dir/log"
	status=$?
	cat "$out" >>"$tap_dir/log"
	echo "exit status $status" >>"$tap_dir/log"
	checked=OK
	case " $* " in *" barrier "*) checked='(not checked)' ;; esac
	[ $status -eq 0 ] && grep -qx "# Wrong elements *: 0 $checked" "$out" && awk '!/^#/ { n++; if (NF != 13) exit 1 } END { exit n == 0 }' "$out"
	ok $? "$name"
}

for t in shm tcp; do
	for n in 1 2 3 4; do
		for c in $all; do
			[ "$c$n" != sendrecv1 ] || continue
			perf "$c, $n ranks, $t" --ranks $n "$c" -b 4 -e 70000 -f 131 -n 2 -w 1 -r -1 --transport $t
		done
	done
done

perf "every type and operator" --ranks 3 all_reduce -b 1 -e 9000 -f 90 -n 1 -w 0 -d all -o all
[ "$(awk '!/^#/ { print $3, $4 }' "$out" | sort -u | wc -l)" -eq $((8 * 8 + 4 * 5)) ]
ok $? "is every one: 8 integers with 8, 4 floats with 5"
perf "private memory, several in flight" --ranks 2 reduce_scatter -b 1k -e 64k -f 8 -n 4 --memory private -m 3
perf "started and waited for" --ranks 2 all_reduce -b 1k -n 4 -z 0
perf "an application's mode" --ranks 2 all_reduce -b 1k -n 4 --touch 1
perf "steps are added" --ranks 2 all_reduce -b 8 -e 32 -i 8 -n 1
[ "$(awk '!/^#/ { print $1 }' "$out" | tr '\n' ' ')" = "8 16 24 32 " ]
ok $? "from size to size"
perf "a forced algorithm, slice and number of channels" --ranks 3 all_reduce -b 64k -n 2 --algo ring --slice 4k --channels 2 -J "$tap_dir/json"
grep -q '"plan": "all_reduce ring,' "$tap_dir/json"
ok $? "is what ran"
perf "no launcher is one rank" all_reduce -b 1k -n 1
timeout 60 "$tutti" run -n 2 -- "$tutti" perf all_reduce -b 1k -n 1 >"$out" 2>"$tap_dir/log"
[ $? -eq 0 ] && [ "$(grep -c -v '^#' "$out")" -eq 1 ]
ok $? "a launcher's ranks print one table"
perf "some counts are zero" --ranks 4 all_gather -b 4 -n 1
awk '!/^#/ && $1 == 0 && $2 == 0 { found = 1 } END { exit !found }' "$out"
ok $? "when the size is smaller than the ranks"
perf "a barrier" --ranks 2 barrier -n 2
grep -Eq '^ +0 +0 +uint8 +none +-1 +[0-9.]+ +N/A +N/A +N/A +N/A +N/A +N/A +N/A$' "$out"
ok $? "has a time and nothing else"

perf "JSON is written" --ranks 2 all_reduce -b 8 -e 8k -f 32 -n 5 -d all -J "$tap_dir/json"
succeeds "and is JSON" python3 -m json.tool "$tap_dir/json"
succeeds "of every row, with the distribution" python3 - "$tap_dir/json" "$(grep -c -v '^#' "$out")" <<'END'
import json, sys
j = json.load(open(sys.argv[1]))
assert j["complete"] and j["ranks"] == 2 and j["wrong"] == 0
assert len(j["rows"]) == int(sys.argv[2]) > 0
for row in j["rows"]:
    for r in (row["out_of_place"], row["in_place"]):
        assert 0 < r["min_us"] <= r["median_us"] <= r["p99_us"] and r["wrong"] == 0, r
END
perf "JSON of a collective without an in-place variant" --ranks 2 sendrecv -b 8 -n 2 -J "$tap_dir/json"
succeeds "says null" python3 -c 'import json, sys; assert json.load(open(sys.argv[1]))["rows"][0]["in_place"] is None' "$tap_dir/json"

# -- what a live job chose

TUTTI_EXPLAIN=1 "$tutti" perf --ranks 2 all_reduce -b 8 -e 128k -f 16384 -n 3 >"$tap_dir/log" 2>&1 &&
	grep -Eq '^tutti: 2 ranks, shm; costs: ' "$tap_dir/log" && grep -Eq '^tutti: all_reduce +131072 direct_rs_ag .* (rule|measured) +[0-9]+ +[0-9.]+ +[0-9.]+  ' "$tap_dir/log"
ok $? "TUTTI_EXPLAIN=1 shows choices, projected and measured times"
TUTTI_EXPLAIN=1 TUTTI_CACHE=none TUTTI_TOPOLOGY="node:2@1Gb rank:2" "$tutti" perf --ranks 4 all_reduce --transport tcp -b 2M -n 2 -w 1 >"$tap_dir/log" 2>&1 &&
	grep -Eq '^tutti: 4 ranks, tcp inside, tcp between; costs: default' "$tap_dir/log" &&
	grep -Eq '^tutti: all_reduce +2097152 hier_[a-z]+ .* model .*2 x 1/2 of the bytes cross it; [a-z_]+ \+[0-9]+ %' "$tap_dir/log"
ok $? "between machines the model chooses, and says what limits it"
TUTTI_TOPOLOGY="node:3 rank:1" says "a topology of another number of ranks" 'expected 2 ranks, got 3' "$tutti" perf --ranks 2 all_reduce -b 8
mkdir "$tap_dir/0" "$tap_dir/1"
echo "node:1 rank:2" >"$tap_dir/0/x.topo"
echo "node:2 rank:1" >"$tap_dir/1/x.topo"
TUTTI_TOPOLOGY=./x.topo says "ranks that see different topologies" 'ranks 0 and 1 see different topologies' \
	"$tutti" run -n 2 -- sh -c "cd $tap_dir/\$RANK && exec $(realpath "$tutti") perf all_reduce -b 8"

# -- mistakes

while IFS='|' read -r args words; do
	# shellcheck disable=SC2086
	says "perf $args" "$words" "$tutti" perf $args
done <<'END'
|COLLECTIVE: expected all_reduce, .*, got ""
all_redcue|COLLECTIVE: expected all_reduce, .*, got "all_redcue"
all_reduce reduce|expected one COLLECTIVE, got "all_reduce" and "reduce"
all_reduce -b lots|--minbytes: expected a size .*, got "lots"
all_reduce -b 8 -e 4|--maxbytes: expected at least --minbytes, 8, got 4
all_reduce -b 8 -e 64 -i 0|--stepbytes: expected a size, or -f
all_reduce -f 0|--stepfactor: expected an integer 1\.\.
all_reduce -n 0|--iters: expected an integer 1\.\.
all_reduce -d float99|--datatype: expected a type .*, got "float99"
all_reduce -o plus|--op: expected sum, .*, got "plus"
all_reduce -d float -o band|--op: expected an operator that the type has, got "band"
all_reduce --memory mine|--memory: expected shared or private, got "mine"
all_reduce --algo waltz|--algo: expected one that all_reduce has \(.*ring.*\), got "waltz"
broadcast --ranks 2 -r 2 -b 8|--root: expected -1\.\.1, got 2
sendrecv -b 8|sendrecv: expected at least 2 ranks, got 1
all_reduce --ranks 2 -b 8 --transport pigeon|TUTTI_TRANSPORT.*pigeon
all_reduce --ranks 2 -b 8 -J /nowhere/x|cannot write "/nowhere/x": No such file
all_reduce --ranks 0x2|--ranks: expected an integer
END

tap_done
