package worker

import (
	"context"
	"fmt"
	"io"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/transferd/transferd/internal/transfer"
)

// cutStream is a stream that fails after some chunks.
type cutStream struct {
	*stream
	left int
	err  error
}

func (s *cutStream) Next(ctx context.Context, p []byte) (int, error) {
	if s.left--; s.left < 0 {
		return 0, s.err
	}
	return s.stream.Next(ctx, p)
}

// TestCutStreamIsNotComplete: even if the error wraps io.EOF.
func TestCutStreamIsNotComplete(t *testing.T) {
	for code, err := range map[transfer.Code]error{
		transfer.CodeNetwork: &transfer.Error{Code: transfer.CodeNetwork, Err: fmt.Errorf("cut: %w", io.EOF)},
		transfer.CodeFailed:  fmt.Errorf("cut: %w", io.EOF),
	} {
		sink := newMemImage(nil)
		newJob(t, &cutStream{newStream(randomBytes(9 * chunkSize)), 4, err}, sink).mustFail(code)
		if sink.commits != 0 || sink.discards != 0 {
			t.Errorf("%s: got %d commits and %d discards, want none", code, sink.commits, sink.discards)
		}
	}
}

// lateEnd is a stream whose end comes long after its last byte.
type lateEnd struct{ *stream }

func (s lateEnd) Next(ctx context.Context, p []byte) (int, error) {
	if s.r.Len() == 0 {
		if err := sleep(ctx, 3*saveEvery); err != nil {
			return 0, err
		}
	}
	return s.stream.Next(ctx, p)
}

// TestStreamEndDoesNotRaceWithASave: the plan changes while a save reads it; -race finds a mistake.
func TestStreamEndDoesNotRaceWithASave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		image := randomBytes(4 * chunkSize)
		sink := newMemImage(nil)
		j := newJob(t, lateEnd{newStream(image)}, sink)
		j.spec.Concurrency = 1 // virtual time does not pass while a chunk waits for the stream's lock
		j.mustRun()
		checkContent(t, sink, image)
		if j.store.saved.Plan.Size != int64(len(image)) {
			t.Errorf("the plan has size %d, want %d", j.store.saved.Plan.Size, len(image))
		}
	})
}

// TestTooLargeStreamIsDiscarded: when it exceeds the target's capacity.
func TestTooLargeStreamIsDiscarded(t *testing.T) {
	for size, code := range map[int]transfer.Code{
		3 * chunkSize: "", 3*chunkSize - 1: "", 3*chunkSize + 1: transfer.CodeInvalid,
		9 * chunkSize: transfer.CodeInvalid,
	} {
		sink := newMemImage(make([]byte, 3*chunkSize))
		j := newJob(t, newStream(randomBytes(size)), sink)
		sink.capacity = 3 * chunkSize
		err := j.run(t.Context(), nil)
		if discarded := sink.discards > 0; transfer.CodeOf(err) != code || discarded != (code != "") ||
			discarded == (sink.commits > 0) {
			t.Errorf("%d bytes: got %v, %d discards, %d commits; want code %q",
				size, err, sink.discards, sink.commits, code)
		}
		if len(sink.data) > 3*chunkSize {
			t.Errorf("got %d bytes written, want at most %d", len(sink.data), 3*chunkSize)
		}
	}
}

// TestZerosOfAStreamAreLeftOut: on a blank target, although they are read.
func TestZerosOfAStreamAreLeftOut(t *testing.T) {
	image, _ := sparse()
	sink := newMemImage(make([]byte, len(image)))
	sink.blank = true
	p := newJob(t, newStream(image), sink).mustRun()
	checkContent(t, sink, image)
	if want := (transfer.Chunks{Total: 31, Done: 31, Zero: 17, Sent: 14, Verified: 14}); p.Chunks != want ||
		p.Bytes.Read != int64(len(image)) {
		t.Errorf("counted %+v, not %+v; read %d bytes", p.Chunks, want, p.Bytes.Read)
	}
}

// TestChangedChunkOfAStreamFails: it cannot be rewritten, since a stream is read only once.
func TestChangedChunkOfAStreamFails(t *testing.T) {
	sink := newMemImage(nil)
	var read atomic.Int64
	sink.corruptRead = func(c transfer.Chunk, n int, p []byte) {
		if read.Add(1); n > 1 && c.Index == 7 {
			p[3] ^= 1
		}
	}
	j := newJob(t, newStream(randomBytes(20*chunkSize)), sink)
	j.spec.Verify = transfer.VerifyFull
	f := j.mustFail(transfer.CodeMismatch)
	if f.Offset == nil || *f.Offset != 7*chunkSize || sink.commits != 0 || sink.total(sink.writes) != 20 ||
		read.Load() < 20 {
		t.Errorf("got %+v, %d commits, %d writes; want the chunk's offset, 0 and 20",
			f, sink.commits, sink.total(sink.writes))
	}
}

// TestRetriesKeepTheOrder: of a target that is written in order, although chunks arrive from the
// source out of order.
func TestRetriesKeepTheOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		image, m := randomBytes(40*chunkSize), newMemImage(nil)
		source := newMemImage(image)
		source.onRead = func(ctx context.Context, c transfer.Chunk, n int) error {
			if err := sleep(ctx, time.Duration(c.Index*7%5)*time.Second); err != nil {
				return err
			}
			if c.Index%3 == 0 && n == 1 {
				return failure(transfer.CodeNetwork)
			}
			return nil
		}
		m.onWrite = times(1, transfer.CodeConflict)
		p := newJob(t, source, orderedSink{m}).mustRun()
		checkContent(t, m, image)
		for i, index := range m.order {
			if int64(i) != index {
				t.Fatalf("got write order %v, want ascending", m.order)
			}
		}
		if p.Retries != (transfer.Retries{Conflict: 40, Network: 14}) || p.Verified {
			t.Errorf("got retries %+v, want 40 conflicts and 14 of the network", p.Retries)
		}
	})
}

// verifyingSink is a target that cannot be read back but verifies itself in Commit.
type verifyingSink struct{ orderedSink }

func (verifyingSink) Traits() transfer.Traits {
	return transfer.Traits{ReadBack: transfer.ReadBackInCommit}
}

// TestCommitMayVerify: the job then counts as verified.
func TestCommitMayVerify(t *testing.T) {
	m := newMemImage(nil)
	p := newJob(t, newMemImage(randomBytes(3*chunkSize+1)), verifyingSink{orderedSink{m}}).mustRun()
	if !p.Verified || p.Chunks.Verified != 4 {
		t.Errorf("got verified %v and %+v, want true and 4 chunks verified", p.Verified, p.Chunks)
	}
}
