package verify

import (
	"bytes"
	"hash"

	"github.com/transferd/transferd/internal/transfer"
)

// Comparer is an io.Writer that takes a chunk as it streams in, hashes it and, where the right bytes are still at hand,
// compares the two piece by piece while the piece is in the processor's cache. So a chunk is hashed once, and its digest
// is that of what was stored rather than of what was meant to be. It is used by one goroutine at a time.
type Comparer struct {
	h    hash.Hash
	want []byte
	n    int // bytes taken
	diff int // offset in the chunk of the first difference, or -1
}

// NewComparer makes a Comparer; Reset makes it ready for a chunk.
func NewComparer() *Comparer { return &Comparer{h: newHash()} }

// Reset prepares for a chunk that should be want; nil if only its digest will be known.
func (c *Comparer) Reset(want []byte) {
	c.h.Reset()
	c.want, c.n, c.diff = want, 0, -1
}

// Write takes the next piece. It never fails: a difference is reported by Equal, when the digest is complete too.
func (c *Comparer) Write(p []byte) (int, error) {
	c.h.Write(p)
	if c.want != nil && c.diff < 0 {
		c.compare(p)
	}
	c.n += len(p)
	return len(p), nil
}

func (c *Comparer) compare(p []byte) {
	want := c.want[c.n:min(len(c.want), c.n+len(p))]
	if bytes.Equal(p, want) {
		return
	}
	for c.diff = c.n; c.diff-c.n < min(len(p), len(want)) && p[c.diff-c.n] == want[c.diff-c.n]; {
		c.diff++
	}
}

// Equal reports whether exactly the wanted bytes came; diff is the offset in the chunk of the first that did not.
func (c *Comparer) Equal() (diff int, ok bool) {
	switch {
	case c.diff >= 0:
		return c.diff, false
	case c.n < len(c.want):
		return c.n, false
	}
	return 0, true
}

// Digest is the digest of what came.
func (c *Comparer) Digest() (d transfer.Digest) {
	c.h.Sum(d[:0])
	return d
}
