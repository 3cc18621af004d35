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

// TestStalledCallTimesOut gives up a call that stands still: without an answer, in the middle of it, and when its body is not taken.
func TestStalledCallTimesOut(t *testing.T) {
	done := make(chan struct{})
	c := served(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/10000") {
			w.Header().Set("Content-Length", "10000")
			_, _ = w.Write(make([]byte, 5000))
			_ = http.NewResponseController(w).Flush()
		}
		<-done
	})
	defer close(done)
	c.shared.watchdog.Timeouts = transport.Timeouts{Period: 100 * time.Millisecond, Bytes: 1, Response: 200 * time.Millisecond}
	d := drive(c, 8<<20, transfer.CompressionNone)
	for _, n := range []int{10_000, 20_000} {
		want(t, d.ReadChunk(t.Context(), transfer.Chunk{Len: n}, make([]byte, n)), transfer.CodeTimeout, "stalled")
	}
	p := make([]byte, MaxChunk)
	want(t, d.WriteChunk(t.Context(), transfer.Chunk{Len: len(p)}, p), transfer.CodeTimeout, "stalled")
}

// TestStallWithinGzipTimesOut is a call that stands still, whatever what unpacks the answer makes of it.
func TestStallWithinGzipTimesOut(t *testing.T) {
	done := make(chan struct{})
	c := served(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write([]byte{0x1f, 0x8b, 8})
		_ = http.NewResponseController(w).Flush()
		<-done
	})
	defer close(done)
	c.shared.watchdog.Timeouts = transport.Timeouts{Period: 100 * time.Millisecond, Bytes: 1, Response: 200 * time.Millisecond}
	d := drive(c, 8<<20, transfer.CompressionNone)
	want(t, d.ReadChunk(t.Context(), transfer.Chunk{Len: 1000}, make([]byte, 1000)), transfer.CodeTimeout, "stalled")
}

// TestSlowCallGoesOnAndAStalledOneTimesOut goes on with a call for as long as it moves, and gives one up that hardly does.
func TestSlowCallGoesOnAndAStalledOneTimesOut(t *testing.T) {
	const n = 30_000
	c := served(t, func(w http.ResponseWriter, r *http.Request) {
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
	want(t, d.ReadChunk(t.Context(), transfer.Chunk{Len: n}, make([]byte, n)), "") // which takes longer than the period
	want(t, d.ReadChunk(t.Context(), transfer.Chunk{Off: 1, Len: n}, make([]byte, n)), transfer.CodeTimeout, "stalled")
}

// TestCallsSlowedByTheirLimitDoNotTimeOut stand still by their job's own limit, each for far longer than an endpoint may.
func TestCallsSlowedByTheirLimitDoNotTimeOut(t *testing.T) {
	const n = 20_000
	c := served(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, n)) })
	c.shared.watchdog.Timeouts = transport.Timeouts{Period: 100 * time.Millisecond, Bytes: 4_000, Response: 10 * time.Second}
	d := drive(c.Session(Job{Limit: rate.NewLimiter(100_000, 1_000)}), 8<<20, transfer.CompressionNone)
	var g errgroup.Group
	for range 4 { // each has 2,500 bytes in a period
		g.Go(func() error { return d.ReadChunk(t.Context(), transfer.Chunk{Len: n}, make([]byte, n)) })
		g.Go(func() error { return d.WriteChunk(t.Context(), transfer.Chunk{Len: n}, make([]byte, n)) })
	}
	want(t, g.Wait(), "")
}
