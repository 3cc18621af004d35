package flow

import (
	"sync"
	"time"

	"github.com/transferd/transferd/internal/transfer"
)

// The constants of a [Window]. docs/performance.md, "Chunks in flight", has the measurements.
const (
	// slowStartLimit is how many chunks are in flight until the first one is done. At 10 Mbit/s, 64
	// MiB take 60 s with 4 in flight, 67 s with 8 and 76 s with 16: the first chunks are all
	// written at once and the last are all read back at once, while one direction of the link is
	// idle.
	slowStartLimit = 4
	// slowChunk is how long a chunk may take for the limit to grow. On a link where a chunk takes 2
	// s, a larger limit makes calls longer until a gateway cuts them, and a crash loses more. If
	// the first chunk is quicker, the limit doubles at once: on loopback 8 in flight move as much
	// as 16, and 20 ms of latency need 16 (2.56 s with 8, 1.99 s with 16).
	slowChunk = 2 * time.Second
	// farRTT is the round-trip time from which slow start is skipped: its first chunk takes four
	// round trips.
	farRTT = 50 * time.Millisecond
	// climbGain is the factor by which a doubled limit must move more to be kept. A round has few
	// chunks, so its rate is imprecise, and a smaller gain is noise.
	climbGain = 1.1
	// firstHold is for how many rounds a limit is held before the next climb. It is short because
	// the first rounds have few chunks and mislead. Each climb that gains nothing doubles it, so
	// such climbs cost less and less.
	firstHold = 4
	// backOffHold is for how many rounds a limit is held after it was halved because of failures.
	backOffHold = 32
)

// phase names what a window is doing. The table is at finishRound.
type phase string

const (
	phaseSlowStart phase = "slow start" // waits for the first chunk
	phaseClimb     phase = "climb"      // doubles the limit while that moves more
	phaseHold      phase = "hold"       // keeps a limit that was as good as its double
	phaseBackOff   phase = "back off"   // keeps a limit that was halved because of failures
)

// A Window limits how many chunks a job has in flight, and finds the best limit. It climbs while
// more chunks in flight move more bytes a second, and backs off when the endpoint throttles or
// calls fail. A goroutine that carries chunks calls Enter before its first chunk and Leave between
// chunks. It is safe for concurrent use.
//
// It measures in rounds. A round has as many chunks as the limit, each carried from its beginning
// to its end while the limit did not change.
type Window struct {
	fixed bool // the caller set the limit
	most  int  // maximum of limit

	mu       sync.Mutex
	running  int // goroutines that carry chunks
	limit    int // of running; from 1
	bound    int // another maximum of limit; 0: none
	phase    phase
	round    round
	baseline float64 // in climb: rate at half the limit, bytes a second; 0: this round measures it
	left     int     // in hold and back off: rounds until the next climb
	nextHold int     // rounds of the next hold; 0 in a fixed window
}

// round counts since the last change of the limit, or since the last finished round.
type round struct {
	began    time.Time
	chunks   int           // done
	bytes    int64         // of these chunks
	took     time.Duration // sum over these chunks, each from its beginning to its end
	failures int           // calls that failed and are retried
}

// rate is how many bytes a second the round moved with limit chunks in flight. Chunks end in
// bursts, so it is computed from the mean duration of a chunk, not from the wall clock.
func (r round) rate(limit int) float64 { return float64(r.bytes) / r.took.Seconds() * float64(limit) }

// slow reports whether chunks take so long that a larger limit would do harm.
func (r round) slow() bool { return r.took >= slowChunk*time.Duration(r.chunks) }

// NewWindow returns a window whose limit starts small and never exceeds most, which is at least 1.
// fixed above 0 sets the limit: then the window ignores throttling, and halves the limit only for
// rounds with more failures than chunks. rtt is the longer round-trip time of the source and the
// target; 0: unknown.
func NewWindow(fixed, most int, rtt time.Duration) *Window {
	if fixed > 0 {
		return &Window{fixed: true, limit: fixed, most: fixed, phase: phaseClimb}
	}
	w := &Window{limit: min(slowStartLimit, most), most: most, phase: phaseSlowStart, nextHold: firstHold}
	if rtt >= farRTT {
		w.firstChunkDone()
		w.newRound()
	}
	return w
}

