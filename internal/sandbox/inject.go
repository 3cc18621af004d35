package sandbox

import (
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"
)

// possibleFaults says which faults may hit a command.
type possibleFaults struct {
	kinds []faultKind // that have a percentage
	// late: a 504 may come after the command took effect, because the command is idempotent.
	late bool
}

// and is p with more kinds.
func (p possibleFaults) and(kinds ...faultKind) possibleFaults {
	return possibleFaults{slices.Concat(p.kinds, kinds), p.late}
}

// idempotent is p for a command that may run twice.
func (p possibleFaults) idempotent() possibleFaults { return possibleFaults{p.kinds, true} }

// faultChooser chooses which requests faults hit.
type faultChooser struct {
	mu sync.Mutex
	r  *rand.Rand
}

func newFaultChooser(seed uint64) *faultChooser {
	if seed == 0 {
		seed = rand.Uint64()
	}
	return &faultChooser{r: rand.New(rand.NewPCG(seed, seed))}
}

// injectedFault is the fault of one request.
type injectedFault struct {
	kind faultKind
	late bool    // 504: after it took effect; reset: in the middle of the body
	at   float64 // where in the body, from 0 to less than 1
}

// choose chooses at most one of the kinds, each with its percentage if the sum is at most 100.
func (c *faultChooser) choose(percent *[faultKinds]float64, kinds []faultKind) injectedFault {
	c.mu.Lock()
	defer c.mu.Unlock()
	left := c.r.Float64() * 100
	fault := injectedFault{kind: noFault, late: c.r.IntN(2) == 0, at: c.r.Float64()}
	for _, kind := range kinds {
		if left -= percent[kind]; left < 0 {
			fault.kind = kind
			break
		}
	}
	return fault
}

// inject applies the faults that come before the command, and prepares those that come within or
// after it.
func (s *Server) inject(req *request, faults *faultSet) error {
	possible := req.command.faults
	if len(possible.kinds) == 0 {
		return nil
	}
	if faults.latency > 0 {
		s.counts.add(faultLatency)
		pause(req.r.Context().Done(), faults.latency)
	}
	if faults.bandwidth != nil {
		delayed := sync.OnceFunc(func() { s.counts.add(faultBandwidth) })
		req.body = &limitedReader{req.r, req.body, faults.bandwidth, delayed}
		req.out = &limitedWriter{req.r, req.w, faults.bandwidth, delayed}
	}
	req.fault = s.chooser.choose(&faults.percent, possible.kinds)
	return s.injectBefore(req)
}

// injectBefore applies the part of the chosen fault that comes before the command.
func (s *Server) injectBefore(req *request) error {
	possible := req.command.faults
	movesData := slices.Contains(possible.kinds, faultTruncate)
	switch req.fault.kind {
	case faultConflict:
		s.counts.add(faultConflict)
		return statusErrorf(http.StatusConflict, "system", "The object is currently in use: an injected fault.")
	case faultFailure:
		s.counts.add(faultFailure)
		return statusErrorf(http.StatusInternalServerError, "system", "An injected fault.")
	case faultTimeout:
		if req.fault.late && possible.late {
			return nil // after the command
		}
		return s.timedOut()
	case faultReset, faultTruncate:
		if req.fault.kind == faultReset && (!req.fault.late || !movesData) {
			s.counts.add(faultReset)
			return errCut
		}
		if req.command.methods == postOnly { // of a write; the body of a read's response ends at truncateAt
			s.counts.add(req.fault.kind)
			if req.r.ContentLength <= 0 {
				return errCut
			}
			req.body = &cutReader{req.body, int64(req.fault.at * float64(req.r.ContentLength))}
		}
	}
	return nil
}

func (s *Server) timedOut() error {
	s.counts.add(faultTimeout)
	return statusErrorf(http.StatusGatewayTimeout, "system", "The operation timed out: an injected fault.")
}

// truncateAt is the number of bytes to send of a response's body of n: n, unless a fault cuts it.
func (s *Server) truncateAt(req *request, n int64) int64 {
	if req.fault.kind != faultReset && req.fault.kind != faultTruncate {
		return n
	}
	s.counts.add(req.fault.kind)
	return int64(req.fault.at * float64(n))
}

// bitFlip is a bit of a body to flip.
type bitFlip struct {
	at  int64 // byte of the body
	bit uint8
}

// bitToFlip chooses the bit to flip in n bytes; nil if the chosen fault is not kind.
func (s *Server) bitToFlip(req *request, kind faultKind, n int64) *bitFlip {
	if req.fault.kind != kind || n == 0 {
		return nil
	}
	s.counts.add(kind)
	position := req.fault.at * float64(n)
	at := int64(position)
	return &bitFlip{at: at, bit: uint8((position - float64(at)) * 8)}
}

// apply flips the bit if it is in p, which is the part of the body at off.
func (b *bitFlip) apply(p []byte, off int64) {
	if b != nil && b.at >= off && b.at < off+int64(len(p)) {
		p[b.at-off] ^= 1 << b.bit
	}
}

// cutReader reads left bytes, and then returns errCut.
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

// pause waits for d or until done is closed.
func pause(done <-chan struct{}, d time.Duration) {
	select {
	case <-time.After(d):
	case <-done:
	}
}
