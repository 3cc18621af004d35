package disktest

import (
	"errors"
	"math/rand/v2"
	"os"
	"testing"
)

// The pieces of Raw have sectors, so that images with small blocks have holes, too.
const (
	sector     = 512 // bytes
	maxSectors = 320 // of a piece
)

// Raw makes a sparse raw file of size bytes at path, with about 100 MiB of data at most: random
// bytes, text that compresses well, single bytes between zeros, and holes. There is data at its first
// and its last byte. The same size and seed make the same file.
func Raw(t testing.TB, path string, size, seed int64) *File {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	err = f.Truncate(size)
	source := rand.NewChaCha8([32]byte{byte(seed)})
	rnd := rand.New(source)
	for off := int64(0); off < size && err == nil; {
		n := min(sector*(1+rnd.Int64N(maxSectors)), size-off)
		if rnd.IntN(4) == 0 && off > 0 && off+n < size {
			off += n * (1 + rnd.Int64N(1+size>>24)) // a hole
			continue
		}
		_, err = f.WriteAt(piece(rnd.IntN(3), n, source), off)
		off += n
	}
	if size > 0 && err == nil {
		_, err = f.WriteAt([]byte{1}, size-1)
	}
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	return Open(t, path)
}

// piece is n bytes of data of a kind.
func piece(kind int, n int64, source *rand.ChaCha8) []byte {
	p := make([]byte, n)
	switch kind {
	case 0:
		_, _ = source.Read(p)
	case 1:
		for i := range p {
			p[i] = "all work and no play "[i%21]
		}
	case 2:
		p[0], p[source.Uint64()%uint64(n)] = 1, 2
	}
	return p
}
