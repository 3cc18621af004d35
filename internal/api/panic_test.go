package api

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/transferd/transferd/internal/panics"
	"github.com/transferd/transferd/internal/transfer"
)

// brokenMeter panics when it counts sent bytes, or received bytes.
type brokenMeter struct{ out, in bool }

func (m brokenMeter) AddWireOut(int64) { m.explode(m.out) }
func (m brokenMeter) AddWireIn(int64)  { m.explode(m.in) }
func (m brokenMeter) AddChunk(bool)    {}

func (m brokenMeter) explode(now bool) {
	if now {
		panic("a mistake")
	}
}

// TestPanicWhileSendingFailsTheCall: net/http reads a request's body in a goroutine of its own. A
// panic there fails the call, and other calls go on. Over TLS there is no layer of this project
// between net/http and the body.
func TestPanicWhileSendingFailsTheCall(t *testing.T) {
	readBody := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })
	t.Run("http", func(t *testing.T) { panicWhileSending(t, newEndpoint(t, readBody)) })
	t.Run("https", func(t *testing.T) {
		s := httptest.NewTLSServer(readBody)
		t.Cleanup(s.Close)
		panicWhileSending(t, client(t, Config{URL: s.URL, CAFile: authority(t, s)}))
	})
}

func panicWhileSending(t *testing.T, c *Client) {
	t.Helper()
	broken := drive(c.Session(Job{Meter: brokenMeter{out: true}}), 8192, transfer.CompressionNone)
	chunk := transfer.Chunk{Len: 8192}
	for range 3 {
		err := broken.WriteChunk(t.Context(), chunk, make([]byte, 8192))
		if expect(t, err, transfer.CodeInternal); panics.Of(err) == nil {
			t.Errorf("got %v, want a panic", err)
		}
	}
	if err := drive(c, 8192, transfer.CompressionNone).WriteChunk(t.Context(), chunk, make([]byte, 8192)); err != nil {
		t.Errorf("another call: got %v, want success", err)
	}
}

// TestPanicWhileSamplingIsInternal: a panic in a goroutine that samples a drive is CodeInternal.
func TestPanicWhileSamplingIsInternal(t *testing.T) {
	c := newEndpoint(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(make([]byte, blankSampleSize))
	})
	broken := c.Session(Job{Meter: brokenMeter{in: true}})
	_, err := drive(broken, 1<<20, transfer.CompressionNone).Blank(t.Context())
	expect(t, err, transfer.CodeInternal)
}
