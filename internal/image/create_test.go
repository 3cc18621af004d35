package image

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/transfertest"
)

const chunk = transfer.MinChunkSize

// written creates a target and writes all of content into it.
func written(t *testing.T, path string, content []byte, opts CreateOptions) transfer.Sink {
	t.Helper()
	opts.Size, opts.Roots = int64(len(content)), anywhere
	dst := create(t, path, opts)
	for i := range transfer.ChunkCount(opts.Size, chunk) {
		writeChunks(t, dst, content, i)
	}
	return dst
}

// TestRefusedCreateChangesNothing: a refused Create changes no file.
func TestRefusedCreateChangesNothing(t *testing.T) {
	dir := tempDir(t)
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, err := range []error{
		os.Mkdir(at("folder"), 0o700), unix.Mkfifo(at("pipe"), 0o600), os.Symlink(at("there.img"), at("link.img")),
		os.Mkdir(at("other.img.partial"), 0o700), os.Symlink(at("elsewhere"), at("trap.img.partial")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	writeFile(t, at("there.img"), []byte("precious"))
	for name, tc := range map[string]struct {
		opts CreateOptions
		code transfer.Code
		word string
	}{
		"there.img":      {CreateOptions{}, transfer.CodeExists, "--overwrite"},
		"link.img":       {CreateOptions{}, transfer.CodeExists, "--overwrite"},
		"folder":         {CreateOptions{Overwrite: true}, transfer.CodeInvalid, "no regular file"},
		"pipe":           {CreateOptions{Overwrite: true}, transfer.CodeInvalid, "no regular file"},
		"none/disk.img":  {CreateOptions{}, transfer.CodeNotFound, ""},
		"there.img/disk": {CreateOptions{}, transfer.CodeNotFound, ""},
		"other.img":      {CreateOptions{}, transfer.CodeExists, "no regular file"},
		"trap.img":       {CreateOptions{}, transfer.CodeExists, "no regular file"},
		"-":              {CreateOptions{}, transfer.CodeInvalid, "--local"},
	} {
		t.Run(name, func(t *testing.T) {
			path := name
			if name != "-" {
				path = at(name)
			}
			tc.opts.Size, tc.opts.Roots = chunk, anywhere
			dst, err := Create(t.Context(), path, tc.opts)
			if err == nil {
				closed(t, dst)
			}
			expect(t, err, tc.code, tc.word)
		})
	}
	_, err := Create(t.Context(), at("x.img"), CreateOptions{Size: 1, Roots: Roots{at("folder")}})
	expect(t, err, transfer.CodeForbidden, "roots")
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 6 {
		t.Errorf("got %d entries, %v; want 6", len(entries), err)
	}
	if b, err := os.ReadFile(at("there.img")); err != nil || string(b) != "precious" {
		t.Errorf("the file that was there holds %q, %v", b, err)
	}
}

// TestTargetHasOneWriterAtATime: while one job writes a target, Create refuses others.
func TestTargetHasOneWriterAtATime(t *testing.T) {
	path := filepath.Join(tempDir(t), "disk.img")
	opts := CreateOptions{Size: chunk, Roots: anywhere}
	first := create(t, path, opts)
	_, err := Create(t.Context(), path, opts)
	expect(t, err, transfer.CodeConflict, "another job")
	closed(t, first)
	second := create(t, path, opts)
	closed(t, second)
}

// TestTargetThatAppearsMeanwhileStays: a file that appears while the target is written is not
// replaced.
func TestTargetThatAppearsMeanwhileStays(t *testing.T) {
	content := transfertest.Image(3*chunk, chunk)
	for name, format := range map[string]transfer.Format{"raw": transfer.FormatRaw, "gz": transfer.FormatGzip} {
		path := filepath.Join(tempDir(t), "disk.img")
		dst := written(t, path, content, CreateOptions{Format: format})
		writeFile(t, path, []byte("precious"))
		err := dst.Commit(t.Context(), transfertest.Manifest(content, chunk), transfertest.Owned)
		expect(t, err, transfer.CodeExists, "--overwrite")
		closed(t, dst)
		if b, err := os.ReadFile(path); err != nil || string(b) != "precious" {
			t.Errorf("%s: the other's file holds %q, %v", name, b, err)
		}
	}
}

// TestSecondCommitFindsThePublishedTarget: after a crash between the publication of a target and
// its record, the next attempt verifies that the target is this image, and succeeds.
func TestSecondCommitFindsThePublishedTarget(t *testing.T) {
	content := transfertest.Image(5*chunk, chunk)
	manifest := transfertest.Manifest(content, chunk)
	for name, format := range map[string]transfer.Format{
		"raw": transfer.FormatRaw, "gz": transfer.FormatGzip, "zst": transfer.FormatZstd,
	} {
		path := filepath.Join(tempDir(t), "disk.img")
		first := written(t, path, content, CreateOptions{Format: format})
		if err := first.Commit(t.Context(), manifest, transfertest.Owned); err != nil {
			t.Fatal(err)
		}
		closed(t, first)
		second := written(t, path, content, CreateOptions{Format: format, Resume: true})
		if err := second.Commit(t.Context(), manifest, transfertest.Owned); err != nil {
			t.Errorf("%s: got %v, want success", name, err)
		}
		closed(t, second)
		if exists(t, path+partialSuffix) {
			t.Errorf("%s: the second %s exists, want it removed", name, partialSuffix)
		}
	}
}

// TestManifestIsWritten: Commit writes a manifest next to the target.
func TestManifestIsWritten(t *testing.T) {
	content := transfertest.Image(3*chunk, chunk)
	path := filepath.Join(tempDir(t), "disk.img")
	dst := written(t, path, content, CreateOptions{})
	if err := dst.Commit(t.Context(), transfertest.Manifest(content, chunk), transfertest.Owned); err != nil {
		t.Fatal(err)
	}
	closed(t, dst)
	src, err := OpenImageOrManifest(t.Context(), path+manifestSuffix, Options{Roots: anywhere})
	if err != nil {
		t.Fatal(err)
	}
	defer closed(t, src)
	if _, ok := src.(transfer.Digests); !ok || src.Size() != int64(len(content)) {
		t.Errorf("got a %T of %d bytes, want transfer.Digests of %d", src, src.Size(), len(content))
	}
}

// TestManifestOfAnotherImageStays: the manifest of another image is not replaced, whether it exists
// before or appears meanwhile. A manifest of the same image is that of an earlier attempt.
func TestManifestOfAnotherImageStays(t *testing.T) {
	content := transfertest.Image(3*chunk, chunk)
	path := filepath.Join(tempDir(t), "disk.img")
	kept := writeFile(t, path+manifestSuffix, []byte("evidence"))
	_, err := Create(t.Context(), path, CreateOptions{Size: chunk, Roots: anywhere})
	expect(t, err, transfer.CodeExists, manifestSuffix, "--overwrite")
	if exists(t, path+partialSuffix) {
		t.Errorf("got a %s, want none", partialSuffix)
	}
	resumed := written(t, path, content, CreateOptions{Resume: true})
	err = resumed.Commit(t.Context(), transfertest.Manifest(content, chunk), transfertest.Owned)
	expect(t, err, transfer.CodeExists, manifestSuffix)
	closed(t, resumed)
	if b, err := os.ReadFile(kept); err != nil || string(b) != "evidence" {
		t.Errorf("the manifest: got %q, %v; want it unchanged", b, err)
	}
	if exists(t, path) || !exists(t, path+partialSuffix) {
		t.Error("want no target and its " + partialSuffix)
	}
	for _, opts := range []CreateOptions{{Overwrite: true}, {Resume: true}} {
		dst := written(t, path, content, opts)
		if err := dst.Commit(t.Context(), transfertest.Manifest(content, chunk), transfertest.Owned); err != nil {
			t.Errorf("%+v: got %v, want success", opts, err)
		}
		closed(t, dst)
		if err := os.Remove(path); err != nil { // the second one finds the manifest of the first
			t.Fatal(err)
		}
	}
}

// TestCompressedTargetIsVerified: Commit of a compressed target that differs from the manifest
// fails and leaves nothing.
func TestCompressedTargetIsVerified(t *testing.T) {
	content := transfertest.Image(64*chunk, chunk)
	for name, format := range map[string]transfer.Format{"gz": transfer.FormatGzip, "zst": transfer.FormatZstd} {
		path := filepath.Join(tempDir(t), "disk.img")
		dst := written(t, path, content, CreateOptions{Format: format})
		m := transfertest.Manifest(content, chunk)
		m.Chunks[2] = transfer.Digest{1}
		err := dst.Commit(t.Context(), m, transfertest.Owned)
		expectAt(t, err, transfer.CodeMismatch, 2*chunk)
		closed(t, dst)
		if exists(t, path) || exists(t, path+partialSuffix) {
			t.Errorf("%s: got a target or a %s, want neither", name, partialSuffix)
		}
	}
}

// TestStaleChunksAreCleared: Commit clears data in the .partial where the image has zeros.
func TestStaleChunksAreCleared(t *testing.T) {
	content := transfertest.Image(4*chunk, chunk)
	clear(content[chunk : 2*chunk])
	path := filepath.Join(tempDir(t), "disk.img")
	closed(t, written(t, path, nil, CreateOptions{}))
	writeFile(t, path+partialSuffix, bytes.Repeat([]byte{0xee}, len(content)))
	dst := create(t, path, CreateOptions{Size: int64(len(content)), Resume: true, Roots: anywhere})
	if blank, err := dst.(transfer.BlankChecker).Blank(t.Context()); blank || err != nil {
		t.Errorf("a file with data: got blank %t, %v; want false", blank, err)
	}
	writeChunks(t, dst, content, 0, 2, 3)
	if err := dst.Commit(t.Context(), transfertest.Manifest(content, chunk), transfertest.Owned); err != nil {
		t.Fatal(err)
	}
	closed(t, dst)
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, content) {
		t.Errorf("got other data than the image (%v)", err)
	}
}

// TestFileErrorsHaveCodeAndHint: each failure of a file system has the code that users act on.
func TestFileErrorsHaveCodeAndHint(t *testing.T) {
	for cause, code := range map[error]transfer.Code{
		fs.ErrNotExist: transfer.CodeNotFound, unix.ENOTDIR: transfer.CodeNotFound,
		fs.ErrPermission: transfer.CodeForbidden,
		unix.EROFS:       transfer.CodeForbidden, unix.ENOSPC: transfer.CodeNoSpace, unix.EDQUOT: transfer.CodeNoSpace,
		unix.EFBIG: transfer.CodeNoSpace, unix.EISDIR: transfer.CodeInvalid, unix.ELOOP: transfer.CodeInvalid,
		unix.EBUSY: transfer.CodeInvalid, unix.EIO: transfer.CodeFailed, unix.ENOLCK: transfer.CodeInvalid,
		errors.New("strange"): transfer.CodeFailed,
	} {
		err := fileError("do it", &fs.PathError{Op: "open", Path: "/proc/self/fd/7", Err: cause})
		expect(t, err, code, "do it")
	}
}

// TestNotOwnedIsNotPublished: a complete file is not published when another worker owns the job.
func TestNotOwnedIsNotPublished(t *testing.T) {
	content := transfertest.Image(3*chunk, chunk)
	lost := transfer.Errorf(transfer.CodeFenced, "", "lost")
	for _, format := range []transfer.Format{transfer.FormatRaw, transfer.FormatGzip} {
		path := filepath.Join(tempDir(t), "disk.img")
		dst := written(t, path, content, CreateOptions{Format: format})
		notOwned := func(context.Context) error { return lost }
		err := dst.Commit(t.Context(), transfertest.Manifest(content, chunk), notOwned)
		if transfer.CodeOf(err) != transfer.CodeFenced {
			t.Errorf("%s: got %v, want %s", format, err, transfer.CodeFenced)
		}
		closed(t, dst)
		for _, name := range []string{path, path + manifestSuffix} {
			if _, err := os.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: %s exists (%v), want none", format, filepath.Base(name), err)
			}
		}
	}
}
