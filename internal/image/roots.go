package image

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/transferd/transferd/internal/transfer"
)

// Roots are the only folders below which jobs may read or write files; "/" allows all files, and an
// empty list none. Checks resolve symbolic links: a link below a root that leads out of the roots
// is refused.
type Roots []string

// Check returns path with all links resolved, as far as the path exists. It is CodeForbidden if the
// result is not below a root. The path may lead elsewhere after Check, so open checks the opened
// file again.
func (r Roots) Check(path string) (resolved string, err error) {
	if strings.ContainsRune(path, 0) {
		return "", invalid("find "+strconv.Quote(path), "give the path of a file", "a path cannot contain a zero byte")
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("make path absolute: %w", err)
	}
	resolved, err = resolve(abs)
	if err != nil {
		return "", fileError("find "+path, err)
	}
	if !r.contain(resolved) {
		return "", r.refuse(path)
	}
	return resolved, nil
}

// resolve follows the links in the part of path that exists; the rest stays unchanged.
func resolve(path string) (string, error) {
	resolved, err := filepath.EvalSymlinks(path)
	if err == nil || !errors.Is(err, fs.ErrNotExist) || path == filepath.Dir(path) {
		return resolved, err
	}
	dir, err := resolve(filepath.Dir(path))
	return filepath.Join(dir, filepath.Base(path)), err
}

// contain reports whether path, which has no links in it, is a root or is below one.
func (r Roots) contain(path string) bool {
	for _, root := range r {
		root, err := filepath.Abs(root)
		if err != nil {
			continue
		}
		// A root that does not exist contains nothing.
		if root, err = filepath.EvalSymlinks(root); err != nil {
			continue
		}
		if rel, err := filepath.Rel(root, path); err == nil && filepath.IsLocal(rel) {
			return true
		}
	}
	return false
}

func (r Roots) refuse(path string) error {
	allowed := "no folder is allowed on this host"
	if len(r) > 0 {
		allowed = "allowed are " + strings.Join(r, ", ")
	}
	return &transfer.Error{
		Op: "open " + path, Code: transfer.CodeForbidden,
		Hint: "add its folder to `roots:` in the config of the host that runs the job",
		Err:  fmt.Errorf("it is outside of the roots (%s)", allowed),
	}
}

// open opens a path that Check returned, and checks the path of the opened file in the kernel, so a
// link that appears in between does no harm. open never waits, not even for a pipe.
//
// os.Root does not help here: it opens each folder of the path for reading. So it refuses files
// below a folder that may only be searched, such as a home of mode 0711.
func (r Roots) open(resolved string, flags int) (*os.File, error) {
	f, err := os.OpenFile(resolved, flags|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fileError("open "+resolved, err)
	}
	actual, err := os.Readlink(procPath(f))
	if err == nil && !r.contain(actual) {
		err = r.refuse(resolved)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// procPath is a path that leads to the open file f, even if f was renamed or removed.
func procPath(f *os.File) string { return fmt.Sprintf("/proc/self/fd/%d", f.Fd()) }
