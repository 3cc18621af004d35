package fsx_test

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/transferd/transferd/internal/fsx"
)

// TestLockHolderIsKnown: the process that holds an exclusive lock of a file is known while it does.
func TestLockHolderIsKnown(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	want := func(pid int) {
		t.Helper()
		if got := fsx.LockHolder(path); got != pid {
			t.Errorf("got process %d, want %d", got, pid)
		}
	}
	want(0)
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	want(0)
	for how, pid := range map[int]int{unix.LOCK_EX: os.Getpid(), unix.LOCK_SH: 0} {
		if err := unix.Flock(int(f.Fd()), how); err != nil {
			t.Fatal(err)
		}
		want(pid)
		if err := unix.Flock(int(f.Fd()), unix.LOCK_UN); err != nil {
			t.Fatal(err)
		}
		want(0)
	}
}
