package worker

import (
	"context"
	"fmt"
	"testing"

	"github.com/transferd/transferd/internal/transfer"
)

// failingRanges opens its source as a stream once it cannot be read by offset.
type failingRanges struct {
	*fakeOpener
	stream  func() transfer.Source
	inOrder int
}

func (e *failingRanges) Source(ctx context.Context, s *Session) (transfer.Source, error) {
	if !s.InOrder {
		return e.fakeOpener.Source(ctx, s)
	}
	e.inOrder++
	return e.stream(), nil
}

// TestRangesFailInTheMiddle: the source is read again from its start. Only chunks that are missing
// are written, or all that differ if the image is another one, including zeros over a chunk that
// was written in part.
func TestRangesFailInTheMiddle(t *testing.T) {
	for _, changed := range []bool{false, true} {
		for _, hash := range []bool{false, true} {
			image := randomBytes(40 * chunkSize)
			clear(image[20*chunkSize : 30*chunkSize])
			source, sink := newMemImage(image), newMemImage(nil)
			source.onRead = func(_ context.Context, c transfer.Chunk, _ int) error {
				if c.Index >= 10 {
					return transfer.Errorf(transfer.CodeProtocol, "", "read: %w", transfer.ErrInOrder)
				}
				return nil
			}
			now := image
			if changed {
				now = randomBytes(40 * chunkSize)
				clear(now[:5*chunkSize])
			}
			sink.blank = true
			j := newJob(t, source, sink)
			j.spec.Concurrency, j.spec.ImageDigest = 4, hash
			ends := &failingRanges{fakeOpener: j.opener, stream: func() transfer.Source { return newStream(now) }}
			if err := j.runWith(t.Context(), nil, ends, j.store); err != nil {
				t.Fatal(err)
			}
			checkContent(t, sink, now)
			if writes := sink.total(sink.writes); !changed && writes > 30+4 {
				t.Errorf("hash %t: got %d writes, want at most 34 for 30 chunks that are not zeros", hash, writes)
			}
			if plan := j.store.saved.Plan; !plan.InOrder || plan.Source != "" || ends.inOrder != 1 {
				t.Errorf("got plan %+v, opened in order %d times; want InOrder, no identity, once", plan, ends.inOrder)
			}
		}
	}
}

// TestCallsOfAStreamAreRetried: Session.Retry retries like the worker's own calls, and counts.
func TestCallsOfAStreamAreRetried(t *testing.T) {
	j := newJob(t, newStream(randomBytes(chunkSize)), newMemImage(nil))
	tries := 0
	ends := &onSource{fakeOpener: j.opener, do: func(s *Session) error {
		return s.Retry(t.Context(), func(context.Context) error {
			if tries++; tries < 3 {
				return failure(transfer.CodeNetwork)
			}
			return nil
		})
	}}
	if err := j.runWith(t.Context(), nil, ends, j.store); err != nil || tries != 3 {
		t.Errorf("got %v after %d tries, want nil after 3", err, tries)
	}
	if n := j.store.saved.Progress.Retries.Network; n != 2 {
		t.Errorf("got %d retries, want 2", n)
	}
}

// onSource calls do before it opens the source.
type onSource struct {
	*fakeOpener
	do func(s *Session) error
}

func (e *onSource) Source(ctx context.Context, s *Session) (transfer.Source, error) {
	if err := e.do(s); err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	return e.fakeOpener.Source(ctx, s)
}
