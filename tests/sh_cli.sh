#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# The tutti command: help, version, man page, information, and what it says to mistakes.

. "$top_srcdir/tests/tap.sh"

tutti="$top_builddir/tutti"

# exits STATUS NAME PATTERN COMMAND...: with exactly this status, and a line that matches
exits()
{
	want=$1 name=$2 pattern=$3
	shift 3
	timeout 60 "$@" >"$tap_dir/log" 2>&1
	status=$?
	echo "exit status $status, expected $want and: $pattern" >>"$tap_dir/log"
	[ $status -eq "$want" ] && sed '$d' "$tap_dir/log" | grep -Eq -e "$pattern"
	ok $? "$name"
}

commands=$("$tutti" --help | sed -n 's/^  \([a-z]*\) .*/\1/p')
[ "$(echo "$commands" | grep -Ecx 'run|perf|info|plan')" -eq 4 ]
ok $? "--help lists the commands"
for c in $commands; do
	exits 0 "tutti help $c" "^usage: tutti $c " "$tutti" help "$c"
	exits 0 "tutti $c --help" "^usage: tutti $c " "$tutti" "$c" --help
done
exits 0 "--help behind other options" "^usage: tutti run " "$tutti" run -n 2 --help
exits 0 "--version" '^tutti [0-9]+\.[0-9]+\.[0-9]+$' "$tutti" --version
exits 2 "no command at all" "^usage: tutti COMMAND" "$tutti"
exits 2 "an unknown command" 'unknown command "rnu"; did you mean run\?' "$tutti" rnu
exits 2 "a command that is like none" 'unknown command "orchestra"$' "$tutti" orchestra
exits 2 "help for an unknown command" 'unknown command "prf"; did you mean perf\?' "$tutti" help prf
exits 2 "a command of any length" 'unknown command "a+"$' "$tutti" "$(head -c 5000 /dev/zero | tr '\0' a)"
exits 1 "a full disk is noticed" "standard output: No space left" sh -c "'$tutti' info --config >/dev/full"

# -- the man page

"$tutti" --man >"$tap_dir/tutti.1"
LC_ALL=C.UTF-8 MANWIDTH=80 man --warnings -l "$tap_dir/tutti.1" >"$tap_dir/page" 2>"$tap_dir/log"
[ $? -eq 0 ] && [ ! -s "$tap_dir/log" ]
ok $? "the man page has no warnings"
for c in $commands; do
	grep -q "tutti $c - " "$tap_dir/page"
	ok $? "it explains $c"
	missing=
	for option in $("$tutti" help "$c" | sed -n 's/^  [ -].*\(--[a-z_-]*\).*/\1/p'); do
		grep -q -e "$option" "$tap_dir/page" || missing="$missing $option"
	done
	echo "missing:$missing" >"$tap_dir/log"
	[ -z "$missing" ]
	ok $? "with all its options"
done
missing=
for v in $("$tutti" info --config | sed -n 's/^\(TUTTI_[A-Z_]*\) .*/\1/p'); do
	grep -q "$v" "$tap_dir/page" || missing="$missing $v"
done
echo "missing:$missing" >"$tap_dir/log"
[ -z "$missing" ]
ok $? "and all variables"

# -- information

exits 0 "info shows a default" '^TUTTI_TIMEOUT += 30min +\(default\)' "$tutti" info --config
exits 0 "and a value of the environment" '^TUTTI_TIMEOUT += 5s +\(environment; default 30min\)' env TUTTI_TIMEOUT=5s "$tutti" info --config
exits 0 "but never the key" '^TUTTI_SECRET += \(set\)' env TUTTI_SECRET=sesame "$tutti" info --config
exits 1 "bad values are shown" '^bad value: TUTTI_TIMEOUT: expected a time .* got "soon"' env TUTTI_TIMEOUT=soon TUTTI_CHANNELS=x "$tutti" info --config
exits 1 "all of them" '^bad value: TUTTI_CHANNELS: expected an integer .* got "x"' env TUTTI_TIMEOUT=soon TUTTI_CHANNELS=x "$tutti" info --config
exits 1 "transports need a good configuration" 'TUTTI_TIMEOUT: expected a time' env TUTTI_TIMEOUT=soon "$tutti" info --transports
exits 1 "a transport's bad value is an error, not a reason to leave it out" 'TUTTI_SHM_SLOT: expected 4096\.\.[0-9]+ bytes, got 1' \
	env TUTTI_SHM_SLOT=1 "$tutti" perf --ranks 2 all_reduce -b 8 -n 1
exits 1 "no transport: the last one's reason is told" 'no transport of "tcp" can run here \(tcp: .*eth77' env TUTTI_IFACE=eth77 "$tutti" perf --ranks 2 all_reduce -b 8 -n 1 --transport tcp
exits 0 "a module that is not there has a reason" 'cannot run here: its module is not installed: there is no tutti_verbs\.so in /nowhere' \
	env TUTTI_MODULES=/nowhere "$tutti" info --transports
for t in loop shm verbs ucx tcp; do
	exits 0 "info knows transport $t" "^$t " "$tutti" info --transports
done
exits 0 "info shows kernels" '^kernels (baseline|avx2|avx512)$' "$tutti" info --version
exits 0 "which can be chosen" '^kernels baseline$' env TUTTI_ISA=baseline "$tutti" info --version
exits 0 "info shows the algorithms" '^  all_reduce .*ring' "$tutti" info --version
exits 0 "info shows where ranks are" '^fabric: ranks 0' "$tutti" info --topology
exits 0 "and draws it" '^<svg xmlns=' "$tutti" info --svg --of "node:2 rank:4"
exits 2 "a bad topology is told with the column" 'topology, column 13: expected a count of 1\.\.1048576, got "four"' "$tutti" info --topology --of "node:2 rank:four"
exits 2 "info takes options only" 'expected options only, got "shm"' "$tutti" info shm

tap_done
