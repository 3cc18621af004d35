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

// Algorithm names the digest of chunks. BLAKE3 is as hard to deceive as SHA-256, and without special instructions for that
// a processor computes it several times as fast; with them it is still twice (docs/performance.md).
const Algorithm = "blake3"

func newHash() hash.Hash { return blake3.New() }

// Sum is the digest of p.
func Sum(p []byte) transfer.Digest { return blake3.Sum256(p) }

var zeroDigests sync.Map // int → transfer.Digest

// ZeroDigest is the digest of n zero bytes, computed once for each n. It is safe for concurrent use.
func ZeroDigest(n int) transfer.Digest {
	if d, ok := zeroDigests.Load(n); ok {
		return d.(transfer.Digest)
	}
	d := Sum(make([]byte, n))
	zeroDigests.Store(n, d)
	return d
}

// Root is the digest, in hexadecimal, over the digests of all chunks of an image in order. chunks yields those that
// are not all zeros, ascending by index.
func Root(size int64, chunkSize int, chunks iter.Seq2[int64, transfer.Digest]) string {
	h := newHash()
	var next int64
	zerosUntil := func(index int64) {
		for ; next < index; next++ {
			d := ZeroDigest(transfer.ChunkAt(next, size, chunkSize).Len)
			h.Write(d[:])
		}
	}
	for index, d := range chunks {
		zerosUntil(index)
		h.Write(d[:])
		next++
	}
	zerosUntil(transfer.ChunkCount(size, chunkSize))
	return hex.EncodeToString(h.Sum(nil))
}

// ImageHash computes the SHA-256 of an image from chunks that come in order, with zeros wherever one was left out. It
// is used by one goroutine at a time.
type ImageHash struct {
	h   hash.Hash
	off int64
}

// NewImageHash starts at offset 0.
func NewImageHash() *ImageHash { return &ImageHash{h: sha256.New()} }

var zeros [64 << 10]byte

// Add takes the bytes at off, which is not before the end of what was added last; what lies between counts as zeros.
func (i *ImageHash) Add(off int64, p []byte) {
	i.zerosUntil(off)
	i.h.Write(p)
	i.off += int64(len(p))
}

// Sum is the digest, in hexadecimal, of an image of size bytes.
func (i *ImageHash) Sum(size int64) string {
	i.zerosUntil(size)
	return hex.EncodeToString(i.h.Sum(nil))
}

func (i *ImageHash) zerosUntil(off int64) {
	for i.off < off {
		n := min(off-i.off, int64(len(zeros)))
		i.h.Write(zeros[:n])
		i.off += n
	}
}
