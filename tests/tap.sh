# SPDX-License-Identifier: Apache-2.0
#
# For shell tests, which start with: . "$top_srcdir/tests/tap.sh"; and end with: tap_done

tap_n=0 tap_failed=0
tap_dir=$(mktemp -d) || exit 1
trap 'rm -rf "$tap_dir"' EXIT
trap 'exit 130' INT TERM

# ok STATUS NAME: the test NAME passed when STATUS is 0; shows $tap_dir/log when not
ok()
{
	tap_n=$((tap_n + 1))
	if [ "$1" -eq 0 ]; then
		echo "ok $tap_n - $2"
	else
		tap_failed=$((tap_failed + 1))
		echo "not ok $tap_n - $2"
		[ ! -f "$tap_dir/log" ] || sed 's/^/# /' "$tap_dir/log"
	fi
	rm -f "$tap_dir/log"
}

# skip NAME WHY
skip()
{
	tap_n=$((tap_n + 1))
	echo "ok $tap_n - $1 # SKIP $2"
}

# succeeds NAME COMMAND...; fails NAME COMMAND...: run it with its output in $tap_dir/log. A crash or a time-out is no way to fail.
succeeds()
{
	tap_name=$1
	shift
	timeout "${TAP_LIMIT:-120}" "$@" >"$tap_dir/log" 2>&1
	ok $? "$tap_name"
}

fails()
{
	tap_name=$1
	shift
	timeout "${TAP_LIMIT:-120}" "$@" >"$tap_dir/log" 2>&1
	tap_status=$?
	echo "exit status $tap_status" >>"$tap_dir/log"
	[ $tap_status -gt 0 ] && [ $tap_status -lt 124 ]
	ok $? "$tap_name"
}

# says NAME PATTERN COMMAND...: fails, and says so in these words (an extended regular expression)
says()
{
	tap_name=$1 tap_pattern=$2
	shift 2
	timeout "${TAP_LIMIT:-120}" "$@" >"$tap_dir/log" 2>&1
	tap_status=$?
	echo "exit status $tap_status, expected words: $tap_pattern" >>"$tap_dir/log"
	[ $tap_status -gt 0 ] && [ $tap_status -lt 124 ] && sed '$d' "$tap_dir/log" | grep -Eq -e "$tap_pattern"
	ok $? "$tap_name"
}

tap_done()
{
	echo "1..$tap_n"
}
