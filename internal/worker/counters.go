package worker

import (
	"sync"
	"time"

	"github.com/transferd/transferd/internal/flow"
	"github.com/transferd/transferd/internal/transfer"
)

// counters is a job's progress as it is being made. It is safe for concurrent use; a chunk touches it a few times, so a
// mutex costs nothing next to the chunk.
type counters struct {
	mu    sync.Mutex
	p     transfer.Progress
	waits map[*call]transfer.Waiting // of calls that wait now
	asked flow.Asked
	speed speed

	attention attention
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
	p.Rate = c.speed.measure(time.Now(), &p.Bytes)
	if w := c.longestWait(); w != (transfer.Waiting{}) {
		p.Waiting = &w
	} else {
		p.Waiting = c.attention.silent(time.Now())
	}
	p.Waited = transfer.Seconds(c.asked.Total())
	return p
}

// restore sets what earlier attempts have counted. What they waited for is over.
func (c *counters) restore(p *transfer.Progress) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.p = *p
	c.p.Waiting = nil
	c.asked.Start(time.Duration(p.Waited))
}

// waitBegins notes what a call waits for.
func (c *counters) waitBegins(key *call, w transfer.Waiting) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waits == nil {
		c.waits = make(map[*call]transfer.Waiting)
	}
	c.waits[key] = w
}

// waitEnds notes that a call waits no more, if it did.
func (c *counters) waitEnds(key *call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.waits, key)
}

// longestWait is the wait that ends last; zero if there is none.
func (c *counters) longestWait() (longest transfer.Waiting) {
	for _, w := range c.waits {
		if w.Until.After(longest.Until) {
			longest = w
		}
	}
	return longest
}

// begin sets what is done before the first chunk of an attempt, which is no speed of its own.
func (c *counters) begin(change func(p *transfer.Progress)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(&c.p)
	c.speed = speed{}
}

// AddWireOut implements transfer.Meter.
func (c *counters) AddWireOut(n int64) {
	c.update(func(p *transfer.Progress) {
		p.Bytes.WireOut += n
		c.attention.moved = time.Now()
	})
}

// AddWireIn implements transfer.Meter.
func (c *counters) AddWireIn(n int64) {
	c.update(func(p *transfer.Progress) {
		p.Bytes.WireIn += n
		c.attention.moved = time.Now()
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

func (c *counters) retry(code transfer.Code) {
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
