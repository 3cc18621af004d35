package worker

import (
	"time"

	"github.com/transferd/transferd/internal/transfer"
)

const (
	// rateWindow is the time over which a job's rate is measured.
	rateWindow = 10 * time.Second
	// slowWindow is the window while bytes move but no chunk was done in rateWindow: on a slow link
	// all chunks in flight may be done together, every half minute.
	slowWindow = 30 * time.Second
	// stillAfter is how long no byte moves before the rate is 0.
	stillAfter = 5 * time.Second
	// sampleEvery is the least time between two samples.
	sampleEvery = 500 * time.Millisecond
)

// rateMeter measures the rate of a job over the last seconds.
type rateMeter struct {
	samples []rateSample // of slowWindow, oldest first
	moved   int64        // bytes done, read, sent and received
	movedAt time.Time    // when that last changed
}

// rateSample is the bytes done at a time.
type rateSample struct {
	at   time.Time
	done int64
}

// update adds the counts at now, and returns the rate in bytes a second.
func (m *rateMeter) update(now time.Time, b *transfer.Bytes) float64 {
	next, moved := rateSample{now, b.Done}, b.Done+b.Read+b.WireOut+b.WireIn
	if len(m.samples) == 0 || m.moved != moved {
		m.moved, m.movedAt = moved, now
	}
	for len(m.samples) > 0 && now.Sub(m.samples[0].at) > slowWindow {
		m.samples = m.samples[1:]
	}
	if n := len(m.samples); n == 0 || now.Sub(m.samples[n-1].at) >= sampleEvery {
		m.samples = append(m.samples, next)
	}
	if now.Sub(m.movedAt) >= stillAfter {
		return 0
	}
	from := m.samples[0]
	for _, p := range m.samples {
		if now.Sub(p.at) > rateWindow {
			continue
		}
		if p.done != next.done {
			from = p
		}
		break
	}
	if now.Equal(from.at) {
		return 0
	}
	return max(0, float64(next.done-from.done)/now.Sub(from.at).Seconds())
}
