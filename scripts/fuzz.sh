#!/bin/sh
# fuzz.sh COUNT: runs every fuzz target with COUNT inputs, for example 20000x. It is a count and not a time because a
# target that minimizes an input when its time ends fails with "context deadline exceeded"; minimization is off for the
# same reason. Only the project's own packages are instrumented: to read the counters of all packages, as
# `go test -fuzz` does, takes ten times as long as most targets.
set -eu
count=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cache=$(go env GOCACHE)/fuzz/transferd
grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u | while read -r dir; do
	go test -c -gcflags='github.com/transferd/transferd/...=-d=libfuzzer' -o "$work/fuzz.test" "$dir"
	for target in $(grep -ho '^func Fuzz[A-Za-z0-9_]*' "$dir"/*_test.go | sed 's/func //'); do
		echo "== $dir $target"
		(cd "$dir" && "$work/fuzz.test" -test.run '^$' -test.fuzz "^$target\$" -test.fuzztime "$count" \
			-test.fuzzminimizetime 1x -test.fuzzcachedir "$cache/$dir/")
	done
done
