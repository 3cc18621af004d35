package sandbox

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
)

const (
	// maxDrain is how much of a refused request's body is read before the response is sent, in
	// bytes. A client that still sends when the connection closes may miss the response.
	maxDrain = 8 << 20

	textType = "text/plain; charset=utf-8" // without the charset libcloud decodes Latin-1
	dataType = "application/octet-stream"
)

// response is a response to send. The zero value means that the handler has sent it.
type response struct {
	status int
	text   []byte
}

var noContent = response{status: http.StatusNoContent}

func textResponse(objects ...object) response { return response{http.StatusOK, encode(objects...)} }

// uuidList is the response of list commands: the UUID of each object, one a line.
func uuidList[T entity](objects []T) response {
	text := make([]byte, 0, 37*len(objects))
	for _, v := range objects {
		text = append(append(text, v.stored().id...), '\n')
	}
	return response{http.StatusOK, text}
}

// send writes a complete response.
func (req *request) send(resp response) {
	switch resp.status {
	case 0:
		return
	case http.StatusNoContent:
		req.w.WriteHeader(resp.status)
		return
	}
	h := req.w.Header()
	h.Set("Content-Type", textType)
	h.Set("Content-Length", strconv.Itoa(len(resp.text)))
	req.w.WriteHeader(resp.status)
	_, _ = req.w.Write(resp.text) // an error means that the client is gone
}

// sendError sends the response that err stands for.
func (req *request) sendError(err error) {
	if errors.Is(err, errCut) {
		req.cut()
		return
	}
	var status *statusError
	if !errors.As(err, &status) {
		status = internalError(err)
	}
	if status.close || !req.drain() {
		req.w.Header().Set("Connection", "close")
	}
	if status.allow != "" {
		req.w.Header().Set("Allow", status.allow)
	}
	req.send(response{status.status, []byte(status.text)})
}

// drain reads the rest of the request's body, so that the connection can be used again; false: the
// body is too long.
func (req *request) drain() bool {
	n := req.r.ContentLength
	if n == 0 || req.r.Body == nil {
		return true
	}
	if n < 0 || n > maxDrain || req.r.Header.Get("Expect") != "" {
		return false
	}
	_, err := io.Copy(io.Discard, req.r.Body)
	return err == nil
}

// cut ends the connection: with a reset if that is the injected fault, else by closing it.
func (req *request) cut() {
	rc := http.NewResponseController(req.w)
	if req.headerSent {
		_ = rc.Flush() // the part that was written must arrive
	}
	conn, _, err := rc.Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // net/http closes the connection or resets the stream
	}
	if req.fault.kind == faultReset {
		resetOnClose(conn)
	}
	_ = conn.Close()
}

// resetOnClose makes Close of conn send a TCP reset.
func resetOnClose(conn net.Conn) {
	if c, ok := conn.(*tls.Conn); ok {
		conn = c.NetConn()
	}
	if c, ok := conn.(*net.TCPConn); ok {
		_ = c.SetLinger(0)
	}
}
