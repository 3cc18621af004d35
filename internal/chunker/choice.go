package chunker

import (
	"sync"
	"time"
)

// Choice decides between plain and gzip for the chunks that go one way, by what each way has been seen to move: bytes of
// the image a second, everything included that one costs and the other does not (compressing here, inflating there, the
// wire). So it needs to know neither the link nor the machine at its other end. It is safe for concurrent use.
type Choice struct {
	mu      sync.Mutex
	flows   int     // under way
	packing int     // of them, those that are being compressed and leave the wire to others
	all     float64 // flows × seconds so far: its growth over a time is the mean of flows in it
	moving  float64 // the same of those that move
	last    time.Time
	plain   goodput
	gzip    goodput
	guess   func(plain float64) float64 // what gzip should move, from what plain does; bytes a second
	busy    float64                     // share of a gzip flow that this machine's processors take, 0 to 1
	state   choiceState
	probed  time.Time     // when the probe began
	found   chan struct{} // closed when something is known
	trying  bool          // the first chunk is on its way as gzip
	picks   int           // since the way not taken was last tried
	pause   int           // picks between two tries
	onGzip  bool
	turn    turn // the last change of ways, while it has yet to prove right
}

// turn is a change from one way to the other because of what a few chunks moved the other way. Those that try it have the
// processors, or the wire, for themselves, so what all together move has the last word.
type turn struct {
	at      time.Time
	left    float64 // what the way that was left moved, bytes a second; 0: there is nothing to prove
	bytes   int     // that have gone the new way since, from beginning to end
	seconds float64 // that this took
}

type choiceState int

const (
	unknown choiceState = iota // nothing has been moved
	probing                    // one flow finds out
	known
)

const (
	// tryEvery is how many chunks go the better way before one tries the other; each try in vain doubles it.
	tryEvery = 32
	// tryEarly is that as long as nothing but a probe went plain, and the probe may be wrong.
	tryEarly = 8
	// ProbeSize is how much of a chunk a probe moves, in bytes: little on a slow link, and enough to tell a fast one.
	ProbeSize = 512 << 10
	// minSample is the least that says something of the link, in bytes: less says how far away the other end is.
	minSample = 128 << 10
	// leaveAt is how much better the other way has to be to be taken: less would be noise.
	leaveAt = 1.05
	// trialSize is how much goes the new way before it is compared with the old one, in bytes.
	trialSize = 64 << 20
	// goodGuess is how much better gzip is to be expected for more than one chunk to go so before it is known.
	goodGuess = 1.5
)

// NewChoice makes a choice; guess says what gzip should move, from what plain does, until it was tried.
func NewChoice(guess func(plain float64) float64) *Choice {
	return &Choice{guess: guess, pause: tryEvery, found: make(chan struct{})}
}

// goodput is a mean that forgets: of two samples the later counts more, and a large one more than a small one.
type goodput struct {
	rate  float64       // bytes a second; 0: unknown
	seen  time.Duration // by all samples together
	bytes int           // of all samples, up to memory
}

// memory is of how many bytes the mean is, roughly: what was before them is forgotten.
const memory = 32 << 20

// add takes a sample in. One of a way that is only tried counts as much as all before it, which are old.
func (g *goodput) add(rate float64, n int, took time.Duration, tried bool) {
	weight := float64(n) / float64(n+g.bytes)
	if tried {
		weight = max(weight, 0.5)
	}
	g.rate += (rate - g.rate) * weight
	g.bytes = min(g.bytes+n, memory)
	g.seen += took
}

// Flow is a chunk on its way.
type Flow struct {
	choice      *Choice
	asked       bool // it was to go as gzip
	packing     bool // it does not move yet
	began       time.Time
	all, moving float64 // what they were then
}

// Begin counts a chunk in; asked says that it is to go as gzip. Whether it does shows at its End: it may not compress, or
// the endpoint not offer it.
func (c *Choice) Begin(asked bool) Flow {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.pass()
	c.flows++
	if asked {
		c.packing++
	}
	return Flow{choice: c, asked: asked, packing: asked, began: now, all: c.all, moving: c.moving}
}

// Moves says that a chunk that was to go as gzip has been compressed, and is on the wire from now on.
func (f *Flow) Moves() {
	if !f.packing {
		return
	}
	f.choice.mu.Lock()
	defer f.choice.mu.Unlock()
	f.choice.pass()
	f.choice.packing--
	f.packing = false
}

// pass brings the sums up to now.
func (c *Choice) pass() time.Time {
	now := time.Now()
	if !c.last.IsZero() {
		s := now.Sub(c.last).Seconds()
		c.all += float64(c.flows) * s
		c.moving += float64(c.flows-c.packing) * s
	}
	c.last = now
	return now
}

