package transfertest

import (
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/zeebo/blake3"

	"github.com/transferd/transferd/internal/transfer"
)

// Shape describes the images that an implementation supports.
type Shape struct {
	Chunk int   // size of a chunk in bytes; 0: 16 KiB
	Unit  int64 // every size is a multiple of it, in bytes; 0: 1
	Empty bool  // an image may be empty
}

func (s Shape) chunk() int {
	if s.Chunk == 0 {
		return 16 << 10
	}
	return s.Chunk
}

// sizes are those at which mistakes show: none, one byte, one chunk and its neighbours, and several
// chunks with an incomplete one.
func (s Shape) sizes() []int64 {
	c, unit := int64(s.chunk()), max(s.Unit, 1)
	var sizes []int64
	for _, n := range []int64{1, c - 1, c, c + 1, 7*c + c/3} {
		sizes = append(sizes, (n+unit-1)/unit*unit)
	}
	if s.Empty {
		sizes = append(sizes, 0)
	}
	slices.Sort(sizes)
	return slices.Compact(sizes)
}

// large is the size for tests that need several chunks.
func (s Shape) large() int64 { return slices.Max(s.sizes()) }

// Image is an image of size bytes, the same for each size. In each group of three chunks, one is
// random, one is zeros but for its last byte, and one is zeros.
func Image(size int64, chunk int) []byte {
	content := make([]byte, size)
	random := rand.New(rand.NewPCG(uint64(size), uint64(chunk)))
	for i, off := 0, int64(0); off < size; i, off = i+1, off+int64(chunk) {
		p := content[off:min(size, off+int64(chunk))]
		switch i % 3 {
		case 0:
			for j := range p {
				p[j] = byte(random.Uint32())
			}
		case 1:
			p[len(p)-1] = 1
		}
	}
	return content
}

// Manifest describes content in chunks of chunk bytes.
func Manifest(content []byte, chunk int) *transfer.Manifest {
	m := &transfer.Manifest{
		Version: transfer.ManifestVersion, Algorithm: "blake3", Size: int64(len(content)), ChunkSize: chunk,
		Chunks: make(map[int64]transfer.Digest),
	}
	root := blake3.New()
	for _, c := range chunks(content, chunk) {
		p := chunkOf(content, c)
		d := transfer.Digest(blake3.Sum256(p))
		_, _ = root.Write(d[:]) // never fails
		if !isZero(p) {
			m.Chunks[c.Index] = d
		}
	}
	m.ChunksRoot = hex.EncodeToString(root.Sum(nil))
	return m
}

func chunks(content []byte, size int) []transfer.Chunk {
	all := make([]transfer.Chunk, transfer.ChunkCount(int64(len(content)), size))
	for i := range all {
		all[i] = transfer.ChunkAt(int64(i), int64(len(content)), size)
	}
	return all
}

func shuffled(all []transfer.Chunk) []transfer.Chunk {
	all = slices.Clone(all)
	random := rand.New(rand.NewPCG(1, uint64(len(all))))
	random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}

func chunkOf(content []byte, c transfer.Chunk) []byte { return content[c.Off : c.Off+int64(c.Len)] }

func isZero(p []byte) bool { return !slices.ContainsFunc(p, func(b byte) bool { return b != 0 }) }

// diff describes the first difference of two images; empty if they are equal.
func diff(got, want []byte) string {
	if len(got) != len(want) {
		return fmt.Sprintf("got %d bytes, want %d", len(got), len(want))
	}
	for i := range want {
		if got[i] != want[i] {
			return fmt.Sprintf("byte %d of %d: got %#x, want %#x", i, len(want), got[i], want[i])
		}
	}
	return ""
}
