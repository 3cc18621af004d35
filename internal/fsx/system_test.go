package fsx

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/transferd/transferd/internal/transfertest"
)

// folder is a new folder with files of the given content: its path, and the open folder.
func folder(t *testing.T, files map[string]string) (base string, dir *os.File) {
	t.Helper()
	base = t.TempDir()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(base, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	dir, err := os.Open(base)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = dir.Close() })
	return base, dir
}

// without is a system whose renameat2 with flags fails with the error flags. If links is set, hard
// links fail with it.
func without(flags, links error) *System {
	sys := Kernel()
	sys.Renameat2 = func(int, string, int, string, uint) error { return flags }
	if links != nil {
		sys.Linkat = func(int, string, int, string, int) error { return links }
	}
	return sys
}

// TestRenameNeverReplaces: this holds also on file systems without flags of renameat2, and without
// hard links.
func TestRenameNeverReplaces(t *testing.T) {
	for name, sys := range map[string]*System{
		"all": Kernel(), "no flags": without(unix.EINVAL, nil), "old kernel": without(unix.ENOSYS, nil),
		"vfat": without(unix.EINVAL, unix.EPERM), "SMB": without(unix.EINVAL, unix.EOPNOTSUPP),
		"FUSE": without(unix.EINVAL, unix.ENOSYS),
	} {
		t.Run(name, func(t *testing.T) {
			base, dir := folder(t, map[string]string{"from": "new", "taken": "old", "empty": ""})
			for _, to := range []string{"taken", "empty"} {
				if err := sys.Rename(dir, "from", to, false); !errors.Is(err, fs.ErrExist) {
					t.Errorf("to %s: got %v, want fs.ErrExist", to, err)
				}
			}
			transfertest.ExpectEntries(t, base, "empty", "from", "taken")
			if err := sys.Rename(dir, "from", "to", false); err != nil {
				t.Errorf("to a free name: got %v, want success", err)
			}
			transfertest.ExpectEntries(t, base, "empty", "taken", "to")
			if got := read(t, filepath.Join(base, "to")) + read(t, filepath.Join(base, "taken")); got != "newold" {
				t.Errorf("got %q, want %q", got, "newold")
			}
			if err := sys.Rename(dir, "to", "taken", true); err != nil {
				t.Errorf("with replace: got %v, want success", err)
			}
			if err := sys.Rename(dir, "none", "new", false); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("got %v, want fs.ErrNotExist", err)
			}
			transfertest.ExpectEntries(t, base, "empty", "taken")
		})
	}
	_, dir := folder(t, map[string]string{"from": ""})
	if err := without(unix.EROFS, nil).Rename(dir, "from", "to", false); !errors.Is(err, unix.EROFS) {
		t.Errorf("got %v, want EROFS as it is", err)
	}
}

// TestRenameReplacesAnAbandonedPlaceholder: Rename replaces the placeholder of a Rename that a
// crash ended, and not that of a running one.
func TestRenameReplacesAnAbandonedPlaceholder(t *testing.T) {
	base, dir := folder(t, map[string]string{"from": "new", "to": placeholder, "other": placeholder + "x"})
	sys := without(unix.EINVAL, unix.EPERM)
	for _, name := range []string{"to", "other", "from", "none"} {
		if got := IsPlaceholder(dir, name); got != (name == "to") {
			t.Errorf("%s is a placeholder: got %v, want %v", name, got, name == "to")
		}
	}
	if err := sys.Rename(dir, "from", "other", false); !errors.Is(err, fs.ErrExist) {
		t.Errorf("to a file that is no placeholder: got %v, want fs.ErrExist", err)
	}
	f, err := os.Open(filepath.Join(base, "to"))
	if err == nil {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := sys.Rename(dir, "from", "to", false); !errors.Is(err, fs.ErrExist) {
		t.Errorf("while another process renames: got %v, want fs.ErrExist", err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := sys.Rename(dir, "from", "to", false); err != nil {
		t.Errorf("over an abandoned placeholder: got %v, want success", err)
	}
	if got := read(t, filepath.Join(base, "to")); got != "new" {
		t.Errorf("got %q, want the new content", got)
	}
	transfertest.ExpectEntries(t, base, "other", "to")
}

// TestSyncReportsEveryError: Sync returns the errors of fsync and close, and syncs the whole file
// system where it cannot sync a file.
func TestSyncReportsEveryError(t *testing.T) {
	fails := func(err error) func(int) error { return func(int) error { return err } }
	for name, tc := range map[string]struct {
		fsync, syncfs, closing, want error
	}{
		"sound":              {},
		"disk error":         {fsync: unix.EIO, want: unix.EIO},
		"full":               {fsync: unix.ENOSPC, want: unix.ENOSPC},
		"close fails":        {closing: unix.EDQUOT, want: unix.EDQUOT},
		"close is cut off":   {closing: unix.EINTR},
		"no fsync":           {fsync: unix.EINVAL},
		"no fsync in FUSE":   {fsync: unix.ENOSYS},
		"no fsync, error":    {fsync: unix.EOPNOTSUPP, syncfs: unix.EIO, want: unix.EIO},
		"error, syncfs good": {fsync: unix.EIO, syncfs: nil, want: unix.EIO},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := os.Create(filepath.Join(t.TempDir(), "x"))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			sys := Kernel()
			if tc.fsync != nil {
				sys.Fsync, sys.Syncfs = fails(tc.fsync), fails(tc.syncfs)
			}
			if tc.closing != nil {
				sys.Close = func(fd int) error { return errors.Join(unix.Close(fd), tc.closing) }
			}
			if err := sys.Sync(f); !errors.Is(err, tc.want) {
				t.Errorf("got %v, want %v", err, tc.want)
			}
			if _, err := f.WriteString("more"); err != nil {
				t.Errorf("write after Sync: got %v, want success", err)
			}
		})
	}
	for err, want := range map[error]error{
		unix.EINVAL: nil, unix.ENOSYS: nil, unix.EOPNOTSUPP: nil, unix.EIO: unix.EIO,
	} {
		_, dir := folder(t, nil)
		sys := Kernel()
		sys.Fsync = fails(err)
		if got := sys.SyncDir(dir); !errors.Is(got, want) {
			t.Errorf("folder, %v: got %v, want %v", err, got, want)
		}
	}
}

// TestSyncIsRepeatedAfterSignal: a sync that a signal interrupts is repeated.
func TestSyncIsRepeatedAfterSignal(t *testing.T) {
	_, dir := folder(t, nil)
	sys, calls := Kernel(), 0
	sys.Fsync = func(int) error {
		if calls++; calls < 3 {
			return unix.EINTR
		}
		return nil
	}
	if err := sys.SyncDir(dir); err != nil || calls != 3 {
		t.Errorf("got %v after %d calls, want nil after 3", err, calls)
	}
}

func TestCreateTemporaryIsRemovable(t *testing.T) {
	base, dir := folder(t, nil)
	f, name, err := CreateTemporary(dir, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	transfertest.ExpectEntries(t, base, name)
	if err := RemoveTemporary(base); err != nil {
		t.Fatal(err)
	}
	transfertest.ExpectEntries(t, base)
}
