package worker

import (
	"testing"
	"testing/synctest"

	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/verify"
)

// TestSaveIsDueWithEnoughChunks: and the ledger does not block without a saver.
func TestSaveIsDueWithEnoughChunks(t *testing.T) {
	l := newLedger(nil)
	for i := range int64(fastBatch - 1) {
		l.setDone(i, transfer.Digest{1})
	}
	select {
	case <-l.saveDue:
		t.Error("got a save due with few chunks, want none")
	default:
	}
	for i := range int64(fastBatch) {
		if first := l.setDone(fastBatch-1+i, transfer.Digest{1}); !first {
			t.Errorf("chunk %d: got done before, want not", fastBatch-1+i)
		}
	}
	select {
	case <-l.saveDue:
	default:
		t.Error("got no save due, want one")
	}
	if l.setDone(3, transfer.Digest{2}) {
		t.Error("chunk 3: got not done before, want done")
	}
	if d, ok := l.get(3); !ok || d != (transfer.Digest{2}) || l.len() != 2*fastBatch-1 {
		t.Errorf("chunk 3: got digest %s, of %d chunks; want 02… of %d", d, l.len(), 2*fastBatch-1)
	}
	if _, ok := l.get(1 << 40); ok {
		t.Error("a chunk that was never done: got done, want not")
	}
}

// TestResetIsKeptUntilASaveSucceeds: a failed save does not lose the reset.
func TestResetIsKeptUntilASaveSucceeds(t *testing.T) {
	l := newLedger([]transfer.Entry{{Index: 7}})
	l.setDone(8, transfer.Digest{1})
	l.clear()
	l.setDone(9, transfer.Digest{2})
	for range 3 {
		list, reset := l.takeUnsaved()
		if len(list) != 1 || list[0].Index != 9 || !reset {
			t.Fatalf("got entries %v, reset %v; want chunk 9 alone, and a reset", list, reset)
		}
		l.returnUnsaved(list, reset)
	}
	l.takeUnsaved()
	if list, reset := l.takeUnsaved(); len(list) > 0 || reset {
		t.Errorf("got entries %v, reset %v a second time; want none", list, reset)
	}
}

// TestClearDuringASaveDropsItsEntries: even if that save fails.
func TestClearDuringASaveDropsItsEntries(t *testing.T) {
	l := newLedger(nil)
	l.setDone(1, transfer.Digest{1})
	list, reset := l.takeUnsaved()
	l.clear()
	l.returnUnsaved(list, reset)
	if list, reset := l.takeUnsaved(); len(list) > 0 || !reset {
		t.Errorf("got %v, reset %v; want none, and a reset", list, reset)
	}
}

// TestNonZeroUsesTheLengthOfTheChunk: the last chunk may be shorter, and so has another digest of
// zeros.
func TestNonZeroUsesTheLengthOfTheChunk(t *testing.T) {
	image := randomBytes(3*chunkSize + 10)
	clear(image[chunkSize : 2*chunkSize])
	clear(image[3*chunkSize:])
	l := newLedger(nil)
	for i := range transfer.ChunkCount(int64(len(image)), chunkSize) {
		c := transfer.ChunkAt(i, int64(len(image)), chunkSize)
		l.setDone(i, verify.Sum(image[c.Off:c.Off+int64(c.Len)]))
	}
	if m := l.nonZero(int64(len(image)), chunkSize); len(m) != 2 {
		t.Errorf("got %v, want 2 chunks", m)
	}
	if m := l.nonZero(chunkSize, chunkSize); len(m) != 1 {
		t.Errorf("of the first chunk alone: got %v, want 1 chunk", m)
	}
	if m := newLedger(nil).nonZero(-1, chunkSize); len(m) != 0 {
		t.Errorf("of an empty ledger: got %v, want none", m)
	}
}

// TestSamplePicksDistinctChunks: as many as requested, or all, and every one in the long run.
func TestSamplePicksDistinctChunks(t *testing.T) {
	chunks := make(map[int64]transfer.Digest)
	for i := range int64(100) {
		chunks[i] = transfer.Digest{byte(i), 1}
	}
	seen := make(map[int64]bool)
	for range 600 { // the probability that a chunk is never picked is 2e-22
		once := make(map[int64]bool)
		for _, e := range sample(chunks, 8) {
			if e.Digest != chunks[e.Index] {
				t.Fatalf("chunk %d: got digest %s, want %s", e.Index, e.Digest, chunks[e.Index])
			}
			once[e.Index], seen[e.Index] = true, true
		}
		if len(once) != 8 {
			t.Fatalf("got %v, want 8 distinct chunks", once)
		}
	}
	if len(seen) != len(chunks) {
		t.Errorf("got %d chunks in all samples, want all 100", len(seen))
	}
	if n := len(sample(chunks, 200)); n != 100 {
		t.Errorf("got %d chunks, want all 100", n)
	}
	if n := len(sample(nil, 8)); n != 0 {
		t.Errorf("got %d chunks of none, want 0", n)
	}
}

// TestMeterCountsConcurrently: from many goroutines.
func TestMeterCountsConcurrently(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := new(counters)
		for i := range 100 {
			go func() {
				c.AddWireOut(3)
				c.AddWireIn(5)
				c.AddChunk(i%4 == 0)
			}()
		}
		synctest.Wait()
		p := c.snapshot()
		if p.Bytes.WireOut != 300 || p.Bytes.WireIn != 500 || p.Encoding != (transfer.Encoding{Raw: 75, Gzip: 25}) {
			t.Errorf("got %+v and %+v, want 300 out, 500 in, 75 raw, 25 gzip", p.Bytes, p.Encoding)
		}
	})
}
