package codec

import "time"

// Flow is one chunk under way. Begin starts it, Sending follows when its bytes start to go to the
// wire, End is called exactly once. One goroutine at a time uses a Flow; the Selector is shared.
type Flow struct {
	selector    *Selector
	asked       bool // it was to go as gzip
	waiting     bool // none of its bytes has gone to the wire
	began       time.Time
	all, moving float64 // of wire, when it began
}

// wire counts the flows of a selector. With k flows at once each takes k times as long as alone, so
// a flow's goodput is multiplied by the mean number of flows during it, which the integrals give.
type wire struct {
	flows       int     // under way
	waiting     int     // of them, those without a byte on the wire
	all, moving float64 // flows, and flows that are not waiting, integrated over time; flows × seconds
	last        time.Time
}

// advance brings the integrals up to now.
func (w *wire) advance() (now time.Time) {
	now = time.Now()
	if !w.last.IsZero() {
		s := now.Sub(w.last).Seconds()
		w.all += float64(w.flows) * s
		w.moving += float64(w.flows-w.waiting) * s
	}
	w.last = now
	return now
}

// Begin starts a flow. gzip says that the chunk is to go as gzip: then it waits, without a share of
// the wire, until Sending. Whether it does go as gzip is said to End: it may not compress, or the
// endpoint not offer it. A plain flow is on the wire at once.
func (s *Selector) Begin(gzip bool) Flow {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.wire.advance()
	s.wire.flows++
	if gzip {
		s.wire.waiting++
	} else if s.probe.inFlight && s.probe.began.IsZero() {
		s.probe.began = now
	}
	return Flow{selector: s, asked: gzip, waiting: gzip, began: now, all: s.wire.all, moving: s.wire.moving}
}

// Sending says that the chunk's bytes start to go to the wire, as gzip or plain. The time of a gzip
// chunk runs since Begin, because compressing is part of what gzip costs; that of one that was to go
// as gzip and does not compress starts here. Only the first call counts.
func (f *Flow) Sending(gzip bool) {
	if !f.waiting {
		return
	}
	s := f.selector
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.wire.advance()
	s.wire.waiting--
	f.waiting = false
	if !gzip {
		f.began, f.all, f.moving = now, s.wire.all, s.wire.moving
	}
}

// End ends the flow, sent or not. gzip says how the chunk went; n is its length in the image, bytes,
// 0 if it did not arrive; working is the time that this machine's processors took for it.
func (f *Flow) End(gzip bool, n int, working time.Duration) {
	s := f.selector
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.wire.advance()
	s.wire.flows--
	if f.waiting {
		s.wire.waiting--
	}
	elapsed := now.Sub(f.began)
	took := elapsed
	if f.asked {
		s.explore.first = false // whatever became of it: the next chunk may explore
	} else if s.probe.inFlight {
		s.probe.inFlight = false
		// It was alone. Where many chunks are in flight, the round-trip time costs next to nothing.
		took = max(elapsed-s.probe.rtt, elapsed/tuning.maxDoubt)
	}
	if n < tuning.minSample || took <= 0 {
		return
	}
	share := s.wire.moving - f.moving
	if gzip {
		share = s.wire.all - f.all
	}
	rate := float64(n) / took.Seconds() * max(1, share/elapsed.Seconds())
	s.observe(observation{
		gzip: gzip, rate: rate, n: n, took: took, busy: working.Seconds() / took.Seconds(), began: f.began,
	})
}
