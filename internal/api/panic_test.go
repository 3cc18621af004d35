package api

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/transferd/transferd/internal/panics"
	"github.com/transferd/transferd/internal/transfer"
)

// brokenMeter panics when it counts what is sent, or what is received.
type brokenMeter struct{ out, in bool }

func (m brokenMeter) AddWireOut(int64) { m.explode(m.out) }
func (m brokenMeter) AddWireIn(int64)  { m.explode(m.in) }
func (m brokenMeter) AddChunk(bool)    {}

func (m brokenMeter) explode(now bool) {
	if now {
		panic("a mistake")
	}
}

// TestPanicWhileSendingFailsTheCall panics in the goroutine in which net/http reads a request's body: the call
// fails, and the connections go on serving others. Over TLS no code of ours is between net/http and
// the body.
func TestPanicWhileSendingFailsTheCall(t *testing.T) {
	taking := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })
	t.Run("http", func(t *testing.T) { panicWhileSending(t, served(t, taking)) })
	t.Run("https", func(t *testing.T) {
		s := httptest.NewTLSServer(taking)
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
		if want(t, err, transfer.CodeInternal); panics.Of(err) == nil {
			t.Errorf("got %v, want a panic", err)
		}
	}
	if err := drive(c, 8192, transfer.CompressionNone).WriteChunk(t.Context(), chunk, make([]byte, 8192)); err != nil {
		t.Error(err)
	}
}

// TestPanicWhileSamplingIsInternal panics in the goroutines that look whether a drive is blank.
func TestPanicWhileSamplingIsInternal(t *testing.T) {
	c := served(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, blankSampleSize)) })
	_, err := drive(c.Session(Job{Meter: brokenMeter{in: true}}), 1<<20, transfer.CompressionNone).Blank(t.Context())
	want(t, err, transfer.CodeInternal)
}
