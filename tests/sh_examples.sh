#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# The examples as users run them: any number of ranks trains the same model, and bad input is refused in words.

. "$top_srcdir/tests/tap.sh"

tutti="$top_builddir/tutti" train="$top_builddir/examples/train_charlm" allreduce="$top_builddir/examples/allreduce"
text="$tap_dir/text" one="$tap_dir/one"
short="--text $text --steps 6 --batch 30 --report 6"

cat "$top_srcdir"/src/*/*.[ch] "$top_srcdir"/tools/*.[ch] "$top_srcdir/LICENSE" >"$text"

succeeds "gradients agree with finite differences" "$train" --self-test

sums()
{
	"$tutti" run -n "$1" -- "$allreduce" >"$tap_dir/log" 2>&1 && [ "$(grep -c "of $1: the sum is $2\$" "$tap_dir/log")" -eq "$1" ]
	ok $? "allreduce, $1 ranks: every rank says $2"
}

sums 1 1
sums 3 6
sums 4 10

# shellcheck disable=SC2086
succeeds "trains with no launcher" "$train" $short --save "$one"
for n in 1 2 3 4; do
	# shellcheck disable=SC2086
	succeeds "$n ranks train the same model" "$tutti" run -n $n -- "$train" $short --compare "$one" --json "$tap_dir/json"
	grep -q "\"ranks\": $n, \"steps\": 6, \"batch\": 30,.*\"heldout_bits\": [1-9]\." "$tap_dir/json" && grep -q '"ranks_equal": true' "$tap_dir/json"
	ok $? "$n ranks: the JSON says so"
	rm -f "$tap_dir/json"
done
# shellcheck disable=SC2086
says "another seed is another model" DIFFERS "$tutti" run -n 2 -- "$train" $short --seed 2 --compare "$one"

: >"$tap_dir/empty"
head -c 1000 "$text" >"$tap_dir/small"
head -c 200000 /dev/zero | tr '\0' '\001' >"$tap_dir/control"
head -c 200000 /dev/zero >"$tap_dir/zeros"
says "a missing text" "nowhere: No such file" "$tutti" run -n 2 -- "$train" --text "$tap_dir/nowhere"
says "a folder as text" "not a regular file" "$train" --text "$tap_dir"
says "an empty text" "empty" "$tutti" run -n 2 -- "$train" --text "$tap_dir/empty"
says "a small text" "expected a text of at least [0-9]+ bytes, it has 1000" "$tutti" run -n 2 -- "$train" --text "$tap_dir/small"
says "zeros as text" "byte 0 is a zero" "$train" --text "$tap_dir/zeros"
says "control characters as text" "200000 of 200000 bytes are control characters" "$train" --text "$tap_dir/control"
says "an unknown option" "unknown option '--stpes'" "$train" --stpes 3
says "a value that is missing" "missing after '--steps'" "$train" --steps
says "a value that is no number" "--steps: expected a number from 1 to [0-9]+, got '1x'" "$train" --steps 1x
says "a batch of fewer samples than ranks" "at least one sample for each of 3 ranks, got 2" "$tutti" run -n 3 -- "$train" --text "$text" --batch 2
says "parameters of something else" "expected [0-9]+ parameters" "$train" --text "$text" --steps 1 --compare "$tap_dir/small"

tap_done
