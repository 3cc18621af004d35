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
	"github.com/transferd/transferd/internal/transfertest"
)

// TestCallThatWaitedForASlotNeedsAProof: a call that changes something is not sent if the lease
// lapses while it waits for the endpoint's only slot.
func TestCallThatWaitedForASlotNeedsAProof(t *testing.T) {
	l, advance := transfertest.Lease()
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
		func() error { return c.DestroyDrive(t.Context(), uuid) },
		func() error {
			_, err := c.CreateDrive(t.Context(), CreateOptions{Name: "x", Size: 1 << 20})
			return err
		},
	} {
		go func() { ended <- call() }()
	}
	advance(10 * time.Second)
	c.shared.slots.Release(1)
	for range cap(ended) {
		err := transfertest.Receive(t, ended, "end of a call")
		if !errors.Is(err, lease.ErrLapsed) {
			t.Errorf("got %v, want %v", err, lease.ErrLapsed)
		}
	}
	if n := changes.Load(); n > 0 {
		t.Errorf("got %d calls without a proof, want none", n)
	}
}

// TestRestOfAProbedChunkNeedsAProof: the second of the two calls that write a chunk is not sent if
// the lease lapses between them.
func TestRestOfAProbedChunkNeedsAProof(t *testing.T) {
	l, advance := transfertest.Lease()
	var calls atomic.Int64
	c := newEndpoint(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if calls.Add(1) == 1 {
			advance(10 * time.Second)
		}
		w.WriteHeader(http.StatusNoContent)
	}).Session(Job{Lease: l})
	d := drive(c, 4<<20, transfer.CompressionAuto)
	err := d.WriteChunk(t.Context(), transfer.Chunk{Len: 4 << 20}, make([]byte, 4<<20))
	if !errors.Is(err, lease.ErrLapsed) || calls.Load() != 1 {
		t.Errorf("got %d calls, %v; want 1 and %v", calls.Load(), err, lease.ErrLapsed)
	}
}
