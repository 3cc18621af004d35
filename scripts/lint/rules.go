//go:build ruleguard

// Package lint holds rules of this project that no linter has. golangci-lint reads it (gocritic, ruleguard).
package lint

import "github.com/quasilyte/go-ruleguard/dsl"

// abilities keeps every question of the engine after an ability of an end in one file: one that is
// asked elsewhere would be switched off in silence when the ability is renamed.
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
