package fsx

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/transferd/transferd/internal/transfertest"
)

// text is a function that writes s in two pieces.
func text(s string) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.WriteString(w, s[:len(s)/2])
		_, err2 := io.WriteString(w, s[len(s)/2:])
		return errors.Join(err, err2)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestWriteFileReplaces(t *testing.T) {
	dir := t.TempDir()
	// A name of the greatest length cannot be extended to a temporary name.
	name := strings.Repeat("n", 255)
	for _, content := range []string{"first", "the second", ""} {
		if err := WriteFile(filepath.Join(dir, name), 0o600, true, text(content)); err != nil {
			t.Fatal(err)
		}
		if got := read(t, filepath.Join(dir, name)); got != content {
			t.Errorf("got %q, want %q", got, content)
		}
	}
	transfertest.ExpectEntries(t, dir, name)
}

func TestWriteFileNeverReplaces(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x")
	if err := WriteFile(path, 0o600, false, text("first")); err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(path, 0o600, false, text("second")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("got %v, want fs.ErrExist", err)
	}
	if got := read(t, path); got != "first" {
		t.Errorf("got %q, want the first content", got)
	}
	link := filepath.Join(dir, "y")
	if err := os.Symlink("nowhere", link); err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(link, 0o600, false, text("third")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a dangling link: got %v, want fs.ErrExist", err)
	}
	transfertest.ExpectEntries(t, dir, "x", "y")
}

func TestWriteFileObeysTheUmask(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x")
	old := unix.Umask(0o027)
	err := WriteFile(path, 0o666, false, text("content"))
	unix.Umask(old)
	info, statErr := os.Stat(path)
	if err = errors.Join(err, statErr); err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o640 {
		t.Errorf("got %v, want what the umask leaves of 0666", info.Mode())
	}
}

func TestWriteFileAfterAnErrorLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	broken := errors.New("broken")
	half := func(w io.Writer) error {
		_, err := w.Write([]byte("half"))
		return errors.Join(err, broken)
	}
	err := WriteFile(filepath.Join(dir, "x"), 0o600, true, half)
	if !errors.Is(err, broken) || !strings.Contains(err.Error(), "write x") {
		t.Errorf("got %v, want the writer's error and what was written", err)
	}
	transfertest.ExpectEntries(t, dir)
	if err := os.Mkdir(filepath.Join(dir, "folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	err = WriteFile(filepath.Join(dir, "folder"), 0o600, true, text("content"))
	if !errors.Is(err, unix.EISDIR) && !errors.Is(err, fs.ErrExist) {
		t.Errorf("a folder has the name: got %v, want EISDIR or fs.ErrExist", err)
	}
	transfertest.ExpectEntries(t, dir, "folder")
	err = WriteFile(filepath.Join(dir, "none", "x"), 0o600, true, text("content"))
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no folder: got %v, want fs.ErrNotExist", err)
	}
	if err := SyncDir(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("sync no folder: got %v, want fs.ErrNotExist", err)
	}
}

func TestWriteFileKeepsTheOldFileAfterAnError(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x")
	if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := WriteFile(path, 0o600, true, func(io.Writer) error { return io.ErrShortWrite })
	if !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("got %v, want io.ErrShortWrite", err)
	}
	if got := read(t, path); got != "old" {
		t.Errorf("got %q, want the old content", got)
	}
	transfertest.ExpectEntries(t, filepath.Dir(path), "x")
}

// TestReadersSeeWholeFiles reads while another goroutine writes.
func TestReadersSeeWholeFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x")
	small, large := "small", strings.Repeat("large", 100_000)
	if err := WriteFile(path, 0o600, true, text(small)); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		var err error
		for i := 0; i < 20 && err == nil; i++ {
			err = WriteFile(path, 0o600, true, text([]string{large, small}[i%2]))
		}
		done <- err
	}()
	for {
		if got := read(t, path); got != small && got != large {
			t.Fatalf("got %d bytes, want a whole file", len(got))
		}
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			transfertest.ExpectEntries(t, filepath.Dir(path), "x")
			return
		default:
		}
	}
}

// TestWriteFileAtFollowsTheFolder: WriteFileAt writes into an open folder that was renamed.
func TestWriteFileAtFollowsTheFolder(t *testing.T) {
	base := t.TempDir()
	before, after := filepath.Join(base, "before"), filepath.Join(base, "after")
	if err := os.Mkdir(before, 0o700); err != nil {
		t.Fatal(err)
	}
	dir, err := os.Open(before)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	if err := errors.Join(os.Rename(before, after), os.Mkdir(before, 0o700)); err != nil {
		t.Fatal(err)
	}
	if err := Kernel().WriteFileAt(dir, "x", 0o600, false, text("content")); err != nil {
		t.Fatal(err)
	}
	if got := read(t, filepath.Join(after, "x")); got != "content" {
		t.Errorf("got %q, want the content", got)
	}
	transfertest.ExpectEntries(t, before)
}

// TestCreateFileReturnsTheOpenFile: the caller can write more to the file.
func TestCreateFileReturnsTheOpenFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x")
	f, err := CreateFile(path, 0o600, false, text("content"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt([]byte(" and more"), 7)
	if err = errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	if got := read(t, path); got != "content and more" {
		t.Errorf("got %q, want the content with the later write", got)
	}
	if f.Name() != path {
		t.Errorf("got name %s, want %s", f.Name(), path)
	}
	if f, err := CreateFile(path, 0o600, false, text("other")); f != nil || !errors.Is(err, fs.ErrExist) {
		t.Errorf("got %v, %v, want no file and fs.ErrExist", f, err)
	}
}

// TestUnsyncedFolderIsErrNotDurable: if the folder cannot be synced, the file is in place, and the
// error says so.
func TestUnsyncedFolderIsErrNotDurable(t *testing.T) {
	base := t.TempDir()
	dir, err := os.Open(base)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	sys := Kernel()
	sys.Fsync = func(fd int) error {
		if fd == int(dir.Fd()) {
			return unix.EIO
		}
		return unix.Fsync(fd)
	}
	f, err := sys.createFileAt(dir, "x", 0o600, false, text("content"))
	if f == nil || !errors.Is(err, ErrNotDurable) || !errors.Is(err, unix.EIO) {
		t.Fatalf("got %v, %v, want the file, and ErrNotDurable with its cause", f, err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if got := read(t, filepath.Join(base, "x")); got != "content" {
		t.Errorf("got %q, want the new content", got)
	}
	transfertest.ExpectEntries(t, base, "x")
}

func TestRemoveTemporaryRemovesOnlyItsOwn(t *testing.T) {
	base := t.TempDir()
	dir, err := os.Open(base)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	// This file is what a crash between write and rename leaves.
	f, err := Kernel().writeTemporary(dir, temporaryPrefix+"x"+temporarySuffix, "z", 0o600, text("content"))
	if err = errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{".transferd-x", "x.tmp", "y"} {
		if err := os.WriteFile(filepath.Join(base, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := RemoveTemporary(base); err != nil {
		t.Fatal(err)
	}
	transfertest.ExpectEntries(t, base, ".transferd-x", "x.tmp", "y")
	if err := RemoveTemporary(filepath.Join(base, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want fs.ErrNotExist", err)
	}
}
