package program

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/transferd/transferd/internal/transfer"
)

// Results is standard output for results. Output that could not be written, because the disk is
// full or the reader is gone, is repeated on standard error when the program ends, and the program
// fails: the output may be the only record of the UUID of a drive. Its methods are not safe for
// concurrent use.
type Results struct {
	w      io.Writer
	closed bool  // there is no standard output
	err    error // of the first write that failed
	lost   bytes.Buffer
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

// Write implements io.Writer.
func (r *Results) Write(p []byte) (n int, err error) {
	if r.closed {
		return r.lost.Write(p)
	}
	if r.err == nil {
		n, r.err = r.w.Write(p)
	}
	r.lost.Write(p[n:])
	return n, r.err
}

// maxRepeated is how many lost bytes are repeated at the most. Longer output is not the result of a
// job and can be had again.
const maxRepeated = 4 << 10

// finish repeats lost output on stderr. It returns the error of the first write that failed, or
// else of closing, which is when some file systems report errors of writes.
func (r *Results) finish(stderr io.Writer) error {
	if f, ok := r.w.(*os.File); ok && r.err == nil {
		r.err = f.Close()
	}
	lost := r.lost.String()
	if len(lost) > maxRepeated {
		lost = fmt.Sprintf("(%d bytes)\n", len(lost))
	}
	switch {
	case r.err != nil:
		err := &transfer.Error{Op: "write standard output", Code: transfer.CodeFailed, Err: bare(r.err)}
		if lost != "" {
			fmt.Fprint(stderr, lost)
			err.Hint = "what it did not take is on standard error; what was done is done"
		}
		return err
	case lost != "":
		fmt.Fprint(stderr, "there is no standard output; the result is\n"+lost)
	}
	return nil
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
// that opens it for reading and writing looks the same.
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
