package codec

import (
	"math"
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
	probing bool                        // a probe finds out what plain moves
	probed  time.Time                   // when it began
	away    time.Duration               // how far the other end is known to be, there and back
	found   chan struct{}               // closed when something is known
	trying  bool                        // the first chunk is on its way as gzip
	checked bool                        // the probe was looked at once more
	picks   int                         // since the way not taken was last tried
	pause   int                         // picks between two tries
	onGzip  bool
	fresh   bool // the way not taken was tried a moment ago
	since   time.Time
	clock   clock   // since onGzip is as it is
	left    float64 // what the clock said of the way that was left, bytes a second; 0: there is nothing to prove
}

// clock is what all chunks together move, by the wall clock. A chunk that tries a way has the processors, or the wire, to
// itself, and what it costs the chunks that go the other direction shows nowhere else; so the clock has the last word.
type clock struct {
	began time.Time
	bytes int
	rate  float64 // of the last clockSize, bytes a second; 0: there is none yet
}

// clockSize is of how much the clock tells a rate, in bytes.
const clockSize = 64 << 20

// add counts a chunk that has arrived; known: there is a new rate.
func (k *clock) add(n int) (known bool) {
	now := time.Now()
	if k.began.IsZero() {
		k.began = now
		return false
	}
	if k.bytes += n; k.bytes < clockSize {
		return false
	}
	k.rate = float64(k.bytes) / max(now.Sub(k.began).Seconds(), 1e-9)
	k.began, k.bytes = now, 0
	return true
}

const (
	// tryEvery is how many chunks go the better way before one tries the other; each try in vain doubles it.
	tryEvery = 32
	// tryEarly is that when the way taken has become worse than the other one was.
	tryEarly = 8
	// ProbeSize is how much of a chunk a probe moves, in bytes: little on a slow link, and enough to tell a fast one.
	ProbeSize = 512 << 10
	// checkSize is how much a second one moves: of so much a slow beginning is the lesser part.
	checkSize = 2 << 20
	// minSample is the least that says something of the link, in bytes: less says how far away the other end is.
	minSample = 128 << 10
	// toGzipAt is how much more than plain a chunk has to move as gzip for all to go so, and toPlainAt how much of what gzip
	// moves is enough for plain: gzip takes processors at both ends, from chunks that go the other direction too.
	toGzipAt  = 1.5
	toPlainAt = 0.9
	// room is how many times as fast as a guess the processors have to be for all chunks to go by it.
	room = 4
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
	took := elapsed
	if f.asked {
		c.trying = false // however they went: the next chunk may try, or probe
	} else if c.probing {
		c.probing = false
		// It was alone. Where chunks follow each other on many lanes, distance costs next to nothing.
		took = max(elapsed-c.away, elapsed/maxDoubt)
	}
	if n < minSample || took <= 0 {
		return
	}
	if c.plain.rate == 0 && c.gzip.rate == 0 {
		close(c.found)
	}
	// With k chunks on their way at once, each takes k times as long as alone.
	beside := c.moving - f.moving
	if gzip {
		beside = c.all - f.all
	}
	rate := float64(n) / took.Seconds() * max(1, beside/elapsed.Seconds())
	if gzip {
		c.gzip.add(rate, n, took, !c.onGzip)
		c.busy += (working.Seconds()/took.Seconds() - c.busy) / 8
	} else {
		c.plain.add(rate, n, took, c.onGzip)
	}
	switch {
	case gzip != c.onGzip:
		c.fresh = true
	case !f.began.Before(c.since) && c.clock.add(n):
		c.prove()
	}
}

// prove goes back to the way that was left if that moved more.
func (c *Choice) prove() {
	if c.left == 0 {
		return
	}
	if c.clock.rate < c.left {
		c.way(c.onGzip).rate = c.way(!c.onGzip).rate * c.clock.rate / c.left
		c.change()
		return
	}
	c.left, c.picks, c.pause = 0, 0, tryEvery
}

// change takes the other way, which has to prove right if it is known what this one moves. If this one has not proved right yet
// it was wrong, and is not tried again soon.
func (c *Choice) change() {
	if c.left > 0 {
		c.left, c.pause = 0, c.pause*4
	} else {
		c.left = c.clock.rate
	}
	c.onGzip, c.picks, c.fresh, c.since, c.clock = !c.onGzip, 0, false, time.Now(), clock{}
}

func (c *Choice) way(gzip bool) *goodput {
	if gzip {
		return &c.gzip
	}
	return &c.plain
}

