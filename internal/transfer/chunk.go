package transfer

import (
	"encoding/hex"
	"fmt"
)

// The sizes of chunks, in bytes. Sinks have further limits (Geometry).
const (
	// MinChunkSize is the smallest size that a job may request. Every size is a multiple of it.
	MinChunkSize = 4 << 10
	// DefaultChunkSize is the size for jobs that request none.
	DefaultChunkSize = 4 << 20
	// MaxChunkSize bounds the memory of one chunk in flight.
	MaxChunkSize = 64 << 20
)

// Extent is a range of an image that may hold data. The bytes between extents are zeros.
type Extent struct {
	Off, Len int64
}

// Chunk is the unit of work: Len bytes at offset Off of the image. Index is Off divided by the
// job's chunk size.
type Chunk struct {
	Index int64
	Off   int64
	Len   int
}

// ChunkAt returns the chunk with the given index of an image of size bytes. The last chunk may be
// shorter than chunkSize.
func ChunkAt(index, size int64, chunkSize int) Chunk {
	off := index * int64(chunkSize)
	return Chunk{Index: index, Off: off, Len: int(min(int64(chunkSize), size-off))}
}

// ChunkCount returns how many chunks of chunkSize bytes an image of size bytes has.
func ChunkCount(size int64, chunkSize int) int64 {
	count := size / int64(chunkSize)
	if size%int64(chunkSize) > 0 {
		count++ // (size+chunkSize-1)/chunkSize would overflow near the largest size
	}
	return count
}

// DigestSize is the length of a Digest in bytes.
const DigestSize = 32

// Digest is the BLAKE3 of a chunk's bytes.
type Digest [DigestSize]byte

// String returns the digest in lower-case hexadecimal.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// MarshalText returns String.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText parses 64 hexadecimal digits of either case.
func (d *Digest) UnmarshalText(text []byte) error {
	if hex.DecodedLen(len(text)) != DigestSize {
		return fmt.Errorf("digest has %d characters, not %d", len(text), 2*DigestSize)
	}
	_, err := hex.Decode(d[:], text)
	return err
}
