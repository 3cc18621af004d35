package chunker

import (
	"context"
	"iter"

	"github.com/transferd/transferd/internal/transfer"
)

// MappedChunk is a chunk with its mapping: data or hole.
type MappedChunk struct {
	transfer.Chunk
	Hole bool // no extent touches the chunk: it is zeros and need not be read
}

// Chunks yields the chunks of an image of size bytes in ascending order, each once: those that
// touch an extent and, with holes, all others as well. Without holes its cost grows with the number
// of extents and of chunks with data, not with size. It yields an error at most once, last: an
// error of extents, ctx's error, or CodeInvalid for extents that overlap or leave the image.
func Chunks(
	ctx context.Context, extents iter.Seq2[transfer.Extent, error], size int64, chunkSize int, holes bool,
) iter.Seq2[MappedChunk, error] {
	return func(yield func(MappedChunk, error) bool) {
		m := mapper{size: size, chunkSize: chunkSize, holes: holes, yield: yield}
		for e, err := range extents {
			if err == nil {
				err = ctx.Err()
			}
			if err == nil {
				err = m.check(e)
			}
			if err != nil {
				yield(MappedChunk{}, err)
				return
			}
			if !m.yieldExtent(e) {
				return
			}
		}
		m.yieldHoles(transfer.ChunkCount(size, chunkSize))
	}
}

// mapper is the state of one iteration of Chunks.
type mapper struct {
	size      int64
	chunkSize int
	holes     bool
	yield     func(MappedChunk, error) bool
	next      int64 // index of the first chunk after those yielded or left out
	end       int64 // end of the last extent
}

func (m *mapper) check(e transfer.Extent) error {
	if e.Off < m.end || e.Len < 0 || e.Len > m.size-e.Off {
		return transfer.Errorf(transfer.CodeInvalid, "",
			"extent of %d bytes at %d overlaps another or leaves the image of %d bytes", e.Len, e.Off, m.size)
	}
	return nil
}

// yieldExtent yields the chunks that e touches, unless an earlier extent touches them too, and the
// holes before them. It reports whether to continue.
func (m *mapper) yieldExtent(e transfer.Extent) bool {
	m.end = e.Off + e.Len
	if e.Len == 0 {
		return true
	}
	first, last := e.Off/int64(m.chunkSize), (m.end-1)/int64(m.chunkSize)
	if !m.yieldHoles(first) {
		return false
	}
	for m.next = max(m.next, first); m.next <= last; m.next++ {
		if !m.yield(MappedChunk{Chunk: transfer.ChunkAt(m.next, m.size, m.chunkSize)}, nil) {
			return false
		}
	}
	return true
}

// yieldHoles yields, if they are wanted, the chunks before index end as holes. It reports whether
// to continue.
func (m *mapper) yieldHoles(end int64) bool {
	if !m.holes {
		return true
	}
	for ; m.next < end; m.next++ {
		if !m.yield(MappedChunk{Chunk: transfer.ChunkAt(m.next, m.size, m.chunkSize), Hole: true}, nil) {
			return false
		}
	}
	return true
}
