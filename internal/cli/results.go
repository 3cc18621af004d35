package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/transferd/transferd/internal/transfer"
)

// Results is standard output for results. Output that could not be written, because the disk is
// full, the reader is gone, or there is no standard output, is repeated on standard error when the
// program ends: it may be the only record of the UUID of a drive. If a write failed, the program
// fails, too. Its methods are not safe for concurrent use.
type Results struct {
	w      io.Writer
	closed bool   // there is no standard output
	err    error  // of the first write that failed
	lost   []byte // the end of what was not written
	cut    int    // bytes that were lost before it
}

// NewResults writes to w.
func NewResults(w io.Writer) *Results { return &Results{w: w, closed: closed(w)} }

// Raw is the underlying writer, for a stream that is not a result. nil: standard output is closed,
// and Go's runtime has opened /dev/null in its place, which would discard the stream.
func (r *Results) Raw() io.Writer {
	if r.closed {
		return nil
	}
	return r.w
}

// Write implements io.Writer. It returns no error, so that a command goes on to its end and to its
// result, which finish repeats.
func (r *Results) Write(p []byte) (int, error) {
	n := 0
	if r.err == nil && !r.closed {
		n, r.err = r.w.Write(p)
	}
	r.lose(p[n:])
	return len(p), nil
}

// maxRepeated is how many lost bytes are repeated at the most: the last ones, for the result of a
// job comes after its progress. Longer output is a list, and can be had again.
const maxRepeated = 16 << 10

func (r *Results) lose(p []byte) {
	r.lost = append(r.lost, p...)
	if more := len(r.lost) - maxRepeated; more > 0 {
		r.lost = slices.Delete(r.lost, 0, more)
		r.cut += more
	}
}

// finish repeats lost output on stderr. It returns the error of the first write that failed, or
// else of closing, which is when some file systems report errors of writes. A closed standard
// output is no error, see closed.
func (r *Results) finish(stderr io.Writer) error {
	if f, ok := r.w.(*os.File); ok && !r.closed && r.err == nil {
		r.err = f.Close()
	}
	if r.cut > 0 {
		fmt.Fprintf(stderr, "(%d bytes before this are lost)\n", r.cut)
	}
	_, _ = stderr.Write(r.lost)
	if r.err == nil {
		return nil
	}
	err := &transfer.Error{Op: "write standard output", Code: transfer.CodeFailed, Err: bare(r.err)}
	if len(r.lost) > 0 {
		err.Hint = "what it did not take is on standard error; what was done is done"
	}
	return err
}

// bare is err without the file's name, which is not the user's name for it.
func bare(err error) error {
	var path *os.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// closed reports whether w was closed when the program began. Go's runtime then opens /dev/null in
// its place for reading and writing; a shell opens /dev/null for writing only. A parent process
// that opens it for reading and writing (Python's DEVNULL) looks the same, and nothing tells the two
// apart. So the results are repeated on standard error, and the program does not fail by it.
func closed(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	var st unix.Stat_t
	flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0)
	if err != nil || unix.Fstat(int(f.Fd()), &st) != nil {
		return false
	}
	const null = 1<<8 | 3 // memory devices (1), null (3)
	return st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == null && flags&unix.O_ACCMODE == unix.O_RDWR
}
