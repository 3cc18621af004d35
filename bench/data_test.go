package bench

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// The images that everything is measured on: a file system of real files, sparse as it is made; the
// same file system's data alone; and bytes that do not compress.
const (
	sparseSize = 1 << 30
	denseSize  = 256 << 20
	chunkSize  = 4 << 20
)

var work string // the folder of the images, in memory if there is one

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	base := "/dev/shm"
	if _, err := os.Stat(base); err != nil {
		base = ""
	}
	var err error
	if work, err = os.MkdirTemp(base, "transferd-bench"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(work)
	return m.Run()
}

// images makes each image once, at its first use.
var images = map[string]func() (string, error){
	"sparse": sparse, "dense": sync.OnceValues(makeDense), "random": sync.OnceValues(makeRandom),
}

var sparse = sync.OnceValues(makeSparse)

var sets = []string{"sparse", "dense", "random"}

func image(b testing.TB, set string) string {
	b.Helper()
	path, err := images[set]()
	if err != nil {
		b.Fatal(err)
	}
	return path
}

// makeSparse makes an ext4 file system of Go's sources.
func makeSparse() (string, error) {
	path := filepath.Join(work, "sparse.img")
	mkfs, err := exec.LookPath("mkfs.ext4")
	if err != nil {
		mkfs = "/usr/sbin/mkfs.ext4"
	}
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return "", err
	}
	sources := filepath.Join(strings.TrimSpace(string(root)), "src")
	out, err := exec.Command(mkfs, "-q", "-F", "-d", sources, path, fmt.Sprint(sparseSize>>10)+"k").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("make a file system (Debian's package is e2fsprogs): %w\n%s", err, out)
	}
	return path, nil
}

// makeDense repeats the chunks of the sparse image that hold data.
func makeDense() (string, error) {
	path, err := sparse()
	if err != nil {
		return "", err
	}
	src, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer src.Close()
	path = filepath.Join(work, "dense.img")
	dst, err := os.Create(path)
	if err != nil {
		return "", err
	}
	defer dst.Close()
	zero, p := make([]byte, chunkSize/2), make([]byte, chunkSize)
	for off, n := int64(0), 0; n < denseSize; off = (off + chunkSize) % sparseSize {
		if _, err := src.ReadAt(p, off); err != nil {
			return "", err
		}
		if bytes.Contains(p, zero) {
			continue
		}
		if _, err := dst.Write(p); err != nil {
			return "", err
		}
		n += len(p)
	}
	return path, nil
}

func makeRandom() (string, error) {
	path := filepath.Join(work, "random.img")
	f, err := os.Create(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	_, err = io.CopyN(f, rand.Reader, denseSize)
	return path, err
}

// chunks are up to n chunks of an image's data.
func chunks(b *testing.B, set string, n int) [][]byte {
	b.Helper()
	if set == "sparse" {
		return [][]byte{make([]byte, chunkSize)} // most of its chunks are zeros
	}
	f, err := os.Open(image(b, set))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	var list [][]byte
	for i := range n {
		p := make([]byte, chunkSize)
		if _, err := f.ReadAt(p, int64(i)*chunkSize); err != nil {
			b.Fatal(err)
		}
		list = append(list, p)
	}
	return list
}

// dataSize is the number of bytes of an image that are not in holes.
func dataSize(b *testing.B, path string) int64 {
	b.Helper()
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		b.Fatal(err)
	}
	return st.Blocks * 512
}

// tebibyte makes an image of 1 TiB with the chunks of the dense one, spread evenly.
func tebibyte(b *testing.B) string {
	b.Helper()
	src, err := os.Open(image(b, "dense"))
	if err != nil {
		b.Fatal(err)
	}
	defer src.Close()
	dst, err := os.Create(filepath.Join(work, "tebibyte.img"))
	if err != nil {
		b.Fatal(err)
	}
	defer dst.Close()
	const size, count = 1 << 40, denseSize / chunkSize
	if err := dst.Truncate(size); err != nil {
		b.Fatal(err)
	}
	for i := range int64(count) {
		if _, err := io.Copy(io.NewOffsetWriter(dst, size/count*i), io.LimitReader(src, chunkSize)); err != nil {
			b.Fatal(err)
		}
	}
	return dst.Name()
}
