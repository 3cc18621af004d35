package chunker

import "sync"

// Buffers is a pool of buffers of one size. It is safe for concurrent use.
type Buffers struct {
	pool sync.Pool
}

// NewBuffers makes a pool of buffers of size bytes.
func NewBuffers(size int) *Buffers {
	return &Buffers{pool: sync.Pool{New: func() any {
		b := make([]byte, size)
		return &b
	}}}
}

// Get returns a buffer with whatever its last user left in it.
func (b *Buffers) Get() *[]byte { return b.pool.Get().(*[]byte) }

// Put takes back a buffer that Get returned.
func (b *Buffers) Put(p *[]byte) { b.pool.Put(p) }
