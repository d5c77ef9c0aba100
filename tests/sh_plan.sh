#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# tutti plan: schedules listed, shown and verified, and what it says to mistakes.

. "$top_srcdir/tests/tap.sh"

# plan STATUS NAME PATTERN ARG...: exits with exactly this status, and prints a line that matches
plan()
{
	want=$1 name=$2 pattern=$3
	shift 3
	timeout 120 "$top_builddir/tutti" plan "$@" >"$tap_dir/log" 2>&1
	status=$?
	echo "exit status $status, expected $want and: $pattern" >>"$tap_dir/log"
	[ $status -eq "$want" ] && sed '$d' "$tap_dir/log" | grep -Eq -e "$pattern"
	ok $? "$name"
}

plan 0 "list" '^barrier +dissemination ' list
plan 0 "list of one collective" '^all_reduce +recursive_doubling +ordered ' list all_reduce
plan 0 "show" '^4 +0 +send +4 +out +\[1,2\) +3' show all_reduce ring --ranks 8 --rank 3
plan 0 "show a set" '^2 +0 +recv_reduce +0-2,4-7 +out +\[0,1\) +scratch \[0,1\) +0 +final' show all_reduce direct -n 8 -r 3
plan 0 "show with a root and pieces" 'root 2; chunks a block: 6,' show broadcast chain -n 4 --root 2 --pieces 6
plan 0 "show on channels" 'channels: 3,' show all_gather ring -n 4 --channels 3
plan 0 "verify a range" '^([0-9]+) of \1 algorithms right for 1 to 5 ranks' verify --ranks 1-5
plan 0 "verify one algorithm" '^1 of 1 algorithms right for 40 to 40 ranks' verify --ranks 40 reduce binomial

four="node:2 nic:1@25Gb,5us rank:2"
plan 0 "simulate" '^projected time +[0-9.]+ us$' simulate all_reduce ring -t "$four"
plan 0 "simulate: the busiest" '^busiest +(core of rank [0-3]|nic node[01]/0 (in|out)), [0-9]+ % of the time' simulate all_reduce ring -t "$four"
plan 0 "simulate: bytes out of a node" '^out of the busiest node +6 MiB' simulate all_reduce ring -t "$four" --size 4M
plan 0 "simulate: compare all" '^recursive_doubling +[0-9.]+ +[0-9.]+ ' simulate all_reduce -t "$four" --size 1k --channels 2 --slice 64k
plan 0 "simulate: hierarchical algorithms, too" '^hier_ring +' simulate all_reduce -t "$four"
plan 0 "simulate: a set of blocks is the larger buffer" '^all_gather direct: 4 ranks on 2 nodes, 1 MiB,' simulate all_gather direct -t "$four" --size 1M
plan 0 "simulate: what is too large is left out, and said" 'left out: all_reduce ring for 20000 ranks is too large' simulate all_reduce -t "node:20000 rank:1" --size 8
plan 0 "simulate: one schedule stands for very many" '^messages +[0-9]{6}' simulate all_reduce circulant -t "node:12000 rank:1" --size 1M
plan 0 "simulate: a drawing of many ranks" '^written: .*many.svg' simulate all_reduce tree -t "node:13 rank:8" --svg "$tap_dir/many.svg"
grep -q '64 of 104 ranks are drawn' "$tap_dir/many.svg" && [ "$(grep -c '>rank [0-9]*</text>' "$tap_dir/many.svg")" -eq 64 ] && grep -q '>rank 103<' "$tap_dir/many.svg"
ok $? "the drawing says that it shows 64 of them"
plan 0 "simulate: a drawing and a trace" '^written: .*trace.json' simulate reduce binomial -t "$four" --pieces 3 --root 1 --trace "$tap_dir/trace.json" --svg "$tap_dir/drawing.svg"
python3 - "$tap_dir/trace.json" "$tap_dir/drawing.svg" >"$tap_dir/log" 2>&1 <<'END'
import json, sys, xml.dom.minidom
events = json.load(open(sys.argv[1]))["traceEvents"]
steps = [e for e in events if e["ph"] == "X"]
assert {e["pid"] for e in steps} == {0, 1, 2, 3}, steps
assert all(e["dur"] >= 0 and e["args"]["bytes"] > 0 for e in steps), steps
lanes = {}
for e in steps:
	lanes.setdefault((e["pid"], e["tid"]), []).append((e["ts"], e["ts"] + e["dur"]))
for lane in lanes.values():
	lane.sort()
	assert all(a[1] <= b[0] + 1e-3 for a, b in zip(lane, lane[1:])), lane
