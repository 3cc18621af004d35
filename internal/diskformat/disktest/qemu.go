package disktest

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/transferd/transferd/internal/diskformat"
)

// OpenFunc opens the image at path with the reader that a test is for.
type OpenFunc func(t testing.TB, path string) (diskformat.Disk, error)

// Qemu compares a reader with qemu-img. It has qemu-img store a disk of size bytes in an image of a
// format, with options as on its command line. The content of the image must be what qemu-img reads
// from it.
func Qemu(t *testing.T, size int64, format, options string, open OpenFunc) {
	t.Helper()
	t.Run(fmt.Sprintf("%d bytes %s", size, options), func(t *testing.T) {
		dir := t.TempDir()
		Raw(t, filepath.Join(dir, "disk.raw"), size, size)
		args := append([]string{"convert", "-f", "raw", "-O", format}, strings.Fields(options)...)
		Run(t, dir, "qemu-img", append(args, "disk.raw", "disk."+format)...)
		Run(t, dir, "qemu-img", "convert", "-f", format, "-O", "raw", "disk."+format, "back.raw")
		disk, err := open(t, filepath.Join(dir, "disk."+format))
		if err != nil {
			t.Fatal(err)
		}
		want := Open(t, filepath.Join(dir, "back.raw"))
		Equal(t, disk, want, 4<<20)
		if size <= 32<<20 {
			Equal(t, disk, want, int(min(100_003, size/9+1)))
		}
	})
}

// Run runs a program in dir, which must succeed.
func Run(t testing.TB, dir, program string, args ...string) {
	t.Helper()
	c := exec.Command(program, args...)
	c.Dir = dir
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", c, err, out)
	}
}
