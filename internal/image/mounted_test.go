package image

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/transfertest"
)

// TestWritersOfDevicesAreFound: file systems mounted read-write on a disk, on its partitions, or on
// devices on top of these, are found in directory trees like those of the kernel.
func TestWritersOfDevicesAreFound(t *testing.T) {
	const disk, part1, part2, volume, snapshot, other = "8:0", "8:1", "8:2", "253:0", "253:1", "8:16"
	dir := tempDir(t)
	k := kernel{dir + "/dev", dir + "/block", dir + "/mountinfo", dir + "/swaps"}
	device := func(number, path string) string {
		at := filepath.Join(dir, "block", path)
		for _, d := range []string{filepath.Join(at, "holders"), k.devices} {
			if err := os.MkdirAll(d, 0o700); err != nil {
				t.Fatal(err)
			}
		}
		writeFile(t, filepath.Join(at, "dev"), []byte(number+"\n"))
		if err := os.Symlink(at, filepath.Join(k.devices, number)); err != nil {
			t.Fatal(err)
		}
		return at
	}
	device(disk, "sda")
	for number, path := range map[string]string{part1: "sda/sda1", part2: "sda/sda2"} {
		writeFile(t, filepath.Join(device(number, path), "partition"), []byte("1\n"))
	}
	device(other, "sdb")
	for number, name := range map[string]string{volume: "dm-0", snapshot: "dm-1"} {
		at := device(number, name)
		if err := os.Symlink(at, filepath.Join(dir, "block", "sda/sda2/holders", name)); err != nil {
			t.Fatal(err)
		}
	}
	for name, tc := range map[string]struct {
		mounted, options string
		used             []string
	}{
		"nothing":                {"9:9", "rw", nil},
		"the disk":               {disk, "rw,relatime", []string{disk}},
		"a partition":            {part1, "rw", []string{disk, part1}},
		"a partition, read-only": {part1, "ro", nil},
		"a volume":               {volume, "rw", []string{disk, part2, volume}},
	} {
		const line = "36 35 %s / /mnt/a\\040b %s shared:1 - ext4 /dev/none %s,errors=continue\n"
		writeFile(t, k.mounts, fmt.Appendf(nil, line, tc.mounted, tc.options, tc.options))
		for _, number := range []string{disk, part1, part2, volume, snapshot, other} {
			use, err := k.writer(number)
			if err != nil {
				t.Fatal(err)
			}
			want := false
			for _, used := range tc.used {
				want = want || used == number
			}
			if want != (use != "") || want && !strings.Contains(use, "mounted read-write on /mnt/a b") {
				t.Errorf("%s: %s: got %q, want a use: %t", name, number, use, want)
			}
		}
	}
}

// loop attaches a file to a loop device, or skips the test if the kernel refuses.
func loop(t *testing.T, path string) string {
	t.Helper()
	transfertest.RequireProgram(t, "losetup", debian["losetup"])
	out, err := exec.Command("losetup", "--find", "--show", path).Output()
	if err != nil {
		t.Skipf("the kernel refuses a loop device: %v", err)
	}
	dev := strings.TrimSpace(string(out))
	t.Cleanup(func() {
		if err := exec.Command("losetup", "--detach", dev).Run(); err != nil {
			t.Error(err)
		}
	})
	return dev
}

// TestDeviceMountedReadWriteIsRefused: a device, and the file behind it, is refused while a file
// system on it is mounted read-write, unless that is allowed. It is read while the file system is
// mounted read-only. A device that is not in use is opened exclusively.
func TestDeviceMountedReadWriteIsRefused(t *testing.T) {
	path := sparse(t, 8<<20)
	for _, program := range []string{"mkfs.ext4", "mount"} {
		transfertest.RequireProgram(t, program, debian[program])
	}
	if err := exec.Command("mkfs.ext4", "-q", path).Run(); err != nil {
		t.Fatal(err)
	}
	dev, at := loop(t, path), tempDir(t)
	for _, p := range []string{dev, path} {
		s := open(t, p, Options{}).(*File)
		if s.exclusive != (p == dev) || p == dev && !strings.Contains(s.UndetectedChanges(), "not mounted") {
			t.Errorf("%s: got exclusive %t, %q; want %t", p, s.exclusive, s.UndetectedChanges(), p == dev)
		}
		if p == dev {
			if err := exec.Command("mount", "-o", "ro", dev, at).Run(); err == nil {
				t.Error("mount while it is open: got success, want a refusal")
				_ = exec.Command("umount", at).Run()
			}
		}
		closed(t, s)
	}
	for _, mode := range []string{"ro", "rw"} {
		if err := exec.Command("mount", "-o", mode, dev, at).Run(); err != nil {
			t.Skipf("the kernel refuses a mount: %v", err)
		}
		for _, p := range []string{dev, path} {
			src, err := Open(t.Context(), p, Options{Roots: anywhere})
			if mode == "rw" {
				expect(t, err, transfer.CodeInvalid, "mounted read-write on "+at, "--allow-mounted", dev[len("/dev/"):])
				s := open(t, p, Options{AllowMounted: true}).(*File)
				if got := s.UndetectedChanges(); !strings.Contains(got, "in use") || !strings.Contains(got, at) {
					t.Errorf("%s: got %q, want in use and %s", p, got, at)
				}
				closed(t, s)
				continue
			}
			if err != nil {
				t.Errorf("%s, mounted read-only: got %v, want success", p, err)
				continue
			}
			closed(t, src)
		}
		if err := exec.Command("umount", at).Run(); err != nil {
			t.Fatal(err)
		}
	}
}
