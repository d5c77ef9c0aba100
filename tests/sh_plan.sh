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

plan 2 "nothing to do" 'expected list, show or verify$'
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
