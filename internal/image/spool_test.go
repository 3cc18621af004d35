package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/transfertest"
)

// TestPackedDisksAreReadFromASpool: a virtual disk that is packed, or on a medium that is read in
// order, is read as if it was a file. Its source has the identity of what was given, and the digest
// of the file.
func TestPackedDisksAreReadFromASpool(t *testing.T) {
	disk := sectors(noisyDisk())
	for ending, stored := range packings(t, qcow2Of(t, disk)) {
		for medium, open := range openOn(t, stored, Options{Measure: true, StoredDigest: true}) {
			src, err := open()
			if err != nil {
				t.Errorf("%s on %s: got %v, want success", ending, medium, err)
				continue
			}
			got, err := drain(t, src)
			if err != nil || !bytes.Equal(got, disk) {
				t.Errorf("%s on %s: got %d bytes, %v; want %d", ending, medium, len(got), err, len(disk))
			}
			sum := src.(transfer.StoredDigester).StoredSHA256()
			if want := sha256Of(stored); sum != want {
				t.Errorf("%s on %s: got SHA-256 %q of the file, want %s", ending, medium, sum, want)
			}
			if medium == "file" {
				checkIdentity(t, src, stored)
			}
			closed(t, src)
		}
	}
}

// checkIdentity checks that a source has the identity of a file of that size.
func checkIdentity(t *testing.T, src transfer.Source, stored []byte) {
	t.Helper()
	if want := fmt.Sprintf("size=%d ", len(stored)); !bytes.HasPrefix([]byte(src.Identity()), []byte(want)) {
		t.Errorf("got identity %q, want that of the file: %q", src.Identity(), want)
	}
}

// TestNothingStaysInTheSpool: the copy has no name in the folder, neither while it is read nor
// afterwards, so that nothing is left of a process that was killed. The folder is for the user alone.
func TestNothingStaysInTheSpool(t *testing.T) {
	spool := filepath.Join(tempDir(t), "state", "spool")
	path := tempFile(t, "x.qcow2.gz", gzipped(t, qcow2Of(t, sectors(noisyDisk()))))
	src := open(t, path, Options{DefaultSpool: spool})
	expectEmptyFolder(t, spool)
	closed(t, src)
	expectEmptyFolder(t, spool)
	if info, err := os.Stat(spool); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("got %v, %v; want a folder of mode 0700", info.Mode(), err)
	}
}

func expectEmptyFolder(t *testing.T, path string) {
	t.Helper()
	if list, err := os.ReadDir(path); err != nil || len(list) > 0 {
		t.Errorf("%s: got %v, %v; want an empty folder", path, list, err)
	}
}

// TestSpoolIsWithinTheRoots: a job's own folder must be one that its files may be in.
func TestSpoolIsWithinTheRoots(t *testing.T) {
	path := tempFile(t, "x.qcow2.gz", gzipped(t, qcow2Of(t, sectors(noisyDisk()))))
	outside, own := tempDir(t), filepath.Dir(path)
	opts := Options{Roots: Roots{own}, DefaultSpool: outside, Spool: own}
	src, err := Open(t.Context(), path, opts)
	if err != nil {
		t.Fatal(err)
	}
	closed(t, src)
	if err := os.Symlink(outside, filepath.Join(own, "link")); err != nil {
		t.Fatal(err)
	}
	for dir, code := range map[string]transfer.Code{
		outside: transfer.CodeForbidden, filepath.Join(own, "link"): transfer.CodeForbidden,
		filepath.Join(own, "none"): transfer.CodeNotFound, path: transfer.CodeNotFound,
	} {
		opts.Spool = dir
		_, err := Open(t.Context(), path, opts)
		expect(t, err, code)
	}
}

// TestSpoolWithoutSpaceIsRefused: if the spool has too little space, the error has the bytes that
// the image needs, whether or not its size is known beforehand, and the space is free afterwards.
func TestSpoolWithoutSpaceIsRefused(t *testing.T) {
	image := qcow2Of(t, bytes.Repeat(sectors(noisyDisk()), 40))
	spool := tempDir(t)
	transfertest.MountMemory(t, spool, 8<<20)
	for name, stored := range map[string][]byte{
		"gzip": gzipped(t, image), "tar in gzip": gzipped(t, tarred(t, "disk.qcow2", image)), "plain": image,
	} {
		for medium, open := range openOn(t, stored, Options{Spool: spool}) {
			if name == "plain" && (medium == "file" || medium == "URL with ranges") {
				continue
			}
			_, err := open()
			expect(t, err, transfer.CodeNoSpace, fmt.Sprintf("needs %d bytes", len(image)), "--spool DIR")
			var st unix.Statfs_t
			if err := unix.Statfs(spool, &st); err != nil || st.Bfree*uint64(st.Bsize) < 7<<20 {
				t.Errorf("%s on %s: got %d free blocks, %v; want all", name, medium, st.Bfree, err)
			}
		}
	}
}

// TestZerosTakeNoSpaceInTheSpool: zeros of the image are holes of the copy.
func TestZerosTakeNoSpaceInTheSpool(t *testing.T) {
	spool := tempDir(t)
	transfertest.MountMemory(t, spool, 8<<20)
	image := make([]byte, 64<<20)
	copy(image[32<<20:], noisyDisk())
	s, err := openSpool(Options{DefaultSpool: spool})
	if err != nil {
		t.Fatal(err)
	}
	defer closed(t, s.file)
	src := bytes.NewReader(image)
	in := newInput(func(_ context.Context, p []byte) (int, error) { return src.Read(p) }, nil)
	c, err := decode(t.Context(), "x", in, &raw)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.write(t.Context(), c, -1); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(io.NewSectionReader(s.file, 0, 1<<30))
	if err != nil || !bytes.Equal(got, image) {
		t.Errorf("got %d bytes, %v; want the image", len(got), err)
	}
}

// TestSpoolsOfOneFolderDiffer: two jobs that use one folder have a file each.
func TestSpoolsOfOneFolderDiffer(t *testing.T) {
	dir := tempDir(t)
	var files []*os.File
	for range 2 {
		s, err := openSpool(Options{DefaultSpool: dir})
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, s.file)
	}
	_, err := files[0].WriteAt([]byte("content"), 0)
	info, err2 := files[1].Stat()
	if err := errors.Join(err, err2); err != nil || info.Size() != 0 {
		t.Errorf("got %d bytes, %v; want an empty file", info.Size(), err)
	}
	for _, f := range files {
		closed(t, f)
	}
}
