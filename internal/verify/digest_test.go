package verify

import (
	"crypto/sha256"
	"encoding/hex"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/zeebo/blake3"

	"github.com/transferd/transferd/internal/transfer"
)

const c = transfer.MinChunkSize

var sizes = []int{0, 1, c - 1, c, c + 1, 7*c + 5, 40 * c}

// sparseImage returns an image whose chunks are zeros in two cases of three, and the digests of the
// others.
func sparseImage(size int) (image []byte, chunks map[int64]transfer.Digest) {
	image, chunks = randomBytes(5, size), make(map[int64]transfer.Digest)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range transfer.ChunkCount(int64(size), c) {
		ch := transfer.ChunkAt(i, int64(size), c)
		p := image[ch.Off : ch.Off+int64(ch.Len)]
		if rng.IntN(3) > 0 {
			clear(p)
			continue
		}
		chunks[i] = Sum(p)
	}
	return image, chunks
}

func naiveRoot(image []byte) string {
	var all []byte
	for len(image) > 0 {
		n := min(c, len(image))
		d := blake3.Sum256(image[:n])
		all, image = append(all, d[:]...), image[n:]
	}
	root := blake3.Sum256(all)
	return hex.EncodeToString(root[:])
}

// TestRootCoversLeftOutZeros: it equals the root over all chunks.
func TestRootCoversLeftOutZeros(t *testing.T) {
	for _, size := range sizes {
		image, chunks := sparseImage(size)
		if got, want := Root(int64(size), c, Ascending(chunks)), naiveRoot(image); got != want {
			t.Errorf("%d bytes: got root %s, want %s", size, got, want)
		}
		if got, want := Root(int64(size), c, Ascending(nil)), naiveRoot(make([]byte, size)); got != want {
			t.Errorf("%d zeros: got root %s, want %s", size, got, want)
		}
	}
}

// TestSumMatchesTheReferenceVectors of BLAKE3: bytes 0, 1, 2, … 250, 0, 1, …
func TestSumMatchesTheReferenceVectors(t *testing.T) {
	for n, want := range map[int]string{
		0:     "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
		31744: "62b6960e1a44bcc1eb1a611a8d6235b6b4b78f32e7abc4fb4c6cdcce94895c47",
	} {
		p := make([]byte, n)
		for i := range p {
			p[i] = byte(i % 251)
		}
		if got := Sum(p); hex.EncodeToString(got[:]) != want {
			t.Errorf("%d bytes: got %x, want %s", n, got, want)
		}
	}
}

// TestZeroDigestIsThatOfZeros, also when it is computed already.
func TestZeroDigestIsThatOfZeros(t *testing.T) {
	for _, n := range []int{0, 1, c, transfer.DefaultChunkSize} {
		for range 2 {
			if got, want := ZeroDigest(n), Sum(make([]byte, n)); got != want {
				t.Errorf("%d zeros: got %s, want %s", n, got, want)
			}
		}
	}
}

// TestAscendingYieldsInOrder, and stops with its consumer.
func TestAscendingYieldsInOrder(t *testing.T) {
	chunks := map[int64]transfer.Digest{3: {}, 1: {}, 2: {}, -1: {}}
	var got []int64
	for i := range Ascending(chunks) {
		if got = append(got, i); i == 2 {
			break
		}
	}
	if want := []int64{-1, 1, 2}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// TestImageHashCoversLeftOutZeros: it equals the SHA-256 of the whole image.
func TestImageHashCoversLeftOutZeros(t *testing.T) {
	for _, size := range append(sizes, 3*len(zeros)+1) {
		image, chunks := sparseImage(size)
		want := sha256.Sum256(image)
		for _, sparse := range []bool{false, true} {
			h := NewImageHash()
			for i := range transfer.ChunkCount(int64(size), c) {
				ch := transfer.ChunkAt(i, int64(size), c)
				if _, ok := chunks[i]; ok || !sparse {
					h.Add(ch.Off, image[ch.Off:ch.Off+int64(ch.Len)])
				}
			}
			for range 2 {
				if got := h.Sum(int64(size)); got != hex.EncodeToString(want[:]) {
					t.Errorf("%d bytes, sparse %t: got %s, want %x", size, sparse, got, want)
				}
			}
		}
	}
}

func BenchmarkSum(b *testing.B) {
	p := randomBytes(6, transfer.DefaultChunkSize)
	b.SetBytes(int64(len(p)))
	for b.Loop() {
		_ = Sum(p)
	}
}

// BenchmarkRoot is the root of a full drive of 1 TiB.
func BenchmarkRoot(b *testing.B) {
	const size = 1 << 40
	chunks := make(map[int64]transfer.Digest)
	for i := range transfer.ChunkCount(size, transfer.DefaultChunkSize) {
		chunks[i] = transfer.Digest{byte(i)}
	}
	b.SetBytes(int64(len(chunks)) * transfer.DigestSize)
	for b.Loop() {
		_ = Root(size, transfer.DefaultChunkSize, Ascending(chunks))
	}
}
