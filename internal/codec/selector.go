package codec

import (
	"math"
	"sync"
	"time"
)

// Selector selects between plain and gzip for the chunks in one direction, by the observed goodput
// of each: bytes of the image a second, with all costs included (compression here, decompression at
// the other end, the wire). So it needs no model of the link or of the other end's hardware. It is
// safe for concurrent use.
type Selector struct {
	mu       sync.Mutex
	estimate func(plain float64) float64
	observed chan struct{} // closed at the first observation of either encoding
	wire     wire

	phase  phase
	onGzip bool      // the current encoding, that of all chunks except exploring ones, is gzip
	since  time.Time // when it became current
	clock  clock     // of the chunks in the current encoding, since then
	toBeat float64   // in phaseTrial: the wall-clock rate of the encoding before, bytes a second

	plain goodput
	gzip  goodput
	busy  float64 // share of a gzip flow's time that compression takes, 0 to 1, EWMA

	probe struct {
		inFlight  bool
		began     time.Time     // when it went to the wire; zero: not yet
		rtt       time.Duration // round-trip time to the endpoint at that time
		rechecked bool          // there was a second probe
	}
	explore struct {
		first   bool // in phaseEstimate: the first gzip chunk is in flight
		picks   int  // since the last chunk that explored
		every   int  // picks between two that explore
		sampled bool // the other encoding was observed after it last looked worse
	}
}

// phase is the phase of a selector. The events, and their effects in each phase:
//
//	          pick                         plain observed       gzip observed  wall-clock rate
//	probe     gzip; plain if gzip is       → settled if gzip    -              -
//	          observed and no probe is     is observed, else
//	          in flight                    → estimate
//	estimate  gzip if estimated better,    -                    → settled      -
//	          for one chunk or for all
//	settled   current; other in 1 of N;    -                    -              -
//	          → trial (change) if the
//	          other is better
//	trial     as settled, but → settled    -                    -              → settled
//	          (revert) if the other is                                         (revert) if
//	          clearly better                                                   below toBeat
//
// A change without a wall-clock rate to beat needs no trial and stays in settled. The end of a
// probe is an observation of plain. After a probe that did not arrive, the next chunk may probe.
type phase string

const (
	phaseProbe    phase = "probe"    // plain is not observed: a part of a chunk measures it
	phaseEstimate phase = "estimate" // gzip is not observed: it is estimated from plain
	phaseSettled  phase = "settled"  // both are observed: one encoding for all but exploring chunks
	phaseTrial    phase = "trial"    // the encoding has changed and must not be slower by the wall clock
)

// NewSelector returns a selector. estimate returns the expected goodput of gzip for a goodput of
// plain, both in bytes a second. It is called until gzip has been observed; with +Inf it returns
// the limit that the processors set.
func NewSelector(estimate func(plain float64) float64) *Selector {
	s := &Selector{estimate: estimate, phase: phaseProbe, observed: make(chan struct{})}
	s.explore.every = tuning.exploreEvery
	return s
}

// Probe returns how many bytes of a chunk of size bytes the caller sends plain, in a flow of their
// own; 0: none. The probe is in flight until that flow ends, whether it arrived or not, and picks
// may wait for it. The first probe measures plain. A second, larger one measures it again if gzip
// may be current only because slow start made the link look slow. rtt is the lowest observed
// round-trip time to the endpoint; 0: unknown.
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

// doubtful reports whether plain may be better than gzip and was measured too low because of slow
// start.
func (s *Selector) doubtful() bool {
	if s.probe.rechecked || s.plain.bytes > tuning.probeSize {
		return false
	}
	took := s.plain.took
	corrected := max(took-tuning.slowStartTrips*s.probe.rtt, took/tuning.maxDoubt)
	return s.plain.rate*took.Seconds()/corrected.Seconds() > s.gzip.rate
}

// Pick reports whether the next chunk is to be gzip. While nothing is observed and a probe is in
// flight, it waits for the probe, but not for long: where a probe takes long, the link is slow and
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

// probing reports whether a probe is in flight before the first observation of gzip.
func (s *Selector) probing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.probe.inFlight && !s.gzip.observed()
}

// pick is the event pick.
func (s *Selector) pick() (gzip bool) {
	switch s.phase {
	case phaseProbe:
		// With gzip observed and no probe in flight, this chunk measures plain: small chunks have
		// no probe.
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

// pickByEstimate picks gzip for all chunks if that should be much better and leaves the processors
// headroom, because a plain chunk takes long over a slow link. If gzip should hardly be worse, it
// picks gzip for a single chunk, to observe it.
func (s *Selector) pickByEstimate() (gzip bool) {
	plain := s.plain.rate
	estimate := s.estimate(plain)
	if s.plain.took < tuning.coldTime || estimate <= plain*tuning.plainGain {
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
	// An encoding that looks hopeless may be better if this host's own load slows gzip down.
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
	rate  float64 // goodput if all chunks used this encoding, bytes a second
	n     int     // bytes of the image
	took  time.Duration
	busy  float64 // share of took for compression
	began time.Time
}

// observe adds an observation. It is the events plain observed, gzip observed and wall-clock rate.
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

// judge ends a trial. The new encoding stays if it is no slower by the wall clock. Otherwise its
// goodput is corrected by the wall clock, and the change is reverted.
func (s *Selector) judge() {
	if s.clock.rate < s.toBeat {
		s.current().rate = s.other().rate * s.clock.rate / s.toBeat
		s.revert()
		return
	}
	s.phase, s.explore.picks, s.explore.every = phaseSettled, 0, tuning.exploreEvery
}

// change makes the other encoding current, on trial if there is a wall-clock rate to beat.
func (s *Selector) change() {
	if s.toBeat = s.clock.rate; s.toBeat > 0 {
		s.phase = phaseTrial
	}
	s.swap()
}

// revert makes the encoding before the trial current, and lengthens the interval between
// explorations.
func (s *Selector) revert() {
	s.phase, s.explore.every = phaseSettled, s.explore.every*tuning.revertGrowth
	s.swap()
}

// swap makes the other encoding current.
func (s *Selector) swap() {
	s.onGzip, s.since, s.clock = !s.onGzip, time.Now(), clock{}
	s.explore.picks, s.explore.sampled = 0, false
}

// otherBetter reports whether the other encoding is better by enough to replace the current one.
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

// gzipGoodput returns the goodput of gzip, bytes of the image a second, and the share of a chunk's
// time that compression takes. Until gzip is observed, rate is an upper estimate from plain; 0:
// unknown.
func (s *Selector) gzipGoodput() (rate, busy float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gzip.observed() {
		return s.gzip.rate, s.busy
	}
	plain := s.plain.rate
	if p := &s.probe; p.inFlight && !p.began.IsZero() { // an upper bound of plain
		plain = float64(tuning.probeSize) / max((time.Since(p.began)-p.rtt).Seconds(), 1e-9)
	}
	return tuning.estimateMargin * s.estimate(plain), 0
}
