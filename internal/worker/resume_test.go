package worker

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/verify"
)

// TestDrainFinishesChunksInFlight: saves them, and begins no other. The next attempt does only the
// rest.
func TestDrainFinishesChunksInFlight(t *testing.T) {
	image := randomBytes(30 * chunkSize)
	drain := make(chan struct{})
	stop := sync.OnceFunc(func() { close(drain) })
	sink := newMemImage(nil)
	sink.onWrite = func(_ context.Context, c transfer.Chunk, _ int) error {
		if c.Index >= 10 {
			stop()
		}
		return nil
	}
	j := newJob(t, newMemImage(image), sink)
	j.spec.Concurrency, j.opener.drive = 4, "uuid"
	if err := j.run(t.Context(), drain); transfer.CodeOf(err) != transfer.CodeDrained {
		t.Fatalf("got %v, want code %s", err, transfer.CodeDrained)
	}
	first := sink.total(sink.writes)
	if len(j.store.saved.Entries) != first || first < 11 || first > 15 || j.store.saved.Plan.Drive != "uuid" {
		t.Errorf("got %d chunks written, %d saved; want 11 to 15, all saved", first, len(j.store.saved.Entries))
	}
	sink.onWrite = nil
	p := j.mustRun()
	checkContent(t, sink, image)
	if n := sink.total(sink.writes); n != 30 || p.Chunks.Sent != 30 || p.Chunks.Done != 30 || p.Chunks.Verified != 30 {
		t.Errorf("got %d writes and %+v, want 30 chunks written once and verified", n, p.Chunks)
	}
}

// newHalfDone returns a job after a first attempt that failed after ten chunks.
func newHalfDone(t *testing.T, source transfer.Source, sink *memImage) *job {
	t.Helper()
	j := newJob(t, source, sink)
	j.spec.Concurrency = 1
	sink.onWrite = func(_ context.Context, c transfer.Chunk, _ int) error {
		if c.Index == 10 {
			return failure(transfer.CodeRefused)
		}
		return nil
	}
	j.mustFail(transfer.CodeRefused)
	if len(j.store.saved.Entries) != 10 {
		t.Fatalf("got %d chunks saved, want 10", len(j.store.saved.Entries))
	}
	sink.onWrite = nil
	return j
}

// TestLostChunksAreStoredAgain: if a target has lost its content, the whole image is stored again.
func TestLostChunksAreStoredAgain(t *testing.T) {
	image := randomBytes(20 * chunkSize)
	sink := newMemImage(nil)
	j := newHalfDone(t, newMemImage(image), sink)
	clear(sink.data)
	p := j.mustRun()
	checkContent(t, sink, image)
	if p.Chunks.Sent != 30 || p.Chunks.Done != 20 || p.Chunks.Verified != 20 {
		t.Errorf("got %+v, want 30 sent, 20 done and verified", p.Chunks)
	}
}

// TestChangedSourceIsNotResumed: two images must not be mixed in one target.
func TestChangedSourceIsNotResumed(t *testing.T) {
	source, sink := newMemImage(randomBytes(20*chunkSize)), newMemImage(nil)
	j := newHalfDone(t, source, sink)
	source.identity = "another"
	j.mustFail(transfer.CodeSourceChanged)
	if sink.commits != 0 || sink.total(sink.writes) != 11 {
		t.Errorf("got %d commits and %d writes, want 0 and 11", sink.commits, sink.total(sink.writes))
	}
}

// TestDriveForAChangedSourceIsRemoved: even before its first chunk.
func TestDriveForAChangedSourceIsRemoved(t *testing.T) {
	source, sink := newMemImage(randomBytes(20*chunkSize)), newMemImage(nil)
	j := newJob(t, source, sink)
	j.opener.drive = "uuid"
	j.opener.open = func(what string, n int) error {
		if what == "sink" && n == 1 {
			return failure(transfer.CodeRefused)
		}
		return nil
	}
	j.mustFail(transfer.CodeRefused)
	source.identity = "another"
	j.mustFail(transfer.CodeSourceChanged)
	if sink.discards != 1 || sink.total(sink.writes) > 0 || j.store.saved.Plan.Drive != "" {
		t.Errorf("got %d discards, %d writes, drive %q; want 1, 0 and none",
			sink.discards, sink.total(sink.writes), j.store.saved.Plan.Drive)
	}
}

// TestResumedStreamWritesOnlyWhatIsMissing: although it reads the stream from its start.
func TestResumedStreamWritesOnlyWhatIsMissing(t *testing.T) {
	image := randomBytes(20*chunkSize + 7)
	sink := newMemImage(nil)
	sink.blank = true
	j := newHalfDone(t, newStream(image), sink)
	// The second reading may differ from the first one, and not every written chunk was saved.
	image[3*chunkSize] ^= 1
	clear(image[4*chunkSize : 6*chunkSize])
	j.store.saved.Entries = slices.Delete(j.store.saved.Entries, 5, 6)
	j.opener.source = newStream(image)
	p := j.mustRun()
	checkContent(t, sink, image)
	if p.Chunks.Sent != 10+3+11 || p.Chunks.Done != 21 || p.Size != int64(len(image)) {
		t.Errorf("got %+v and size %d; want 24 sent, 21 done and the stream's size", p.Chunks, p.Size)
	}
}

// TestOrderedTargetStartsOver: a target that is written in order is written from its first chunk
// again.
func TestOrderedTargetStartsOver(t *testing.T) {
	image := randomBytes(20 * chunkSize)
	m := newMemImage(nil)
	j := newHalfDone(t, newMemImage(image), m)
	j.opener.sink, m.order = orderedSink{m}, nil
	j.mustRun()
	if checkContent(t, m, image); len(m.order) != 20 || !slices.IsSorted(m.order) {
		t.Errorf("got write order %v, want 0 to 19", m.order)
	}
}

