package worker

import (
	"time"

	"github.com/transferd/transferd/internal/transfer"
)

const (
	// speedWindow is the time over which a job's rate is taken.
	speedWindow = 10 * time.Second
	// slowWindow is the window of a job that has done no chunk in speedWindow though bytes move:
	// chunks in flight on a slow link may all be done at once, every half minute.
	slowWindow = 30 * time.Second
	// stillAfter is how long no byte may move before the rate is 0.
	stillAfter = 5 * time.Second
	// sampleEvery is how far samples are apart at the least.
	sampleEvery = 500 * time.Millisecond
)

// speed is how fast a job moves, over the last seconds.
type speed struct {
	samples []speedSample // of slowWindow, the oldest first
	moved   int64         // bytes, in any way
	movedAt time.Time     // when that last changed
}

type speedSample struct {
	at   time.Time
	done int64
}

// measure takes what is done by now, and returns the rate in bytes a second.
func (s *speed) measure(now time.Time, b *transfer.Bytes) float64 {
	next, moved := speedSample{now, b.Done}, b.Done+b.Read+b.WireOut+b.WireIn
	if len(s.samples) == 0 || s.moved != moved {
		s.moved, s.movedAt = moved, now
	}
	for len(s.samples) > 0 && now.Sub(s.samples[0].at) > slowWindow {
		s.samples = s.samples[1:]
	}
	if n := len(s.samples); n == 0 || now.Sub(s.samples[n-1].at) >= sampleEvery {
		s.samples = append(s.samples, next)
	}
	if now.Sub(s.movedAt) >= stillAfter {
		return 0
	}
	from := s.samples[0]
	for _, p := range s.samples {
		if now.Sub(p.at) > speedWindow {
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
