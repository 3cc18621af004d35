package main

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/transferd/transferd/internal/transfer"
)

var update = flag.Bool("update", false, "write the generated part of docs/cli.md")

const (
	cliPage   = "../../docs/cli.md"
	beginMark = "<!-- Generated from --help by: go test ./cmd/transferctl -run TestDocs -update -->\n"
	endMark   = "<!-- End of the generated part. -->\n"
)

// splitPage returns docs/cli.md before, in and after its generated part.
func splitPage(t *testing.T) (before, generated, after string) {
	t.Helper()
	page, err := os.ReadFile(cliPage)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(page), beginMark)
	generated, after, ok2 := strings.Cut(rest, endMark)
	if !ok || !ok2 {
		t.Fatalf("%s lacks the line %q or %q", cliPage, beginMark, endMark)
	}
	return before, generated, after
}

// TestDocs: the command reference in docs/cli.md is what the programs print for --help. With
// -update the test writes it.
func TestDocs(t *testing.T) {
	before, got, after := splitPage(t)
	want := reference(allHelp(t))
	if *update {
		page := before + beginMark + want + endMark + after
		if err := os.WriteFile(cliPage, []byte(page), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got != want {
		t.Errorf("%s differs from --help: run go test ./cmd/transferctl -run TestDocs -update\n%s", cliPage,
			firstDifference(got, want))
	}
}

func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			return fmt.Sprintf("got  %q\nwant %q", g[i], w[i])
		}
	}
	return fmt.Sprintf("got %d lines, want %d", len(g), len(w))
}

// reference is the command reference: a table of all commands, and a section for each of them.
func reference(all []help) string {
	var b strings.Builder
	fmt.Fprint(&b, "\n| command | |\n| --- | --- |\n")
	for _, h := range all {
		fmt.Fprintf(&b, "| [`%s`](#%s) | %s |\n", h.path, strings.ReplaceAll(h.path, " ", "-"), h.short)
	}
	for _, h := range all {
		fmt.Fprintf(&b, "\n### %s\n\n%s\n", h.path, h.text)
		writeBlock(&b, "", "", h.usage)
		writeBlock(&b, "Examples:", "sh", h.examples)
		writeBlock(&b, "Flags:", "", h.flags)
	}
	b.WriteByte('\n')
	return b.String()
}

func writeBlock(b *strings.Builder, title, language string, lines []string) {
	if len(lines) == 0 {
		return
	}
	if title != "" {
		fmt.Fprintf(b, "\n%s\n", title)
	}
	fmt.Fprintf(b, "\n```%s\n%s\n```\n", language, strings.Join(lines, "\n"))
}

// TestDocsHaveEachExitCode: the table of exit codes in docs/cli.md has those of all error codes,
// and no other.
func TestDocsHaveEachExitCode(t *testing.T) {
	source, err := os.ReadFile("../../internal/transfer/errors.go")
	if err != nil {
		t.Fatal(err)
	}
	want := []int{0}
	for _, m := range regexp.MustCompile(`(?m)^\tCode\w+ +Code = "(\w+)"`).FindAllSubmatch(source, -1) {
		want = append(want, transfer.Code(m[1]).ExitStatus())
	}
	slices.Sort(want)
	want = slices.Compact(want)
	before, _, _ := splitPage(t)
	var got []int
	for _, m := range regexp.MustCompile(`(?m)^\| (\d+) \|`).FindAllStringSubmatch(before, -1) {
		code, err := strconv.Atoi(m[1])
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, code)
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s has the exit codes %v, want %v", cliPage, got, want)
	}
}

// TestDocsHaveEachField: the sections of docs/cli.md on the JSON of jobs, drives, servers and
// accounts name all their fields.
func TestDocsHaveEachField(t *testing.T) {
	before, _, _ := splitPage(t)
	sections := map[string]reflect.Type{
		"The JSON of a job":       reflect.TypeFor[transfer.Job](),
		"The JSON of a migration": reflect.TypeFor[transfer.Migration](),
		"The JSON of a batch":     reflect.TypeFor[transfer.Batch](),
		"The JSON of a drive":     reflect.TypeFor[driveRow](),
		"The JSON of a server":    reflect.TypeFor[serverRow](),
		"The JSON of an account":  reflect.TypeFor[accountReport](),
	}
	others := slices.Collect(maps.Values(sections))
	for title, value := range sections {
		_, section, ok := strings.Cut(before, "\n## "+title+"\n")
		if !ok {
			t.Fatalf("%s has no section %q", cliPage, title)
		}
		section, _, _ = strings.Cut(section, "\n## ")
		for _, name := range jsonNames(value, others) {
			if !strings.Contains(section, "`"+name+"`") {
				t.Errorf("%s: %s does not have the field %s", cliPage, title, name)
			}
		}
	}
}

// jsonNames is the names of the fields of a struct and of the structs in it, without those of others,
// as JSON has them.
func jsonNames(s reflect.Type, others []reflect.Type) (names []string) {
	for field := range s.Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name == "-" {
			continue
		}
		if name != "" {
			names = append(names, name)
		}
		inner := field.Type
		for inner.Kind() == reflect.Pointer || inner.Kind() == reflect.Slice {
			inner = inner.Elem()
		}
		if inner.Kind() == reflect.Struct && inner.PkgPath() == s.PkgPath() && !slices.Contains(others, inner) {
			names = append(names, jsonNames(inner, others)...)
		}
	}
	return names
}