// TestCopyContinuesWithoutTheStore: and saves everything when the store is reachable again.
func TestCopyContinuesWithoutTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		image := randomBytes(100 * chunkSize)
		sink := newMemImage(nil)
		sink.onWrite = func(ctx context.Context, _ transfer.Chunk, _ int) error {
			if err := sleep(ctx, time.Second); err != nil {
				return err
			}
			return nil
		}
		j := newJob(t, newMemImage(image), sink)
		outage := time.Now().Add(3 * time.Second)
		j.store.onSave = func(int) error {
			if now := time.Now(); now.After(outage) && now.Before(outage.Add(time.Minute)) {
				return failure(transfer.CodeUnreachable)
			}
			return nil
		}
		started := time.Now()
		j.mustRun()
		checkContent(t, sink, image)
		if took := time.Since(started); len(j.store.saved.Entries) != 100 || took < time.Minute ||
			took > 70*time.Second {
			t.Errorf("got %d entries after %s, want 100 after about a minute", len(j.store.saved.Entries), took)
		}
	})
}

// TestFencedAttemptStopsAtOnce: as soon as a save says that another worker has the job.
func TestFencedAttemptStopsAtOnce(t *testing.T) {
	for _, code := range []transfer.Code{transfer.CodeFenced, transfer.CodeCanceled} {
		synctest.Test(t, func(t *testing.T) {
			sink := newMemImage(nil)
			sink.onWrite = func(ctx context.Context, _ transfer.Chunk, _ int) error { return sleep(ctx, time.Minute) }
			j := newJob(t, newMemImage(randomBytes(100*chunkSize)), sink)
			j.store.onSave = func(n int) error {
				if n > 2 {
					return failure(code)
				}
				return nil
			}
			started := time.Now()
			j.mustFail(code)
			if took := time.Since(started); took > 5*time.Second {
				t.Errorf("%s: ended after %s, want at most 5s", code, took)
			}
		})
	}
}

// TestDriveIsSavedBeforeItIsWritten: so that no drive is lost in a crash.
func TestDriveIsSavedBeforeItIsWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := newMemImage(nil)
		j := newJob(t, newMemImage(randomBytes(10)), sink)
		j.opener.drive = "uuid"
		back := time.Now().Add(time.Hour)
		j.store.onSave = func(int) error {
			if time.Now().Before(back) {
				return failure(transfer.CodeUnreachable)
			}
			return nil
		}
		sink.onWrite = func(context.Context, transfer.Chunk, int) error {
			if j.store.saved.Plan.Drive != "uuid" {
				t.Error("written before the drive was saved, want after")
			}
			return nil
		}
		j.mustRun()
	})
}

// TestUnsavedEntriesAreReturnedInOrder: after a failed save, and each entry is saved once.
func TestUnsavedEntriesAreReturnedInOrder(t *testing.T) {
	zero := verify.ZeroDigest(chunkSize)
	l := newLedger([]transfer.Entry{{Index: 1, Digest: transfer.Digest{1}}})
	l.setDone(2, transfer.Digest{2})
	l.setDone(3, zero)
	list, reset := l.takeUnsaved()
	if len(list) != 2 || reset {
		t.Fatalf("got entries %v, reset %v; want 2 and no reset", list, reset)
	}
	l.setDone(4, transfer.Digest{4})
	l.returnUnsaved(list, reset)
	if list, _ = l.takeUnsaved(); len(list) != 3 || list[0].Index != 2 || list[2].Index != 4 {
		t.Errorf("got entries %v, want chunks 2, 3 and 4", list)
	}
	if list, _ = l.takeUnsaved(); len(list) != 0 {
		t.Errorf("got entries %v again, want none", list)
	}
	if m := l.nonZero(5*chunkSize, chunkSize); len(m) != 3 || l.len() != 4 {
		t.Errorf("got %v, want 3 chunks of 4", m)
	}
	if m := l.nonZero(-1, chunkSize); len(m) != 2 {
		t.Errorf("with an unknown size: got %v, want 2 chunks", m)
	}
	if picked := sample(l.nonZero(5*chunkSize, chunkSize), 2); len(picked) != 2 || picked[0].Index == picked[1].Index {
		t.Errorf("got %v, want 2 distinct chunks", picked)
	}
	l.clear()
	if list, reset := l.takeUnsaved(); len(list) != 0 || !reset || l.len() != 0 {
		t.Errorf("after clear: got entries %v, reset %v; want none and a reset", list, reset)
	}
}

// TestDamagedRecordFailsTheJob: before source and target are opened.
func TestDamagedRecordFailsTheJob(t *testing.T) {
	for name, at := range map[string]transfer.Checkpoint{
		"chunk size":    {Plan: transfer.Plan{ChunkSize: -1}},
		"size":          {Plan: transfer.Plan{ChunkSize: chunkSize, Size: -1}},
		"ledger":        {Plan: transfer.Plan{ChunkSize: chunkSize}, Entries: []transfer.Entry{{Index: -7}}},
		"ledger beyond": {Plan: transfer.Plan{ChunkSize: chunkSize}, Entries: []transfer.Entry{{Index: 1 << 62}}},
	} {
		j := newJob(t, newMemImage(randomBytes(3*chunkSize)), newMemImage(nil))
		j.store.saved = at
		j.mustFail(transfer.CodeInvalid)
		if len(j.opener.opened) > 0 || j.store.saves > 0 {
			t.Errorf("%s: got calls %v and %d saves, want none", name, j.opener.opened, j.store.saves)
		}
	}
}
