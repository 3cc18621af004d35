package codec

import (
	"math"
	"sync"
	"time"
)

// Selector selects between plain and gzip for the chunks that go in one direction, by the goodput
// observed of each: bytes of the image a second, everything included that one costs and the other
// does not (compressing here, inflating there, the wire). So it needs no model of the link or of the
// machine at its other end. It is safe for concurrent use.
type Selector struct {
	mu       sync.Mutex
	estimate func(plain float64) float64
	observed chan struct{} // closed when either encoding is observed
	wire     wire

	phase  phase
	onGzip bool      // the current encoding is gzip: that of all chunks but those that explore
	since  time.Time // when it became current
	clock  clock     // of the chunks in the current encoding, since then
	toBeat float64   // in phaseTrial, the wall-clock rate of the encoding that was left, bytes a second

	plain goodput
	gzip  goodput
	busy  float64 // share of a gzip flow's time that compressing takes, 0 to 1, EWMA

	probe struct {
		inFlight  bool
		began     time.Time     // when it went to the wire; zero: not yet
		rtt       time.Duration // round-trip time to the endpoint, as known then
		rechecked bool          // there was a second one
	}
	explore struct {
		first   bool // in phaseEstimate: a chunk is under way as gzip, the first to be observed so
		picks   int  // since the last chunk that explored
		every   int  // picks between two that explore
		sampled bool // the other encoding has been observed since it last looked worse
	}
}

// phase is what the selector goes by. Events, and what they do in each phase:
//
//	          pick                              plain observed        gzip observed  wall-clock rate
//	probe     gzip; plain once gzip is          → settled if gzip is  -              -
//	          observed and no probe in flight   observed, or estimate
//	estimate  gzip if the estimate says so,     -                     → settled      -
//	          for one chunk or for all
//	settled   the current encoding, the other   -                     -              -
//	          in one of N; → trial by change
//	          if the other is better
//	trial     as settled, but → settled by      -                     -              → settled, by revert
//	          revert if the other is clearly                                         if below toBeat
//	          better
//
// A change while there is no wall-clock rate to beat needs no trial and stays in settled. The end of
// a probe is an observation of plain; one that did not arrive lets the next chunk probe.
type phase string

const (
	phaseProbe    phase = "probe"    // plain is not observed: part of a chunk is to find out what it moves
	phaseEstimate phase = "estimate" // gzip is not observed: it is estimated from what plain moves
	phaseSettled  phase = "settled"  // both are observed: one encoding for all but chunks that explore
	phaseTrial    phase = "trial"    // the encoding has changed and must move more by the wall clock
)

// NewSelector makes a selector. estimate gives what gzip should move for what plain moves, both bytes
// a second; it is called until gzip has been observed, also with +Inf for what the processors allow.
func NewSelector(estimate func(plain float64) float64) *Selector {
	s := &Selector{estimate: estimate, phase: phaseProbe, observed: make(chan struct{})}
	s.explore.every = tuning.exploreEvery
	return s
}

// Probe is how many bytes of a chunk of size bytes the caller is to send plain and by themselves, in a
// flow of their own; 0: none. The probe is in flight until that flow ends, whether or not it arrived, and
// picks may wait for it. One finds out what plain moves, and a second, larger one finds out once more if
// gzip may be current only because slow start made the link look slow. rtt is the lowest observed
// round-trip time to the endpoint, 0 if unknown.
func (s *Selector) Probe(size int, rtt time.Duration) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.phase == phaseProbe:
		if s.probe.inFlight || size < 2*tuning.probeSize {
			return 0
		}
		n = tuning.probeSize
	case s.onGzip && size >= 2*tuning.recheckSize && s.doubtful():
		s.probe.rechecked, n = true, tuning.recheckSize
	default:
		return 0
	}
	s.probe.inFlight, s.probe.began, s.probe.rtt = true, time.Time{}, rtt
	return n
}

// doubtful reports whether plain may be better, but for slow start in the one probe that observed it.
func (s *Selector) doubtful() bool {
	if s.probe.rechecked || s.plain.bytes > tuning.probeSize {
		return false
	}
	took := s.plain.seen
	corrected := max(took-tuning.slowStartTrips*s.probe.rtt, took/tuning.maxDoubt)
	return s.plain.rate*took.Seconds()/corrected.Seconds() > s.gzip.rate
}

