package worker

import (
	"bytes"
	"context"
	"iter"
	"testing"
	"testing/synctest"

	"github.com/transferd/transferd/internal/panics"
	"github.com/transferd/transferd/internal/transfer"
)

func explode() { panic("a mistake") }

// brokenMap is a source that panics while it yields its extents.
type brokenMap struct{ *memImage }

func (brokenMap) Extents(context.Context) iter.Seq2[transfer.Extent, error] {
	return func(yield func(transfer.Extent, error) bool) {
		yield(transfer.Extent{Len: chunkSize}, nil)
		explode()
	}
}

// mustPanic runs a job that panics. Only that job fails, its state is saved, and without the fault
// the next attempt succeeds.
func mustPanic(t *testing.T, j *job, repair func(), stack string) {
	t.Helper()
	err := j.run(t.Context(), nil)
	p := panics.Of(err)
	if p == nil || transfer.CodeOf(err) != transfer.CodeInternal {
		t.Fatalf("got %v, want a panic", err)
	}
	if !bytes.Contains(p.Stack, []byte(stack)) {
		t.Errorf("want %s in the stack, got:\n%s", stack, p.Stack)
	}
	repair()
	j.mustRun()
}

// TestPanicFailsOnlyItsJob: in each goroutine of an attempt, and in what they call.
func TestPanicFailsOnlyItsJob(t *testing.T) {
	image := randomBytes(20 * chunkSize)
	at := func(index int64) func(context.Context, transfer.Chunk, int) error {
		return func(_ context.Context, c transfer.Chunk, _ int) error {
			if c.Index == index {
				explode()
			}
			return nil
		}
	}
	for name, tc := range map[string]struct {
		fault func(j *job, source, sink *memImage) (repair func())
		stack string
	}{
		"a lane that reads": {func(_ *job, source, _ *memImage) func() {
			source.onRead = at(7)
			return func() { source.onRead = nil }
		}, "(*lanes).runLane"},
		"a lane that writes": {func(_ *job, _, sink *memImage) func() {
			sink.onWrite = at(7)
			return func() { sink.onWrite = nil }
		}, "(*lanes).runLane"},
		"a lane that reads back": {func(_ *job, _, sink *memImage) func() {
			sink.onRead = at(7)
			return func() { sink.onRead = nil }
		}, "(*lanes).runLane"},
		"the plan": {func(j *job, source, _ *memImage) func() {
			j.opener.source = brokenMap{source}
			return func() { j.opener.source = source }
		}, "brokenMap"},
		"the saver": {func(j *job, _, sink *memImage) func() {
			sink.onWrite = func(ctx context.Context, _ transfer.Chunk, _ int) error { return sleep(ctx, saveEvery) }
			j.store.onSave = func(n int) error {
				if n == 4 {
					explode()
				}
				return nil
			}
			return func() { sink.onWrite, j.store.onSave = nil, nil }
		}, "saveLoop"},
		"the opener": {func(j *job, _, _ *memImage) func() {
			j.opener.open = func(string, int) error { explode(); return nil }
			return func() { j.opener.open = nil }
		}, "openSource"},
		"the samples of zeros": {func(j *job, source, sink *memImage) func() {
			source.extents, sink.blank, j.opener.drive = []transfer.Extent{{Len: chunkSize}}, true, "new"
			clear(source.data[chunkSize:])
			sink.data = make([]byte, len(image))
			sink.onRead = func(_ context.Context, c transfer.Chunk, _ int) error {
				if c.Index > 0 {
					explode()
				}
				return nil
			}
			return func() { sink.onRead = nil }
		}, "checkZeroRanges"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				source, sink := newMemImage(bytes.Clone(image)), newMemImage(nil)
				j := newJob(t, source, sink)
				repair := tc.fault(j, source, sink)
				mustPanic(t, j, repair, tc.stack)
				checkContent(t, sink, source.data)
			})
		})
	}
}

// TestPanicInPieces: in the two goroutines that write and read back the pieces of a chunk.
func TestPanicInPieces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, side := range []string{"write", "read back"} {
			j, sink, image := newSlow(t, 6, 10<<20)
			onRead, onWrite := sink.onRead, sink.onWrite
			fault := func(ctx context.Context, c transfer.Chunk, n int) error {
				if c.Index == 2 && c.Off > c.Index<<22 {
					explode()
				}
				return onWrite(ctx, c, n)
			}
			if side == "write" {
				sink.onWrite = fault
			} else {
				sink.onRead = fault
			}
			mustPanic(t, j, func() { sink.onRead, sink.onWrite = onRead, onWrite }, "writeInPieces")
			checkContent(t, sink, image)
		}
	})
}

// TestPanicKeepsTheLedger: the chunks done before the panic are saved.
func TestPanicKeepsTheLedger(t *testing.T) {
	source, sink := newMemImage(randomBytes(20*chunkSize)), newMemImage(nil)
	sink.onWrite = func(_ context.Context, c transfer.Chunk, _ int) error {
		if c.Index == 19 {
			explode()
		}
		return nil
	}
	j := newJob(t, source, sink)
	j.spec.Concurrency = 1
	j.mustFail(transfer.CodeInternal)
	if n := len(j.store.saved.Entries); n != 19 {
		t.Errorf("%d chunks are saved, want 19", n)
	}
}
