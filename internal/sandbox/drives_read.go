package sandbox

import (
	"errors"
	"io"
	"net/http"
	"os"
	"strconv"
	"sync"
)

// readDrive answers /drives/UUID/read/OFFSET/SIZE (manual 7.3) with exactly SIZE bytes.
func (s *Server) readDrive(x *exchange) (reply, error) {
	off, size, err := readRange(x.to.args)
	if err != nil {
		return reply{}, err
	}
	if err := x.drive.readable(off, size); err != nil {
		return reply{}, err
	}
	f, err := x.drive.open(os.O_RDONLY)
	if err != nil {
		return reply{}, err
	}
	defer f.Close()
	h := x.w.Header()
	h.Set("Content-Type", dataType)
	h.Set("Vary", "Accept-Encoding")
	zip := offersGzip(x.r.Header)
	switch {
	case zip || x.plan.kind == faultCorruptRead:
		err = s.answerMemory(x, f, off, size, zip)
	case isHole(f, off, size):
		err = s.answerBytes(x, zeros[:size]) // a hole read by sendfile would fill the page cache
	default:
		err = s.answerFile(x, f, off, size)
	}
	if err == nil {
		x.drive.reads.count(size)
	}
	return reply{}, err
}

// readRange reads OFFSET and SIZE, both required, in bytes.
func readRange(args []string) (off, size int64, err error) {
	if len(args) != 2 {
		return 0, 0, refuse(http.StatusBadRequest, "system", "A read needs OFFSET and SIZE.")
	}
	if off, err = parseSize(args[0]); err != nil {
		return 0, 0, refuse(http.StatusBadRequest, "system", "OFFSET is %s.", err)
	}
	if size, err = parseSize(args[1]); err != nil {
		return 0, 0, refuse(http.StatusBadRequest, "system", "SIZE is %s.", err)
	}
	if size < 1 || size > maxRead {
		return 0, 0, refuse(http.StatusBadRequest, "system", "SIZE must be 1 to %d.", maxRead)
	}
	return off, size, nil
}

// begin sends the header of an answer of n bytes and returns how many of them are to follow: all, unless a fault cuts
// the answer. end goes with it.
func (s *Server) begin(x *exchange, n int64) (part int64) {
	x.w.Header().Set("Content-Length", strconv.FormatInt(n, 10))
	part = s.cutPoint(x, n)
	x.w.WriteHeader(http.StatusOK)
	x.started = true
	return part
}

// end finishes an answer of n bytes, part of which was sent. That a client went away, or that the drive was cut
// meanwhile, is no error here: net/http sees that less was sent than announced, and closes the connection.
func end(part, n int64) error {
	if part < n {
		return errCut
	}
	return nil
}

// answerFile sends n bytes of f from off on. With no fault in the way they go by sendfile.
func (s *Server) answerFile(x *exchange, f *os.File, off, n int64) error {
	if _, err := f.Seek(off, io.SeekStart); err != nil {
		return internal(err)
	}
	part := s.begin(x, n)
	_, _ = io.CopyN(x.out, f, part)
	return end(part, n)
}

// answerBytes sends p.
func (s *Server) answerBytes(x *exchange, p []byte) error {
	n := int64(len(p))
	part := s.begin(x, n)
	_, _ = x.out.Write(p[:part])
	return end(part, n)
}

// buffers hold one whole read.
var buffers = sync.Pool{New: func() any { b := make([]byte, maxRead); return &b }}

// answerMemory sends the range after a way through memory: to compress it or to damage it.
func (s *Server) answerMemory(x *exchange, f *os.File, off, n int64, zip bool) error {
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	p := (*buf)[:n]
	switch _, err := f.ReadAt(p, off); {
	case errors.Is(err, io.EOF):
		return pastEnd(off) // the drive was cut since the request began
	case err != nil:
		return internal(err)
	}
	s.wrongBit(x, faultCorruptRead, n).flip(p, 0)
	if zip {
		d := deflaters.Get().(*deflater)
		defer deflaters.Put(d)
		if body := d.compress(p); body != nil {
			x.w.Header().Set("Content-Encoding", "gzip")
			return s.answerBytes(x, body)
		}
	}
	return s.answerBytes(x, p)
}
