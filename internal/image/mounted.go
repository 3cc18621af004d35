package image

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// kernel has the paths at which Linux lists block devices and their users.
type kernel struct {
	devices string // /sys/dev/block: a folder for each device, by its number
	blocks  string // /sys/block: a folder for each device that is no partition, by its name
	mounts  string // /proc/self/mountinfo
	swaps   string // /proc/swaps
}

var linux = kernel{"/sys/dev/block", "/sys/block", "/proc/self/mountinfo", "/proc/swaps"}

// writers maps the numbers of devices to what may write them: the mount point of a file system that
// is mounted read-write, or swap.
func (k kernel) writers() (map[string]string, error) {
	text, err := os.ReadFile(k.mounts)
	if err != nil {
		return nil, err
	}
	used := make(map[string]string)
	for line := range strings.Lines(string(text)) {
		own, super, ok := strings.Cut(line, " - ") // proc(5): own fields, then type, source and options
		f, s := strings.Fields(own), strings.Fields(super)
		if !ok || len(f) < 5 || len(s) < 3 || !slices.Contains(strings.Split(s[2], ","), "rw") {
			continue
		}
		where := "mounted read-write on " + unescape(f[4])
		used[f[2]] = where
		// A file system on several devices has a device number of its own, so its source counts,
		// too.
		if number := deviceNumber(unescape(s[1])); number != "" {
			used[number] = where
		}
	}
	text, err = os.ReadFile(k.swaps)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 0 {
			if number := deviceNumber(unescape(f[0])); number != "" {
				used[number] = "used as swap"
			}
		}
	}
	return used, nil
}

var escapes = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)

func unescape(s string) string { return escapes.Replace(s) }

// deviceNumber is MAJOR:MINOR of a block device; empty if path leads to none.
func deviceNumber(path string) string {
	info, err := os.Stat(path)
	if err != nil || !isDevice(info) {
		return ""
	}
	return numberOf(info)
}

func numberOf(device fs.FileInfo) string {
	rdev := device.Sys().(*syscall.Stat_t).Rdev
	return fmt.Sprintf("%d:%d", unix.Major(rdev), unix.Minor(rdev))
}

// writer describes what may write a device, by its number: a use of the device itself, of its
// partitions, or of devices on top of these, such as LVM volumes. It is empty if there is none.
func (k kernel) writer(number string) (string, error) {
	used, err := k.writers()
	if err != nil || len(used) == 0 {
		return "", err
	}
	seen := map[string]bool{}
	for todo := []string{number}; len(todo) > 0; todo = todo[1:] {
		at := todo[0]
		if seen[at] {
			continue
		}
		seen[at] = true
		if use := used[at]; use != "" {
			if at != number {
				use = k.nameOf(at) + " on it is " + use
			} else {
				use = "it is " + use
			}
			return use, nil
		}
		todo = append(todo, k.above(at)...)
	}
	return "", nil
}

// above is the numbers of a device's partitions, and of the devices on top of it.
func (k kernel) above(number string) (numbers []string) {
	dir, err := filepath.EvalSymlinks(filepath.Join(k.devices, number))
	if err != nil {
		return nil
	}
	partitions, _ := filepath.Glob(filepath.Join(dir, "*", "partition")) // the pattern is well-formed
	holders, _ := filepath.Glob(filepath.Join(dir, "holders", "*", "dev"))
	for _, p := range partitions {
		holders = append(holders, filepath.Join(filepath.Dir(p), "dev"))
	}
	for _, path := range holders {
		if b, err := os.ReadFile(path); err == nil {
			numbers = append(numbers, strings.TrimSpace(string(b)))
		}
	}
	return numbers
}

func (k kernel) nameOf(number string) string {
	dir, err := filepath.EvalSymlinks(filepath.Join(k.devices, number))
	if err != nil {
		return number
	}
	return "/dev/" + filepath.Base(dir)
}

// fileWriter is writer for a regular file that loop devices are attached to.
func (k kernel) fileWriter(file fs.FileInfo) (string, error) {
	attached, _ := filepath.Glob(filepath.Join(k.blocks, "loop*", "loop", "backing_file"))
	for _, path := range attached {
		backing, err := os.ReadFile(path)
		if err != nil {
			continue // detached meanwhile
		}
		info, err := os.Stat(strings.TrimSuffix(string(backing), "\n"))
		if err != nil || !os.SameFile(info, file) {
			continue
		}
		dir := filepath.Dir(filepath.Dir(path))
		number, err := os.ReadFile(filepath.Join(dir, "dev"))
		if err != nil {
			continue
		}
		if use, err := k.writer(strings.TrimSpace(string(number))); use != "" || err != nil {
			return strings.Replace(use, "it is", "/dev/"+filepath.Base(dir)+", which is attached to it, is", 1), err
		}
	}
	return "", nil
}

// findWriter describes a mounted file system, or swap, on the image that may write it; empty: there
// is none.
func (s *File) findWriter() (string, error) {
	if isDevice(s.info) {
		return linux.writer(numberOf(s.info))
	}
	return linux.fileWriter(s.info)
}

// refuseMounted refuses an image that a mounted file system may write, unless that is allowed.
func (s *File) refuseMounted(allowed bool) (err error) {
	if s.exclusive {
		return nil // otherwise the kernel would have refused the open
	}
	op := "open " + s.path
	if s.writer, err = s.findWriter(); err != nil {
		return fileError("find out whether "+s.path+" is mounted", err)
	}
	if s.writer == "" || allowed {
		return nil
	}
	return invalid(op, "unmount it, mount it read-only, or copy a snapshot; with --allow-mounted the copy may be "+
		"of a file system in the middle of a change", "%s", s.writer)
}

// openSource opens a file or block device as the source of an image.
func openSource(path string, opts Options) (*File, error) {
	f, err := openFile(opts.Roots, path)
	if err != nil {
		return nil, err
	}
	if err := f.refuseMounted(opts.AllowMounted); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// openExclusively opens a device, so that until Close no one on this host can mount it or open it
// exclusively. exclusive is false if another program has done so already (open(2), O_EXCL).
func openExclusively(roots Roots, resolved string) (f *os.File, exclusive bool, err error) {
	f, err = roots.open(resolved, os.O_RDONLY|unix.O_EXCL)
	if errors.Is(err, unix.EBUSY) {
		f, err = roots.open(resolved, os.O_RDONLY)
		return f, false, err
	}
	return f, err == nil, err
}
