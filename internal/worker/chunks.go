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

// work is one chunk on its way.
type work struct {
	chunker.Step
	seq  int64 // its place among all that the feed hands out
	read bool  // the buffer holds the chunk's bytes already
}

// errAllTaken is the end of a feed. It is no one else's error: an io.EOF from a truncated source must not pass for it.
var errAllTaken = errors.New("all chunks are taken")

// feed hands chunks out, each once, to many goroutines; at the end it returns errAllTaken. buf is the taker's, at least a
// chunk long.
type feed interface {
	take(ctx context.Context, buf []byte) (work, error)
	// stop releases what the feed holds. Nothing is taken after it.
	stop()
}

// planFeed hands out the chunks of a plan that lie in a range; the taker reads them.
type planFeed struct {
	mu     sync.Mutex
	within chunkRange
	next   func() (chunker.Step, error, bool)
	end    func()
	seq    int64
}

func newPlanFeed(plan iter.Seq2[chunker.Step, error], within chunkRange) *planFeed {
	next, end := iter.Pull2(caught(plan))
	return &planFeed{within: within, next: next, end: end}
}

// caught yields a panic of the plan as an error: iter.Pull2 passes it on without its stack.
func caught(plan iter.Seq2[chunker.Step, error]) iter.Seq2[chunker.Step, error] {
	return func(yield func(chunker.Step, error) bool) {
		err := panics.Catch(func() error {
			plan(yield)
			return nil
		})
		if err != nil {
			yield(chunker.Step{}, err)
		}
	}
}

func (f *planFeed) stop() { f.end() }

func (f *planFeed) take(context.Context, []byte) (work, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	step, err, ok := f.next()
	for ok && err == nil && step.Index < f.within.first {
		step, err, ok = f.next()
	}
	switch {
	case !ok:
		return work{}, errAllTaken
	case err != nil:
		return work{}, err
	case step.Index >= f.within.end:
		return work{}, errAllTaken
	}
	f.seq++
	return work{Step: step, seq: f.seq - 1}, nil
}

// streamFeed reads the next chunk of a stream into the taker's buffer.
type streamFeed struct {
	mu        sync.Mutex
	src       transfer.Stream
	chunkSize int
	capacity  int64 // of the target, bytes; 0: no limit
	size      int64 // taken so far
	ended     bool
	seq       int64
}

func (f *streamFeed) stop() {}

func (f *streamFeed) take(ctx context.Context, buf []byte) (work, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended {
		return work{}, errAllTaken
	}
	n, err := f.src.Next(ctx, buf[:f.chunkSize])
	if err != nil && err != io.EOF { //nolint:errorlint // one that wraps io.EOF is a cut connection, not the end
		return work{}, err
	}
	f.ended = err != nil || n < f.chunkSize
	if n == 0 {
		return work{}, errAllTaken
	}
	w := work{seq: f.seq, read: true}
	w.Chunk = transfer.Chunk{Index: f.seq, Off: f.size, Len: n}
	f.seq++
	f.size += int64(n)
	if f.capacity > 0 && f.size > f.capacity {
		return work{}, &transfer.Error{
			Op: "read image", Code: transfer.CodeInvalid, Hint: "give a larger --size, or a larger drive",
			Err: fmt.Errorf("the image is larger than the drive of %d bytes", f.capacity),
		}
	}
	return w, nil
}
