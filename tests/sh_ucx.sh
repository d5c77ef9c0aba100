#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# The ucx transport over what UCX has on every machine, shared memory and TCP: the transports' behaviour suite, every collective, a killed rank, and words
# where it cannot run. UCX's own lines must not appear.

. "$top_srcdir/tests/tap.sh"

tutti="$top_builddir/tutti" out="$tap_dir/out"
TUTTI_MODULES="$top_builddir/.libs"
export TUTTI_MODULES

if [ ! -e "$TUTTI_MODULES/tutti_ucx.so" ]; then
	skip "the ucx transport" "it was not built: UCX 1.13 or newer was not found"
	tap_done
	exit
fi

# its own words begin like this: [1700000000.123456] [host:pid:0] file.c:1 UCX  ERROR ...
quiet()
{
	! grep -Eq '^\[[0-9.]+\] +\[.*UCX +[A-Z]+' "$1"
}

# over TLS COMMAND...: with these transports of UCX ("default": as it likes)
over()
{
	tls=$1
	shift
	if [ "$tls" = default ]; then
		"$@"
	else
		env UCX_TLS="$tls" "$@"
	fi
}

suite()
{
	over "$1" timeout 300 "$top_builddir/tests/ucx" --jobs 2 >"$tap_dir/log" 2>&1 && quiet "$tap_dir/log" &&
		grep -Eq 'Tested: ([2-9][0-9]|[1-9][0-9][0-9]) ' "$tap_dir/log"
	ok $? "the behaviour suite, UCX_TLS=$1"
}

# perf TLS RANKS COLLECTIVE: every element is right
perf()
{
	checked=OK
	[ "$3" != barrier ] || checked='(not checked)'
	over "$1" timeout 120 "$tutti" perf --ranks "$2" "$3" -b 4 -e 700k -f 417 -n 2 -w 1 -r -1 --transport ucx >"$out" 2>"$tap_dir/log"
	status=$?
	cat "$out" >>"$tap_dir/log"
	echo "exit status $status" >>"$tap_dir/log"
	[ $status -eq 0 ] && quiet "$tap_dir/log" && grep -qx "# Wrong elements *: 0 $checked" "$out"
	ok $? "$3, $2 ranks, UCX_TLS=$1"
}

# One of three is killed in the middle: the others say who, in time.
killed()
{
	over "$1" timeout 60 "$tutti" run --keep-going -n 3 -- sh -c 'echo $$ >"$1/pid.$RANK"; exec "$2" perf all_reduce -b 1M -e 1M -n 1000000 --transport ucx' \
		sh "$tap_dir" "$tutti" >"$tap_dir/log" 2>&1 &
	launcher=$!
	sleep 3
	kill -9 "$(cat "$tap_dir/pid.2")"
	wait $launcher
	status=$?
	echo "exit status $status" >>"$tap_dir/log"
	[ $status -ne 0 ] && [ $status -ne 124 ] && quiet "$tap_dir/log" && grep -q 'rank 0: .*rank 2' "$tap_dir/log" && grep -q 'rank 1: .*rank 2' "$tap_dir/log"
	ok $? "a killed rank is an error on every other, UCX_TLS=$1"
}

for tls in tcp posix,sysv,cma,self default; do
	suite $tls
	for n in 2 3 8; do
		[ $n != 8 ] || [ $tls != default ] || continue
		for c in all_reduce reduce_scatter all_gather broadcast reduce gather scatter all_to_all barrier sendrecv; do
			perf $tls $n $c
		done
	done
	killed $tls
done

says "transports that UCX does not have are a reason, in words" 'no transport of "ucx" can run here \(ucx: UCX .*UCX_TLS' \
	env UCX_TLS=nonsense "$tutti" perf --ranks 2 all_reduce -b 8 -n 1 --transport ucx
succeeds "and the next transport is taken" env UCX_TLS=nonsense "$tutti" perf --ranks 2 all_reduce -b 8 -n 1 --transport ucx,tcp
"$tutti" info --transports >"$tap_dir/log" 2>&1 && grep -Eq '^ +UCX [0-9.]+: .*tcp/' "$tap_dir/log"
ok $? "info says what UCX has"

tap_done
