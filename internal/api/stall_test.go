package api

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/transport"
)

var shortTimeouts = transport.Timeouts{
	Period: 100 * time.Millisecond, Bytes: 1, Response: 200 * time.Millisecond,
}

// TestStalledCallTimesOut: a call times out that gets no response, that stalls in the middle of it,
// or whose body is not read.
func TestStalledCallTimesOut(t *testing.T) {
	done := make(chan struct{})
	c := newEndpoint(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/10000") {
			w.Header().Set("Content-Length", "10000")
			_, _ = w.Write(make([]byte, 5000))
			_ = http.NewResponseController(w).Flush()
		}
		<-done
	})
	defer close(done)
	c.shared.watchdog.Timeouts = shortTimeouts
	d := drive(c, 8<<20, transfer.CompressionNone)
	for _, n := range []int{10_000, 20_000} {
		err := d.ReadChunk(t.Context(), transfer.Chunk{Len: n}, make([]byte, n))
		expect(t, err, transfer.CodeTimeout, "stalled")
	}
	p := make([]byte, MaxChunk)
	expect(t, d.WriteChunk(t.Context(), transfer.Chunk{Len: len(p)}, p), transfer.CodeTimeout, "stalled")
}

// TestStallWithinGzipTimesOut: a stall is CodeTimeout, also if the decompressor wraps its error.
func TestStallWithinGzipTimesOut(t *testing.T) {
	done := make(chan struct{})
	c := newEndpoint(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write([]byte{0x1f, 0x8b, 8})
		_ = http.NewResponseController(w).Flush()
		<-done
	})
	defer close(done)
	c.shared.watchdog.Timeouts = shortTimeouts
	d := drive(c, 8<<20, transfer.CompressionNone)
	err := d.ReadChunk(t.Context(), transfer.Chunk{Len: 1000}, make([]byte, 1000))
	expect(t, err, transfer.CodeTimeout, "stalled")
}

// TestSlowCallGoesOnAndAStalledOneTimesOut: a slow call succeeds, and one below the minimum rate
// times out.
func TestSlowCallGoesOnAndAStalledOneTimesOut(t *testing.T) {
	const n = 30_000
	c := newEndpoint(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(n))
		piece := 1
		if strings.Contains(r.URL.Path, "/read/0/") {
			piece = n / 100
		}
		tick := time.NewTicker(15 * time.Millisecond)
		defer tick.Stop()
		for range n / piece {
			select {
			case <-tick.C:
			case <-r.Context().Done():
				return
			}
			if _, err := w.Write(make([]byte, piece)); err != nil {
				return
			}
			_ = http.NewResponseController(w).Flush()
		}
	})
	c.shared.watchdog.Timeouts = transport.Timeouts{Period: time.Second, Bytes: n / 100, Response: 10 * time.Second}
	d := drive(c, 8<<20, transfer.CompressionNone)
	// This one takes longer than the period.
	expect(t, d.ReadChunk(t.Context(), transfer.Chunk{Len: n}, make([]byte, n)), "")
	err := d.ReadChunk(t.Context(), transfer.Chunk{Off: 1, Len: n}, make([]byte, n))
	expect(t, err, transfer.CodeTimeout, "stalled")
}

// TestCallsSlowedByTheirLimitDoNotTimeOut: a wait for the job's own limit is no stall, however long
// it is.
func TestCallsSlowedByTheirLimitDoNotTimeOut(t *testing.T) {
	const n = 20_000
	c := newEndpoint(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, n)) })
	const period = 100 * time.Millisecond
	c.shared.watchdog.Timeouts = transport.Timeouts{Period: period, Bytes: 4_000, Response: 10 * time.Second}
	d := drive(c.Session(Job{Limit: rate.NewLimiter(100_000, 1_000)}), 8<<20, transfer.CompressionNone)
	var g errgroup.Group
	for range 4 { // each has 2,500 bytes in a period
		g.Go(func() error { return d.ReadChunk(t.Context(), transfer.Chunk{Len: n}, make([]byte, n)) })
		g.Go(func() error { return d.WriteChunk(t.Context(), transfer.Chunk{Len: n}, make([]byte, n)) })
	}
	expect(t, g.Wait(), "")
}
