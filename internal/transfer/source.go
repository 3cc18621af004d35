package transfer

import (
	"context"
	"errors"
	"iter"
	"time"
)

// Source is an image to copy or to compare with. Each Source is exactly one of RandomAccess, Stream
// and Digests, which define how its content is read.
type Source interface {
	// Size is the image's length in bytes; -1 for a Stream before its end.
	Size() int64
	// Identity changes whenever the image may have changed: it holds a file's size and time of
	// change, or an ETag. Two attempts of a job copy the same image only if both see the same
	// identity. Empty: unknown.
	Identity() string
	// Close releases what the source holds. No other method is called after it.
	Close() error
}

// Mapper is a Source that knows where its data is.
type Mapper interface {
	// Extents yields the ranges that may hold data, ascending and without overlap. It leaves out
	// holes and known zeros. It yields an error at most once, last. It may be called again.
	Extents(ctx context.Context) iter.Seq2[Extent, error]
}

// ErrInOrder is in the chain of an error of a RandomAccess that can no longer be read by offset.
// The worker then opens the source again, as a Stream.
var ErrInOrder = errors.New("it can only be read in order")

// Resembler is a Source that compares identities more loosely than byte by byte.
type Resembler interface {
	// Resembles reports whether the image may still be the one that had this other identity, so
	// that only a comparison of the bytes decides.
	Resembles(identity string) bool
}

// RandomAccess is a Source that many goroutines read by offset at once.
type RandomAccess interface {
	Source
	Mapper
	// ReadChunk fills p, whose length is c.Len, with the bytes of c. It may be called again for the
	// same chunk. It does not retain p.
	ReadChunk(ctx context.Context, c Chunk, p []byte) error
}

// Stream is a Source that is read once and in order, and may have no known size before its end.
type Stream interface {
	Source
	// Next fills p with the bytes that follow. n is less than len(p) only at the end of the image
	// or with an error. At the end the error is io.EOF, with n = 0 if no bytes were left. One
	// goroutine at a time calls it.
	Next(ctx context.Context, p []byte) (n int, err error)
}

// Digests is a Source that has the digests of an image's chunks but not their bytes, such as a
// manifest. A target can be compared with it.
type Digests interface {
	Source
	Mapper
	// ChunkSize is the size of the digested chunks, in bytes.
	ChunkSize() int
	// ChunkDigest is the digest of a chunk; ok is false for a chunk of zeros.
	ChunkDigest(index int64) (d Digest, ok bool)
	// ImageDigest is the SHA-256 of the whole image in hexadecimal; empty if unknown.
	ImageDigest() string
}

// ErrTouched is in the chain of an error of a ChangeDetector that cannot tell a change of the image
// from a change of its metadata, such as a file's permissions. A second reading decides.
var ErrTouched = errors.New("it was touched, and its content may have changed")

// Unwatched is a Source whose image others may change without a trace while it is read.
type Unwatched interface {
	// UndetectedChanges describes, for users, the changes that Unchanged cannot detect; empty: none
	// is known.
	UndetectedChanges() string
	// DropCache makes later reads come from where the image is stored, not from a cache.
	DropCache() error
}

// ChangeDetector is a Source that detects changes of its image since it was opened.
type ChangeDetector interface {
	// Unchanged returns an error with CodeSourceChanged if the image is not the one that was
	// opened. It returns an error with ErrTouched once for each time that the image was touched.
	Unchanged(ctx context.Context) error
}

// Warner is a Source that reports what users should know although the job succeeds.
type Warner interface {
	// Warnings describes the image and how it was read, one sentence each. It is called after the
	// whole image, which m describes, has been read.
	Warnings(m *Manifest) []string
}

// Described is a Source whose image may be described elsewhere, such as by a manifest next to it.
type Described interface {
	// CheckImage returns an error with CodeMismatch and ErrWrongImage if the image is not the one
	// that is described. It is called after the whole image, which m describes, has been read.
	CheckImage(m *Manifest) error
}

// StoredDigester is a Source whose image is stored in another form, such as a compressed one.
type StoredDigester interface {
	// StoredSHA256 is the SHA-256 in hexadecimal of the stored form, as sha256sum prints it. It is
	// empty before the whole image has been read, and if the digest was not requested.
	StoredSHA256() string
}

// Holdable is a Source that running servers may hold, and write to meanwhile.
type Holdable interface {
	// HeldBy is the UUIDs of the servers that held the source when it was opened.
	HeldBy() []string
	// Writable reports whether servers that hold the source may write to it.
	Writable() bool
}

// Remote is a Source or a Sink at the other end of a network.
type Remote interface {
	// MaxInFlight is how many calls the other end takes at once, from all jobs together.
	MaxInFlight() int
	// RTT is the lowest observed round-trip time; 0 before the first observation.
	RTT() time.Duration
}
