package sandbox

import (
	"io"
	"os"

	"github.com/transferd/transferd/internal/fsx"
)

// temporary starts the names of files that a crash may leave behind; they are removed at the next
// start.
const temporary = ".tmp-"

// replaceFile puts data under path so that a crash leaves either the old content or the new, and
// makes it last.
func replaceFile(path string, data []byte) error {
	return fsx.WriteFile(path, 0o600, true, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

// makeSparse creates path as a hole of size bytes.
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

// resize makes the file at path size bytes long. What it was longer than from before a growth
// cannot show up again: growing cuts at the old size first.
func resize(path string, from, size int64) error {
	if size > from {
		if err := os.Truncate(path, from); err != nil {
			return err
		}
	}
	return os.Truncate(path, size)
}
