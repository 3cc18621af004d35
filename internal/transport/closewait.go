package transport

import (
	"io"
	"net/http"
	"sync"
)

// CloseWait is a RoundTripper for callers that use the buffer behind a request's body again. It
// waits until every reader of the body is done: when RoundTrip fails, before it returns; else when
// the answer's body is closed, before Close returns. http.Transport alone does not: after an early
// answer it may still read the body while the buffer holds the next chunk already. It is safe for
// concurrent use.
//
// The wait ends when the body is sent, or the call's context or its connection ends. Closing the
// answer's body closes the connection of a request that is not sent to its end.
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
	resp.Body = &lastBody{ReadCloser: resp.Body, sending: sending}
	return resp, nil
}

// openBodies counts a request's bodies that are not closed; one that is sent again on another
// connection has several.
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

// lastBody is an answer's body, with whose Close the call is over.
type lastBody struct {
	io.ReadCloser
	sending *openBodies
}

func (b *lastBody) Close() error {
	defer b.sending.Wait()
	return b.ReadCloser.Close()
}
