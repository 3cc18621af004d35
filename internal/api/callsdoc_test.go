package api

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestDocCommentsNameEachCallOnce: the doc comment of a typed call names the method and path that
// it sends, so that the table of calls in the docs can be generated from it.
func TestDocCommentsNameEachCallOnce(t *testing.T) {
	// The tests of Drive hold these two.
	want := []string{"GET /drives/UUID/read/OFFSET/SIZE", "POST /drives/UUID/write/OFFSET"}
	for _, section := range [][]sent{
		profileCalls, driveCalls, standardCalls, serverCalls, resourceCalls, groupCalls, billingCalls,
	} {
		for _, c := range section {
			path := strings.NewReplacer(uuid, "UUID", "203.0.113.7", "IP").Replace(c.path)
			want = append(want, c.method+" "+path)
		}
	}
	slices.Sort(want)
	want = slices.Compact(want) // the tests make some calls twice
	got := documentedCalls(t)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

var callForm = regexp.MustCompile(`(GET|POST) (/\S+) \((not in the manual|manual [0-9])`)

// documentedCalls is the calls that doc comments of exported methods name.
func documentedCalls(t *testing.T) (calls []string) {
	t.Helper()
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if !strings.HasSuffix(entry.Name(), ".go") || strings.HasSuffix(entry.Name(), "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), entry.Name(), nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok || !f.Name.IsExported() {
				continue
			}
			text := strings.ReplaceAll(f.Doc.Text(), "\n", " ")
			for _, m := range callForm.FindAllStringSubmatch(text, -1) {
				calls = append(calls, fmt.Sprint(m[1], " ", m[2]))
			}
		}
	}
	return calls
}
