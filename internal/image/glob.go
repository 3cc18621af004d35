package image

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/transferd/transferd/internal/transfer"
)

// IsPattern reports whether a path is a pattern: it has one of the characters * ? [.
func IsPattern(path string) bool { return strings.ContainsAny(path, "*?[") }

// Glob returns the names of the files and block devices that match a pattern of filepath.Match,
// sorted. Like a shell it leaves out hidden files, unless the pattern names the dot; it also leaves
// out folders, and the manifests and partial files of downloads. It opens only folders below the
// roots. CodeInvalid: the pattern is malformed, or matches more than limit names. CodeForbidden:
// its folder is outside of the roots.
func (r Roots) Glob(pattern string, limit int) ([]string, error) {
	if _, err := filepath.Match(pattern, ""); err != nil {
		return nil, invalid("match "+pattern, "write * ? or [a-z]; a backslash quotes them", "it is not a pattern")
	}
	g := glob{roots: r, pattern: pattern, limit: limit}
	if err := g.walk(string(os.PathSeparator), strings.Split(strings.Trim(pattern, "/"), "/")); err != nil {
		return nil, err
	}
	slices.Sort(g.names)
	return g.names, nil
}

// glob is a search for the names that match a pattern.
type glob struct {
	roots   Roots
	pattern string
	limit   int
	names   []string
}

// walk finds the names in dir that match the elements of the pattern.
func (g *glob) walk(dir string, elements []string) error {
	fixed := 0
	for fixed < len(elements)-1 && !IsPattern(elements[fixed]) {
		dir = filepath.Join(dir, elements[fixed])
		fixed++
	}
	elements = elements[fixed:]
	resolved, err := g.roots.Check(dir)
	if err != nil {
		return err
	}
	f, err := os.Open(resolved)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fileError("list "+dir, err)
	}
	defer f.Close()
	const page = 1000
	for {
		entries, err := f.ReadDir(page)
		for _, e := range entries {
			if err := g.visit(dir, e, elements); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) || err == nil && len(entries) == 0 {
			return nil
		}
		if err != nil {
			return fileError("list "+dir, err)
		}
	}
}

// visit adds the entry of a folder, or searches in it, if it matches the first element.
func (g *glob) visit(dir string, e fs.DirEntry, elements []string) error {
	name := e.Name()
	hidden := strings.HasPrefix(name, ".") && !strings.HasPrefix(elements[0], ".")
	if ok, _ := filepath.Match(elements[0], name); !ok || hidden {
		return nil
	}
	path := filepath.Join(dir, name)
	kind, err := g.kindOf(path, e)
	switch {
	case err != nil:
		return nil // it is gone, or a link to nothing or out of the roots
	case len(elements) > 1 && kind.IsDir():
		return g.walk(path, elements[1:])
	case len(elements) > 1 || !kind.IsRegular() && kind&fs.ModeDevice == 0 || kind&fs.ModeCharDevice != 0:
		return nil
	case strings.HasSuffix(name, manifestSuffix) || strings.HasSuffix(name, partialSuffix):
		return nil
	}
	if len(g.names) == g.limit {
		return invalid("match "+g.pattern, "divide it into several patterns",
			"more than %s match it", transfer.Count(g.limit, "name"))
	}
	g.names = append(g.names, path)
	return nil
}

// kindOf is the kind of an entry or, if that is a link, of what the link leads to.
func (g *glob) kindOf(path string, e fs.DirEntry) (fs.FileMode, error) {
	if e.Type()&fs.ModeSymlink == 0 {
		return e.Type(), nil
	}
	resolved, err := g.roots.Check(path)
	if err != nil {
		return 0, err
	}
	info, err := os.Stat(resolved)
	if err != nil {
		return 0, err
	}
	return info.Mode(), nil
}
