package image

import (
	"errors"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/transferd/transferd/internal/transfer"
)

// TestTouchedFileIsReportedOnce: Unchanged reports a change of the ctime once, also if the mtime
// was set back.
func TestTouchedFileIsReportedOnce(t *testing.T) {
	path := tempFile(t, "x.img", random(100_000))
	old := time.Now().Add(-time.Hour)
	for name, touch := range map[string]func() error{
		"written, time set back": func() error {
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteAt([]byte("new"), 7)
			return errors.Join(err, f.Close(), os.Chtimes(path, old, old))
		},
		"permissions": func() error { return os.Chmod(path, 0o640) },
		"a link":      func() error { return errors.Join(os.Link(path, path+".link"), os.Remove(path+".link")) },
	} {
		if err := os.Chtimes(path, old, old); err != nil {
			t.Fatal(err)
		}
		s, err := openFile(anywhere, path)
		if err != nil {
			t.Fatal(err)
		}
		before := s.Identity()
		if err := s.Unchanged(t.Context()); err != nil {
			t.Errorf("%s, before: got %v, want nil", name, err)
		}
		if err := touch(); err != nil {
			t.Fatal(err)
		}
		err = s.Unchanged(t.Context())
		if expect(t, err, transfer.CodeSourceChanged); !errors.Is(err, transfer.ErrTouched) {
			t.Errorf("%s: got %v, want ErrTouched", name, err)
		}
		if err := s.Unchanged(t.Context()); err != nil {
			t.Errorf("%s, the second time: got %v, want nil", name, err)
		}
		again, err := openFile(anywhere, path)
		if err != nil {
			t.Fatal(err)
		}
		if again.Identity() == before || !again.Resembles(before) {
			t.Errorf("%s: got %s after %s, want another identity that resembles it", name, again.Identity(), before)
		}
		closed(t, again)
		closed(t, s)
	}
	s, err := openFile(anywhere, path)
	if err != nil {
		t.Fatal(err)
	}
	defer closed(t, s)
	before := s.Identity()
	writeFile(t, path, random(100_000))
	err = s.Unchanged(t.Context())
	if transfer.CodeOf(err) != transfer.CodeSourceChanged || errors.Is(err, transfer.ErrTouched) {
		t.Errorf("a file that was written: got %v, want %s without ErrTouched", err, transfer.CodeSourceChanged)
	}
	again, err := openFile(anywhere, path)
	if err != nil {
		t.Fatal(err)
	}
	defer closed(t, again)
	if again.Resembles(before) {
		t.Error("a file that was written: got Resembles true, want false")
	}
}

// TestMappedFileIsReported: UndetectedChanges reports a file that was mapped for writing when it
// was opened, and no other file.
func TestMappedFileIsReported(t *testing.T) {
	path := tempFile(t, "x.img", random(100_000))
	w, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	m, err := unix.Mmap(int(w.Fd()), 0, 4096, unix.PROT_WRITE, unix.MAP_SHARED)
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	s, err := openFile(anywhere, path)
	if err != nil {
		t.Fatal(err)
	}
	defer closed(t, s)
	if err := unix.Munmap(m); err != nil {
		t.Fatal(err)
	}
	if s.UndetectedChanges() == "" {
		t.Error("got no report of a file that was mapped when it was opened")
	}
	quiet, err := openFile(anywhere, path)
	if err != nil {
		t.Fatal(err)
	}
	defer closed(t, quiet)
	if got := quiet.UndetectedChanges(); got != "" {
		t.Errorf("got %q for a file that is not open elsewhere, want none", got)
	}
}