// Bound sets a further maximum of the limit; 0 removes it. It is the measured number of chunks that
// keep the link busy, so the limit rises to it at once in slow start: with one barrier more, at which
// the first chunks all wait for their reading back, an upload of 256 MiB at 1 Gbit/s takes a tenth
// longer. A fixed window ignores it.
func (w *Window) Bound(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fixed || n == w.bound {
		return
	}
	w.bound = n
	if w.limit > w.top() || w.phase == phaseSlowStart && n > 0 {
		w.limit, w.baseline = w.top(), 0
		w.newRound()
	}
}

// top is the present maximum of the limit.
func (w *Window) top() int {
	if w.bound > 0 {
		return min(w.bound, w.most)
	}
	return w.most
}

// Limit returns how many chunks may be in flight now, at least 1.
func (w *Window) Limit() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.limit
}

// Enter reports whether one more goroutine may carry chunks. If so, the window counts it.
func (w *Window) Enter() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.running >= w.limit {
		return false
	}
	if w.running++; w.running == w.limit && w.baseline > 0 {
		w.newRound() // a rate with fewer in flight is not this limit's
	}
	return true
}

// Leave reports whether the calling goroutine must end because the limit has fallen. If so, the
// window does not count it any more.
func (w *Window) Leave() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.running <= w.limit {
		return false
	}
	w.running--
	return true
}

// ChunkDone counts a finished chunk of n bytes that was begun at began. A chunk that was begun
// before the round, with another number in flight, does not count. A nil window counts nothing.
func (w *Window) ChunkDone(n int, began time.Time) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.baseline > 0 && w.running < w.limit || began.Before(w.round.began) {
		return
	}
	w.round.chunks++
	w.round.bytes += int64(n)
	w.round.took += time.Since(began)
	if w.phase == phaseSlowStart || w.round.chunks >= w.limit {
		w.finishRound()
		w.newRound()
	}
}

// Failed counts a call that failed with code and is retried. CodeThrottled makes the window back
// off at once. Other failures make it back off at the end of a round that had more failures than
// chunks. CodeConflict, a busy drive, does not count: a smaller window does not end it sooner. A
// nil window counts nothing.
func (w *Window) Failed(code transfer.Code) {
	if w == nil || code == transfer.CodeConflict {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.round.failures++
	if code == transfer.CodeThrottled && w.round.failures == 1 && !w.fixed {
		w.backOff() // once a round: calls in flight together are throttled together
	}
}

func (w *Window) newRound() { w.round = round{began: time.Now()} }

// finishRound sets the limit and the phase for the next round.
//
//	phase       a finished round                        limit    next phase
//	slow start  quick chunk, no failure                 doubled  climb
//	            otherwise                               same     climb
//	climb       more failures than chunks               halved   back off
//	            moved too little for a doubled limit    halved   hold; doubles the next hold
//	            quick chunks, limit below the maximum   doubled  climb
//	            otherwise                               same     hold
//	hold,       more failures than chunks               halved   back off
//	back off    the last one of the phase               same     climb
//	            otherwise                               same     same
func (w *Window) finishRound() {
	r := w.round
	switch {
	case w.phase == phaseSlowStart:
		w.firstChunkDone()
	case r.took <= 0: // no rate can be computed
	case r.failures > r.chunks:
		w.backOff()
	case w.phase == phaseClimb:
		w.judgeClimb(r)
	default:
		if w.left--; w.left == 0 {
			w.phase = phaseClimb
		}
	}
}

// firstChunkDone ends slow start.
func (w *Window) firstChunkDone() {
	w.phase = phaseClimb
	if w.round.failures == 0 && w.round.took < slowChunk {
		w.limit = min(2*w.limit, w.top())
	}
}

// judgeClimb doubles, halves or holds the limit by the rate of a round in climb.
func (w *Window) judgeClimb(r round) {
	rate := r.rate(w.limit)
	switch {
	case w.baseline > 0 && rate < w.baseline*climbGain:
		w.limit = max(1, w.limit/2)
		w.hold()
		w.nextHold *= 2
	case w.limit < w.top() && !r.slow():
		w.baseline, w.limit = rate, min(2*w.limit, w.top())
	default:
		w.hold()
	}
}

// hold keeps the limit for nextHold rounds. In a fixed window that is none: after it has backed
// off, it climbs again at once.
func (w *Window) hold() {
	w.baseline, w.left = 0, w.nextHold
	if w.left > 0 {
		w.phase = phaseHold
	}
}

// backOff halves the limit. After CodeThrottled the round continues, and counts as the first one
// with the new limit.
func (w *Window) backOff() {
	w.phase, w.left, w.baseline = phaseBackOff, backOffHold, 0
	w.limit = max(1, w.limit/2)
}
