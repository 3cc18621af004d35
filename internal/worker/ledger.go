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

// ledger is which chunks of a job are done and what they hold: what earlier attempts saved, what this one added, and
// which of that is not saved yet. It is safe for concurrent use and takes about 60 bytes a chunk that is done.
type ledger struct {
	mu      sync.Mutex
	done    map[int64]transfer.Digest
	begun   map[int64]bool   // chunks that this attempt has begun to store, and that are not done
	flushes bool             // chunks become pending when they were flushed
	waiting []transfer.Entry // for that
	pending []transfer.Entry // to be saved
	costs   int              // of pending, those that a crash would have carried again
	saving  int              // such entries that are being saved
	saveAt  int              // how many of them are worth a save
	reset   bool             // the next save replaces what was saved before
	written chan struct{}    // has a token when enough is waiting to be worth a flush
	full    chan struct{}    // has a token when enough is pending to be worth a save
}

const (
	// mostUnsaved is how many chunks a crash may have carried again, in addition to those in
	// flight.
	mostUnsaved = 16
	// A save is due when saveSlow chunks are pending, for others are done while it lasts, and
	// already with saveQuick where a save takes less than quickSave. A chunk of 4 MiB takes tens of
	// milliseconds of a core, and such a save less than one.
	saveSlow  = mostUnsaved / 2
	saveQuick = mostUnsaved / 4
	quickSave = 10 * time.Millisecond

	// mostUnflushed is how many more that is of a target which is flushed first: disks are slow.
	mostUnflushed = 64
	// flushAt is how many are flushed at once, if that is not due anyway: others are done
	// meanwhile.
	flushAt = mostUnflushed / 2
)

func newLedger(entries []transfer.Entry) *ledger {
	l := &ledger{
		done: make(map[int64]transfer.Digest, len(entries)), begun: make(map[int64]bool),
		saveAt:  saveQuick,
		written: make(chan struct{}, 1), full: make(chan struct{}, 1),
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

// begin notes that a chunk may be stored in part from now on, until it is done.
func (l *ledger) begin(index int64) {
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

// mark notes that a chunk is done, and reports whether it was not before.
func (l *ledger) mark(index int64, d transfer.Digest) bool { return l.add(index, d, 1) }

// markFree is mark of a chunk that costs nothing to do again. It waits for a save that is due
// anyway.
func (l *ledger) markFree(index int64, d transfer.Digest) bool { return l.add(index, d, 0) }

func (l *ledger) add(index int64, d transfer.Digest, costs int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.begun, index)
	_, before := l.done[index]
	l.done[index] = d
	e := transfer.Entry{Index: index, Digest: d}
	if l.flushes {
		l.waiting = append(l.waiting, e)
		wakeIf(len(l.waiting) >= flushAt, l.written)
	} else {
		l.pending = append(l.pending, e)
		l.costs += costs
		wakeIf(l.costs >= l.saveAt, l.full)
	}
	return !before
}

// wakeIf leaves a token in a channel that has room for one.
func wakeIf(enough bool, token chan<- struct{}) {
	if !enough {
		return
	}
	select {
	case token <- struct{}{}:
	default:
	}
}

// setFlushed says whether chunks are flushed before they are saved. Those that were not when that
// ends are taken out.
func (l *ledger) setFlushed(flushes bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.waiting {
		delete(l.done, e.Index)
	}
	l.flushes, l.waiting = flushes, nil
}

// unflushed is how many chunks are done and not flushed.
func (l *ledger) unflushed() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.waiting)
}

// flushed notes that the first n chunks that were not flushed are so now.
func (l *ledger) flushed(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n = min(n, len(l.waiting)) // fewer if they were cleared meanwhile
	l.pending = append(l.pending, l.waiting[:n]...)
	l.waiting = l.waiting[n:]
	l.costs += n
	wakeIf(l.costs >= l.saveAt, l.full)
}

// forget takes a chunk out that is not stored any more. What was saved keeps it until it is marked again: a crash before
// that is why a ledger in doubt stays so.
func (l *ledger) forget(index int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.done, index)
}

// clear forgets everything, here and with the next save.
func (l *ledger) clear() {
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.done)
	l.waiting, l.pending, l.costs, l.reset = nil, nil, 0, true
}

// indexes is which chunks are done, in any order.
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

// take hands out what is to be saved; kept or giveBack says how that went.
func (l *ledger) take() (entries []transfer.Entry, reset bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	entries, reset = l.pending, l.reset
	l.pending, l.saving, l.costs, l.reset = nil, l.costs, 0, false
	return entries, reset
}

func (l *ledger) giveBack(entries []transfer.Entry, reset bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.reset { // else they were cleared while they were being saved
		l.pending = append(entries, l.pending...)
		l.costs += l.saving
	}
	l.saving = 0
	l.reset = l.reset || reset
}

// kept notes that what take handed out is saved, and how long that took.
func (l *ledger) kept(took time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.saving, l.saveAt = 0, saveSlow
	if took < quickSave {
		l.saveAt = saveQuick
	}
}

// hasRoom reports whether one more chunk may begin: few are done and not saved, without those that
// cost nothing.
func (l *ledger) hasRoom() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.costs+l.saving < mostUnsaved && len(l.waiting) < mostUnflushed
}

// nonZero is the digests of all done chunks that are not zeros, for an image of the given size. With size -1, while a
// stream's end is not known, the last chunk is left out, for it may be short.
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

// sample is up to n of the given chunks, picked at random.
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
