package transport

import (
	"io"
	"net/http"

	"github.com/transferd/transferd/internal/transfer"
)

// Meter is a RoundTripper that counts the bytes of bodies for a job, in both directions. Headers do
// not count. A body that is sent twice counts twice. It is safe for concurrent use.
type Meter struct {
	Next  http.RoundTripper
	Meter transfer.Meter
}

var _ http.RoundTripper = (*Meter)(nil)

// RoundTrip implements http.RoundTripper.
func (m *Meter) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := m.Next.RoundTrip(withBody(req.Context(), req, m.out))
	if err != nil {
		return nil, err
	}
	resp.Body = &meteredBody{ReadCloser: resp.Body, add: m.Meter.AddWireIn}
	return resp, nil
}

func (m *Meter) out(body io.ReadCloser) io.ReadCloser {
	return &meteredBody{ReadCloser: body, add: m.Meter.AddWireOut}
}

type meteredBody struct {
	io.ReadCloser
	add func(n int64)
}

func (m *meteredBody) Read(p []byte) (int, error) {
	n, err := m.ReadCloser.Read(p)
	if n > 0 {
		m.add(int64(n))
	}
	return n, err
}