// Probe is how many bytes of a chunk of size the caller is to move by themselves in the plain way; 0: none. One finds out when
// nothing is known yet, and one once more, with more, if all may go as gzip only because a connection begins slowly. away is how
// far the other end is known to be: what the quickest small call took.
func (c *Choice) Probe(size int, away time.Duration) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.plain.rate == 0 && !c.probing && size >= 2*ProbeSize:
		n = ProbeSize
	case c.onGzip && !c.checked && size >= 2*checkSize && c.plain.bytes <= ProbeSize && c.plain.rate*c.doubt() > c.gzip.rate:
		c.checked, n = true, checkSize
	default:
		return 0
	}
	c.probing, c.probed, c.away = true, time.Now(), away
	return n
}

const (
	// probeWait is how long a probe of ProbeSize takes at the most on a link so fast that plain is certainly the better way, cold
	// as both ends may be.
	probeWait = 50 * time.Millisecond
	// coldTime is how long what plain moves says nothing for gzip.
	coldTime = 20 * time.Millisecond
)

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
	switch {
	case c.plain.rate == 0:
		return c.probing || c.gzip.rate == 0 // small chunks find out without a probe
	case c.gzip.rate == 0:
		return c.hope()
	case c.turns():
		c.change()
		return c.onGzip
	case c.tries():
		return !c.onGzip
	}
	return c.onGzip
}

// hope decides as long as nothing has gone as gzip. None is guessed from a few milliseconds on a link that may have been cold.
// A good guess is enough for all until it is known, for a chunk that goes plain over a slow link takes long; another, or one that
// leaves the processors little room, for one chunk to find out.
func (c *Choice) hope() bool {
	plain := c.plain.rate
	hope := c.guess(plain)
	if c.plain.seen < coldTime || hope <= plain*toPlainAt {
		return false
	}
	first := !c.trying
	c.trying = true
	return first || (hope > plain*toGzipAt && hope*room < c.guess(math.Inf(1)))
}

// better reports whether the way not taken seems to be better.
func (c *Choice) better() bool {
	if c.onGzip {
		return c.plain.rate > c.gzip.rate*toPlainAt
	}
	return c.gzip.rate > c.plain.rate*toGzipAt
}

// turns reports whether the other way is to be taken. What it moved long ago says little: this one may have become slow, or
// both.
func (c *Choice) turns() bool {
	if c.left > 0 { // this way is proving right, or so wrong that it need not go on
		return c.way(!c.onGzip).rate > c.way(c.onGzip).rate*toGzipAt
	}
	if c.better() {
		return c.fresh
	}
	c.fresh = false
	return false
}

// tries reports whether one chunk is to go the way not taken.
func (c *Choice) tries() bool {
	c.picks++
	here, there := c.way(c.onGzip).rate, c.way(!c.onGzip).rate
	if c.picks >= tryEarly && c.left == 0 && c.better() {
		c.picks = 0
		return true
	}
	// A way that was half as good or worse is not tried again, unless it is our own processors that hold this one up.
	if c.picks < c.pause || (there < here/2 && !(c.onGzip && c.busy > 0.5)) {
		return false
	}
	c.picks, c.pause = 0, c.pause*2
	return true
}

// doubt is how many times as fast the link may be as a probe showed it: a connection that was idle goes there and back a few times
// before it fills a link (RFC 5681, slow start).
func (c *Choice) doubt() float64 {
	took := c.plain.seen
	return took.Seconds() / max(took-startTrips*c.away, took/maxDoubt).Seconds()
}

func (c *Choice) pending() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.probing && c.gzip.rate == 0
}

// probeMargin is how many times as fast gzip may turn out to be as a probe leads to expect.
const probeMargin = 2

const (
	// startTrips is how often ProbeSize goes there and back when a connection begins with ten segments and doubles them.
	startTrips = 5
	maxDoubt   = 32
)

// packed is what gzip moves, bytes of the image a second, and for what share of a chunk's time this machine compresses. Until
// it was tried, it is the most that plain leads to expect; 0: nothing is known.
func (c *Choice) packed() (rate, busy float64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gzip.rate == 0 {
		plain := c.plain.rate
		if c.probing { // it is no faster than this
			plain = ProbeSize / max((time.Since(c.probed)-c.away).Seconds(), 1e-9)
		}
		return probeMargin * c.guess(plain), 0
	}
	return c.gzip.rate, c.busy
}
