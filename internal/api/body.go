package api

import (
	"io"
	"sync"

	"github.com/transferd/transferd/internal/transport"
)

// sending knows when the transport has let go of a request's bodies; a retried connection may open several.
type sending struct{ open sync.WaitGroup }

func (s *sending) add(r *meteredReader) io.ReadCloser {
	s.open.Add(1)
	return &sentBody{meteredReader: r, done: sync.OnceFunc(s.open.Done)}
}

func (s *sending) wait() { s.open.Wait() }

type sentBody struct {
	*meteredReader
	done func()
}

func (b *sentBody) Close() error {
	b.done()
	return nil
}

// meteredReader counts and slows what goes through it, and tells the watch.
type meteredReader struct {
	r      io.Reader
	client *Client
	watch  *transport.Watch // of the call
	out    bool             // a request's body
}

func (m *meteredReader) Read(p []byte) (int, error) {
	limit := m.client.limit
	if limit != nil {
		p = p[:min(len(p), limit.Burst())]
	}
	n, err := m.r.Read(p)
	m.watch.Moved(n)
	if meter := m.client.meter; meter != nil && n > 0 {
		if m.out {
			meter.AddWireOut(int64(n))
		} else {
			meter.AddWireIn(int64(n))
		}
	}
	if limit != nil && n > 0 {
		m.watch.Hold() // it is we who wait
		defer m.watch.Release()
		if werr := limit.WaitN(m.watch.Context(), n); werr != nil && err == nil {
			err = werr
		}
	}
	return n, err
}
