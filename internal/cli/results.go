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
// full, the reader is gone, or standard output is closed, is repeated on standard error when the
// program ends: it may be the only record of the UUID of a drive. If a write failed, the program
// fails, too. Its methods are not safe for concurrent use.
type Results struct {
	w         io.Writer
	closed    bool   // standard output was closed when the program began
	err       error  // of the first write that failed
	unwritten []byte // the last bytes that were not written, at most maxRepeated
	dropped   int    // number of unwritten bytes before them
}

// NewResults writes to w.
func NewResults(w io.Writer) *Results { return &Results{w: w, closed: wasClosed(w)} }

// Raw is the underlying writer, for a stream that is not a result. It is nil if standard output is
// closed: Go's runtime has opened /dev/null in its place, which would discard the stream.
func (r *Results) Raw() io.Writer {
	if r.closed {
		return nil
	}
	return r.w
}

// Write implements io.Writer. It returns no error, so that a command continues to its end and its
// result, which finish repeats.
func (r *Results) Write(p []byte) (int, error) {
	n := 0
	if r.err == nil && !r.closed {
		n, r.err = r.w.Write(p)
	}
	r.remember(p[n:])
	return len(p), nil
}

// maxRepeated is the most unwritten bytes that are repeated. These are the last ones, because the
// result of a job comes after its progress. Longer output is a list, which can be printed again.
const maxRepeated = 16 << 10

// remember appends unwritten bytes.
func (r *Results) remember(p []byte) {
	r.unwritten = append(r.unwritten, p...)
	if more := len(r.unwritten) - maxRepeated; more > 0 {
		r.unwritten = slices.Delete(r.unwritten, 0, more)
		r.dropped += more
	}
}

// finish repeats unwritten output on stderr. It returns the error of the first write that failed,
// else of closing, because some file systems report write errors only then. A closed standard
// output is no error, see wasClosed.
func (r *Results) finish(stderr io.Writer) error {
	if f, ok := r.w.(*os.File); ok && !r.closed && r.err == nil {
		r.err = f.Close()
	}
	if r.dropped > 0 {
		fmt.Fprintf(stderr, "(lost before this: %s)\n", transfer.Count(r.dropped, "byte"))
	}
	_, _ = stderr.Write(r.unwritten)
	if r.err == nil {
		return nil
	}
	err := &transfer.Error{Op: "write standard output", Code: transfer.CodeFailed, Err: withoutPath(r.err)}
	if len(r.unwritten) > 0 {
		err.Hint = "the rest of the output is on standard error; the command itself was carried out"
	}
	return err
}

// withoutPath is err without the name of the file, /dev/stdout, which the user has not typed.
func withoutPath(err error) error {
	var path *os.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// wasClosed reports whether w was closed when the program began. Go's runtime then opens /dev/null
// in its place for reading and writing; a shell opens /dev/null for writing only. A parent process
// that opens /dev/null for reading and writing (Python's DEVNULL) cannot be distinguished from a
// closed output. So the results are repeated on standard error, and the program does not fail.
func wasClosed(w io.Writer) bool {
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
