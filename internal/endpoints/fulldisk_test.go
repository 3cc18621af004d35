package endpoints_test

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/transferd/transferd/internal/jobtest"
	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/transfertest"
)

// TestFullDiskIsResumedWhenThereIsSpace: a download to a full disk fails with CodeNoSpace, and the
// next attempt continues it when there is space.
func TestFullDiskIsResumedWhenThereIsSpace(t *testing.T) {
	h := newHarness(t)
	source := jobtest.Drive(jobtest.Here, h.upload(8<<20))
	disk := h.Path("disk")
	if err := os.Mkdir(disk, 0o700); err != nil {
		t.Fatal(err)
	}
	transfertest.MountMemory(t, disk, 2<<20)
	s := spec(transfer.Download, source, jobtest.File(h.Path("disk/copy.img")))
	first, err := h.Attempt(s)
	if transfer.CodeOf(err) != transfer.CodeNoSpace {
		t.Fatalf("got %v, want %s", err, transfer.CodeNoSpace)
	}
	if _, err := os.Stat(h.Path("disk/copy.img.partial")); err != nil || first.Chunks.Done == 0 {
		t.Errorf("got %d chunks done (%v), want some and a .partial", first.Chunks.Done, err)
	}
	if err := unix.Mount("none", disk, "tmpfs", unix.MS_REMOUNT, "size=64m"); err != nil {
		t.Fatal(err)
	}
	second, err := h.Attempt(s)
	if err != nil {
		t.Fatal(err)
	}
	if got := second.Bytes.WireIn - first.Bytes.WireIn; got > 7<<20 {
		t.Errorf("the second attempt: got %d bytes, want less than the whole image", got)
	}
	h.expectEqual(h.Path("disk/copy.img"), h.Path("disk.img"))
}
