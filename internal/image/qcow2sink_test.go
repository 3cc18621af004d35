package image

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/transfertest"
)

// qcow2Options are for an image of that content.
func qcow2Options(content []byte) CreateOptions {
	return CreateOptions{Format: transfer.FormatQcow2, Size: int64(len(content)), Roots: anywhere, Job: "j"}
}

// TestQcow2TargetIsResumed: an attempt that ends leaves the raw image, the next one writes only the
// rest, and in the end there is nothing but the qcow2 image and its manifest. Both ways of reading
// it back, from the cache and from the disk, find it equal.
func TestQcow2TargetIsResumed(t *testing.T) {
	transfertest.RequireProgram(t, qemuImg, debian[qemuImg])
	for _, fromDisk := range []bool{false, true} {
		content := transfertest.Image(9*chunk+sectorSize, chunk)
		dir := tempDir(t)
		path, opts := filepath.Join(dir, "disk.qcow2"), qcow2Options(content)
		opts.FromDisk = fromDisk
		first := create(t, path, opts)
		writeChunks(t, first, content, 0, 1, 2, 3, 4)
		closed(t, first)
		transfertest.ExpectEntries(t, dir, "disk.qcow2.raw.partial")

		opts.Resume = true
		second := create(t, path, opts)
		writeChunks(t, second, content, 5, 6, 7, 8, 9)
		if err := second.Commit(t.Context(), transfertest.Manifest(content, chunk), transfertest.Owned); err != nil {
			t.Fatal(err)
		}
		if via := second.(transfer.Local).ReadVia(); (via == transfer.ReadCached) == fromDisk {
			t.Errorf("from the disk %t: got it read back as %q", fromDisk, via)
		}
		closed(t, second)
		transfertest.ExpectEntries(t, dir, "disk.qcow2", "disk.qcow2.manifest.json")
		if got := qemuRead(t, path); !bytes.Equal(got, content) {
			t.Error("got another image")
		}
		src := open(t, path, Options{})
		if got, err := drain(t, src); err != nil || !bytes.Equal(got, content) {
			t.Errorf("got another image, or %v", err)
		}
		closed(t, src)
	}
}

// TestWrongQcow2IsNotPublished: whatever qemu-img does wrong is found before the image gets its
// name, and nothing of it stays but the raw image, for another attempt.
func TestWrongQcow2IsNotPublished(t *testing.T) {
	transfertest.RequireProgram(t, qemuImg, debian[qemuImg])
	// The arguments of qemu-img are convert -f raw -O qcow2 FROM TO.
	const real = `PATH=${PATH#*:}; of() { qemu-img convert -f raw -O qcow2 "$1" "$to"; }; from=$6 to=$7; `
	for name, tc := range map[string]struct {
		script string
		code   transfer.Code
		word   string
	}{
		"fails":          {"echo 'it is broken' >&2; exit 1", transfer.CodeFailed, "it is broken"},
		"disk full":      {"echo 'write: No space left on device' >&2; exit 1", transfer.CodeNoSpace, "free space"},
		"writes nothing": {"exit 0", transfer.CodeMismatch, ""},
		"changes a byte": {
			real + `cp $from copy; printf x | dd of=copy bs=1 seek=20000 conv=notrunc 2>/dev/null; of copy`,
			transfer.CodeMismatch, "chunk 4",
		},
		"leaves data out": {
			real + `truncate -s $(stat -Lc %s $from) hole; of hole`, transfer.CodeMismatch, "chunk 0",
		},
		"cuts it short": {
			real + `head -c 32768 $from >part; of part`, transfer.CodeMismatch, "32768 bytes are stored",
		},
	} {
		t.Run(name, func(t *testing.T) {
			content := transfertest.Image(9*chunk, chunk)
			bin, dir := tempDir(t), tempDir(t)
			script := "#!/bin/sh\ncd " + bin + "\n" + tc.script + "\n"
			if err := os.WriteFile(filepath.Join(bin, qemuImg), []byte(script), 0o700); err != nil {
				t.Fatal(err)
			}
			t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
			dst := written(t, filepath.Join(dir, "disk.qcow2"), content, qcow2Options(content))
			err := dst.Commit(t.Context(), transfertest.Manifest(content, chunk), transfertest.Owned)
			expect(t, err, tc.code, tc.word)
			closed(t, dst)
			transfertest.ExpectEntries(t, dir, "disk.qcow2.raw.partial")
		})
	}
}

// TestQcow2IsRefusedBeforeTheTransfer: without qemu-img, without space for the raw image, and for
// an image that no qcow2 can hold; nothing is left.
func TestQcow2IsRefusedBeforeTheTransfer(t *testing.T) {
	transfertest.RequireProgram(t, qemuImg, debian[qemuImg])
	content := make([]byte, 4*chunk)
	dir := tempDir(t)
	path, opts := filepath.Join(dir, "disk.qcow2"), qcow2Options(content)
	opts.freeSpace = func(*os.File) (int64, error) { return 4*chunk - 1, nil }
	_, err := Create(t.Context(), path, opts)
	expect(t, err, transfer.CodeNoSpace, "needs 16384 bytes, and 16383 are free")
	opts.freeSpace = nil
	opts.Size++
	_, err = Create(t.Context(), path, opts)
	expect(t, err, transfer.CodeInvalid, "not a multiple of 512")
	opts.Size--
	_, err = Create(t.Context(), "-", opts)
	expect(t, err, transfer.CodeInvalid, "not written in order")
	t.Setenv("PATH", tempDir(t))
	_, err = Create(t.Context(), path, opts)
	expect(t, err, transfer.CodeInvalid, "qemu-utils", ".img")
	transfertest.ExpectEntries(t, dir)
}

// TestQcow2NeedsSpaceForItsData: the conversion does not begin without it, and the raw image stays.
func TestQcow2NeedsSpaceForItsData(t *testing.T) {
	transfertest.RequireProgram(t, qemuImg, debian[qemuImg])
	content := transfertest.Image(9*chunk, chunk)
	dir := tempDir(t)
	opts := qcow2Options(content)
	free := int64(1 << 30)
	opts.freeSpace = func(*os.File) (int64, error) { return free, nil }
	dst := written(t, filepath.Join(dir, "disk.qcow2"), content, opts)
	free = 1 << 20
	err := dst.Commit(t.Context(), transfertest.Manifest(content, chunk), transfertest.Owned)
	expect(t, err, transfer.CodeNoSpace, "the qcow2 image needs")
	closed(t, dst)
	transfertest.ExpectEntries(t, dir, "disk.qcow2.raw.partial")
}

// TestDiscardedQcow2LeavesNothing.
func TestDiscardedQcow2LeavesNothing(t *testing.T) {
	transfertest.RequireProgram(t, qemuImg, debian[qemuImg])
	content := transfertest.Image(3*chunk, chunk)
	dir := tempDir(t)
	dst := written(t, filepath.Join(dir, "disk.qcow2"), content, qcow2Options(content))
	if err := errors.Join(dst.(transfer.Discarder).Discard(t.Context()), dst.Close()); err != nil {
		t.Error(err)
	}
	transfertest.ExpectEntries(t, dir)
}
