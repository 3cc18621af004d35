package worker

import (
	"sync"
	"time"

	"github.com/transferd/transferd/internal/flow"
	"github.com/transferd/transferd/internal/transfer"
)

// counters is the progress of a running job. It is safe for concurrent use. A mutex suffices: each
// chunk updates it only a few times.
type counters struct {
	mu        sync.Mutex
	p         transfer.Progress
	waits     map[any]transfer.Waiting // of the calls and the servers that the job waits for now
	requested flow.RequestedWait
	rate      rateMeter

	silence silenceDetector
}

var _ transfer.Meter = (*counters)(nil)

func (c *counters) update(change func(p *transfer.Progress)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(&c.p)
}

func (c *counters) snapshot() transfer.Progress {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.p
	p.Rate = c.rate.update(time.Now(), &p.Bytes)
	if w := c.longestWait(); w != (transfer.Waiting{}) {
		p.Waiting = &w
	} else {
		p.Waiting = c.silence.waiting(time.Now())
	}
	p.Waited = transfer.Seconds(c.requested.Total())
	return p
}

// restore sets the counts of earlier attempts. Their waits and steps are over.
func (c *counters) restore(p *transfer.Progress) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.p = *p
	c.p.Waiting, c.p.Step = nil, ""
	c.requested.Restore(time.Duration(p.Waited))
}

// beginWait records that a call waits, or another thing that key identifies.
func (c *counters) beginWait(key any, w transfer.Waiting) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waits == nil {
		c.waits = make(map[any]transfer.Waiting)
	}
	c.waits[key] = w
}

// endWait records that it does not wait any more.
func (c *counters) endWait(key any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.waits, key)
}

// longestWait returns the wait that ends last; zero if nothing waits.
func (c *counters) longestWait() (longest transfer.Waiting) {
	for _, w := range c.waits {
		if w.Until.After(longest.Until) {
			longest = w
		}
	}
	return longest
}

// setBaseline sets the counts before the first chunk of an attempt. They do not count in the rate.
func (c *counters) setBaseline(change func(p *transfer.Progress)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(&c.p)
	c.rate = rateMeter{}
}

// AddWireOut implements transfer.Meter.
func (c *counters) AddWireOut(n int64) {
	c.update(func(p *transfer.Progress) {
		p.Bytes.WireOut += n
		c.silence.moved = time.Now()
	})
}

// AddWireIn implements transfer.Meter.
func (c *counters) AddWireIn(n int64) {
	c.update(func(p *transfer.Progress) {
		p.Bytes.WireIn += n
		c.silence.moved = time.Now()
	})
}

// AddChunk implements transfer.Meter.
func (c *counters) AddChunk(gzip bool) {
	c.update(func(p *transfer.Progress) {
		if gzip {
			p.Encoding.Gzip++
		} else {
			p.Encoding.Raw++
		}
	})
}

func (c *counters) countRetry(code transfer.Code) {
	c.update(func(p *transfer.Progress) {
		switch code {
		case transfer.CodeConflict:
			p.Retries.Conflict++
		case transfer.CodeTimeout:
			p.Retries.Timeout++
		case transfer.CodeServer, transfer.CodeThrottled:
			p.Retries.Server++
		case transfer.CodeMismatch:
			p.Retries.Mismatch++
		default:
			p.Retries.Network++
		}
	})
}
