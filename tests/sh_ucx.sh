#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# The ucx transport over what UCX has on every machine, shared memory and TCP: the transports' behaviour suite, every collective, training,
# ranks that die, stop or crash, ucx beside shm, and words where it cannot run. UCX's own lines must not appear.

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

# suite TLS OPTION...
suite()
{
	tls=$1
	shift
	over "$tls" timeout 300 "$top_builddir/tests/ucx" --jobs 2 "$@" >"$tap_dir/log" 2>&1 && quiet "$tap_dir/log" &&
		grep -Eq 'Tested: ([2-9][0-9]|[1-9][0-9][0-9]) ' "$tap_dir/log"
	ok $? "the behaviour suite and the faults, UCX_TLS=$tls $*"
}

# perf TLS RANKS COLLECTIVE OPTION...: every element is right
perf()
{
	checked=OK
	[ "$3" != barrier ] || checked='(not checked)'
	tls=$1 n=$2 c=$3
	shift 3
	over "$tls" timeout 120 "$tutti" perf --ranks "$n" "$c" -b 4 -e 700k -f 417 -n 2 -w 1 -r -1 --transport ucx "$@" >"$out" 2>"$tap_dir/log"
	status=$?
	cat "$out" >>"$tap_dir/log"
	echo "exit status $status" >>"$tap_dir/log"
	[ $status -eq 0 ] && quiet "$tap_dir/log" && grep -qx "# Wrong elements *: 0 $checked" "$out"
	ok $? "$c, $n ranks, UCX_TLS=$tls $*"
}

# job TLS RANKS SIGNAL: a job that never ends, whose last rank gets the signal in the middle
job()
{
	rm -f "$tap_dir"/pid.*
	over "$1" timeout 60 "$tutti" run --keep-going -n "$2" -- sh -c 'echo $$ >"$1/pid.$RANK"; exec "$2" perf all_reduce -b 1M -e 1M -n 1000000 --transport ucx' \
		sh "$tap_dir" "$tutti" >"$tap_dir/log" 2>&1 &
	launcher=$!
	sleep 3
	kill "-$3" "$(cat "$tap_dir/pid.$(($2 - 1))")"
	[ "$3" != STOP ] || { sleep 8; kill -CONT "$(cat "$tap_dir/pid.$(($2 - 1))")"; }
	wait $launcher
	status=$?
	echo "exit status $status" >>"$tap_dir/log"
	[ $status -ne 0 ] && [ $status -ne 124 ] && quiet "$tap_dir/log"
}

faults()
{
	job "$1" 3 KILL && grep -q 'rank 0: .*rank 2' "$tap_dir/log" && grep -q 'rank 1: .*rank 2' "$tap_dir/log"
	ok $? "a killed rank is an error on every other, UCX_TLS=$1"
	ASAN_OPTIONS="$ASAN_OPTIONS:handle_segv=0" job "$1" 2 SEGV && ! grep -Eqi 'caught signal|backtrace' "$tap_dir/log" && grep -q 'rank 0: .*rank 1' "$tap_dir/log"
	ok $? "a rank that crashes does it without words of UCX, UCX_TLS=$1"
	TUTTI_TIMEOUT=3s job "$1" 2 STOP && grep -q 'rank 0: .*no end after 3.0 s (TUTTI_TIMEOUT); it waited for rank 1' "$tap_dir/log"
	ok $? "a rank that is stopped is waited for no longer than TUTTI_TIMEOUT, UCX_TLS=$1"
}

training()
{
	over "$1" timeout 120 "$tutti" run -n 3 -- env TUTTI_TRANSPORT=ucx "$train" $short --compare "$tap_dir/one" >"$tap_dir/log" 2>&1 && quiet "$tap_dir/log"
	ok $? "three ranks train the model that one rank trains, UCX_TLS=$1"
}

# The last message of a job is followed by nothing that would move it.
short_jobs()
{
	n=0
	while [ $n -lt 60 ] && over "$1" timeout 20 "$tutti" perf --ranks 2 barrier -n 5 -w 0 --transport ucx >"$tap_dir/log" 2>&1; do
		n=$((n + 1))
	done
	[ $n -eq 60 ]
	ok $? "60 short jobs end, UCX_TLS=$1"
}

