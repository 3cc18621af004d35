package sandbox

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"
)

const (
	// maxInput is the longest body of a command other than write, in bytes.
	maxInput = 64 << 10
	// maxDrain is how much of a refused body is read before the refusal is sent, in bytes. A client that still sends
	// when the connection closes may lose the answer.
	maxDrain = 8 << 20

	textType = "text/plain; charset=utf-8" // without the charset libcloud reads Latin-1
	dataType = "application/octet-stream"
)

// exchange is one request on its way through a command.
type exchange struct {
	w     http.ResponseWriter
	r     *http.Request
	to    route
	drive *drive
	body  io.Reader // of the request, with faults on the way
	out   io.Writer // of the answer, with faults on the way
	plan  plan

	started bool // the answer's header was sent
}

func newExchange(w http.ResponseWriter, r *http.Request) *exchange {
	x := &exchange{w: w, r: r, out: w, body: http.NoBody, plan: plan{kind: noFault}}
	if r.Body != nil {
		x.body = r.Body
	}
	return x
}

// reply is an answer to be sent. The zero reply says that it was sent already.
type reply struct {
	status int
	text   []byte
}

var noContent = reply{status: http.StatusNoContent}

func textReply(objects ...object) reply { return reply{http.StatusOK, encode(objects...)} }

// send writes a complete answer.
func (x *exchange) send(a reply) {
	switch a.status {
	case 0:
		return
	case http.StatusNoContent:
		x.w.WriteHeader(a.status)
		return
	}
	h := x.w.Header()
	h.Set("Content-Type", textType)
	h.Set("Content-Length", strconv.Itoa(len(a.text)))
	x.w.WriteHeader(a.status)
	_, _ = x.w.Write(a.text) // the client is gone
}

// fail answers err.
func (x *exchange) fail(err error) {
	if errors.Is(err, errCut) {
		x.cut()
		return
	}
	var p *problem
	if !errors.As(err, &p) {
		p = internal(err)
	}
	if p.close || !x.drain() {
		x.w.Header().Set("Connection", "close")
	}
	if p.allow != "" {
		x.w.Header().Set("Allow", p.allow)
	}
	x.send(reply{p.status, []byte(p.text)})
}

// drain reads what is left of the request's body, so that the connection stays usable; false: that would take too long.
func (x *exchange) drain() bool {
	n := x.r.ContentLength
	if n == 0 || x.r.Body == nil {
		return true
	}
	if n < 0 || n > maxDrain || x.r.Header.Get("Expect") != "" {
		return false
	}
	_, err := io.Copy(io.Discard, x.r.Body)
	return err == nil
}

// input reads the key/value body of a command.
func (x *exchange) input() (object, error) {
	if err := x.plainBody(); err != nil {
		return nil, err
	}
	tooLong := refuse(http.StatusRequestEntityTooLarge, "system", "The input is longer than %d bytes.", maxInput)
	if x.r.ContentLength > maxInput {
		return nil, tooLong
	}
	text, err := io.ReadAll(io.LimitReader(x.body, maxInput+1))
	switch {
	case errors.Is(err, errCut):
		return nil, err
	case err != nil:
		return nil, refuse(http.StatusBadRequest, "system", "The input ended early.")
	case len(text) > maxInput:
		return nil, tooLong
	}
	return decode(text), nil
}

// plainBody refuses chunked transfer, which the manual says is not supported (manual 7.2).
func (x *exchange) plainBody() error {
	if len(x.r.TransferEncoding) == 0 && x.r.ContentLength >= 0 {
		return nil
	}
	p := refuse(http.StatusBadRequest, "system",
		"Chunked transfer (Transfer-Encoding) is not supported; send a Content-Length.")
	p.close = true
	return p
}

// cut ends the connection: with a reset if the plan says so, else by closing it.
func (x *exchange) cut() {
	rc := http.NewResponseController(x.w)
	if x.started {
		_ = rc.Flush() // what was answered so far is to arrive
	}
	conn, _, err := rc.Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // net/http closes the connection or resets the stream
	}
	if x.plan.kind == faultReset {
		abort(conn)
	}
	_ = conn.Close()
}

// abort makes the closing of conn a TCP reset.
func abort(conn net.Conn) {
	if c, ok := conn.(*tls.Conn); ok {
		conn = c.NetConn()
	}
	if c, ok := conn.(*net.TCPConn); ok {
		_ = c.SetLinger(0)
	}
}

// pause waits for d or until ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
