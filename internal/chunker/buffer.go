package chunker

import "sync"

// Buffers is a pool of chunk buffers. The zero Buffers is ready to use. It is safe for concurrent
// use.
type Buffers struct {
	pool sync.Pool
}

// Get returns a buffer of at least size bytes. Its content is undefined.
func (b *Buffers) Get(size int) *[]byte {
	if p, ok := b.pool.Get().(*[]byte); ok && len(*p) >= size {
		return p
	}
	p := make([]byte, size)
	return &p
}

// Put returns a buffer from Get to the pool. The caller does not use it any more.
func (b *Buffers) Put(p *[]byte) { b.pool.Put(p) }
