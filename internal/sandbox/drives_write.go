package sandbox

import (
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
)

// blockSize is how much of a body is read and stored at a time, in bytes. It fits into a core's
// second-level cache, and is a multiple of granule.
const blockSize = 256 << 10

var blocks = sync.Pool{New: func() any { b := make([]byte, blockSize); return &b }}

// writeDrive handles /drives/UUID/write[/OFFSET] (manual 7.2): 204 once the whole body is stored. A
// refused request stores nothing, a raw body that ends early stores the part that arrived, and a
// gzip body is stored whole or not at all.
func (s *Server) writeDrive(req *request, d *drive) (response, error) {
	off, err := writeOffset(req.parameters)
	if err != nil {
		return response{}, err
	}
	if err := req.requireLength(); err != nil {
		return response{}, err
	}
	limit, err := d.writable(off)
	if err != nil {
		return response{}, err
	}
	f, err := d.open(os.O_RDWR)
	if err != nil {
		return response{}, err
	}
	defer f.Close()

	var n int64
	switch encoding := strings.ToLower(req.r.Header.Get("Content-Encoding")); encoding {
	case "", "identity":
		n, err = s.writeRaw(req, d, f, off, limit)
	case "gzip", "x-gzip":
		n, err = s.writeGzip(req, d, f, off, limit)
	default:
		err = statusErrorf(http.StatusBadRequest, "system", "Content-Encoding must be gzip, or absent.")
	}
	if err != nil {
		return response{}, err
	}
	d.writes.count(n)
	s.received.Add(n)
	return noContent, nil
}

// writeOffset reads the optional OFFSET, in bytes of the drive.
func writeOffset(parameters map[string]string) (int64, error) {
	text, ok := parameters["offset"]
	if !ok {
		return 0, nil
	}
	off, err := parseSize(text)
	if err != nil {
		return 0, statusErrorf(http.StatusBadRequest, "system", "OFFSET is %s.", err)
	}
	return off, nil
}

// requireLength refuses a body whose length is not announced.
func (req *request) requireLength() error {
	if err := req.refuseChunked(); err != nil {
		return err
	}
	if req.r.ContentLength == 0 && req.r.Header.Get("Content-Length") == "" {
		return statusErrorf(http.StatusBadRequest, "system", "A write needs a Content-Length.")
	}
	return nil
}

// writeRaw stores the body as it is and returns its length.
func (s *Server) writeRaw(req *request, d *drive, f *os.File, off, limit int64) (int64, error) {
	n := req.r.ContentLength
	if n > limit {
		return 0, pastEnd(off + limit)
	}
	return n, s.storeBody(req, d, f, req.body, off, n)
}

// writeGzip inflates the whole body, and then stores it. It returns the inflated length.
func (s *Server) writeGzip(req *request, d *drive, f *os.File, off, limit int64) (int64, error) {
	st := newStaging(s.drives.dir)
	defer st.close()
	n, err := st.inflate(req.body, limit)
	switch {
	case errors.Is(err, errCut):
		return 0, err
	case errors.Is(err, errTooMuch):
		return 0, pastEnd(off + limit)
	case errors.Is(err, errStaging):
		return 0, internalError(err)
	case err != nil:
		return 0, statusErrorf(http.StatusBadRequest, "system", "The body is not a whole gzip stream: %s.", err)
	}
	return n, s.storeBody(req, d, f, st.reader(), off, n)
}

// storeBody stores n bytes from r at off of the open drive f, block by block.
func (s *Server) storeBody(req *request, d *drive, f *os.File, r io.Reader, off, n int64) error {
	block := blocks.Get().(*[]byte)
	defer blocks.Put(block)
	flip := s.bitToFlip(req, faultCorruptWrite, n)
	for done := int64(0); done < n; {
		want := min(n-done, blockSize-(off+done)%blockSize)
		p := (*block)[:want]
		got, err := io.ReadFull(r, p)
		flip.apply(p[:got], done)
		if got > 0 {
			if err := d.writeAt(f, p[:got], off+done); err != nil {
				return err
			}
		}
		done += int64(got)
		if err != nil {
			return bodyError(err, done, n)
		}
	}
	return nil
}

func bodyError(err error, done, n int64) error {
	switch {
	case errors.Is(err, errCut):
		return err
	case errors.Is(err, errStaging):
		return internalError(err)
	}
	return statusErrorf(http.StatusBadRequest, "system", "The body ended after %d of %d bytes.", done, n)
}
