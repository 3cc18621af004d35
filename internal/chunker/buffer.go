package chunker

import "sync"

// Buffers is a pool of chunk buffers. The zero Buffers is empty. It is safe for concurrent use.
type Buffers struct {
	pool sync.Pool
}

// Get returns a buffer of at least size bytes, with whatever its last user left in it.
func (b *Buffers) Get(size int) *[]byte {
	if p, ok := b.pool.Get().(*[]byte); ok && len(*p) >= size {
		return p
	}
	p := make([]byte, size)
	return &p
}

// Put takes back a buffer that Get returned.
func (b *Buffers) Put(p *[]byte) { b.pool.Put(p) }
