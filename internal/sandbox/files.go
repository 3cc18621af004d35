package sandbox

import (
	"io"
	"os"

	"github.com/transferd/transferd/internal/fsx"
)

// temporary is the prefix of files that a crash may leave behind; the next start removes them.
const temporary = ".tmp-"

// replaceFile replaces the content of the file at path atomically and syncs it.
func replaceFile(path string, data []byte) error {
	return fsx.WriteFile(path, 0o600, true, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

// makeSparse creates a file that is one hole of size bytes.
func makeSparse(path string, size int64) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if err = f.Truncate(size); err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		_ = os.Remove(path)
	}
	return err
}

// resize changes the size of the file at path. Before it grows a file, it cuts the file at from, so
// that bytes past the old size do not reappear.
func resize(path string, from, size int64) error {
	if size > from {
		if err := os.Truncate(path, from); err != nil {
			return err
		}
	}
	return os.Truncate(path, size)
}
