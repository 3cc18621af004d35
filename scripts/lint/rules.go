//go:build ruleguard

// Package lint has the lint rules of this project, which golangci-lint runs (gocritic, ruleguard).
package lint

import "github.com/quasilyte/go-ruleguard/dsl"

// abilities allows type assertions of sources and sinks to their abilities in one file of the
// engine alone: elsewhere, renaming an ability would switch it off unnoticed.
func abilities(m dsl.Matcher) {
	m.Match(`$_.($t)`, `$_, $_ := $_.($t)`, `$_, $_ = $_.($t)`).
		Where(m.File().PkgPath.Matches(`internal/worker$`) && !m.File().Name.Matches(`^ends\.go$|_test\.go$`) &&
			m["t"].Text.Matches(`^transfer\.`)).
		Report(`resolve abilities in ends.go`)
	m.Match(`ability[$_]($_)`).
		Where(m.File().PkgPath.Matches(`internal/worker$`) && !m.File().Name.Matches(`^ends\.go$|_test\.go$`)).
		Report(`resolve abilities in ends.go`)
	m.Match(`switch $_.(type) { $*_ }`, `switch $_ := $_.(type) { $*_ }`).
		Where(m.File().PkgPath.Matches(`internal/worker$`) && !m.File().Name.Matches(`_test\.go$`)).
		Report(`resolve abilities in ends.go`)
}
