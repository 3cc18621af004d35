package image

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/transferd/transferd/internal/fsx"
	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/transfertest"
)

// failing is a system whose fsync, or close, fails once after armed is set, as after a write that
// the disk could not store.
type failing struct {
	*fsx.System
	armed bool
}

func newFailing(closing bool) *failing {
	f := &failing{System: fsx.Kernel()}
	fail := func(call func(int) error) func(int) error {
		return func(fd int) error {
			if f.armed {
				f.armed = false
				return errors.Join(call(fd), unix.EIO)
			}
			return call(fd)
		}
	}
	if closing {
		f.Close = fail(unix.Close)
	} else {
		f.Fsync = fail(unix.Fsync)
	}
	return f
}

// TestFailedSyncPublishesNothing: nothing is published after a failed sync, and the error is
// ErrLost.
func TestFailedSyncPublishesNothing(t *testing.T) {
	content := transfertest.Image(8*chunk, chunk)
	for _, closing := range []bool{false, true} {
		for _, opts := range []CreateOptions{
			{}, {Format: transfer.FormatGzip}, {Format: transfer.FormatZstd, FromDisk: true}, {FromDisk: true},
		} {
			path := filepath.Join(tempDir(t), "disk.img")
			sys := newFailing(closing)
			opts.sys = sys.System
			dst := written(t, path, content, opts)
			sys.armed = true
			err := dst.Commit(t.Context(), transfertest.Manifest(content, chunk), transfertest.Owned)
			expect(t, err, transfer.CodeFailed, "lost", "starts over")
			if !errors.Is(err, transfer.ErrLost) || exists(t, path) {
				t.Errorf("%s: got %v, want ErrLost and no target", opts.Format, err)
			}
			if via := dst.(transfer.Local).ReadVia(); opts.Format == transfer.FormatZstd && via != "" {
				t.Errorf("got a read via %q before the sync, want none", via)
			}
			closed(t, dst)
		}
	}
}

// TestFailedFlushIsErrLost: a failed sync in Flush is ErrLost with the disk's error, for a file and
// for a device.
func TestFailedFlushIsErrLost(t *testing.T) {
	content := transfertest.Image(8*chunk, chunk)
	sys := newFailing(false)
	file := written(t, filepath.Join(tempDir(t), "disk.img"), content, CreateOptions{sys: sys.System})
	defer closed(t, file)
	f, err := os.OpenFile(tempFile(t, "device", content), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	dest := target{op: "create device", resolved: f.Name(), sys: sys.System}
	device, err := newDeviceSink(dest, f, CreateOptions{Size: int64(len(content))})
	if err != nil {
		t.Fatal(err)
	}
	defer closed(t, device)
	for name, dst := range map[string]transfer.Sink{"file": file, "device": device} {
		if err := dst.(transfer.Flusher).Flush(t.Context()); err != nil {
			t.Errorf("%s: got %v, want success", name, err)
		}
		sys.armed = true
		err := dst.(transfer.Flusher).Flush(t.Context())
		if !errors.Is(err, transfer.ErrLost) || !errors.Is(err, unix.EIO) {
			t.Errorf("%s: got %v, want ErrLost and EIO", name, err)
		}
	}
}

// TestOldErrorOfADeviceIsIgnored: the kernel's report of an earlier failed write is ignored; a
// device that keeps failing is refused before the transfer.
func TestOldErrorOfADeviceIsIgnored(t *testing.T) {
	for _, errs := range []int{1, 2} {
		f, err := os.OpenFile(tempFile(t, "device", make([]byte, chunk)), os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		sys, calls := fsx.Kernel(), 0
		sys.Fsync = func(fd int) error {
			if calls++; calls <= errs {
				return unix.EIO
			}
			return unix.Fsync(fd)
		}
		_, err = newDeviceSink(target{op: "create device", resolved: f.Name(), sys: sys}, f, CreateOptions{Size: chunk})
		if refused := err != nil; refused != (errs == 2) {
			t.Errorf("after %d errors: got %v, want a refusal: %t", errs, err, errs == 2)
		}
	}
}
