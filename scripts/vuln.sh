#!/bin/sh
# vuln.sh: fails if the programs call a function with a known vulnerability, in a module or in Go's own library. A newer
# toolchain line in go.mod fixes the latter.
#
# The database is a Go module of a pinned version; VULNDB=latest uses the newest.
set -eu
vulndb=${VULNDB:-v0.0.0-20261105234957-e22db6528018}
govulncheck=golang.org/x/vuln/cmd/govulncheck@v1.9.0

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
osv=$(cd "$dir" && go mod download -json "golang.org/x/vulndb@$vulndb" | jq -r .Dir)/data/osv
test -d "$osv"

# The files that govulncheck reads of a database (https://go.dev/doc/security/vuln/database).
mkdir "$dir/index"
ln -s "$osv" "$dir/ID"
cat "$osv"/*.json | jq -cn '[inputs] | {modified: map(.modified) | max}' >"$dir/index/db.json"
cat "$osv"/*.json | jq -cn '[inputs | {id, modified} + {path: .affected[]?.package.name}] | unique | group_by(.path)
	| map({path: .[0].path, vulns: map({id, modified})})' >"$dir/index/modules.json"

go run "$govulncheck" -db "file://$dir" -format json ./... >"$dir/found.json"
called='select(.finding.trace[0].function) | .finding
	| {osv, module: .trace[0].module, fixed: (.fixed_version // "no version yet")}'
line='"\(.osv) in \(.module), fixed in \(.fixed): https://pkg.go.dev/vuln/\(.osv)"'
jq -nr "[inputs | $called] | unique | .[] | $line" "$dir/found.json"
jq -ne "[inputs | $called] == []" "$dir/found.json" >/dev/null
