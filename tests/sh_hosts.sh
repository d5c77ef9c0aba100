#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Ranks of several hosts, which are network namespaces here (tests/hosts/hosts): every collective is right, ranks of one host share memory and
# those of two do not, and a host or a rank that is lost ends the others. Where there can be no hosts, all is skipped, aloud.

. "$top_srcdir/tests/tap.sh"

tutti="$top_builddir/tutti" hosts="$top_srcdir/tests/hosts/hosts" out="$tap_dir/out" log="$tap_dir/log"
endless="$tutti perf all_reduce -b 1M -n 100000000"

if ! why=$(bash "$hosts" --possible 2>&1); then
	skip "ranks of several hosts" "$why"
	tap_done
	exit
fi

# on OPTION... -- PROG...: its output in $out, what it says in $log
on()
{
	bash "$hosts" --tutti "$tutti" -t 120 "$@" >"$out" 2>"$log"
	status=$?
	cat "$out" >>"$log"
	echo "exit status $status" >>"$log"
	return $status
}

# right NAME OPTION... -- PERF'S ARGUMENTS: no wrong element
right()
{
	name=$1
	shift
	on "$@"
	[ $? -eq 0 ] && grep -q '^# Wrong elements *: 0 ' "$out" && awk '!/^#/ { n++; if (NF != 13) exit 1 } END { exit n == 0 }' "$out"
	ok $? "$name"
}

# has NAME PATTERN: a whole line of $out
has()
{
	cp "$out" "$log"
	grep -Eqx -e "$2" "$out"
	ok $? "$1"
}

# lost NAME PATTERN FILE: the survivors' own words, ended by nobody else
lost()
{
	cp "$3" "$log"
	[ "$(grep -Ec "^\[[0-9]\] tutti perf: rank [0-9]: $2" "$3")" -ge 1 ] && ! grep -q "not done after\|ending the other" "$3"
	ok $? "$1"
}

# -- a host that vanishes: noticed after half a minute, so it begins here and is looked at in the end

cut="$tap_dir/cut" rank3='[ "$TUTTI_RANK" != 3 ] || { (sleep 1; '
bash "$hosts" --tutti "$tutti" -t 120 --keep-going -l -h 2 -r 2 -- sh -c "$rank3 ip link set eth0 down) & }; exec $endless" >"$cut" 2>&1 &
cutting=$!

# -- what a rank finds

on -h 3 -r 2,1,2 -- sh -c 'echo "$TUTTI_RANK $TUTTI_SIZE $TUTTI_NODE $(uname -n) ${TUTTI_ROOT%:*} ${RANK-none}"; ip -br addr show up | cut -c 1-7'
ok $? "5 ranks on 3 hosts run"
r=0
for h in 0 0 1 2 2; do
	has "rank $r is on host$h" "$r 5 host$h host$h 10\.77\.0\.1 none"
	r=$((r + 1))
done
before=$(ip -br link; ip route; ip netns)
on -h 2 -b 1gbit -- sh -c 'sleep 0.3; exit 3'
[ $? -eq 3 ] && [ "$before" = "$(ip -br link; ip route; ip netns)" ]
ok $? "this machine's own network is as it was"

# -- every collective

for c in all_reduce reduce_scatter all_gather broadcast reduce gather scatter all_to_all barrier sendrecv; do
	right "$c, 2 hosts of 2 ranks" -h 2 -r 2 -- "$tutti" perf $c -b 80 -e 3M -f 39000 -n 2 -w 1
	[ $c != all_reduce ] || reached=$(grep '^# rank' "$out")
	right "$c, 3 hosts of 2, 1 and 2 ranks" -h 3 -r 2,1,2 -- "$tutti" perf $c -b 80 -e 3M -f 39000 -n 2 -w 1
done
echo "$reached" >"$out"
has "rank 0 shares memory with rank 1" '# rank 1: shm, .*'
has "and reaches rank 2 by its host's address" '# rank 2: tcp 10\.77\.0\.2:.*'
right "links of 1 Gbit/s, private memory" -h 2 -r 2 -b 1gbit -- "$tutti" perf all_reduce -b 2M -n 1 -w 0 --memory private
right "4 hosts in 2 racks" -h 4 -r 1 -k 2 -b 10gbit -u 1gbit -- "$tutti" perf all_reduce -b 2M -n 1 -w 0

# -- which hosts are near each other

