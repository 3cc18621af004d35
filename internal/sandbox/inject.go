package sandbox

import (
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
)

// dice choose which requests faults hit.
type dice struct {
	mu sync.Mutex
	r  *rand.Rand
}

func newDice(seed uint64) *dice {
	if seed == 0 {
		seed = rand.Uint64()
	}
	return &dice{r: rand.New(rand.NewPCG(seed, seed))}
}

// plan is what is to go wrong with one request.
type plan struct {
	kind faultKind
	late bool    // 504: after it took effect; reset: in the middle of the body
	at   float64 // where in the body, from 0 to less than 1
}

// roll chooses at most one of the kinds, each with exactly its percentage as long as they add up to at most 100.
func (d *dice) roll(percent *[faultKinds]float64, kinds []faultKind) plan {
	d.mu.Lock()
	defer d.mu.Unlock()
	left := d.r.Float64() * 100
	p := plan{kind: noFault, late: d.r.IntN(2) == 0, at: d.r.Float64()}
	for _, kind := range kinds {
		if left -= percent[kind]; left < 0 {
			p.kind = kind
			break
		}
	}
	return p
}

// inject applies the faults that come before the command, and prepares those that come within or after it.
func (s *Server) inject(x *exchange, faults *faultSet) error {
	if len(x.to.faults) == 0 {
		return nil
	}
	ctx := x.r.Context()
	if faults.latency > 0 {
		s.counts.add(faultLatency)
		_ = pause(ctx, faults.latency) // a client that left is noticed later
	}
	if faults.bandwidth != nil {
		delayed := sync.OnceFunc(func() { s.counts.add(faultBandwidth) })
		x.body = &limitedReader{x.r, x.body, faults.bandwidth, delayed}
		x.out = &limitedWriter{x.r, x.w, faults.bandwidth, delayed}
	}
	x.plan = s.dice.roll(&faults.percent, x.to.faults)
	return s.strike(x)
}

// strike carries out the plan as far as it comes before the command.
func (s *Server) strike(x *exchange) error {
	middle := slices.Contains(x.to.faults, faultTruncate) // it moves data
	switch x.plan.kind {
	case faultConflict:
		s.counts.add(faultConflict)
		return busy(x.to.drive, "an injected fault")
	case faultFailure:
		s.counts.add(faultFailure)
		return refuse(http.StatusInternalServerError, "system", "An injected fault.")
	case faultTimeout:
		if x.plan.late && x.to.repeatable {
			return nil // after the command
		}
		return s.timedOut()
	case faultReset, faultTruncate:
		if x.plan.kind == faultReset && (!x.plan.late || !middle) {
			s.counts.add(faultReset)
			return errCut
		}
		if x.to.input { // of a write; a read's answer is cut by cutPoint
			s.counts.add(x.plan.kind)
			if x.r.ContentLength <= 0 {
				return errCut
			}
			x.body = &cutReader{x.body, int64(x.plan.at * float64(x.r.ContentLength))}
		}
	}
	return nil
}

func (s *Server) timedOut() error {
	s.counts.add(faultTimeout)
	return refuse(http.StatusGatewayTimeout, "system", "The operation timed out: an injected fault.")
}

// cutPoint is after how many of n bytes the answer is to end: n, unless the plan is to cut it.
func (s *Server) cutPoint(x *exchange, n int64) int64 {
	if x.plan.kind != faultReset && x.plan.kind != faultTruncate {
		return n
	}
	s.counts.add(x.plan.kind)
	return int64(x.plan.at * float64(n))
}

// bitFlip is a bit to damage in a body.
type bitFlip struct {
	at  int64 // byte of the body
	bit uint8
}

// wrongBit is the bit to damage in n bytes, nil if the plan is not kind.
func (s *Server) wrongBit(x *exchange, kind faultKind, n int64) *bitFlip {
	if x.plan.kind != kind || n == 0 {
		return nil
	}
	s.counts.add(kind)
	place := x.plan.at * float64(n)
	at := int64(place)
	return &bitFlip{at: at, bit: uint8((place - float64(at)) * 8)}
}

// flip damages p, which begins at the body's byte off, if the bit is in it.
func (b *bitFlip) flip(p []byte, off int64) {
	if b != nil && b.at >= off && b.at < off+int64(len(p)) {
		p[b.at-off] ^= 1 << b.bit
	}
}

// cutReader gives left bytes and then errCut.
type cutReader struct {
	r    io.Reader
	left int64
}

func (c *cutReader) Read(p []byte) (int, error) {
	if c.left == 0 {
		return 0, errCut
	}
	n, err := c.r.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	return n, err
}
