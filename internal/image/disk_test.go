package image

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/transfertest"
)

// diskContent has data, zeros and data.
func diskContent() []byte {
	return joined([]byte("begin"), make([]byte, 100_000), bytes.Repeat([]byte("data"), 5000))
}

func joined(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// TestDisksNeedOffsets: a virtual disk on a medium that is read in order is refused if there is no
// folder to copy it to.
func TestDisksNeedOffsets(t *testing.T) {
	stored := transfertest.Qcow2(diskContent(), "")
	_, err := Open(t.Context(), "-", Options{Stdin: bytes.NewReader(stored)})
	expect(t, err, transfer.CodeInvalid, "read by offset", "--spool DIR")
}

// TestContentOfDisksIsChecked: a disk that has another format on it, at its beginning or its end, is
// refused, unless a manifest describes it; --format copies the file, or what is on the disk, as it
// is.
func TestContentOfDisksIsChecked(t *testing.T) {
	footer := joined(diskContent(), []byte("conectix"), make([]byte, sampleSize-8))
	for name, tc := range map[string]struct {
		content []byte
		word    string
	}{
		"gzip": {gzipped(t, diskContent()), "a qcow2 image with a gzip file in it"},
		"QED":  {joined([]byte("QED\x00"), diskContent()), "a qcow2 image with a QED image in it"},
		"VHD":  {footer, "a qcow2 image with a fixed VHD"},
		"page": {[]byte("<html>"), "a qcow2 image with an HTML page in it"},
	} {
		stored := transfertest.Qcow2(tc.content, "")
		for _, medium := range []string{"file", "URL with ranges"} {
			_, err := openOn(t, stored, Options{})[medium]()
			expect(t, err, transfer.CodeInvalid, tc.word, "--format qcow2")
			for format, want := range map[transfer.Format][]byte{
				transfer.FormatRaw: stored, transfer.FormatQcow2: tc.content,
			} {
				got, err := read(t, openOn(t, stored, Options{Format: format})[medium])
				if err != nil || !bytes.HasPrefix(got, want) {
					t.Errorf("%s on %s as %s: got %d bytes, %v; want %d",
						name, medium, format, len(got), err, len(want))
				}
			}
		}
		path := tempFile(t, "x.qcow2", stored)
		describe(t, path, tc.content)
		if got, err := read(t, opener(t, path, Options{Roots: anywhere})); err != nil || !bytes.Equal(got, tc.content) {
			t.Errorf("%s with a manifest: got %d bytes, %v; want the disk", name, len(got), err)
		}
	}
}

// TestEmptyDiskIsRefused: as an empty file is.
func TestEmptyDiskIsRefused(t *testing.T) {
	_, err := Open(t.Context(), tempFile(t, "x.qcow2", transfertest.Qcow2(nil, "")), Options{Roots: anywhere})
	expect(t, err, transfer.CodeInvalid, "the image is empty")
}

// TestManifestOfADisk: the manifest next to a disk describes the file's bytes or the disk's.
func TestManifestOfADisk(t *testing.T) {
	content := diskContent()
	stored := transfertest.Qcow2(content, "")
	path := tempFile(t, "x.qcow2", stored)
	describe(t, path, stored)
	if got, err := read(t, opener(t, path, Options{Roots: anywhere})); err != nil || !bytes.Equal(got, stored) {
		t.Errorf("of the file: got %d bytes, %v; want the file", len(got), err)
	}
	describe(t, path, content)
	src := open(t, path, Options{})
	defer closed(t, src)
	if got, err := drain(t, src); err != nil || !bytes.Equal(got, content) {
		t.Errorf("of the disk: got %d bytes, %v; want the disk", len(got), err)
	}
	described := src.(transfer.Described)
	if err := described.CheckImage(transfertest.Manifest(content, transfer.MinChunkSize)); err != nil {
		t.Errorf("of the disk: got %v, want success", err)
	}
	err := described.CheckImage(transfertest.Manifest(flipped(content), transfer.MinChunkSize))
	expect(t, err, transfer.CodeMismatch, "chunks_root")
	describe(t, path, content[1:])
	_, err = Open(t.Context(), path, Options{Roots: anywhere})
	expect(t, err, transfer.CodeMismatch, "the image has 120005 bytes, and the manifest has 120004")
}

// TestDamagedDiskIsRefused: a disk that is not complete is refused when it is measured, before a
// drive is made.
func TestDamagedDiskIsRefused(t *testing.T) {
	stored := transfertest.Qcow2(append(diskContent(), make([]byte, 10_000)...), "")
	path := tempFile(t, "x.qcow2", stored[:len(stored)-4096])
	_, err := Open(t.Context(), path, Options{Roots: anywhere, Measure: true})
	expect(t, err, transfer.CodeInvalid, "the file ends at byte", "damaged or incomplete", "--format raw")
	src := open(t, path, Options{})
	defer closed(t, src)
	_, err = drain(t, src)
	expect(t, err, transfer.CodeInvalid, "read "+path)
}

// TestChangesOfADiskAreDetected: a change of the image's file, and of a backing file, is one of the
// source.
func TestChangesOfADiskAreDetected(t *testing.T) {
	dir := tempDir(t)
	base := writeFile(t, dir+"/base.qcow2", transfertest.Qcow2(diskContent(), ""))
	top := writeFile(t, dir+"/top.qcow2", transfertest.Qcow2(make([]byte, 120_005), "base.qcow2"))
	for _, changed := range []string{base, top} {
		src := open(t, top, Options{Follow: true}).(*disk)
		before := src.Identity()
		if err := src.Unchanged(t.Context()); err != nil || !src.Resembles(before) {
			t.Errorf("before: got %v, want no change", err)
		}
		if err := os.Chmod(changed, 0o640); err != nil {
			t.Fatal(err)
		}
		if err := src.Unchanged(t.Context()); !errors.Is(err, transfer.ErrTouched) {
			t.Errorf("%s touched: got %v, want ErrTouched", changed, err)
		}
		if again := open(t, top, Options{Follow: true}); again.Identity() == before ||
			!again.(transfer.Resembler).Resembles(before) {
			t.Errorf("%s touched: got %q, want another that resembles %q", changed, again.Identity(), before)
		} else {
			closed(t, again)
		}
		if err := os.Chtimes(changed, time.Time{}, time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		expect(t, src.Unchanged(t.Context()), transfer.CodeSourceChanged, changed)
		again := open(t, top, Options{Follow: true})
		if again.Identity() == before || again.(transfer.Resembler).Resembles(before) {
			t.Errorf("%s changed: got %q, want one that does not resemble %q", changed, again.Identity(), before)
		}
		closed(t, again)
		closed(t, src)
	}
}

// TestWritersOfADiskAreReported: a program that has a file of the disk open for writing may change
// it through a memory mapping.
func TestWritersOfADiskAreReported(t *testing.T) {
	dir := tempDir(t)
	base := writeFile(t, dir+"/base.qcow2", transfertest.Qcow2(diskContent(), ""))
	top := writeFile(t, dir+"/top.qcow2", transfertest.Qcow2(make([]byte, 120_005), "base.qcow2"))
	for _, path := range []string{base, top} {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		src := open(t, top, Options{Follow: true})
		got := src.(transfer.Unwatched).UndetectedChanges()
		if !strings.Contains(got, path+" open for writing") || strings.Contains(got, ";") {
			t.Errorf("got %q, want that %s is open for writing", got, path)
		}
		if err := src.(transfer.Unwatched).DropCache(); err != nil {
			t.Error(err)
		}
		closed(t, src)
		closed(t, f)
	}
}

// TestHolesOfADisksFileAreNotRead: clusters that the image allocates and the file does not, as with
// preallocation, are holes of the disk.
func TestHolesOfADisksFileAreNotRead(t *testing.T) {
	path := tempDir(t) + "/x.qcow2"
	qemu(t, "create", "-q", "-f", "qcow2", "-o", "preallocation=metadata", path, "1G")
	src := open(t, path, Options{}).(transfer.RandomAccess)
	defer closed(t, src)
	for e, err := range src.Extents(t.Context()) {
		if err != nil || e.Len > 1<<20 {
			t.Errorf("got extent %+v, %v; want no data", e, err)
		}
	}
}
