package transfer

import (
	"encoding/hex"
	"fmt"
)

// The sizes of chunks, in bytes. Kinds of place have limits of their own (Geometry).
const (
	// MinChunkSize is the smallest size a job may ask for, and what every size is a multiple of.
	MinChunkSize = 4 << 10
	// DefaultChunkSize is the size of jobs that ask for none.
	DefaultChunkSize = 4 << 20
	// MaxChunkSize bounds the memory that one chunk in flight takes.
	MaxChunkSize = 64 << 20
)

// Extent is a run of bytes that may hold data; what lies between extents is zeros.
type Extent struct {
	Off, Len int64
}

// Chunk is the unit of work: Len bytes at offset Off of the image. Index is Off divided by the job's chunk size.
type Chunk struct {
	Index int64
	Off   int64
	Len   int
}

// ChunkAt is the chunk with the given index of an image of size bytes cut into chunkSize pieces; the last one may be
// short.
func ChunkAt(index, size int64, chunkSize int) Chunk {
	off := index * int64(chunkSize)
	return Chunk{Index: index, Off: off, Len: int(min(int64(chunkSize), size-off))}
}

// ChunkCount is how many chunks of chunkSize an image of size bytes has.
func ChunkCount(size int64, chunkSize int) int64 {
	count := size / int64(chunkSize)
	if size%int64(chunkSize) > 0 {
		count++ // rounding up by adding first would overflow near the largest size
	}
	return count
}

// DigestSize is the length of a Digest in bytes.
const DigestSize = 32

// Digest is the BLAKE3 of a chunk's bytes.
type Digest [DigestSize]byte

// String is the digest in lower-case hexadecimal.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// MarshalText writes the digest as hexadecimal.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads 64 hexadecimal digits of either case.
func (d *Digest) UnmarshalText(text []byte) error {
	if hex.DecodedLen(len(text)) != DigestSize {
		return fmt.Errorf("digest has %d characters, not %d", len(text), 2*DigestSize)
	}
	_, err := hex.Decode(d[:], text)
	return err
}
