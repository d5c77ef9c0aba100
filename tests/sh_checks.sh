#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# The tree keeps its floors and lengths, and the checks would notice if it did not.

. "$top_srcdir/tests/tap.sh"

floors="$top_srcdir/tests/check_floors.sh" lengths="$top_srcdir/tests/check_lengths.sh"

# tree FILE LINE: a tree of one file
tree()
{
	rm -rf "$tap_dir/tree"
	mkdir -p "$tap_dir/tree/$(dirname "$1")"
	printf '%s\n' "$2" >"$tap_dir/tree/$1"
}

succeeds "every include points down" sh "$floors" "$top_srcdir"

while read -r file include; do
	tree "$file" "#include $include"
	fails "$file must not include $include" sh "$floors" "$tap_dir/tree"
done <<'END'
src/base/a.c <sched/sched.h>
src/base/a.h <net/transport.h>
src/net/a.c <exec/plan.h>
src/sched/a.c <algo/algo.h>
src/sched/a.c "../algo/algo.h"
src/algo/a.c <base/err.h>
src/topo/a.c <sched/sched.h>
src/topo/a.c <net/world.h>
src/algo/a.c <src/comm/comm.h>
src/verify/a.c <exec/plan.h>
src/exec/a.c <verify/verify.h>
src/boot/a.c <comm/comm.h>
transports/shm/a.c <transports/tcp/tcp.h>
transports/shm/a.c <sched/sched.h>
examples/a.c <base/err.h>
examples/x/a.c <base/err.h>
END

while read -r file include; do
	tree "$file" "#include $include"
	succeeds "$file may include $include" sh "$floors" "$tap_dir/tree"
done <<'END'
src/base/a.c <base/err.h>
src/base/a.c <tutti/tutti.h>
src/exec/a.c <net/transport.h>
src/model/a.c <topo/topo.h>
src/algo/a.c <sched/sched.h>
transports/shm/a.c <transports/shm/shm.h>
transports/shm/a.c "shm.h"
transports/shm/a.c <net/transport.h>
src/comm/a.c <boot/boot.h>
examples/a.c "x/x.h"
src/base/a.c <sys/socket.h>
src/base/a.c <net/if.h>
END

succeeds "no function or file is too long" sh "$lengths" "$top_srcdir"

body()
{
	printf 'static int f(void)\n{\n'
	yes '	x++;' | head -n "$1"
	printf '}\n'
}

tree src/base/a.c "$(body 78)"
succeeds "a function of 80 lines is allowed" sh "$lengths" "$tap_dir/tree"
tree src/base/a.c "$(body 79)"
fails "a function of 81 lines is not" sh "$lengths" "$tap_dir/tree"
tree src/base/a.h "$(yes '/* */' | head -n 700)"
succeeds "a file of 700 lines is allowed" sh "$lengths" "$tap_dir/tree"
tree src/base/a.h "$(yes '/* */' | head -n 701)"
fails "a file of 701 lines is not" sh "$lengths" "$tap_dir/tree"

for file in "$top_srcdir"/tests/test_*.c "$top_srcdir"/tests/sh_*.sh "$top_srcdir"/tests/tsan_*.c "$top_srcdir"/tests/fuzz_*.c; do
	[ -e "$file" ] || continue
	file=tests/$(basename "$file")
	grep -Eq "(^|[= ])$(echo "$file" | sed 's/\.c$//')(\.c)?( |\$)" "$top_srcdir/tests/local.mk"
	ok $? "$file is built and run"
done

tap_done
