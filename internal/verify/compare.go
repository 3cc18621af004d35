package verify

import (
	"bytes"
	"hash"

	"github.com/transferd/transferd/internal/transfer"
)

// Comparer is an io.Writer that hashes a chunk as it is read back. If it has the expected bytes, it
// also compares each block while the block is in the processor's cache. So each chunk is hashed
// once, and its digest is that of the stored bytes. One goroutine at a time uses it.
type Comparer struct {
	h    hash.Hash
	want []byte
	n    int // bytes written so far
	diff int // offset in the chunk of the first difference, or -1
}

// NewComparer returns a Comparer. Call Reset before each chunk.
func NewComparer() *Comparer { return &Comparer{h: newHash()} }

// Reset prepares for a chunk that should equal want; nil: only compute the digest.
func (c *Comparer) Reset(want []byte) {
	c.h.Reset()
	c.want, c.n, c.diff = want, 0, -1
}

// Write takes the next bytes of the chunk. It never fails: Equal reports a difference, so that the
// digest covers the whole chunk.
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

// Equal reports whether the chunk equals the expected bytes. diff is the offset of the first
// difference in the chunk.
func (c *Comparer) Equal() (diff int, ok bool) {
	switch {
	case c.diff >= 0:
		return c.diff, false
	case c.n < len(c.want):
		return c.n, false
	}
	return 0, true
}

// Digest returns the digest of the written bytes.
func (c *Comparer) Digest() (d transfer.Digest) {
	c.h.Sum(d[:0])
	return d
}