fabric="$tap_dir/fabric"
export TUTTI_CACHE=none
on -h 4 -r 1,2,1,1 -k 2 -b 1gbit -u 100mbit -- "$tutti" tune --fabric "$fabric"
ok $? "tune --fabric measures 4 hosts in 2 racks"
has "finds the racks" 'switch group1@[0-9]+[kM]b: host0 host1'
has "both of them" 'switch group2@[0-9]+[kM]b: host2 host3'
has "says how to use what it has written" "# .*TUTTI_FABRIC=$fabric;.*"
cp "$out" "$log"
[ "$(grep -c '^switch group' "$fabric")" -eq 2 ] && [ "$(head -n "$(wc -l <"$fabric")" "$out")" = "$(cat "$fabric")" ]
ok $? "which is what it prints"
has "with a time of each pair" '#   host3 +[0-9.]+ +[0-9.]+ +[0-9.]+ +-'
# job FILE: runs with it; are racks what limits it?
job()
{
	TUTTI_FABRIC=$1 TUTTI_EXPLAIN=1 on -h 4 -k 2 -b 1gbit -u 100mbit -- "$tutti" perf all_reduce -b 1M -n 1 -w 0 &&
		limit=$(grep '^tutti: all_reduce  *1048576 ' "$log") && echo "$limit" | grep -Eq 'switch group[12] (up|down), busy'
}
job "$fabric"
ok $? "a job with the file knows that the racks limit it"
! job "" && [ $status -eq 0 ] && [ -n "$limit" ]
ok $? "one without it does not"
rm -f "$fabric"
on -h 3 -b 200mbit -- "$tutti" tune --fabric "$fabric"
ok $? "3 hosts at one switch"
has "are no groups" '# No clear gap .*: no groups; .* is not written'
[ -z "$(find "$tap_dir" -name 'fabric*')" ]
ok $? "and nothing is written"
on -h 1 -r 2 -- "$tutti" tune --fabric "$fabric"
[ $? -eq 1 ] && grep -q 'tutti tune: rank 0: --fabric: expected ranks on at least 2 machines, got 1' "$log"
ok $? "1 host has nobody to be near"

# -- how it ends

on -h 2 -r 2 -- sh -c '[ "$TUTTI_RANK" != 2 ] || exit 7; exec sleep 60'
[ $? -eq 7 ]
ok $? "the first failing rank's status is the job's"
on -h 2 -r 2 -- sh -c '[ "$TUTTI_RANK" != 2 ] || kill -9 $$; exec sleep 60'
[ $? -eq 137 ]
ok $? "so is a killed rank's"
# here the others end, too, and on a busy machine may be looked at first
bash "$hosts" --tutti "$tutti" --keep-going -l -h 2 -r 2 -- sh -c "$rank3 kill -9 \$\$) & }; exec $endless" >"$tap_dir/killed" 2>&1
lost "whose death the others are told" "rank 3 died or its machine was lost \(connection closed\)" "$tap_dir/killed"
[ "$(grep -c 'tutti run: rank [012] .* exited with status 1$' "$tap_dir/killed")" -eq 3 ]
ok $? "and end by themselves"
on -t 1 -h 2 -- sleep 60
[ $? -eq 124 ] && grep -q 'hosts: not done after 1 s' "$log"
ok $? "a limit ends the job"

bash "$hosts" --tutti "$tutti" -h 2 -r 2 -- sh -c 'sleep 61.'$$ 2>"$log" &
job=$!
tries=0
until [ "$(ps ax | grep -c "[s]leep 61.$$")" -ge 4 ] || [ $tries -ge 100 ]; do
	tries=$((tries + 1))
	sleep 0.1
done
kill -9 $job
wait $job 2>/dev/null
until ! ps ax | grep -q "[s]leep 61.$$" || [ $tries -ge 200 ]; do
	tries=$((tries + 1))
	sleep 0.1
done
[ $tries -lt 100 ]
ok $? "kill -9 leaves nothing behind"

# -- bad arguments

while IFS='|' read -r args words; do
	# shellcheck disable=SC2086
	on $args
	[ $? -eq 2 ] && grep -Eq -e "^hosts: $words" "$log"
	ok $? "hosts $args: says what is wrong"
done <<'END'
|which program\?
-h 0 true|-h: expected a number 1\.\.200, got "0"
-h 2 -r 1,2,3 true|-r: expected one number, or one for each of 2 hosts, got "1,2,3"
-b fast true|-b: expected a rate .* got "fast"
-u 1gbit true|-u: a rack's uplink needs racks
-k 3 -h 2 true|-k: expected at most as many racks as hosts \(2\), got 3
--mpi lam true|--mpi: expected openmpi or mpich, got "lam"
--nonsense 1 true|unknown option --nonsense
END

# -- the host that has vanished

wait $cutting
lost "a host whose link is cut is lost to the others" "rank [0123] died or its machine was lost \(no answer from its machine\)" "$cut"
[ "$(grep -c '^tutti run: rank [0-3] .* exited with status 1$' "$cut")" -eq 4 ]
ok $? "and every rank ends by itself"

tap_done
