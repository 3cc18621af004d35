package image

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/transfertest"
)

// TestFolderThatReplacesAnOpenOneReceivesNothing: when a link to a folder outside of the roots
// replaces the target's folder during the write, the target appears in the original folder only.
func TestFolderThatReplacesAnOpenOneReceivesNothing(t *testing.T) {
	content := transfertest.Image(3*chunk, chunk)
	for name, format := range map[string]transfer.Format{"raw": transfer.FormatRaw, "gz": transfer.FormatGzip} {
		dir := tempDir(t)
		inside, moved := filepath.Join(dir, "inside"), filepath.Join(dir, "moved")
		outside := filepath.Join(dir, "outside")
		if err := errors.Join(os.Mkdir(inside, 0o700), os.Mkdir(outside, 0o700)); err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(outside, "disk.img.partial"), []byte("precious"))
		dst := written(t, filepath.Join(inside, "disk.img"), content, CreateOptions{Format: format})
		if err := errors.Join(os.Rename(inside, moved), os.Symlink(outside, inside)); err != nil {
			t.Fatal(err)
		}
		if err := dst.Commit(t.Context(), transfertest.Manifest(content, chunk), transfertest.Owned); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		closed(t, dst)
		for path, want := range map[string]bool{
			moved + "/disk.img": true, moved + "/disk.img" + manifestSuffix: true,
			moved + "/disk.img.partial": false, outside + "/disk.img": false,
			outside + "/disk.img" + manifestSuffix: false, outside + "/disk.img.partial": true,
		} {
			if got := exists(t, path); got != want {
				t.Errorf("%s: %s exists: got %t, want %t", name, path, got, want)
			}
		}
	}
}

// TestPartialThatIsALinkIsRefused: this holds for a link to a file in the same folder, which
// os.Root would follow.
func TestPartialThatIsALinkIsRefused(t *testing.T) {
	dir := tempDir(t)
	other := writeFile(t, filepath.Join(dir, "other.img"), []byte("precious"))
	for _, to := range []string{"other.img", "new.img", other} {
		path := filepath.Join(dir, "disk.img")
		if err := os.Symlink(to, path+partialSuffix); err != nil {
			t.Fatal(err)
		}
		for _, resume := range []bool{false, true} {
			_, err := Create(t.Context(), path, CreateOptions{Size: chunk, Resume: resume, Roots: anywhere})
			expect(t, err, transfer.CodeExists, "no regular file")
		}
		if b, err := os.ReadFile(other); err != nil || string(b) != "precious" {
			t.Errorf("the other file: got %q, %v; want it unchanged", b, err)
		}
		if exists(t, filepath.Join(dir, "new.img")) {
			t.Error("got a file at the target of the link, want none")
		}
		if err := os.Remove(path + partialSuffix); err != nil {
			t.Fatal(err)
		}
	}
}

// TestFolderThatMayOnlyBeSearchedIsUsable reads and writes below a folder that may be searched but
// not read.
func TestFolderThatMayOnlyBeSearchedIsUsable(t *testing.T) {
	// As root, this thread becomes another user for access to files; it ends with the test.
	const nobody = 65534
	dir := tempDir(t)
	closedDir, inner := filepath.Join(dir, "closed"), filepath.Join(dir, "closed", "inner")
	err := errors.Join(os.MkdirAll(inner, 0o700), os.WriteFile(filepath.Join(inner, "x.img"), []byte("content"), 0o644),
		os.Chmod(filepath.Dir(dir), 0o711), os.Chmod(inner, 0o777), os.Chmod(closedDir, 0o111))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(closedDir, 0o700) })
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		if os.Getuid() == 0 {
			if err := unix.Setfsuid(nobody); err != nil {
				done <- err
				return
			}
		}
		_, err := os.ReadDir(closedDir)
		if err == nil {
			done <- errors.New("the folder can be read, so the test would test nothing")
			return
		}
		roots := Roots{dir}
		src, err := Open(t.Context(), filepath.Join(inner, "x.img"), Options{Roots: roots})
		if err == nil {
			err = src.Close()
		}
		dst, createErr := Create(t.Context(), filepath.Join(inner, "y.img"), CreateOptions{Size: chunk, Roots: roots})
		if createErr == nil {
			createErr = dst.Close()
		}
		done <- errors.Join(err, createErr)
	}()
	if err := transfertest.Receive(t, done, "end of the open"); err != nil {
		t.Errorf("got %v, want success", err)
	}
}
