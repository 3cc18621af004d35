package transport

import (
	"io"
	"net/http"
	"sync"
)

// CloseWait is a RoundTripper for callers that reuse the buffer of a request's body. It waits until
// no reader of the body is left. If RoundTrip fails, it waits before it returns; otherwise Close of
// the response's body waits. http.Transport alone does not wait: after an early response it may
// still read the body while the buffer already holds the next chunk. CloseWait is safe for
// concurrent use.
//
// The wait ends when the body is sent, or when the call's context or its connection ends. Close of
// the response's body closes the connection if the request was not sent completely.
type CloseWait struct{ Next http.RoundTripper }

var _ http.RoundTripper = (*CloseWait)(nil)

// RoundTrip implements http.RoundTripper.
func (c *CloseWait) RoundTrip(req *http.Request) (*http.Response, error) {
	sending := new(openBodies)
	resp, err := c.Next.RoundTrip(withBody(req.Context(), req, sending.add))
	if err != nil {
		sending.Wait()
		return nil, err
	}
	resp.Body = &responseBody{ReadCloser: resp.Body, sending: sending}
	return resp, nil
}

// openBodies counts the bodies of a request that are not closed. A request that is sent again on
// another connection has several.
type openBodies struct{ sync.WaitGroup }

func (o *openBodies) add(body io.ReadCloser) io.ReadCloser {
	o.Add(1)
	return &sentBody{ReadCloser: body, closed: sync.OnceFunc(o.Done)}
}

type sentBody struct {
	io.ReadCloser
	closed func() // once
}

func (b *sentBody) Close() error {
	defer b.closed()
	return b.ReadCloser.Close()
}

// responseBody is a response's body. Its Close ends the call.
type responseBody struct {
	io.ReadCloser
	sending *openBodies
}

func (b *responseBody) Close() error {
	defer b.sending.Wait()
	return b.ReadCloser.Close()
}
