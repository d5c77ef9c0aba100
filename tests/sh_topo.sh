#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Topologies of tests/topo: every description (text, or hwloc's XML of a machine) has beside it what tutti info --topology must say. And how mistakes in
# files are told.

. "$top_srcdir/tests/tap.sh"

tutti="$top_builddir/tutti"
data="$top_srcdir/tests/topo"

is_xml()
{
	! command -v python3 >/dev/null || python3 -c 'import sys, xml.dom.minidom as m; m.parse(sys.argv[1])' "$1"
}

n=0
for f in "$data"/*.topo "$data"/*.xml; do
	name=$(basename "$f")
	"$tutti" info --topology --of "$f" >"$tap_dir/got" 2>&1 && diff -u "$data/$name.txt" "$tap_dir/got" >"$tap_dir/log" 2>&1
	ok $? "$name"
	# a drawing is XML, shows the NICs' names that the text has, and is no larger for thousands
	names=$(sed -n 's/^ *\([0-9]* x \)\{0,1\}nic \([^(]*\).*/\2/p' "$tap_dir/got" | tr ', ' '\n\n' | grep .)
	"$tutti" info --svg --of "$f" >"$tap_dir/svg" 2>"$tap_dir/log" && is_xml "$tap_dir/svg" 2>>"$tap_dir/log" &&
		[ "$(wc -c <"$tap_dir/svg")" -lt 60000 ] && grep -q '^<rect x' "$tap_dir/svg"
	drawn=$?
	for w in $names; do
		grep -q ">$w<" "$tap_dir/svg" || drawn=1
	done
	[ $drawn -eq 0 ]
	ok $? "$name as a drawing"
	n=$((n + 1))
done
[ $n -ge 8 ]
ok $? "there were descriptions"

cp "$data/uneven.topo" "$tap_dir/plain"
"$tutti" info --topology --of "@$tap_dir/plain" >"$tap_dir/got" 2>&1 && diff -u "$data/uneven.topo.txt" "$tap_dir/got" >"$tap_dir/log" 2>&1
ok $? "@FILE may have any name"
"$tutti" info --topology --of "$data/container.xml" --ranks 5 >"$tap_dir/log" 2>&1 && grep -q '^        core: ranks 0,2,4$' "$tap_dir/log" && grep -q '^        core: ranks 1,3$' "$tap_dir/log"
ok $? "--ranks are put on the cores in turn"
TUTTI_TOPOLOGY="node:3 rank:2" "$tutti" info --topology >"$tap_dir/log" 2>&1 && grep -q '^  3 x node: ranks 0-1, 2-3, 4-5$' "$tap_dir/log"
ok $? "TUTTI_TOPOLOGY is shown when nothing else is asked for"
TUTTI_TOPOLOGY="node:3 rank:2" "$tutti" info --topology --of rank:7 >"$tap_dir/log" 2>&1 && grep -q '^  7 x rank: 0-6$' "$tap_dir/log"
ok $? "but --of wins"
"$tutti" info --topology >"$tap_dir/log" 2>&1 && grep -q "^  node .*: ranks 0" "$tap_dir/log"
ok $? "this machine has one node"
if command -v taskset >/dev/null; then
	cpu=$(taskset -cp $$ | sed 's/.*: //; s/[-,].*//')
	taskset -c "$cpu" "$tutti" info --topology >"$tap_dir/log" 2>&1 && grep -q '^fabric: ranks 0$' "$tap_dir/log"
	ok $? "a process bound to one processor has one core"
else
	skip "a process bound to one processor has one core" "no taskset"
fi

# -- mistakes: exit status 2, and a sentence with the place

# refuses NAME WORDS ARG...
refuses()
{
	name=$1 pattern=$2
	shift 2
	timeout 60 "$tutti" info "$@" >"$tap_dir/log" 2>&1
	status=$?
	echo "exit status $status, expected 2 and: $pattern" >>"$tap_dir/log"
	[ $status -eq 2 ] && sed '$d' "$tap_dir/log" | grep -Eq -e "$pattern"
	ok $? "$name"
}

refuses "a bad text" '^tutti info: topology, column 1: expected switch, node, .* got "nodes:3"$' --topology --of nodes:3
printf '# one\nnode:2\n  rank:x\n' >"$tap_dir/bad.topo"
refuses "a bad file" '/bad\.topo:3, column 8: expected a count of 1\.\.1048576, got "x"$' --topology --of "$tap_dir/bad.topo"
refuses "a file that is not there" "cannot read /nowhere/x: No such file" --svg --of /nowhere/x
refuses "a folder" "cannot read .*: Is a directory" --svg --of "$tap_dir/"
printf '<topology>\n' >"$tap_dir/bad.xml"
refuses "bad XML" "/bad\.xml: expected hwloc's XML of a machine" --topology --of "$tap_dir/bad.xml"
printf 'node:2\0rank:1\n' >"$tap_dir/zero.topo"
refuses "zeros in a file" "/zero\.topo: expected text" --topology --of "$tap_dir/zero.topo"
refuses "another number of ranks" 'topology node:2 rank:2: expected 3 ranks, got 4' --topology --of "node:2 rank:2" --ranks 3
refuses "--of alone" '\-\-of: expected --topology or --svg, too' --of rank:2
refuses "a drawing beside words" '\-\-svg: expected nothing else' --svg --config
TUTTI_TOPOLOGY="node:3" says "a bad TUTTI_TOPOLOGY" 'topology, column 7: expected package' "$tutti" info --topology

tap_done
