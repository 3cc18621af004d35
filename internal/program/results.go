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

// Results is standard output as results are written to it. What it does not take, for the disk is
// full, say, or its reader gone, is repeated on standard error when the program ends, which then
// fails: a script waits for what is written, and it may be all that there is to find a drive by.
// Its methods are not safe for concurrent use.
type Results struct {
	w      io.Writer
	closed bool  // there is no standard output
	err    error // of the first write that failed
	lost   bytes.Buffer
}

// NewResults writes to w.
func NewResults(w io.Writer) *Results { return &Results{w: w, closed: closed(w)} }

// Raw is what is written to, for a stream that is no result; nil: there is no standard output, and
// what stands in its place would take all of a stream and keep nothing.
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

// maxRepeated is how many lost bytes are repeated: more than that are no result that can be had by
// no other way.
const maxRepeated = 4 << 10

// finish returns the error of the first write that failed, or of closing, by which some file
// systems tell what became of writes. Before that it repeats on stderr what was lost.
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

// bare is err without the name by which this process knows the file.
func bare(err error) error {
	var path *os.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// closed reports whether w was closed when the program began: Go's runtime then opens /dev/null in
// its place, for reading and writing, where a shell opens it for writing alone. Others that start
// programs may open it so, too.
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
