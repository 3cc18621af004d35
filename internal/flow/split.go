package flow

import (
	"math"
	"sync"
	"time"
)

// The constants of a [Split].
const (
	// minPiece, halfPiece and maxPiece are sizes of the pieces of a chunk, in bytes. Calls of less
	// than minPiece cost more than a direction gains that idles for less long. The first pieces
	// have maxPiece: what encodes them observes the link by half of the first one.
	minPiece, halfPiece, maxPiece = 256 << 10, 512 << 10, 1 << 20
	// splitSample is how many calls that write pieces of a size are observed before their mean
	// counts.
	splitSample = 8
	// slowPiece is how long a piece of maxPiece must keep the link busy for chunks to be split. At
	// 1 Gbit/s it takes 10 to 13 ms, and pieces cost 5 to 15%, for calls cost more than a pipeline
	// gains that fills and drains in a moment; at 200 Mbit/s it takes 17 ms compressed and 45 ms
	// plain, and pieces gain 7 to 10%.
	slowPiece = 14 * time.Millisecond
	// longPiece is how long a piece keeps the link busy at the most, unless it has minPiece: for as
	// long as a few of them take, one direction idles at the start of a copy, and the other at its
	// end.
	longPiece = 30 * time.Millisecond
	// linkShare is how many times as long as halfPiece a piece of maxPiece, twice its size, must
	// take for chunks to be split: then the link is a third of the longer one's time. Where a call
	// is mostly latency, pieces would only multiply that.
	linkShare = 1.2
	// spareCalls is how many calls more than the latency demands run in each direction.
	spareCalls = 2
	// splitFor is for how many chunks a first decision is kept; each repeated one is kept for twice
	// as long, so that finding out costs less and less.
	splitFor = 64
)

// splitPhase names what a Split is doing.
type splitPhase string

const (
	splitProbe   splitPhase = "probe"   // pieces of maxPiece
	splitExplore splitPhase = "explore" // pieces of halfPiece and of maxPiece, by turns
	splitSettled splitPhase = "settled" // keeps a decision
)

// A Split decides whether chunks that are written and read back are split into pieces, and of what
// size. A lane that writes a piece of a slow link while it reads the one before it back keeps both
// directions busy from the first piece to the last; whole chunks leave one direction idle until the
// first ones are written, and the other when the last ones are. A nil Split never splits. It is
// safe for concurrent use.
//
//	phase     what was observed                                    next phase
//	probe     the link is fast                                     settled, whole chunks
//	          else                                                 explore
//	explore   the link is fast, or larger pieces take hardly more  settled, whole chunks
//	          else                                                 settled, pieces
//	settled   as many chunks as a decision is for                  probe
type Split struct {
	rtt time.Duration

	mu     sync.Mutex
	phase  splitPhase
	half   callMeans // of halfPiece, in explore
	full   callMeans // of maxPiece, in probe and explore
	chunks int       // begun in this phase
	piece  int       // in settled: the size of the pieces, bytes; 0: chunks are not split
	calls  int       // in settled: how many calls keep a direction busy
	keep   int       // chunks for which the next decision is kept
	last   bool      // the last decision was for pieces
}

// callMeans is the means of some calls that write as many bytes each.
type callMeans struct {
	count            int
	seconds, running float64 // sums: of the times, and of the calls running
}

// NewSplit returns a Split for chunks of chunkSize bytes that begins to probe; nil if they are too
// small to be split. rtt is the round-trip time to the farther end.
func NewSplit(chunkSize int, rtt time.Duration) *Split {
	if chunkSize <= maxPiece {
		return nil
	}
	return &Split{rtt: rtt, phase: splitProbe}
}

// Piece returns the size of the pieces of the next chunk, which has size bytes; size: it is not split.
func (s *Split) Piece(size int) int {
	if s == nil {
		return size
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.chunks++
	if s.phase == splitSettled && s.chunks > s.keep {
		s.enter(splitProbe)
	}
	switch {
	case s.phase == splitSettled && s.piece == 0:
		return size
	case s.phase == splitSettled:
		return min(s.piece, size)
	case s.phase == splitExplore && s.chunks%2 == 1:
		return min(halfPiece, size)
	}
	return min(maxPiece, size)
}

// Calls returns how many calls keep a direction of the link busy when all chunks are split; 0: they
// are not, or it is not known yet.
func (s *Split) Calls() int {
	if s == nil {
		return 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

// Splits reports whether chunks are split now.
func (s *Split) Splits() bool {
	if s == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.phase != splitSettled || s.piece > 0
}

// Observe records a successful call that wrote n bytes: how long it took, and how many calls of its
// direction were running, itself included.
func (s *Split) Observe(n int, took time.Duration, running int) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.phase == splitSettled:
		return
	case n == maxPiece:
		s.full.add(took, running)
	case n == halfPiece && s.phase == splitExplore:
		s.half.add(took, running)
	}
	s.decide()
}

func (m *callMeans) add(took time.Duration, running int) {
	m.count++
	m.seconds += took.Seconds()
	m.running += float64(running)
}

// mean is a call's time.
func (m *callMeans) mean() float64 { return m.seconds / float64(m.count) }

// busy is for how long a call keeps the link busy, in seconds, if the link takes all of its time: k
// calls at once take k times as long.
func (m *callMeans) busy() float64 { return m.seconds / m.running }

// decide ends a phase that has observed enough.
func (s *Split) decide() {
	switch {
	case s.full.count < splitSample:
	case s.phase == splitProbe && s.full.busy() < slowPiece.Seconds():
		s.settle(0, 0)
	case s.phase == splitProbe:
		s.enter(splitExplore)
	case s.half.count >= splitSample:
		s.compare()
	}
}

// compare decides by how much longer a piece takes that is twice as large: that is the link's time.
func (s *Split) compare() {
	half, full := s.half.busy(), s.full.busy()
	busy := min(maxPiece/(maxPiece-halfPiece)*(full-half), full)
	if busy < slowPiece.Seconds() || full < linkShare*half {
		s.settle(0, 0)
		return
	}
	piece := maxPiece
	for piece > minPiece && busy > longPiece.Seconds() {
		piece, busy = piece/2, busy/2
	}
	// What a call takes whatever its size, such as the time of the other end.
	latency := max(s.rtt.Seconds(), 2*s.half.mean()-s.full.mean())
	s.settle(piece, int(math.Ceil(1+latency/busy))+spareCalls)
}

func (s *Split) enter(p splitPhase) {
	s.phase, s.half, s.full, s.chunks, s.piece, s.calls = p, callMeans{}, callMeans{}, 0, 0, 0
}

func (s *Split) settle(piece, calls int) {
	if s.keep == 0 || (piece > 0) != s.last {
		s.keep = splitFor
	} else {
		s.keep *= 2
	}
	s.phase, s.piece, s.calls, s.chunks, s.last = splitSettled, piece, calls, 0, piece > 0
}
