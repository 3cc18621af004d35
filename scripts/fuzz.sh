#!/bin/sh
# fuzz.sh COUNT: gives every fuzz target that many inputs, such as 20000x. A count and no time, for a target that is busy
# making an input smaller when its time is up fails with "context deadline exceeded"; so that is left out too. Only the
# project's own packages are instrumented: looking through the counters of all others, as `go test -fuzz` does, takes ten
# times as long as most of the targets.
set -eu
count=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cache=$(go env GOCACHE)/fuzz/transferd
grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u | while read -r dir; do
	go test -c -gcflags='github.com/transferd/transferd/...=-d=libfuzzer' -o "$work/fuzz.test" "$dir"
	for target in $(grep -ho '^func Fuzz[A-Za-z0-9_]*' "$dir"/*_test.go | sed 's/func //'); do
		echo "== $dir $target"
		(cd "$dir" && "$work/fuzz.test" -test.run '^$' -test.fuzz "^$target\$" -test.fuzztime "$count" -test.fuzzminimizetime 1x -test.fuzzcachedir "$cache/$dir/")
	done
done
