#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# `tutti run` as users see it: what ranks are given, how a job ends, and that nothing is left behind.

. "$top_srcdir/tests/tap.sh"

tutti="$top_builddir/tutti"
log="$tap_dir/log" out="$tap_dir/out" err="$tap_dir/err"

# exits STATUS NAME COMMAND...: with exactly this status; leaves its output in $out and $err
exits()
{
	want=$1 name=$2
	shift 2
	timeout 60 "$@" >"$out" 2>"$err"
	status=$?
	{ echo "exit status $status, expected $want"; cat "$err"; } >"$log"
	[ "$status" -eq "$want" ]
	ok $? "$name"
}

# holds NAME FILE PATTERN: a whole line matches
holds()
{
	cp "$2" "$log"
	grep -Eqx -e "$3" "$2"
	ok $? "$1"
}

# soon COMMAND...: true within 10 seconds
soon()
{
	tries=0
	until "$@"; do
		tries=$((tries + 1))
		[ $tries -lt 200 ] || return 1
		sleep 0.05
	done
}

gone()
{
	! kill -0 "$1" 2>/dev/null
}

# every process whose id a rank wrote into $tap_dir/pids.*
all_gone()
{
	for pid in $(cat "$tap_dir"/pids.*); do
		gone "$pid" || return 1
	done
}

have_lines()
{
	[ "$(cat "$tap_dir"/pids.* 2>/dev/null | wc -l)" -ge "$1" ]
}

# -- what ranks are given

exits 0 "four ranks run" "$tutti" run -n 4 -- sh -c 'echo "$RANK $WORLD_SIZE $LOCAL_RANK $LOCAL_WORLD_SIZE $GROUP_RANK"'
for r in 0 1 2 3; do
	holds "rank $r has torchrun's variables" "$out" "$r 4 $r 4 0"
done

exits 0 "ports and key are given" "$tutti" run -n 3 -- sh -c 'echo "$MASTER_ADDR $MASTER_PORT $TUTTI_ROOT $TUTTI_SECRET"'
holds "in their form" "$out" '127\.0\.0\.1 [0-9]+ 127\.0\.0\.1:[0-9]+ [0-9a-f]{64}'
[ "$(sort -u "$out" | wc -l)" -eq 1 ]
ok $? "equal for all ranks"
first=$(head -n 1 "$out")
"$tutti" run -n 1 -- sh -c 'echo "$MASTER_ADDR $MASTER_PORT $TUTTI_ROOT $TUTTI_SECRET"' >"$out"
[ "${first##* }" != "$(sed 's/.* //' "$out")" ]
ok $? "another job has another key"

exits 0 "an outer job's variables do not leak in" env TUTTI_RANK=7 TUTTI_SIZE=9 TUTTI_SECRET_FILE=/nowhere RANK=7 \
	"$tutti" run -n 1 -- sh -c 'echo "$RANK ${TUTTI_RANK-none} ${TUTTI_SIZE-none} ${TUTTI_SECRET_FILE-none}"'
holds "but are replaced or gone" "$out" "0 none none none"

echo typed | "$tutti" run -n 3 -- sh -c 'read -r line; echo "$RANK got <$line>"' >"$out"
holds "rank 0 reads the standard input" "$out" "0 got <typed>"
holds "the others read nothing" "$out" "2 got <>"

# -- output

exits 0 "streams are told apart" "$tutti" run -n 2 -- sh -c 'echo "out $RANK"; echo "err $RANK" >&2'
holds "stdout goes to stdout" "$out" "out 1"
holds "stderr goes to stderr" "$err" "err 1"
exits 0 "labels are asked for" "$tutti" run -l -n 2 -- sh -c 'echo "out $RANK"; echo "err $RANK" >&2'
holds "and stand in front of stdout" "$out" "\[1\] out 1"
holds "and of stderr" "$err" "\[0\] err 0"
exits 0 "a last line without an end" "$tutti" run -n 2 -- sh -c 'printf "open %s" "$RANK"'
[ "$(sort "$out" | tr '\n' ' ')" = "open 0 open 1 " ]
ok $? "does not run into another rank's"

