package flow

import (
	"sync"
	"time"

	"github.com/transferd/transferd/internal/transfer"
)

// Window finds how many chunks in flight move the most: it doubles them for as long as that moves more, goes back when it
// does not, and halves them when the endpoint says that it is too much. It is safe for concurrent use.
type Window struct {
	mu      sync.Mutex
	limit   int // chunks in flight
	most    int // limit never exceeds it
	running int
	first   bool          // no chunk has been moved yet
	began   time.Time     // of the round, in which limit chunks are moved from beginning to end
	bytes   int64         // moved in the round
	took    time.Duration // by all chunks of the round together
	chunks  int           // moved in the round
	failed  int           // calls in the round that had to be made again
	rate    float64       // of the last round with fewer in flight, bytes a second; 0: there was none
	hold    int           // rounds until more are tried again
	pause   int           // rounds to hold the next time
}

const (
	// firstInFlight fills a slow link. Of more, the first would be written all at once, and the last read back all at once.
	firstInFlight = 4
	// slowChunk is how long a chunk may take for more to be tried: calls would take longer still, until something on the way loses
	// patience, and more would be lost with a worker that is killed. If the first is quicker, twice as many are in flight
	// without further proof, which is as good as any number for a near endpoint, and half of what a far one needs
	// (docs/performance.md).
	slowChunk = 2 * time.Second
	// farFrom is how far an endpoint is, there and back, for the first chunk not to be waited for: it takes four times that.
	farFrom = 50 * time.Millisecond
	// climbAt is how much more a doubled number has to move to be kept.
	climbAt = 1.1
	// firstHold is for how many rounds a number is kept before a larger one is tried again; each time in vain doubles it. A
	// round is a few chunks, so the first judgements are rough, and a try in vain costs next to nothing.
	firstHold = 4
	// fallHold is for how many rounds less is kept that the endpoint asked for.
	fallHold = 32
)

// NewWindow begins low; with fixed set, the number is that and stays so. away is how far the ends are, there and back.
func NewWindow(fixed, most int, away time.Duration) *Window {
	if fixed > 0 {
		return &Window{limit: fixed, most: fixed}
	}
	p := &Window{limit: min(firstInFlight, most), most: most, pause: firstHold, first: true}
	if away >= farFrom {
		p.begun(0)
	}
	return p
}

// Limit is how many chunks may be in flight.
func (p *Window) Limit() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.limit
}

// Enter reports whether one more may be in flight, and counts it.
func (p *Window) Enter() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running >= p.limit {
		return false
	}
	if p.running++; p.running == p.limit && p.rate > 0 {
		p.round() // what was moved while there were fewer says nothing for this number
	}
	return true
}

// Leave reports whether one has to go, and counts it out.
func (p *Window) Leave() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running <= p.limit {
		return false
	}
	p.running--
	return true
}

// ChunkDone counts a chunk of n bytes, and at the end of a round decides how many the next one has. began is when the chunk
// was begun; one that was before the round was, with another number in flight, says nothing of this one.
func (p *Window) ChunkDone(n int, began time.Time) {
	if p == nil {
		return // the copy has not begun
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.rate > 0 && p.running < p.limit || began.Before(p.began) {
		return
	}
	if p.first {
		p.begun(time.Since(began))
		return
	}
	p.bytes += int64(n)
	p.took += time.Since(began)
	if p.chunks++; p.chunks < p.limit {
		return
	}
	// Chunks end in bursts, so their times say more than the clock: with k in flight, k times what one moves in its time.
	if p.most > 1 && p.took > 0 {
		p.decide(float64(p.bytes) / p.took.Seconds() * float64(p.limit))
	}
	p.round()
}

// begun hears of the first chunk, or that it is not to be waited for.
func (p *Window) begun(took time.Duration) {
	if p.failed == 0 && took < slowChunk {
		p.limit = min(2*p.limit, p.most)
	}
	p.first = false
	p.round()
}

func (p *Window) round() {
	p.began, p.bytes, p.took, p.chunks, p.failed = time.Now(), 0, 0, 0, 0
}

func (p *Window) decide(rate float64) {
	switch {
	case p.failed > p.chunks:
		p.fall()
	case p.hold > 0:
		p.hold--
	case p.rate > 0 && rate < p.rate*climbAt:
		p.limit, p.rate, p.hold = max(1, p.limit/2), 0, p.pause
		p.pause *= 2
	case p.limit < p.most && p.took < slowChunk*time.Duration(p.chunks):
		p.rate, p.limit = rate, min(2*p.limit, p.most)
	default:
		p.rate, p.hold = 0, p.pause
	}
}

func (p *Window) fall() { p.limit, p.rate, p.hold, p.first = max(1, p.limit/2), 0, fallHold, false }

// Failed hears of a call that has to be made again. An endpoint that asks for less gets less at once; of other failures
// it takes as many as there are successes; a busy drive is the gate's matter.
func (p *Window) Failed(code transfer.Code) {
	if code == transfer.CodeConflict {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failed++; code == transfer.CodeThrottled && p.failed == 1 && p.pause > 0 {
		p.fall()
	}
}
