package sandbox

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/klauspost/compress/gzip"
)

// stagingSize is how much of an inflated body stays in memory, in bytes: a chunk of the size that
// known clients send, and more, to see its end. Longer bodies go to an unlinked file.
const stagingSize = 4<<20 + granule

var (
	errTooMuch = errors.New("more than fits")
	errStaging = errors.New("stage inflated body")
)

// inflater has the buffers that inflate one body; they are reused.
type inflater struct {
	in  *bufio.Reader
	gz  gzip.Reader
	out []byte
}

// nextMember starts the next gzip member. The library's multistream mode is off because it mistakes
// a body that ends in the middle of a member's name for the end of the stream.
func (z *inflater) nextMember() error {
	err := z.gz.Reset(z.in)
	z.gz.Multistream(false)
	return noEOF(err)
}

// Read inflates all members.
func (z *inflater) Read(p []byte) (int, error) {
	n, err := z.gz.Read(p)
	if !errors.Is(err, io.EOF) {
		return n, err
	}
	if _, err := z.in.Peek(1); err != nil {
		return n, err
	}
	return n, z.nextMember()
}

var inflaters = sync.Pool{New: func() any {
	return &inflater{in: bufio.NewReaderSize(nil, 64<<10), out: make([]byte, stagingSize)}
}}

// staging holds an inflated body until its last checksum is verified, so that a damaged one changes
// nothing.
type staging struct {
	dir  string
	z    *inflater
	size int64
	file *os.File // nil while all of it fits into memory
}

func newStaging(dir string) *staging {
	return &staging{dir: dir, z: inflaters.Get().(*inflater)}
}

func (st *staging) close() {
	if st.file != nil {
		_ = st.file.Close()
	}
	st.z.in.Reset(nil)
	inflaters.Put(st.z)
}

// inflate reads r to its end, which must be that of its last gzip member, and returns the inflated
// length. errTooMuch: more than limit bytes; at most limit+1 were inflated.
func (st *staging) inflate(r io.Reader, limit int64) (int64, error) {
	st.z.in.Reset(r)
	if err := st.z.nextMember(); err != nil {
		return 0, err
	}
	limited := io.LimitReader(st.z, limit+1)
	for {
		n, err := fill(limited, st.z.out)
		total := st.size + int64(n)
		switch {
		case total > limit:
			return 0, errTooMuch
		case err == nil || st.file != nil: // the buffer is full, or the body is in the file already
			if serr := st.spill(st.z.out[:n]); serr != nil {
				return 0, fmt.Errorf("%w: %w", errStaging, serr)
			}
		}
		st.size = total
		if errors.Is(err, io.EOF) {
			return total, nil
		}
		if err != nil {
			return 0, err
		}
	}
}

// spill appends p to the file.
func (st *staging) spill(p []byte) error {
	if st.file == nil {
		f, err := os.CreateTemp(st.dir, temporary)
		if err != nil {
			return err
		}
		st.file = f
		if err := os.Remove(f.Name()); err != nil {
			return err
		}
	}
	if len(p) == 0 {
		return nil
	}
	if err := st.file.Truncate(st.size + int64(len(p))); err != nil {
		return err
	}
	return writeSparse(st.file, p, st.size)
}

// reader reads the inflated body.
func (st *staging) reader() io.Reader {
	if st.file == nil {
		return bytes.NewReader(st.z.out[:st.size])
	}
	return stagingFile{io.NewSectionReader(st.file, 0, st.size)}
}

// stagingFile marks errors of the staging file, to tell them from errors of the request's body.
type stagingFile struct{ io.Reader }

func (f stagingFile) Read(p []byte) (int, error) {
	n, err := f.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = fmt.Errorf("%w: %w", errStaging, err)
	}
	return n, err
}

// fill reads until p is full (nil) or r ends (io.EOF). Unlike io.ReadFull it distinguishes the end
// of r from a truncated stream (io.ErrUnexpectedEOF).
func fill(r io.Reader, p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var k int
		k, err = r.Read(p[n:])
		n += k
	}
	if n == len(p) && err == io.EOF {
		err = nil // the next call returns it
	}
	return n, err
}

// noEOF turns the end of an empty body into an error.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
