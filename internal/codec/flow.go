package codec

import "time"

// Flow is one chunk between Begin and End, as the Selector accounts for it. Sending is called when
// its first byte goes to the wire, End exactly once. One goroutine at a time uses a Flow; the
// Selector is shared.
type Flow struct {
	selector    *Selector
	picked      bool // for gzip
	waiting     bool // none of its bytes has gone to the wire
	began       time.Time
	all, moving float64 // of wire, at the beginning of the flow
}

// wire counts the flows of a selector. Of k concurrent flows each takes k times as long as alone.
// So a flow's rate is multiplied by the mean number of flows during it, which the integrals give.
type wire struct {
	flows       int     // begun and not ended
	waiting     int     // those of them without a byte on the wire
	all, moving float64 // flows, and flows that are not waiting, integrated over time; flows × seconds
	last        time.Time
}

// advance extends the integrals to now.
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

// Begin starts a flow. gzip says that the chunk was picked for gzip: then the flow has no share of
// the wire until Sending. The encoding that was used in the end is an argument of End: the chunk
// may not compress, or the endpoint may not support gzip. A plain flow is on the wire at once.
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
	return Flow{selector: s, picked: gzip, waiting: gzip, began: now, all: s.wire.all, moving: s.wire.moving}
}

// Sending records that the chunk's first byte goes to the wire now, as gzip or plain. The time of a
// gzip chunk runs from Begin, because compressing is part of the cost of gzip. The time of a chunk
// that was picked for gzip but does not compress starts here. Only the first call counts.
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

// End ends the flow, whether the chunk was sent or not. gzip is the encoding that was used; n is
// the chunk's length in the image, bytes, 0 if it did not arrive; working is the processor time
// that this host spent on it.
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
	if f.picked {
		s.explore.first = false // whether it arrived or not, the next chunk may explore
	} else if s.probe.inFlight {
		s.probe.inFlight = false
		// A probe is alone in flight. With many chunks in flight the round-trip time costs almost
		// nothing.
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
