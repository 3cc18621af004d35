package worker

import (
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/verify"
)

// ledger has the chunks of a job that are done, with their digests: those that earlier attempts
// saved, those of this attempt, and which of them are not saved yet. It is safe for concurrent use
// and takes about 60 bytes for each done chunk.
type ledger struct {
	mu         sync.Mutex
	done       map[int64]transfer.Digest
	begun      map[int64]bool   // chunks that this attempt has begun to store and that are not done
	needsFlush bool             // chunks are saved only after a flush
	toFlush    []transfer.Entry // done, and wait for a flush
	toSave     []transfer.Entry // wait for a save
	unsaved    int              // of toSave: chunks that a crash would have carried again, without skipped ones
	saving     int              // likewise, of the save that runs
	batch      int              // as many unsaved chunks make a save due
	reset      bool             // the next save replaces all entries saved before
	flushDue   chan struct{}    // has a token when enough chunks wait for a flush
	saveDue    chan struct{}    // has a token when enough chunks wait for a save
}

const (
	// maxUnsaved bounds how many chunks a crash may have carried again, in addition to those in
	// flight.
	maxUnsaved = 16
	// A save is due with slowBatch unsaved chunks, because more are done while it runs. Where a
	// save takes less than fastSave, it is due with fastBatch: a chunk of 4 MiB takes tens of
	// milliseconds of a core, and such a save less than one.
	slowBatch = maxUnsaved / 2
	fastBatch = maxUnsaved / 4
	fastSave  = 10 * time.Millisecond

	// maxUnflushed bounds how many chunks wait for a flush. It is larger because disks are slow.
	maxUnflushed = 64
	// flushBatch chunks make a flush due at once, because more are done while it runs.
	flushBatch = maxUnflushed / 2
)

func newLedger(entries []transfer.Entry) *ledger {
	l := &ledger{
		done: make(map[int64]transfer.Digest, len(entries)), begun: make(map[int64]bool),
		batch:    fastBatch,
		flushDue: make(chan struct{}, 1), saveDue: make(chan struct{}, 1),
	}
	for _, e := range entries {
		l.done[e.Index] = e.Digest
	}
	return l
}

func (l *ledger) get(index int64) (transfer.Digest, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	d, ok := l.done[index]
	return d, ok
}

// setBegun records that a chunk may be stored in part from now on, until it is done.
func (l *ledger) setBegun(index int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.begun[index] = true
}

// untouched reports whether this attempt has stored nothing of a chunk that is not done.
func (l *ledger) untouched(index int64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.begun[index]
}

// setDone records that a chunk is done, and reports whether it was not done before.
func (l *ledger) setDone(index int64, d transfer.Digest) bool { return l.add(index, d, 1) }

// setSkipped is setDone for a chunk that was not written and costs nothing to do again. It does not
// make a save due.
func (l *ledger) setSkipped(index int64, d transfer.Digest) bool { return l.add(index, d, 0) }

func (l *ledger) add(index int64, d transfer.Digest, cost int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.begun, index)
	_, before := l.done[index]
	l.done[index] = d
	e := transfer.Entry{Index: index, Digest: d}
	if l.needsFlush {
		l.toFlush = append(l.toFlush, e)
		signalIf(len(l.toFlush) >= flushBatch, l.flushDue)
	} else {
		l.toSave = append(l.toSave, e)
		l.unsaved += cost
		signalIf(l.unsaved >= l.batch, l.saveDue)
	}
	return !before
}

// signalIf leaves a token in a channel of capacity 1.
func signalIf(enough bool, token chan<- struct{}) {
	if !enough {
		return
	}
	select {
	case token <- struct{}{}:
	default:
	}
}

// setNeedsFlush says whether chunks wait for a flush before they are saved. It removes the chunks
// that still wait for one.
func (l *ledger) setNeedsFlush(flushes bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.toFlush {
		delete(l.done, e.Index)
	}
	l.needsFlush, l.toFlush = flushes, nil
}

// unflushed returns how many chunks wait for a flush.
func (l *ledger) unflushed() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.toFlush)
}

// flushed records that the first n chunks that wait for a flush are durable.
func (l *ledger) flushed(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n = min(n, len(l.toFlush)) // fewer if the ledger was cleared meanwhile
	l.toSave = append(l.toSave, l.toFlush[:n]...)
	l.toFlush = l.toFlush[n:]
	l.unsaved += n
	signalIf(l.unsaved >= l.batch, l.saveDue)
}

// remove removes a chunk that is not stored any more. The store keeps its old entry until the chunk
// is done again. For a crash before that, the plan stays doubted.
func (l *ledger) remove(index int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.done, index)
}

// clear removes all chunks, and with the next save those in the store.
func (l *ledger) clear() {
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.done)
	l.toFlush, l.toSave, l.unsaved, l.reset = nil, nil, 0, true
}

// indexes returns the indexes of the done chunks, in any order.
func (l *ledger) indexes() []int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Collect(maps.Keys(l.done))
}

func (l *ledger) len() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return int64(len(l.done))
}

// takeUnsaved returns the entries to save. The caller then calls setSaved or returnUnsaved.
func (l *ledger) takeUnsaved() (entries []transfer.Entry, reset bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	entries, reset = l.toSave, l.reset
	l.toSave, l.saving, l.unsaved, l.reset = nil, l.unsaved, 0, false
	return entries, reset
}

// returnUnsaved takes back the entries of a save that failed.
func (l *ledger) returnUnsaved(entries []transfer.Entry, reset bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.reset { // otherwise the ledger was cleared during the save
		l.toSave = append(entries, l.toSave...)
		l.unsaved += l.saving
	}
	l.saving = 0
	l.reset = l.reset || reset
}

// setSaved records that the entries of takeUnsaved are saved, and how long the save took.
func (l *ledger) setSaved(took time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.saving, l.batch = 0, slowBatch
	if took < fastSave {
		l.batch = fastBatch
	}
}

// acceptsMore reports whether one more chunk may begin: few done chunks are not saved or flushed.
func (l *ledger) acceptsMore() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.unsaved+l.saving < maxUnsaved && len(l.toFlush) < maxUnflushed
}

// nonZero returns the digests of the done chunks that are not zeros, for an image of the given
// size. With size -1, before the end of a stream, it leaves out the last chunk, which may be short.
func (l *ledger) nonZero(size int64, chunkSize int) map[int64]transfer.Digest {
	l.mu.Lock()
	defer l.mu.Unlock()
	chunks := make(map[int64]transfer.Digest, len(l.done))
	if size < 0 {
		var last int64
		for i := range l.done {
			if i < transfer.TailIndex {
				last = max(last, i)
			}
		}
		size = last * int64(chunkSize)
	}
	for i, d := range l.done {
		if i >= transfer.ChunkCount(size, chunkSize) {
			continue
		}
		if d != verify.ZeroDigest(transfer.ChunkAt(i, size, chunkSize).Len) {
			chunks[i] = d
		}
	}
	return chunks
}

// sample returns up to n of the given chunks, picked at random.
func sample(chunks map[int64]transfer.Digest, n int) []transfer.Entry {
	picked := make([]transfer.Entry, 0, n)
	seen := 0
	for i, d := range chunks {
		if seen++; len(picked) < n {
			picked = append(picked, transfer.Entry{Index: i, Digest: d})
		} else if k := rand.IntN(seen); k < n {
			picked[k] = transfer.Entry{Index: i, Digest: d}
		}
	}
	return picked
}
