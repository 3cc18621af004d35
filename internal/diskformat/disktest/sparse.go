package disktest

import (
	"io"
	"math/rand/v2"
	"os"
	"testing"
)

// Sparse writes a raw file of size bytes, with holes: random data is in its first and last bytes,
// and in ranges between them of any length and place, at most some hundred and 32 MiB in all. One
// size yields the same file each time.
func Sparse(t testing.TB, path string, size int64) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	var seed [32]byte
	source := rand.NewChaCha8(seed)
	random := rand.New(source)
	write := func(off, n int64) {
		if _, err := io.CopyN(io.NewOffsetWriter(f, off), source, min(n, size-off)); err != nil {
			t.Fatal(err)
		}
	}
	write(0, 1000)
	write(max(0, size-700), 700)
	for range min(size>>18, 100) {
		write(random.Int64N(size), 1+random.Int64N(512<<10))
	}
}

// Parts is a file of size bytes that has these parts at their offsets, which do not overlap, and
// zeros elsewhere.
func Parts(size int64, parts map[int64][]byte) *File { return &File{R: partsReader(parts), N: size} }

type partsReader map[int64][]byte

// ReadAt reads below the size of the file only.
func (r partsReader) ReadAt(p []byte, off int64) (int, error) {
	clear(p)
	for at, data := range r {
		switch skip := off - at; {
		case skip < 0 && -skip < int64(len(p)):
			copy(p[-skip:], data)
		case skip >= 0 && skip < int64(len(data)):
			copy(p, data[skip:])
		}
	}
	return len(p), nil
}
