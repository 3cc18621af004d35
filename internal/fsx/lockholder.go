package fsx

import (
	"bufio"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// LockHolder returns a process that holds an exclusive lock of a file (flock(2)); 0: none is known.
// It reads /proc/locks (proc_locks(5)), because a process that tried the lock could get it, and so
// refuse it to another one that starts. Locks of processes in other containers, and on file systems
// that show other device numbers there, such as Btrfs, are not known.
func LockHolder(path string) (pid int) {
	var st unix.Stat_t
	if unix.Stat(path, &st) != nil {
		return 0
	}
	f, err := os.Open("/proc/locks")
	if err != nil {
		return 0
	}
	defer f.Close()
	file := fmt.Sprintf("%02x:%02x:%d", unix.Major(st.Dev), unix.Minor(st.Dev), st.Ino)
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var number, kind, mode, access, held string
		_, err := fmt.Sscan(lines.Text(), &number, &kind, &mode, &access, &pid, &held)
		if err == nil && kind == "FLOCK" && strings.HasPrefix(access, "W") && held == file {
			return pid
		}
	}
	return 0
}
