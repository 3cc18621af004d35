package sandbox

import (
	"errors"
	"io"
	"net/http"
	"os"
	"strconv"
	"sync"
)

// readDrive handles /drives/UUID/read/OFFSET/SIZE (manual 7.3) with exactly SIZE bytes.
func (s *Server) readDrive(req *request, d *drive) (response, error) {
	off, size, err := readRange(req.parameters)
	if err != nil {
		return response{}, err
	}
	if err := d.readable(off, size); err != nil {
		return response{}, err
	}
	f, err := d.open(os.O_RDONLY)
	if err != nil {
		return response{}, err
	}
	defer f.Close()
	h := req.w.Header()
	h.Set("Content-Type", dataType)
	h.Set("Vary", "Accept-Encoding")
	zip := acceptsGzip(req.r.Header)
	switch {
	case zip || req.fault.kind == faultCorruptRead:
		err = s.sendFromMemory(req, f, off, size, zip)
	case isHole(f, off, size):
		err = s.sendBytes(req, zeros[:size]) // a hole read by sendfile would fill the page cache
	default:
		err = s.sendFile(req, f, off, size)
	}
	if err == nil {
		d.reads.count(size)
		s.sent.Add(size)
	}
	return response{}, err
}

// readRange reads OFFSET and SIZE, both required, in bytes.
func readRange(parameters map[string]string) (off, size int64, err error) {
	sizeText, ok := parameters["size"]
	if !ok { // the path has no SIZE, and maybe no OFFSET
		return 0, 0, statusErrorf(http.StatusBadRequest, "system", "A read needs OFFSET and SIZE.")
	}
	if off, err = parseSize(parameters["offset"]); err != nil {
		return 0, 0, statusErrorf(http.StatusBadRequest, "system", "OFFSET is %s.", err)
	}
	if size, err = parseSize(sizeText); err != nil {
		return 0, 0, statusErrorf(http.StatusBadRequest, "system", "SIZE is %s.", err)
	}
	if size < 1 || size > maxRead {
		return 0, 0, statusErrorf(http.StatusBadRequest, "system", "SIZE must be 1 to %d.", maxRead)
	}
	return off, size, nil
}

// sendHeader sends the header of a response with a body of n bytes, and returns how many of them to
// send: all, unless a fault cuts the body. The caller passes the result to checkSent.
func (s *Server) sendHeader(req *request, n int64) (part int64) {
	req.w.Header().Set("Content-Length", strconv.FormatInt(n, 10))
	part = s.truncateAt(req, n)
	req.w.WriteHeader(http.StatusOK)
	req.headerSent = true
	return part
}

// checkSent returns errCut if a fault cut the body of n bytes to part. If the client is gone or the
// drive has shrunk, fewer bytes were sent than announced, and net/http closes the connection.
func checkSent(part, n int64) error {
	if part < n {
		return errCut
	}
	return nil
}

// sendFile sends n bytes of f from off on, by sendfile if no fault changes them.
func (s *Server) sendFile(req *request, f *os.File, off, n int64) error {
	if _, err := f.Seek(off, io.SeekStart); err != nil {
		return internalError(err)
	}
	part := s.sendHeader(req, n)
	_, _ = io.CopyN(req.out, f, part)
	return checkSent(part, n)
}

// sendBytes sends p.
func (s *Server) sendBytes(req *request, p []byte) error {
	n := int64(len(p))
	part := s.sendHeader(req, n)
	_, _ = req.out.Write(p[:part])
	return checkSent(part, n)
}

// buffers hold one read each.
var buffers = sync.Pool{New: func() any { b := make([]byte, maxRead); return &b }}

// sendFromMemory reads the range into memory, to compress it or to damage it, and sends it.
func (s *Server) sendFromMemory(req *request, f *os.File, off, n int64, zip bool) error {
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	p := (*buf)[:n]
	switch _, err := f.ReadAt(p, off); {
	case errors.Is(err, io.EOF):
		return pastEnd(off) // the drive has shrunk since the request began
	case err != nil:
		return internalError(err)
	}
	s.bitToFlip(req, faultCorruptRead, n).apply(p, 0)
	if zip {
		d := deflaters.Get().(*deflater)
		defer deflaters.Put(d)
		if body := d.compress(p); body != nil {
			req.w.Header().Set("Content-Encoding", "gzip")
			return s.sendBytes(req, body)
		}
	}
	return s.sendBytes(req, p)
}
