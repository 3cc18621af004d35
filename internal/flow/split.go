package flow

import (
	"math"
	"sync"
	"time"
)

// The constants of a [Split].
const (
	// minPiece, halfPiece and maxPiece are sizes of pieces, in bytes. Below minPiece the cost of a
	// call exceeds what the shorter idle time of a direction gains. The first pieces are of
	// maxPiece, so that they hold the codec's probe, which is half of one.
	minPiece, halfPiece, maxPiece = 256 << 10, 512 << 10, 1 << 20
	// splitSample is how many calls of one piece size are observed before their mean counts.
	splitSample = 8
	// slowPiece is how long a piece of maxPiece must keep the link busy for chunks to be split. At
	// 1 Gbit/s a piece takes 8 to 9 ms, and splitting costs 5 to 15%: the pipeline fills quickly
	// anyway, and more calls cost more. At 200 Mbit/s a piece takes 14 ms compressed and 42 ms
	// plain, and splitting gains 7 to 10%.
	slowPiece = 11 * time.Millisecond
	// wholePiece is how long a piece of maxPiece must keep the link busy for the link to be the limit
	// of whole chunks: at 2.8 Gbit/s and above, the processors may be.
	wholePiece = 3 * time.Millisecond
	// longPiece is how long a piece may keep the link busy, unless it is of minPiece: for the time
	// of a few pieces, one direction is idle at the start of a copy, and the other at its end.
	longPiece = 30 * time.Millisecond
	// linkShare is how many times as long as a piece of halfPiece one of maxPiece, twice its size,
	// must take for chunks to be split: then the link is a third of the longer one's time. Where a
	// call is mostly latency, splitting would only multiply the latency.
	linkShare = 1.2
	// farShare is how many round trips a call must take for the number of whole chunks in flight to be
	// measured.
	farShare = 1.5
	// spareCalls is how many calls run in each direction beyond those that hide the latency. With
	// more, whole chunks that are written at once are also read back at once.
	spareCalls = 2
	// splitFor is for how many chunks a new decision is kept. Each time the decision is repeated,
	// it is kept for twice as long, so that probing costs less and less.
	splitFor = 64
)

// splitPhase names what a Split is doing.
type splitPhase string

const (
	splitProbe   splitPhase = "probe"   // pieces of maxPiece
	splitExplore splitPhase = "explore" // pieces of halfPiece and of maxPiece, alternately
	splitSettled splitPhase = "settled" // keeps a decision
)

// A Split decides whether chunks that are written and read back are split into pieces, and of what
// size. A lane that writes one piece over a slow link while it reads back the piece before keeps
// both directions busy from the first piece to the last. Whole chunks leave one direction idle
// until the first chunks are written, and the other after the last chunks are written. A nil Split
// never splits. It is safe for concurrent use.
//
//	phase     observed                                                  next phase
//	probe     the link is no limit                                      settled, whole chunks
//	          otherwise                                                 explore
//	explore   the link is fast, or larger pieces take hardly longer     settled, whole chunks
//	          otherwise                                                 settled, pieces
//	settled   the chunks for which the decision is kept                 probe
type Split struct {
	chunkSize int
	rtt       time.Duration

	mu     sync.Mutex
	phase  splitPhase
	half   callMeans // of halfPiece, in explore
	full   callMeans // of maxPiece, in probe and explore
	chunks int       // begun in this phase
	piece  int       // in settled: the size of the pieces, bytes; 0: chunks are not split
	calls  int       // in settled: how many calls keep a direction busy; 0: unknown
	keep   int       // for how many chunks the decision is kept
	last   bool      // the last decision was for pieces
}

// callMeans accumulates calls that write equally many bytes.
type callMeans struct {
	count            int
	seconds, running float64 // sums of the durations, and of the calls running
}

// NewSplit returns a Split in phase probe for chunks of chunkSize bytes; nil if they are too small
// to be split. rtt is the longer round-trip time of the source and the target.
func NewSplit(chunkSize int, rtt time.Duration) *Split {
	if chunkSize <= maxPiece {
		return nil
	}
	return &Split{chunkSize: chunkSize, rtt: rtt, phase: splitProbe}
}

// Piece returns the piece size for the next chunk, which has size bytes. A result of size means
// that the chunk is not split.
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

// Calls returns how many calls keep one direction of the link busy, of pieces if chunks are split and
// of whole chunks otherwise. 0: it is not known yet, or the link is too fast to be the limit.
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

// Observe records the duration of a successful call that wrote n bytes, and how many calls of its
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

// mean is the mean duration of a call, in seconds.
func (m *callMeans) mean() float64 { return m.seconds / float64(m.count) }

// busy is how long a call keeps the link busy, in seconds, if its whole duration is the link's: k
// calls at once take k times as long.
func (m *callMeans) busy() float64 { return m.seconds / m.running }

// busyWithout is busy without the round-trip time of each call.
func (m *callMeans) busyWithout(rtt time.Duration) float64 {
	return max(m.seconds-float64(m.count)*rtt.Seconds(), 0) / m.running
}

// decide ends a phase that has enough observations.
func (s *Split) decide() {
	switch {
	case s.full.count < splitSample:
	case s.phase == splitProbe && s.noLimit():
		s.keepDecision(0, 0)
	case s.phase == splitProbe:
		s.enter(splitExplore)
	case s.half.count >= splitSample:
		s.compare()
	}
}

// noLimit reports, after the probe, whether the link hardly limits calls. Where a call is mostly
// latency, to find out more would cost more than it gains.
func (s *Split) noLimit() bool {
	busy := s.full.busyWithout(s.rtt)
	return busy < wholePiece.Seconds() || busy < slowPiece.Seconds() && s.full.mean() < farShare*s.rtt.Seconds()
}

// compare decides by how much longer a piece of twice the size takes: the difference is the link's
// time.
func (s *Split) compare() {
	half, full := s.half.busy(), s.full.busy()
	busy := min(maxPiece/(maxPiece-halfPiece)*(full-half), full)
	// The part of a call's duration that does not depend on its size, such as the endpoint's time.
	latency := max(s.rtt.Seconds(), 2*s.half.mean()-s.full.mean())
	switch {
	case busy < wholePiece.Seconds():
		s.keepDecision(0, 0)
		return
	case min(busy, s.full.busyWithout(s.rtt)) < slowPiece.Seconds(), full < linkShare*half:
		s.keepDecision(0, callsToHide(latency, busy*float64(s.chunkSize)/maxPiece))
		return
	}
	piece := maxPiece
	for piece > minPiece && busy > longPiece.Seconds() {
		piece, busy = piece/2, busy/2
	}
	s.keepDecision(piece, callsToHide(latency, busy))
}

// callsToHide is how many calls keep a direction busy if each takes busy of the link and latency
// besides, in seconds.
func callsToHide(latency, busy float64) int { return int(math.Ceil(1+latency/busy)) + spareCalls }

// enter starts a phase without observations.
func (s *Split) enter(p splitPhase) {
	s.phase, s.half, s.full, s.chunks, s.piece, s.calls = p, callMeans{}, callMeans{}, 0, 0, 0
}

// keepDecision enters settled with pieces of piece bytes; 0: whole chunks.
func (s *Split) keepDecision(piece, calls int) {
	if s.keep == 0 || (piece > 0) != s.last {
		s.keep = splitFor
	} else {
		s.keep *= 2
	}
	s.phase, s.piece, s.calls, s.chunks, s.last = splitSettled, piece, calls, 0, piece > 0
}
