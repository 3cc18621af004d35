package chunker

import (
	"context"
	"iter"

	"github.com/transferd/transferd/internal/transfer"
)

// Step is one chunk of a plan.
type Step struct {
	transfer.Chunk
	Hole bool // nothing of the chunk lies in an extent: it is zeros and need not be read
}

// Plan yields the chunks of an image of size bytes in ascending order, each once: those that touch an extent and, with
// holes, all others as well. Without holes its cost grows with the number of extents and data chunks, never with size.
// It yields an error at most once, last: that of the extents, or CodeInvalid for extents that overlap or leave the image.
func Plan(ctx context.Context, extents iter.Seq2[transfer.Extent, error], size int64, chunkSize int, holes bool) iter.Seq2[Step, error] {
	return func(yield func(Step, error) bool) {
		p := planner{size: size, chunkSize: int64(chunkSize), holes: holes, yield: yield}
		for e, err := range extents {
			if err == nil {
				err = ctx.Err()
			}
			if err == nil {
				err = p.check(e)
			}
			if err != nil {
				yield(Step{}, err)
				return
			}
			if !p.extent(e) {
				return
			}
		}
		p.holesUntil(transfer.ChunkCount(size, chunkSize))
	}
}

type planner struct {
	size, chunkSize int64
	holes           bool
	yield           func(Step, error) bool
	next            int64 // index of the first chunk not yet decided
	end             int64 // where the last extent ended
}

func (p *planner) check(e transfer.Extent) error {
	if e.Off < p.end || e.Len < 0 || e.Len > p.size-e.Off {
		return transfer.Errorf(transfer.CodeInvalid, "", "extent of %d bytes at %d overlaps another or leaves the image of %d bytes", e.Len, e.Off, p.size)
	}
	return nil
}

// extent yields the chunks that e touches and that are not decided yet. It reports whether to go on.
func (p *planner) extent(e transfer.Extent) bool {
	p.end = e.Off + e.Len
	if e.Len == 0 {
		return true
	}
	first, last := e.Off/p.chunkSize, (p.end-1)/p.chunkSize
	if !p.holesUntil(first) {
		return false
	}
	for p.next = max(p.next, first); p.next <= last; p.next++ {
		if !p.yield(Step{Chunk: transfer.ChunkAt(p.next, p.size, int(p.chunkSize))}, nil) {
			return false
		}
	}
	return true
}

func (p *planner) holesUntil(index int64) bool {
	if !p.holes {
		return true
	}
	for ; p.next < index; p.next++ {
		if !p.yield(Step{Chunk: transfer.ChunkAt(p.next, p.size, int(p.chunkSize)), Hole: true}, nil) {
			return false
		}
	}
	return true
}