// Pick reports whether the next chunk is to go as gzip. While nothing is observed and a probe is in
// flight it waits for that, but not for long: a link on which a probe takes its time is slow, and
// gzip is right.
func (s *Selector) Pick() (gzip bool) {
	if s.probing() {
		t := time.NewTimer(tuning.probeWait)
		defer t.Stop()
		select {
		case <-s.observed:
		case <-t.C:
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pick()
}

func (s *Selector) probing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.probe.inFlight && !s.gzip.observed()
}

// pick is the event pick of each phase.
func (s *Selector) pick() (gzip bool) {
	switch s.phase {
	case phaseProbe:
		// With gzip observed and no probe in flight this chunk observes plain: small ones have no probe.
		return s.probe.inFlight || !s.gzip.observed()
	case phaseEstimate:
		return s.pickByEstimate()
	case phaseSettled:
		if s.explore.sampled && s.otherBetter() {
			s.change()
			return s.onGzip
		}
		s.explore.sampled = false
	case phaseTrial:
		if s.other().rate > s.current().rate*tuning.gzipGain {
			s.revert()
			return s.onGzip
		}
	}
	return s.onGzip != s.exploreNow()
}

// pickByEstimate lets all chunks go as gzip if that should be much better and leaves the processors
// headroom, since a chunk that goes plain over a slow link takes long; and one alone, to observe gzip,
// if it should hardly be worse.
func (s *Selector) pickByEstimate() (gzip bool) {
	plain := s.plain.rate
	estimate := s.estimate(plain)
	if s.plain.seen < tuning.coldTime || estimate <= plain*tuning.plainGain {
		return false
	}
	first := !s.explore.first
	s.explore.first = true
	return first || (estimate > plain*tuning.gzipGain && estimate*tuning.headroom < s.estimate(math.Inf(1)))
}

// exploreNow reports whether this pick explores the other encoding.
func (s *Selector) exploreNow() bool {
	e := &s.explore
	e.picks++
	if s.phase == phaseSettled && e.picks >= tuning.exploreEarly && s.otherBetter() {
		e.picks = 0
		return true
	}
	// A hopeless encoding may still be better if it is this machine's processors that slow gzip down.
	hopeless := s.other().rate < s.current().rate*tuning.hopeless && (!s.onGzip || s.busy <= tuning.busyHigh)
	if e.picks < e.every || hopeless {
		return false
	}
	e.picks, e.every = 0, e.every*tuning.exploreGrowth
	return true
}

// observation is a chunk that has arrived.
type observation struct {
	gzip  bool
	rate  float64 // goodput of all chunks, had they all gone so, bytes a second
	n     int     // bytes of the image
	took  time.Duration
	busy  float64 // share of took that compressing took
	began time.Time
}

// observe takes an observation in. It is the events plain observed, gzip observed and wall-clock rate
// of each phase.
func (s *Selector) observe(o observation) {
	if !s.plain.observed() && !s.gzip.observed() {
		close(s.observed)
	}
	isCurrent := o.gzip == s.onGzip
	s.goodput(o.gzip).add(o.rate, o.n, o.took, !isCurrent)
	if o.gzip {
		s.busy += (o.busy - s.busy) * tuning.busyGain
	}
	s.explore.sampled = s.explore.sampled || !isCurrent
	clocked := isCurrent && !o.began.Before(s.since) && s.clock.add(o.n)
	switch {
	case s.phase == phaseProbe && !o.gzip:
		s.phase = phaseEstimate
		if s.gzip.observed() {
			s.phase = phaseSettled
		}
	case s.phase == phaseEstimate && o.gzip:
		s.phase = phaseSettled
	case s.phase == phaseTrial && clocked:
		s.judge()
	}
}

// judge ends a trial: the new encoding stays if it moved no less by the wall clock. Else its goodput
// is corrected by what the clock showed, and the change is reverted.
func (s *Selector) judge() {
	if s.clock.rate < s.toBeat {
		s.current().rate = s.other().rate * s.clock.rate / s.toBeat
		s.revert()
		return
	}
	s.phase, s.explore.picks, s.explore.every = phaseSettled, 0, tuning.exploreEvery
}

// change makes the other encoding current, on trial if the wall clock has a rate to beat.
func (s *Selector) change() {
	if s.toBeat = s.clock.rate; s.toBeat > 0 {
		s.phase = phaseTrial
	}
	s.swap()
}

// revert ends a trial with the encoding before it; it takes longer until the other is explored again.
func (s *Selector) revert() {
	s.phase, s.explore.every = phaseSettled, s.explore.every*tuning.revertGrowth
	s.swap()
}

func (s *Selector) swap() {
	s.onGzip, s.since, s.clock = !s.onGzip, time.Now(), clock{}
	s.explore.picks, s.explore.sampled = 0, false
}

// otherBetter reports whether the other encoding moves enough more than the current one to replace it.
func (s *Selector) otherBetter() bool {
	if s.onGzip {
		return s.plain.rate > s.gzip.rate*tuning.plainGain
	}
	return s.gzip.rate > s.plain.rate*tuning.gzipGain
}

func (s *Selector) current() *goodput { return s.goodput(s.onGzip) }
func (s *Selector) other() *goodput   { return s.goodput(!s.onGzip) }

func (s *Selector) goodput(gzip bool) *goodput {
	if gzip {
		return &s.gzip
	}
	return &s.plain
}

// gzipGoodput is what gzip moves, bytes of the image a second, and the share of a chunk's time that
// this machine compresses. Until gzip is observed the rate is the most that plain leads to expect; 0:
// nothing is known.
func (s *Selector) gzipGoodput() (rate, busy float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gzip.observed() {
		return s.gzip.rate, s.busy
	}
	plain := s.plain.rate
	if p := &s.probe; p.inFlight && !p.began.IsZero() { // plain is no faster than this
		plain = float64(tuning.probeSize) / max((time.Since(p.began)-p.rtt).Seconds(), 1e-9)
	}
	return tuning.estimateMargin * s.estimate(plain), 0
}