exits 0 "8 ranks that print much" "$tutti" run -n 8 -- sh -c 'i=0; while [ $i -lt 2000 ]; do echo "$RANK $i ....................................... end"; i=$((i + 1)); done'
awk '$4 != "end" || NF != 4 || $2 != next_of[$1]++ { exit 1 } END { exit NR != 16000 }' "$out"
ok $? "every line is whole, and in its rank's order"

exits 0 "a line longer than any buffer" "$tutti" run -n 2 -- sh -c 'head -c 200000 /dev/zero | tr "\0" "$RANK"; echo'
[ "$(tr -d '\n' <"$out" | wc -c)" -eq 400000 ] && ! grep -q '0.*1\|1.*0' "$out"
ok $? "is broken, not cut, and not mixed with others"
exits 0 "one rank's bytes" "$tutti" run -n 1 -- sh -c 'head -c 200000 /dev/zero; printf end'
[ "$(wc -c <"$out")" -eq 200003 ]
ok $? "are passed on as they are"
timeout 60 "$tutti" run -n 2 -- yes 2>"$err" | head -n 1 >"$out"
holds "a reader that leaves ends the ranks" "$err" "tutti run: rank [01] \(pid [0-9]+\) was killed by signal 13 .*"

exits 0 "no standard input, output or error at all" sh -c 'exec "$@" <&- >&- 2>&-' sh "$tutti" run -n 2 -- sh -c 'echo x; echo y >&2; exec cat'
exits 0 "more pipes than the limit of descriptors" sh -c 'ulimit -S -n 64 && exec "$@"' sh "$tutti" run -n 100 -- sh -c 'ulimit -S -n'
[ "$(grep -cx 64 "$out")" -eq 100 ]
ok $? "which the ranks keep"

# -- how a job ends

exits 7 "the first failing rank's status is the job's" "$tutti" run -n 4 -- sh -c '[ "$RANK" != 2 ] || exit 7; exec sleep 60'
holds "it is said which rank and how" "$err" "tutti run: rank 2 \(pid [0-9]+\) exited with status 7; ending the other 3"
exits 137 "128 + the signal that killed a rank" "$tutti" run -n 4 -- sh -c '[ "$RANK" != 1 ] || kill -9 $$; exec sleep 60'
holds "it is said which signal" "$err" "tutti run: rank 1 \(pid [0-9]+\) was killed by signal 9 \(Killed\); ending the other 3"
exits 3 "ranks that ignore SIGTERM are killed" "$tutti" run -n 3 -- sh -c 'trap "" TERM; [ "$RANK" != 0 ] || { sleep 0.3; exit 3; }; while :; do sleep 1; done'
exits 3 "so are stopped ones" "$tutti" run -n 2 -- sh -c '[ "$RANK" != 0 ] || { sleep 0.3; exit 3; }; kill -STOP $$'
exits 1 "--keep-going reports every failure" "$tutti" run --keep-going -n 3 -- sh -c 'sleep 0.$((RANK * 3)); echo "rank $RANK done"; exit "$RANK"'
holds "and leaves the others alone" "$out" "rank 2 done"
holds "and counts them" "$err" "tutti run: 2 of 3 ranks failed"
exits 124 "--timeout ends the job" "$tutti" run --timeout 300ms -n 2 -- sleep 60
holds "and says so" "$err" "tutti run: not done after 300 ms; ending 2 ranks"
exits 127 "a program that is not there" "$tutti" run -n 2 -- "$tap_dir/nowhere"
holds "is named" "$err" "tutti run: cannot run \"$tap_dir/nowhere\": No such file or directory"
exits 126 "a program that cannot be run" "$tutti" run -n 2 -- "$tap_dir"

# -- signals

