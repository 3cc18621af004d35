package flow

import (
	"math"
	"sync"
	"time"
)

// The constants of a [Split].
const (
	// pieceSize is the size of the pieces of a chunk, in bytes.
	pieceSize = 1 << 20
	// splitSample is how many calls that write pieces are observed before their mean counts, and
	// wholeSample of calls that write whole chunks.
	splitSample, wholeSample = 8, 3
	// slowPiece is how long a piece must keep the link busy for chunks to be split. At 1 Gbit/s it takes 10
	// to 13 ms, and pieces cost 5 to 15%, for calls cost more than a pipeline gains that fills and drains
	// in a moment; at 200 Mbit/s it takes 17 ms compressed and 45 ms plain, and pieces gain 7 to 10%.
	slowPiece = 14 * time.Millisecond
	// exploreEvery is how many chunks pass between two that are not split, in explore.
	exploreEvery = 8
	// splitGain is how many times as long as a piece a whole chunk must take for chunks to be split: then
	// the link, which takes four times as long for it, is at least a third of a piece's time. Where a
	// call is mostly latency, pieces would only multiply that.
	splitGain = 2
	// spareCalls is how many calls more than the round-trip time demands run in each direction, for the
	// other end takes its time, too.
	spareCalls = 2
	// splitFor is for how many chunks a first decision is kept; each repeated one is kept for twice as
	// long, so that finding out costs less and less.
	splitFor = 256
)

// splitPhase names what a Split is doing.
type splitPhase string

const (
	splitProbe   splitPhase = "probe"   // splits all chunks
	splitExplore splitPhase = "explore" // splits all but one of exploreEvery
	splitSettled splitPhase = "settled" // keeps a decision for splitFor chunks
)

// A Split decides whether chunks that are written and read back are split into pieces. A lane that
// writes a piece while it reads the one before it back keeps both directions of a slow link busy from
// the first piece to the last; whole chunks leave one direction idle until the first ones are written,
// and the other when the last ones are. A nil Split never splits. It is safe for concurrent use.
//
//	phase     what was observed                          next phase
//	probe     the link is fast                           settled, whole chunks
//	          else                                       explore
//	explore   whole chunks take much longer than pieces  settled, pieces
//	          else                                       settled, whole chunks
//	settled   as many chunks as a decision is for        probe
type Split struct {
	rtt time.Duration

	mu     sync.Mutex
	phase  splitPhase
	pieces callMeans // in probe and explore
	whole  callMeans // in explore
	chunks int       // begun in this phase
	keep   int       // chunks for which the next decision is kept
	last   bool      // the last decision was for pieces
	busy   int       // in settled: how many calls keep a direction busy; 0: chunks are not split
}

// callMeans is the means of some calls.
type callMeans struct {
	count            int
	seconds, running float64 // sums: of the times, and of the calls running
}

// NewSplit returns a Split for chunks of chunkSize bytes that begins to probe; nil if they are too
// small to be split. rtt is the round-trip time to the farther end.
func NewSplit(chunkSize int, rtt time.Duration) *Split {
	if chunkSize <= pieceSize {
		return nil
	}
	return &Split{rtt: rtt, phase: splitProbe}
}

// Piece returns the size of the pieces of the next chunk, which has size bytes; size: it is not split.
func (s *Split) Piece(size int) int {
	if s == nil || size <= pieceSize {
		return size
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.chunks++
	switch s.phase {
	case splitExplore:
		if s.chunks%exploreEvery == 1 {
			return size
		}
	case splitSettled:
		if s.chunks > s.keep {
			s.enter(splitProbe)
		} else if s.busy == 0 {
			return size
		}
	}
	return pieceSize
}

// Calls returns how many calls keep a direction of the link busy when all chunks are split; 0: they
// are not, or it is not known yet.
func (s *Split) Calls() int {
	if s == nil {
		return 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.busy
}

// Splits reports whether chunks are split now.
func (s *Split) Splits() bool {
	if s == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.phase != splitSettled || s.busy > 0
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
	case n == pieceSize:
		s.pieces.add(took, running)
	case n > pieceSize && s.phase == splitExplore:
		s.whole.add(took, running)
	}
	s.decide()
}

func (m *callMeans) add(took time.Duration, running int) {
	m.count++
	m.seconds += took.Seconds()
	m.running += float64(running)
}

// decide ends a phase that has observed enough.
func (s *Split) decide() {
	if s.pieces.count < splitSample {
		return
	}
	// k calls at once take k times as long as one of them keeps the link busy.
	busy := s.pieces.seconds / s.pieces.running
	switch {
	case busy < slowPiece.Seconds():
		s.settle(0)
	case s.phase == splitProbe:
		s.enter(splitExplore)
	case s.whole.count < wholeSample:
	case s.whole.mean() < splitGain*s.pieces.mean():
		s.settle(0)
	default:
		s.settle(int(math.Ceil(1+s.rtt.Seconds()/busy)) + spareCalls)
	}
}

func (m callMeans) mean() float64 { return m.seconds / float64(m.count) }

func (s *Split) enter(p splitPhase) {
	s.phase, s.pieces, s.whole, s.chunks, s.busy = p, callMeans{}, callMeans{}, 0, 0
}

func (s *Split) settle(calls int) {
	if s.keep == 0 || (calls > 0) != s.last {
		s.keep = splitFor
	} else {
		s.keep *= 2
	}
	s.phase, s.busy, s.chunks, s.last = splitSettled, calls, 0, calls > 0
}