// End counts the chunk out. n is its length in the image, in bytes, 0 if it did not arrive; working is the time that this
// machine's processors took for it.
func (f *Flow) End(gzip bool, n int, working time.Duration) {
	c := f.choice
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.pass()
	c.flows--
	if f.packing {
		c.packing--
	}
	elapsed := now.Sub(f.began)
	took := elapsed.Seconds()
	if c.state == probing && n == 0 {
		c.state = unknown
	}
	if f.asked {
		c.trying = false // however it went: the next chunk may try
	}
	if n < minSample || took <= 0 {
		return
	}
	if c.state != known {
		c.state = known
		close(c.found)
	}
	// With k chunks on their way at once, each takes k times as long as alone.
	beside := c.moving - f.moving
	if gzip {
		beside = c.all - f.all
	}
	rate := float64(n) / took * max(1, beside/took)
	if gzip {
		c.gzip.add(rate, n, elapsed, !c.onGzip)
		c.busy += (working.Seconds()/took - c.busy) / 8
	} else {
		c.plain.add(rate, n, elapsed, c.onGzip)
	}
	if gzip == c.onGzip && !f.began.Before(c.turn.at) {
		c.prove(rate, n)
	}
}

// prove goes back to the way that was left if that moved more.
func (c *Choice) prove(rate float64, n int) {
	t := &c.turn
	if t.left == 0 {
		return
	}
	t.bytes += n
	if t.seconds += float64(n) / rate; t.bytes < trialSize {
		return
	}
	if moved := float64(t.bytes) / t.seconds; moved < t.left {
		c.way(c.onGzip).rate = moved
		c.change(moved)
		return
	}
	c.turn, c.picks, c.pause = turn{}, 0, tryEvery
}

// change takes the other way. here is what this one moves. If it has not proved right yet it was wrong, and is not tried
// again soon; else the other one has to prove right now, unless no more is known of this one than what a probe showed.
func (c *Choice) change(here float64) {
	wrong, guessed := c.turn.left > 0, !c.onGzip && c.plain.bytes <= ProbeSize
	c.onGzip, c.picks, c.turn = !c.onGzip, 0, turn{}
	switch {
	case wrong:
		c.pause *= 4
	case !guessed:
		c.turn = turn{at: time.Now(), left: here}
	}
}

func (c *Choice) way(gzip bool) *goodput {
	if gzip {
		return &c.gzip
	}
	return &c.plain
}

// Probe reports whether the caller is the one to find out, by moving a little in the plain way: nothing is known yet.
func (c *Choice) Probe() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != unknown {
		return false
	}
	c.state, c.probed = probing, time.Now()
	return true
}

// probeWait is how long a probe of ProbeSize takes on a link so fast that plain is certainly the better way.
const probeWait = 20 * time.Millisecond

// Gzip reports how the next chunk is to go. While a probe is under way it waits for that, but not for long: a link on
// which it takes its time is slow, and gzip is right.
func (c *Choice) Gzip() bool {
	if c.pending() {
		t := time.NewTimer(probeWait)
		defer t.Stop()
		select {
		case <-c.found:
		case <-t.C:
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != known {
		return true
	}
	plain, gzip := c.plain.rate, c.gzip.rate
	if plain == 0 {
		return false // small chunks go without a probe
	}
	if gzip == 0 {
		// None is guessed from a few milliseconds on a link that may have been cold. A good guess is enough for all until
		// it is known, for a chunk that goes plain over a slow link takes long; another for one chunk to find out.
		hope := c.guess(plain)
		if c.plain.seen < probeWait || hope <= plain*leaveAt {
			return false
		}
		first := !c.trying
		c.trying = true
		return first || hope > plain*goodGuess
	}
	here, there := c.way(c.onGzip).rate, c.way(!c.onGzip).rate
	if there > here*leaveAt {
		c.change(here)
		return c.onGzip
	}
	c.picks++
	if c.onGzip && c.picks >= tryEarly && c.plain.bytes <= ProbeSize && plain*c.doubt() > gzip {
		c.picks = 0
		return false
	}
	// A way that was half as good or worse is not tried again, unless it is our own processors that hold this one up.
	if c.picks < c.pause || (there < here/2 && !(c.onGzip && c.busy > 0.5)) {
		return c.onGzip
	}
	c.picks, c.pause = 0, c.pause*2
	return !c.onGzip
}

// doubt is how many times as fast the link may be as a probe showed it: some of the probe's time was distance, and it was
// alone.
func (c *Choice) doubt() float64 {
	took := c.plain.seen
	return took.Seconds() / max(took-farAway, took/maxDoubt).Seconds()
}

func (c *Choice) pending() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state == probing
}

// probeMargin is how many times as fast a link may be as a probe shows it: some of the probe's time is distance.
const probeMargin = 4

const (
	// farAway is how far the other end may be, there and back.
	farAway  = 100 * time.Millisecond
	maxDoubt = 8
)

// packed is what gzip moves, bytes of the image a second, and for what share of a chunk's time this machine compresses. Until
// it was tried, it is the most that plain leads to expect; 0: nothing is known.
func (c *Choice) packed() (rate, busy float64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gzip.rate == 0 {
		plain := c.plain.rate
		if c.state == probing { // it is no faster than this
			plain = ProbeSize / max(time.Since(c.probed).Seconds(), 1e-9)
		}
		return probeMargin * c.guess(plain), 0
	}
	return c.gzip.rate, c.busy
}
