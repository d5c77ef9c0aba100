#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# check_floors.sh [TREE]: every #include of our own headers points down, as the table says. Prints what does not, and fails.

cd "${1:-.}" || exit 1
dirs=
for d in include src transports tools perf examples; do
	[ ! -d "$d" ] || dirs="$dirs $d"
done
# shellcheck disable=SC2086
find $dirs -name '*.[ch]' | sort | xargs awk '
	# floor: the floors it may include besides itself and <tutti/tutti.h>
	BEGIN {
		may["base"] = ""
		may["net"] = "base"
		may["sched"] = "base"
		may["algo"] = "sched"
		may["topo"] = "base"
		may["model"] = "topo sched base"
		may["verify"] = "algo sched base"
		may["exec"] = "boot net sched base"     # boot: a rank that waits listens to the control tree too
		may["plan"] = "model topo algo sched base"
		may["boot"] = "base"
		may["comm"] = "plan exec model verify topo boot net algo sched base"
		may["transports"] = "net base"          # and not each other: see below
		may["tools"] = "perf comm boot plan exec model verify topo net algo sched base"
		may["perf"] = "base"
		may["examples"] = ""
		may["public"] = ""
	}

	function complain(what) { printf "%s:%d: %s\n", FILENAME, FNR, what; bad = 1 }

	# the floor that a path of the tree is on, "" when it is not ours; transports are told apart
	function floor_of(path, part) {
		if (path ~ /^net\/(if|ethernet|route)/) return ""     # the system has a net/ too
		if (path ~ /^(include\/)?tutti\//) return "public"
		sub(/^src\//, "", path)
		split(path, part, "/")
		if (part[1] == "transports") return "transports/" part[2]
		return (part[1] in may) ? part[1] : ""
	}

	/^[ \t]*#[ \t]*include[ \t]*[<"]/ {
		match($0, /[<"][^>"]*/)
		quoted = substr($0, RSTART, 1) == "\""
		path = substr($0, RSTART + 1, RLENGTH - 1)
		folder = FILENAME
		sub(/[^\/]*$/, "", folder)
		if (path ~ /(^|\/)\.\.\//) { complain("includes " path " through .."); next }
		if (quoted && floor_of(path) == "") path = folder path
		to = floor_of(path)
		from = floor_of(FILENAME)
		if (from == "" || to == "" || to == "public" || to == from) next
		base = from
		sub(/\/.*/, "", base)
		if (index(" " may[base] " ", " " to " ") == 0)
			complain(from " must not include " path ": arrows point down only")
	}
	END { exit bad }'
