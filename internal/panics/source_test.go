package panics

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// exempt is the folders and files that may start goroutines without this package, with the reason.
var exempt = map[string]string{
	"bench":           "measures the programs from outside",
	"chaos":           "runs the programs from outside",
	"internal/panics": "starts them for all others",
	// Tests call it, and handle the goroutines that they start.
	"internal/transfertest": "is part of tests",
	// It shares no package with the client but fsx.
	"internal/sandbox": "runs no job",
	// Its WaitGroup counts open bodies and starts nothing.
	"internal/transport/closewait.go": "starts no goroutine",
}

// TestNoOtherGoroutines refuses code that starts goroutines without this package: go statements,
// errgroups, WaitGroups, which have a Go method, and AfterFunc callbacks that Func does not guard.
func TestNoOtherGoroutines(t *testing.T) {
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if _, ok := exempt[rel]; ok {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if d.IsDir() && strings.HasPrefix(d.Name(), ".") && rel != "." {
			return fs.SkipDir
		}
		if filepath.Ext(rel) != ".go" || strings.HasSuffix(rel, "_test.go") {
			return nil
		}
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, found := range unguarded(file) {
			t.Errorf("%s: start goroutines by internal/panics", fset.Position(found.Pos()))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestEachUnguardedStartIsFound: each refused way of starting a goroutine is found.
func TestEachUnguardedStartIsFound(t *testing.T) {
	for source, want := range map[string]int{
		`func f() { go f() }`:                                                      1,
		`func f() { var wg sync.WaitGroup; wg.Go(f) }`:                             1,
		`type t struct { sync.WaitGroup }`:                                         1,
		`func f() { g, _ := errgroup.WithContext(nil); g.Go(nil) }`:                1,
		`func f() { time.AfterFunc(1, f); context.AfterFunc(nil, f) }`:             2,
		`func f() { time.AfterFunc(1, panics.Func(f, g)); panics.Go(f, g)() }`:     0,
		`func f() { panics.NewGroup().Go(nil); var mu sync.Mutex; mu.Lock() }`:     0,
		`func f() { x := func() { go f() }; x(); defer func() { go f() }() }`:      2,
		`func f() { context.AfterFunc(nil, func() { panics.Func(f, g)() }) }`:      1,
		`var stop = context.AfterFunc(nil, wrap(panics.Func(f, g)))`:               1,
		`func f() { stop := context.AfterFunc; stop(nil, f) }`:                     1,
		`func f() { s.AfterFunc(f) } // of no timer: an unrelated method`:          0,
		`import "golang.org/x/sync/errgroup"; func f() { new(errgroup.Group) }`:    2,
		`import g "golang.org/x/sync/errgroup"`:                                    1,
		`import "golang.org/x/sync/semaphore"; var s = semaphore.NewWeighted(100)`: 0,
	} {
		file, err := parser.ParseFile(token.NewFileSet(), "", "package p\n"+source, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		if got := len(unguarded(file)); got != want {
			t.Errorf("%s: got %d places, want %d", source, got, want)
		}
	}
}

// unguarded is the nodes that start, or could start, goroutines without this package.
func unguarded(file *ast.File) (found []ast.Node) {
	var guarded []ast.Node // AfterFuncs whose callback Func guards
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			found = append(found, n)
		case *ast.ImportSpec:
			if n.Path.Value == `"golang.org/x/sync/errgroup"` {
				found = append(found, n)
			}
		case *ast.CallExpr:
			if isOf(n.Fun, "AfterFunc", "time", "context") && len(n.Args) == 2 {
				if call, ok := n.Args[1].(*ast.CallExpr); ok && isOf(call.Fun, "Func", "panics") {
					guarded = append(guarded, n.Fun)
				}
			}
		case *ast.SelectorExpr:
			refused := isOf(n, "AfterFunc", "time", "context") || isOf(n, "WaitGroup", "sync") ||
				isOf(n, "Group", "errgroup") || isOf(n, "WithContext", "errgroup")
			if refused && !slices.Contains(guarded, ast.Node(n)) {
				found = append(found, n)
			}
		}
		return true
	})
	return found
}

// isOf reports whether e is the given name of one of the packages.
func isOf(e ast.Node, name string, packages ...string) bool {
	s, ok := e.(*ast.SelectorExpr)
	if !ok || s.Sel.Name != name {
		return false
	}
	x, ok := s.X.(*ast.Ident)
	return ok && slices.Contains(packages, x.Name)
}
