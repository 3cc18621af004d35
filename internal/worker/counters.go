package worker

import (
	"sync"

	"github.com/transferd/transferd/internal/transfer"
)

// counters is a job's progress as it is being made. It is safe for concurrent use; a chunk touches it a few times, so a
// mutex costs nothing beside the chunk.
type counters struct {
	mu sync.Mutex
	p  transfer.Progress
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
	return c.p
}

// AddWireOut implements transfer.Meter.
func (c *counters) AddWireOut(n int64) { c.update(func(p *transfer.Progress) { p.Bytes.WireOut += n }) }

// AddWireIn implements transfer.Meter.
func (c *counters) AddWireIn(n int64) { c.update(func(p *transfer.Progress) { p.Bytes.WireIn += n }) }

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
