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
// every known client sends, and some more so that its end is seen. What is longer goes to a file
// without a name.
const stagingSize = 4<<20 + granule

var (
	errTooMuch = errors.New("more than fits")
	errStaging = errors.New("stage inflated body")
)

// inflater is what inflating one body takes, kept for the next.
type inflater struct {
	in  *bufio.Reader
	gz  gzip.Reader
	out []byte
}

// nextMember begins with a gzip member. The library's own way of taking several for one stream
// takes the end of the body in the middle of a member's name for the end of that stream.
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

// staging holds an inflated body until its last checksum has been seen, so that a broken one
// changes nothing.
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

// inflate reads r to its end, which must be that of its last gzip member, and returns how many
// bytes it held. errTooMuch: more than limit bytes, of which no more than that were inflated and
// one.
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
		case err == nil || st.file != nil: // full, or the end of something that is in the file already
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

// reader gives what was inflated.
func (st *staging) reader() io.Reader {
	if st.file == nil {
		return bytes.NewReader(st.z.out[:st.size])
	}
	return stagingFile{io.NewSectionReader(st.file, 0, st.size)}
}

// stagingFile marks errors of the staging file, which are not those of the request's body.
type stagingFile struct{ io.Reader }

func (f stagingFile) Read(p []byte) (int, error) {
	n, err := f.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = fmt.Errorf("%w: %w", errStaging, err)
	}
	return n, err
}

// fill reads until p is full, which is no error, or r ends, which is io.EOF. Unlike io.ReadFull it
// keeps apart the end of r and a stream that breaks off.
func fill(r io.Reader, p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var k int
		k, err = r.Read(p[n:])
		n += k
	}
	if n == len(p) && err == io.EOF {
		err = nil // the next call says so
	}
	return n, err
}

// noEOF keeps the end of an empty body from passing for the end of a stream.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