passes()
{
	rm -f "$tap_dir"/pids.*
	# $$ inside is the rank's; the launcher is $launcher
	"$tutti" run -n 2 -- sh -c 'trap "echo got '"$1"'; exit 0" '"$1"'; echo $$ >"$1/pids.$RANK"; while :; do sleep 0.05; done' sh "$tap_dir" >"$out" 2>"$err" &
	launcher=$!
	soon have_lines 2
	kill -s "$1" $launcher
	wait $launcher
	[ $? -eq 0 ] && [ "$(grep -c "got $1" "$out")" -eq 2 ]
	ok $? "SIG$1 is passed on to every rank"
}

passes TERM
passes HUP
passes USR1
passes USR2
# a shell gives its background jobs an ignored SIGINT
rm -f "$tap_dir"/pids.*
env --default-signal=INT "$tutti" run -n 2 -- sh -c 'echo $$ >"$1/pids.$RANK"; exec sleep 60' sh "$tap_dir" >"$out" 2>"$err" &
launcher=$!
soon have_lines 2
kill -s INT $launcher
wait $launcher
[ $? -eq 130 ] && all_gone
ok $? "SIGINT ends the job"

# nobody reads what the ranks print: the pipe is full, and stays so
stuck()
{
	rm -f "$tap_dir"/pids.* "$tap_dir/fifo"
	mkfifo "$tap_dir/fifo"
	tail -f /dev/null <"$tap_dir/fifo" &
	reader=$!
	"$tutti" run -n 2 -- sh -c 'echo $$ >"$1/pids.$RANK"; '"$1" sh "$tap_dir" >"$tap_dir/fifo" 2>"$err" &
	launcher=$!
	soon have_lines 2
	sleep 0.3
}

stuck 'exec yes'
kill -s TERM $launcher
wait $launcher
[ $? -eq 143 ] && all_gone && kill $reader
ok $? "SIGTERM ends a job whose output is stuck"
stuck '[ "$RANK" = 1 ] || { sleep 0.2; exit 3; }; exec yes'
soon all_gone
ok $? "so does a rank that fails"
kill $reader
wait $launcher
[ $? -eq 3 ]
ok $? "and its status is the job's"

# -- nothing is left behind

leave='sleep 300 & echo $! >"$1/pids.$RANK"; echo $$ >>"$1/pids.$RANK"'
rm -f "$tap_dir"/pids.*
exits 0 "ranks that leave children" "$tutti" run -n 2 -- sh -c "$leave" sh "$tap_dir"
soon all_gone
ok $? "the children are gone with the job"
rm -f "$tap_dir"/pids.*
"$tutti" run -n 3 -- sh -c "$leave; wait" sh "$tap_dir" >"$out" 2>"$err" &
launcher=$!
soon have_lines 6
ok $? "ranks with children are running"
kill -9 $launcher
wait $launcher 2>/dev/null
soon all_gone
ok $? "kill -9 of the launcher leaves neither ranks nor their children"

# -- bad arguments

while IFS='|' read -r args words; do
	# shellcheck disable=SC2086
	exits 2 "run $args" "$tutti" run $args
	holds "says what is wrong" "$err" "tutti run: $words"
done <<'END'
|how many ranks\? -n N is missing
-n 2|which program\? .*
-n 0 true|--ranks: expected an integer 1\.\.[0-9]+, got "0"
-n -1 true|--ranks: expected an integer .*, got "-1"
-n 2x true|--ranks: expected an integer .*, got "2x"
-n 99999999999999999999 true|--ranks: expected an integer .*, got "9+"
-n|-n: expected an argument, got none
--timeout soon -n 2 true|--timeout: expected a time .*, got "soon"
--nonsense -n 2 true|unknown option --nonsense
--label=3 -n 2 true|--label: expected no argument
-Z -n 2 true|unknown option -Z
END
exits 0 "options behind the program are the program's" "$tutti" run -n 1 echo --help -n
holds "and reach it" "$out" "--help -n"

tap_done