rects = xml.dom.minidom.parse(sys.argv[2]).getElementsByTagName("rect")
assert len(rects) > len(steps), (len(rects), len(steps))
END
ok $? "the trace is JSON whose lanes do not overlap, the drawing is XML"

plan 0 "explain: by size, with the runner-up and what limits it" '^ +512 KiB +hier_[a-z]+ +[0-9]+ +[0-9]+ +[0-9]+ KiB +[0-9.]+ ms +[0-9.]+ +[a-z_]+ \+[0-9]+ % +[0-9.]+ +node [01] up, busy [0-9]+ %: 2 x 1/2 of the bytes cross it$' explain all_reduce -t "node:2@1Gb rank:4"
plan 0 "explain: a rail for each" '^ +8 MiB +hier_ring .* nic node[0-7]/0 (in|out), busy [0-9]+ %: 2 x 7/8 of the bytes cross it$' explain all_reduce -t "node:8 nic:1@10Gb,5us rank:4" --size 8M
plan 0 "explain: short messages wait" '^ +8 B +.*(latency: |with messages and steps)' explain broadcast -t "$four" --size 64
plan 0 "explain: a barrier has no size" '^ +8 B +hier_dissemination ' explain barrier -t "node:4 rank:4"
plan 2 "explain nowhere" 'expected --topology' explain all_reduce
plan 2 "explain one algorithm" 'explain COLLECTIVE or document, got "explain"' explain all_reduce ring -t "$four"
plan 2 "explain half an operation" 'got recv, which is half' explain recv -t "$four"
"$top_builddir/tutti" plan document >"$tap_dir/algorithms.md" && diff "$top_srcdir/docs/algorithms.md" "$tap_dir/algorithms.md" >"$tap_dir/log" 2>&1
ok $? "docs/algorithms.md is what tutti plan document writes"

plan 2 "simulate nothing" 'simulate COLLECTIVE \[ALGORITHM\], explain' simulate
plan 2 "simulate nowhere" 'expected --topology' simulate all_reduce
plan 2 "a topology that is none" '\-\-topology: .*"knot:4"' simulate all_reduce -t "knot:4 rank:1"
plan 2 "half an operation" 'got send, which is half' simulate send -t "$four"
plan 2 "a drawing of everything" '\-\-trace and \-\-svg draw one algorithm' simulate all_reduce -t "$four" --svg x.svg
plan 2 "a file that cannot be written" '\-\-svg: /nowhere/x.svg: No such file' simulate all_reduce ring -t "$four" --svg /nowhere/x.svg
plan 2 "a root beyond the topology" 'expected a root in 0\.\.3, got 4' simulate broadcast chain -t "$four" --root 4
plan 2 "no slice" '\-\-slice: expected a size above 0' simulate all_reduce -t "$four" --slice 0
plan 2 "costs that are not there" '\-\-costs: /nowhere: No such file' simulate all_reduce -t "$four" --costs /nowhere
echo "netwrok.latency = 1 us" >"$tap_dir/costs"
plan 2 "costs misspelt" 'line 1: there is no "netwrok.latency"; did you mean network.latency\?' simulate all_reduce -t "$four" --costs "$tap_dir/costs"
plan 2 "one too large alone" 'all_reduce ring for 20000 ranks is too large to simulate: [0-9]+ steps a rank' simulate all_reduce ring -t "node:20000 rank:1"

plan 2 "nothing to do" 'expected list, show, verify, simulate, explain or document$'
plan 2 "an unknown verb" 'expected list .* got "lsit"' lsit
plan 2 "show without an algorithm" 'show COLLECTIVE ALGORITHM' show all_reduce
plan 2 "an unknown collective" 'no collective "allreduce"; did you mean all_reduce\?' show allreduce ring
plan 2 "an unknown algorithm" 'no algorithm "rign" for all_gather, which has ring, direct, circulant' show all_gather rign
plan 2 "one word too many" 'expected no more after "ring", got "more"' show all_reduce ring more
plan 2 "a rank that is not there" 'expected a rank in 0\.\.3, got 4' show all_reduce ring --rank 4
plan 2 "a root that is not there" 'expected a root in 0\.\.3, got 9' show broadcast chain --root 9
plan 2 "a message to oneself" 'expected another rank as the peer' show send p2p --root 0 --rank 0
plan 2 "ranks that are no number" '\-\-ranks: expected N in 1\.\.65536, got "1-4"' show all_reduce ring --ranks 1-4
plan 2 "a range the wrong way round" '\-\-ranks: expected N or A-B in 1\.\.65536, got "9-3"' verify --ranks 9-3
plan 2 "no ranks" 'got "0"' verify --ranks 0
plan 2 "too many channels" 'channels' show all_reduce ring --channels 9

tap_done
