package endpoints_test

import (
	"context"
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/transferd/transferd/internal/localstore"
	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/worker"
)

// TestFullDiskIsResumedWhenThereIsSpace downloads to a disk that is too small: the job says so, and goes on where it was when there is room.
func TestFullDiskIsResumedWhenThereIsSpace(t *testing.T) {
	b := newBench(t)
	up := b.mustRun(spec(transfer.Upload, file(b.image(8<<20)), drive("here", "")))
	disk := b.path("disk")
	if err := os.Mkdir(disk, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("none", disk, "tmpfs", 0, "size=2m"); errors.Is(err, unix.EPERM) {
		t.Skipf("the kernel refuses a mount: %v", err)
	} else if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(disk, 0); err != nil {
			t.Error(err)
		}
	})
	s := spec(transfer.Download, drive("here", up.Drive), file(b.path("disk/copy.img")))
	err := b.attempt(s)
	if transfer.CodeOf(err) != transfer.CodeNoSpace {
		t.Fatalf("%v", err)
	}
	if _, err := os.Stat(b.path("disk/copy.img.partial")); err != nil || b.last.Chunks.Done == 0 {
		t.Errorf("%v, with %d chunks done", err, b.last.Chunks.Done)
	}
	done := b.last.Bytes.WireIn
	if err := unix.Mount("none", disk, "tmpfs", unix.MS_REMOUNT, "size=64m"); err != nil {
		t.Fatal(err)
	}
	if err := b.attempt(s); err != nil {
		t.Fatal(err)
	}
	if b.last.Bytes.WireIn-done > 7<<20 {
		t.Errorf("%d bytes came after the %d that had come", b.last.Bytes.WireIn-done, done)
	}
	b.equal(b.path("disk.img"), b.path("disk/copy.img"))
}

// attempt runs a job once; the next attempt goes on with it.
func (b *bench) attempt(s transfer.Spec) error {
	b.t.Helper()
	j, err := localstore.Open(b.path("journal"), &s)
	if err != nil {
		b.t.Fatal(err)
	}
	return errors.Join(b.worker.Run(context.Background(), nil, worker.Job{ID: j.ID(), Spec: s}, j), j.Close())
}
