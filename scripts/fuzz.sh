#!/bin/sh
# fuzz.sh COUNT: gives every fuzz target that many inputs, such as 20000x. A count and no time, for a target that is busy
# making an input smaller when its time is up fails with "context deadline exceeded"; so that is left out too.
set -eu
count=$1
grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u | while read -r dir; do
	for target in $(grep -ho '^func Fuzz[A-Za-z0-9_]*' "$dir"/*_test.go | sed 's/func //'); do
		echo "== $dir $target"
		go test -run '^$' -fuzz "^$target\$" -fuzztime "$count" -fuzzminimizetime 1x "$dir"
	done
done
