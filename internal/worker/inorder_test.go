package worker

import (
	"context"
	"fmt"
	"testing"

	"github.com/transferd/transferd/internal/transfer"
)

// failingRanges opens its source as a stream once it cannot be read by offset.
type failingRanges struct {
	*twoEnds
	stream  func() transfer.Source
	inOrder int
}

func (e *failingRanges) Source(ctx context.Context, s *Session) (transfer.Source, error) {
	if !s.InOrder {
		return e.twoEnds.Source(ctx, s)
	}
	e.inOrder++
	return e.stream(), nil
}

// TestRangesFailInTheMiddle reads the source again from its start, and writes only what it has not
// written: or all that is another image now, also where a chunk was written in part and is zeros by
// now.
func TestRangesFailInTheMiddle(t *testing.T) {
	for _, changed := range []bool{false, true} {
		for _, hash := range []bool{false, true} {
			image := noise(40 * chunkSize)
			clear(image[20*chunkSize : 30*chunkSize])
			source, sink := newChunked(image), newChunked(nil)
			source.onRead = func(_ context.Context, c transfer.Chunk, _ int) error {
				if c.Index >= 10 {
					return transfer.Errorf(transfer.CodeProtocol, "", "read: %w", transfer.ErrInOrder)
				}
				return nil
			}
			now := image
			if changed {
				now = noise(40 * chunkSize)
				clear(now[:5*chunkSize])
			}
			sink.blank = true
			j := newJob(t, source, sink)
			j.spec.Concurrency, j.spec.ImageDigest = 4, hash
			ends := &failingRanges{twoEnds: j.ends, stream: func() transfer.Source { return newStream(now) }}
			if err := j.runWith(t.Context(), nil, ends, j.store); err != nil {
				t.Fatal(err)
			}
			equal(t, sink, now)
			if writes := sink.total(sink.writes); !changed && writes > 30+4 {
				t.Errorf("hash %t: %d chunks were written, of 30 that are not zeros", hash, writes)
			}
			if plan := j.store.saved.Plan; !plan.InOrder || plan.Source != "" || ends.inOrder != 1 {
				t.Errorf("%+v, opened in order %d times", plan, ends.inOrder)
			}
		}
	}
}

// TestReadsOfAStreamAreMadeAgain has the session's Retry make what a stream does again, as calls
// are.
func TestReadsOfAStreamAreMadeAgain(t *testing.T) {
	j := newJob(t, newStream(noise(chunkSize)), newChunked(nil))
	tries := 0
	ends := &onSource{twoEnds: j.ends, do: func(s *Session) error {
		return s.Retry(t.Context(), func(context.Context) error {
			if tries++; tries < 3 {
				return failure(transfer.CodeNetwork)
			}
			return nil
		})
	}}
	if err := j.runWith(t.Context(), nil, ends, j.store); err != nil || tries != 3 {
		t.Errorf("%v after %d tries", err, tries)
	}
	if n := j.store.saved.Progress.Retries.Network; n != 2 {
		t.Errorf("%d retries were counted", n)
	}
}

// onSource does something when the source is opened.
type onSource struct {
	*twoEnds
	do func(s *Session) error
}

func (e *onSource) Source(ctx context.Context, s *Session) (transfer.Source, error) {
	if err := e.do(s); err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	return e.twoEnds.Source(ctx, s)
}
