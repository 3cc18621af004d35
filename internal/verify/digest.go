package verify

import (
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"iter"
	"sync"

	"github.com/zeebo/blake3"

	"github.com/transferd/transferd/internal/transfer"
)

// Algorithm names the digest of chunks. BLAKE3 is as collision-resistant as SHA-256. It is several
// times as fast as SHA-256 in plain instructions, and twice as fast as SHA-256 in the processor's
// SHA extensions (docs/performance.md).
const Algorithm = "blake3"

func newHash() hash.Hash { return blake3.New() }

// Sum returns the digest of p.
func Sum(p []byte) transfer.Digest { return blake3.Sum256(p) }

var zeroDigests sync.Map // int → transfer.Digest

// ZeroDigest returns the digest of n zero bytes, which it computes once for each n. It is safe for
// concurrent use.
func ZeroDigest(n int) transfer.Digest {
	if d, ok := zeroDigests.Load(n); ok {
		return d.(transfer.Digest)
	}
	d := Sum(make([]byte, n))
	zeroDigests.Store(n, d)
	return d
}

// Root returns the chunks root of an image of size bytes: the digest, in hexadecimal, of the
// concatenated digests of all its chunks. chunks yields the chunks that are not all zeros,
// ascending by index.
func Root(size int64, chunkSize int, chunks iter.Seq2[int64, transfer.Digest]) string {
	h := newHash()
	var next int64
	addZerosUntil := func(index int64) {
		for ; next < index; next++ {
			d := ZeroDigest(transfer.ChunkAt(next, size, chunkSize).Len)
			h.Write(d[:])
		}
	}
	for index, d := range chunks {
		addZerosUntil(index)
		h.Write(d[:])
		next++
	}
	addZerosUntil(transfer.ChunkCount(size, chunkSize))
	return hex.EncodeToString(h.Sum(nil))
}

// ImageHash computes the SHA-256 of an image from its chunks in order. Chunks that are left out
// count as zeros. One goroutine at a time uses it.
type ImageHash struct {
	h   hash.Hash
	off int64
}

// NewImageHash returns an ImageHash at offset 0.
func NewImageHash() *ImageHash { return &ImageHash{h: sha256.New()} }

var zeros [64 << 10]byte

// Add adds the bytes at off, which is at or after the end of the bytes added last. The bytes
// between the two are zeros.
func (i *ImageHash) Add(off int64, p []byte) {
	i.addZerosUntil(off)
	i.h.Write(p)
	i.off += int64(len(p))
}

// Sum returns the digest, in hexadecimal, of an image of size bytes. The bytes after those added
// last are zeros.
func (i *ImageHash) Sum(size int64) string {
	i.addZerosUntil(size)
	return hex.EncodeToString(i.h.Sum(nil))
}

func (i *ImageHash) addZerosUntil(off int64) {
	for i.off < off {
		n := min(off-i.off, int64(len(zeros)))
		i.h.Write(zeros[:n])
		i.off += n
	}
}
