package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"sync"

	"github.com/transferd/transferd/internal/chunker"
	"github.com/transferd/transferd/internal/panics"
	"github.com/transferd/transferd/internal/transfer"
)

// work is one chunk for a lane.
type work struct {
	chunker.MappedChunk
	seq  int64 // its position in the queue
	read bool  // the lane's buffer has the chunk's bytes already
}

// errNoMoreChunks is the end of a chunkQueue. It is not io.EOF: that error of a truncated source
// must not pass for the end.
var errNoMoreChunks = errors.New("no more chunks")

// chunkQueue returns chunks, each once, to many goroutines; after the last one errNoMoreChunks.
type chunkQueue interface {
	// next returns the next chunk. It may read the chunk into buf, which is at least a chunk long.
	next(ctx context.Context, buf []byte) (work, error)
	// close releases the queue's resources. next is not called after it.
	close()
}

// mappedChunks has the chunks of a mapped image that are in a range. The lane reads them.
type mappedChunks struct {
	mu     sync.Mutex
	within chunkRange
	pull   func() (chunker.MappedChunk, error, bool)
	stop   func()
	seq    int64
}

func newMappedChunks(chunks iter.Seq2[chunker.MappedChunk, error], within chunkRange) *mappedChunks {
	pull, stop := iter.Pull2(catchPanics(chunks))
	return &mappedChunks{within: within, pull: pull, stop: stop}
}

// catchPanics yields a panic of chunks as an error. iter.Pull2 would pass it on without its stack.
func catchPanics(chunks iter.Seq2[chunker.MappedChunk, error]) iter.Seq2[chunker.MappedChunk, error] {
	return func(yield func(chunker.MappedChunk, error) bool) {
		err := panics.Catch(func() error {
			chunks(yield)
			return nil
		})
		if err != nil {
			yield(chunker.MappedChunk{}, err)
		}
	}
}

func (q *mappedChunks) close() { q.stop() }

func (q *mappedChunks) next(context.Context, []byte) (work, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	c, err, ok := q.pull()
	for ok && err == nil && c.Index < q.within.first {
		c, err, ok = q.pull()
	}
	switch {
	case !ok:
		return work{}, errNoMoreChunks
	case err != nil:
		return work{}, err
	case c.Index >= q.within.end:
		return work{}, errNoMoreChunks
	}
	q.seq++
	return work{MappedChunk: c, seq: q.seq - 1}, nil
}

// streamChunks has the chunks of a stream. next reads each into the lane's buffer.
type streamChunks struct {
	mu        sync.Mutex
	src       transfer.Stream
	chunkSize int
	capacity  int64 // of the target, bytes; 0: no limit
	size      int64 // read so far, bytes
	ended     bool
	seq       int64
}

func (q *streamChunks) close() {}

func (q *streamChunks) next(ctx context.Context, buf []byte) (work, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.ended {
		return work{}, errNoMoreChunks
	}
	n, err := q.src.Next(ctx, buf[:q.chunkSize])
	if err != nil && err != io.EOF { //nolint:errorlint // one that wraps io.EOF is a cut connection, not the end
		return work{}, err
	}
	q.ended = err != nil || n < q.chunkSize
	if n == 0 {
		return work{}, errNoMoreChunks
	}
	w := work{seq: q.seq, read: true}
	w.Chunk = transfer.Chunk{Index: q.seq, Off: q.size, Len: n}
	q.seq++
	q.size += int64(n)
	if q.capacity > 0 && q.size > q.capacity {
		return work{}, &transfer.Error{
			Op: "read image", Code: transfer.CodeInvalid, Hint: "give a larger --size, or a larger drive",
			Err: fmt.Errorf("the image is larger than the drive of %d bytes", q.capacity),
		}
	}
	return w, nil
}