# by NAME PATTERN COUNT COMMAND...: it succeeds, and says COUNT times by which transport
by()
{
	name=$1 pattern=$2 count=$3
	shift 3
	timeout 120 "$@" >"$tap_dir/log" 2>&1
	status=$?
	echo "exit status $status, expected $count times: $pattern" >>"$tap_dir/log"
	[ $status -eq 0 ] && quiet "$tap_dir/log" && [ "$(sed '$d' "$tap_dir/log" | grep -Ec -e "$pattern")" -eq "$count" ]
	ok $? "$name"
}

train="$top_builddir/examples/train_charlm" short="--text $tap_dir/text --steps 2 --batch 12 --report 2"
cat "$top_srcdir"/src/*/*.[ch] "$top_srcdir"/tools/*.[ch] >"$tap_dir/text"
# shellcheck disable=SC2086
succeeds "one rank trains" "$train" $short --save "$tap_dir/one"

for tls in tcp posix,sysv,cma,self default; do
	suite $tls
	for c in all_reduce reduce_scatter all_gather broadcast reduce gather scatter all_to_all barrier sendrecv; do
		perf $tls 2 $c
		perf $tls 3 $c
		perf $tls 8 $c
	done
	for n in 4 5 6 7; do
		perf $tls $n all_reduce
		perf $tls $n all_to_all
	done
	perf $tls 2 all_reduce --memory private
	training $tls
	faults $tls
	short_jobs $tls
done

TUTTI_UCX_WAKEUP=0
export TUTTI_UCX_WAKEUP
suite default --filter '*/!(a_rank_that_waits_in_vain_sleeps)'
perf default 3 all_reduce
unset TUTTI_UCX_WAKEUP

# Two transports in one communicator, and every wait a sleep on both.
# shellcheck disable=SC2016
mixed='TUTTI_NODE=node$((RANK / 2)) exec "$@"'
TUTTI_SPIN=0 TUTTI_YIELDS=0 by "ucx between two machines, shm within each" '^# rank (1: shm|[23]: ucx)' 3 \
	"$tutti" run -n 4 -- sh -c "$mixed" sh "$tutti" perf all_to_all -b 4 -e 700k -f 417 -n 3 -w 1 -c 1 --transport shm,ucx
by "what leads to no other machine is not tried there: the next transport" '^# rank 1: tcp' 1 env UCX_TLS=posix,sysv,cma \
	"$tutti" run -n 2 -- sh -c 'TUTTI_NODE=node$RANK exec "$@"' sh "$tutti" perf all_reduce -b 8 -n 1 --transport ucx,tcp
says "and none is an error, in words" 'no transport reaches rank [01] from rank [01]: another machine, and this end has nothing in UCX that leads there' \
	env UCX_TLS=posix,sysv,cma "$tutti" run -n 2 -- sh -c 'TUTTI_NODE=node$RANK exec "$@"' sh "$tutti" perf all_reduce -b 8 -n 1 --transport ucx
says "transports that UCX does not have are a reason, in words" 'no transport of "ucx" can run here \(ucx: UCX .*UCX_TLS' \
	env UCX_TLS=nonsense "$tutti" perf --ranks 2 all_reduce -b 8 -n 1 --transport ucx
succeeds "and the next transport is taken" env UCX_TLS=nonsense "$tutti" perf --ranks 2 all_reduce -b 8 -n 1 --transport ucx,tcp
says "one that leads to nobody is an error, in words" 'no transport of UCX_TLS leads to it' \
	env UCX_TLS=self "$tutti" perf --ranks 2 all_reduce -b 8 -n 1 --transport ucx
by "describe says what UCX has chosen" '^# rank 1: ucx 1\.[0-9.]+, tcp/' 1 env UCX_TLS=tcp "$tutti" perf --ranks 2 all_reduce -b 8 -n 1 --transport ucx
by "info says what UCX has" '^ +UCX [0-9.]+: .*tcp/' 1 "$tutti" info --transports
by "and what cannot wake a sleeper" '^ +not used, for they cannot wake a sleeper: self/memory0 \(TUTTI_UCX_WAKEUP=0 uses them\)$' 1 env UCX_TLS=self,tcp "$tutti" info --transports
by "or that it is used" 'cannot wake' 0 env UCX_TLS=self,tcp TUTTI_UCX_WAKEUP=0 "$tutti" info --transports

tap_done
