package image

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/transferd/transferd/internal/lease"
	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/transfertest"
	"github.com/transferd/transferd/internal/verify"
)

// held is a lease, and a function that advances its clock.
func held() (l *lease.Lease, pass func(d time.Duration)) {
	var now atomic.Int64
	l = lease.New(func() time.Duration { return time.Duration(now.Load()) }, 15*time.Second)
	l.Renewed(0)
	return l, func(d time.Duration) { now.Add(int64(d)) }
}

func leasedSink(t *testing.T, f transfer.Format, l *lease.Lease, size int64) (sink transfer.Sink, path string) {
	t.Helper()
	dir := t.TempDir()
	path = filepath.Join(dir, "out.img")
	opts := CreateOptions{Format: f, Size: size, Resume: true, Roots: Roots{dir}, Lease: l}
	sink, err := Create(t.Context(), path, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sink.Close() })
	return sink, path
}

func wantLapsed(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, lease.ErrLapsed) {
		t.Errorf("%s: got %v, want %v", what, err, lease.ErrLapsed)
	}
}

// TestNothingIsChangedWithoutTheLease: no operation changes a file after the lease has lapsed.
func TestNothingIsChangedWithoutTheLease(t *testing.T) {
	l, pass := held()
	const size = 1 << 20
	sink, path := leasedSink(t, transfer.FormatRaw, l, size)
	old := make([]byte, size)
	for i := range old {
		old[i] = 1
	}
	whole := transfer.Chunk{Len: size}
	if err := sink.WriteChunk(t.Context(), whole, old); err != nil {
		t.Fatal(err)
	}
	pass(10 * time.Second)
	s := sink.(*offsetSink)
	wantLapsed(t, "write", s.WriteChunk(t.Context(), whole, make([]byte, size)))
	wantLapsed(t, "clear", s.ClearChunk(t.Context(), whole))
	wantLapsed(t, "discard", s.Discard(t.Context()))
	wantLapsed(t, "rename", s.place.(*partial).rename())
	_, err := resumeRaw(s.place.(*partial), size/2)
	wantLapsed(t, "start over", err)
	got, err := os.ReadFile(path + partialSuffix)
	if err != nil || verify.Sum(got) != verify.Sum(old) {
		t.Errorf("the file has changed, or %v", err)
	}
}

// TestCommitAsksBeforeItClears: a commit does not change the file when another worker has the job.
func TestCommitAsksBeforeItClears(t *testing.T) {
	const size = 1 << 20
	sink, path := leasedSink(t, transfer.FormatRaw, nil, size)
	stale := make([]byte, size)
	stale[0] = 1
	if err := sink.WriteChunk(t.Context(), transfer.Chunk{Len: size}, stale); err != nil {
		t.Fatal(err)
	}
	m := verify.NewManifest(size, size, nil, "") // all zeros
	lost := transfer.Errorf(transfer.CodeFenced, "", "lost")
	if err := sink.Commit(t.Context(), m, func(context.Context) error { return lost }); !errors.Is(err, lost) {
		t.Errorf("the commit ended with %v", err)
	}
	if got, err := os.ReadFile(path + partialSuffix); err != nil || got[0] != 1 {
		t.Errorf("the file has changed, or %v", err)
	}
}

// TestStreamWaitsForTheLease: a write in order cannot be repeated, so it waits for a renewal of the
// lease. Close does not remove the target, which may be another worker's by then.
func TestStreamWaitsForTheLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, pass := held()
		const size = 1 << 10
		sink, path := leasedSink(t, transfer.FormatZstd, l, size)
		pass(10 * time.Second)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			err := sink.WriteChunk(ctx, transfer.Chunk{Len: size}, make([]byte, size))
			if err == nil {
				err = sink.Commit(ctx, verify.NewManifest(size, size, nil, ""), transfertest.Owned)
			}
			ended <- err
		}()
		synctest.Wait()
		if len(ended) > 0 {
			t.Fatalf("without a proof it ended with %v", <-ended)
		}
		cancel()
		if err := <-ended; err == nil {
			t.Error("a canceled write succeeded")
		}
		if err := sink.Close(); err != nil {
			t.Error(err)
		}
		if info, err := os.Stat(path + partialSuffix); err != nil || info.Size() != 0 {
			t.Errorf("the target was removed or written to: %v", err)
		}
	})
}
