package api

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/transferd/transferd/internal/lease"
	"github.com/transferd/transferd/internal/transfer"
)

// held is a lease, and what makes its clock pass.
func held() (l *lease.Lease, pass func(d time.Duration)) {
	var now atomic.Int64
	l = lease.New(func() time.Duration { return time.Duration(now.Load()) }, 15*time.Second)
	l.Renewed(0)
	return l, func(d time.Duration) { now.Add(int64(d)) }
}

// TestCallThatWaitedForASlotNeedsAProof lets the lease lapse while calls that change something wait
// for the endpoint's only slot.
func TestCallThatWaitedForASlotNeedsAProof(t *testing.T) {
	l, pass := held()
	var changes atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		changes.Add(1)
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusNoContent)
	}))
	defer s.Close()
	c := client(t, Config{URL: s.URL, MaxInFlight: 1}).Session(Job{Lease: l})
	if err := c.shared.slots.Acquire(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 3)
	for _, call := range []func() error{
		func() error {
			d := drive(c, 1<<20, transfer.CompressionNone)
			return d.WriteChunk(t.Context(), transfer.Chunk{Len: 4096}, make([]byte, 4096))
		},
		func() error { return c.Destroy(t.Context(), uuid) },
		func() error {
			_, err := c.Create(t.Context(), CreateOptions{Name: "x", Size: 1 << 20})
			return err
		},
	} {
		go func() { ended <- call() }()
	}
	pass(10 * time.Second)
	c.shared.slots.Release(1)
	for range cap(ended) {
		if err := <-ended; !errors.Is(err, lease.ErrLapsed) {
			t.Errorf("a call ended with %v", err)
		}
	}
	if n := changes.Load(); n > 0 {
		t.Errorf("%d calls were made without a proof", n)
	}
}

// TestRestOfAProbedChunkNeedsAProof lets the lease lapse between the two calls in which a chunk is
// written.
func TestRestOfAProbedChunkNeedsAProof(t *testing.T) {
	l, pass := held()
	var calls atomic.Int64
	c := served(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if calls.Add(1) == 1 {
			pass(10 * time.Second)
		}
		w.WriteHeader(http.StatusNoContent)
	}).Session(Job{Lease: l})
	d := drive(c, 4<<20, transfer.CompressionAuto)
	err := d.WriteChunk(t.Context(), transfer.Chunk{Len: 4 << 20}, make([]byte, 4<<20))
	if !errors.Is(err, lease.ErrLapsed) || calls.Load() != 1 {
		t.Errorf("%d calls were made, the last ended with %v", calls.Load(), err)
	}
}
