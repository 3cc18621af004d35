package image

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/transferd/transferd/internal/lease"
	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/transfertest"
	"github.com/transferd/transferd/internal/verify"
)

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
	l, advance := transfertest.Lease()
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
	advance(10 * time.Second)
	s := sink.(*offsetSink)
	wantLapsed(t, "write", s.WriteChunk(t.Context(), whole, make([]byte, size)))
	wantLapsed(t, "clear", s.ClearChunk(t.Context(), whole))
	wantLapsed(t, "discard", s.Discard(t.Context()))
	wantLapsed(t, "rename", s.dest.(*partial).rename())
	_, err := resumeRaw(s.dest.(*partial), size/2)
	wantLapsed(t, "start over", err)
	got, err := os.ReadFile(path + partialSuffix)
	if err != nil || verify.Sum(got) != verify.Sum(old) {
		t.Errorf("got another content (%v), want the old one", err)
	}
}

// TestCommitAsksBeforeItClears: Commit does not change the file when another worker owns the job.
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
		t.Errorf("Commit: got %v, want %v", err, lost)
	}
	if got, err := os.ReadFile(path + partialSuffix); err != nil || got[0] != 1 {
		t.Errorf("got another content (%v), want the old one", err)
	}
}

// TestStreamWaitsForTheLease: a write in order cannot be repeated, so it waits for a renewal of the
// lease. Close does not remove the target, which another worker may own by then.
func TestStreamWaitsForTheLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, advance := transfertest.Lease()
		const size = 1 << 10
		sink, path := leasedSink(t, transfer.FormatZstd, l, size)
		advance(10 * time.Second)
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
			t.Fatalf("without a proof: got %v, want a wait", <-ended)
		}
		cancel()
		if err := transfertest.Receive(t, ended, "end of the write"); err == nil {
			t.Error("a canceled write: got success, want an error")
		}
		if err := sink.Close(); err != nil {
			t.Errorf("Close: got %v, want success", err)
		}
		if info, err := os.Stat(path + partialSuffix); err != nil || info.Size() != 0 {
			t.Errorf("the target was removed or written to: %v", err)
		}
	})
}
