package codec

import (
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"
)

// The levels of CompressionAuto. On a file system's data level 1 compresses 180 MB/s a core to
// about half. Level 6 takes about twice as long for 8% less, which pays where the processors wait
// for a slow link.
const (
	fastLevel = gzip.BestSpeed
	slowLevel = 6
	// slowSpeed is the speed of slowLevel ÷ that of fastLevel.
	slowSpeed = 0.45
	// fastSpeed is the speed of fastLevel on one core until it is measured, bytes a second.
	fastSpeed = 180e6
	// speedGain is the weight of the latest chunk in the mean speed.
	speedGain = 1.0 / 8
)

// The hysteresis of level. Headroom is the speed of all cores at slowLevel ÷ the goodput of gzip.
// busy is the share of a chunk's time that compression takes. With enough headroom, busy is still
// high if the processors have much other work.
const (
	slowAtHeadroom = 2.0
	slowAtBusy     = 0.2
	fastAtHeadroom = 1.25
	fastAtBusy     = 0.5
)

// compressionSpeed measures how fast one core compresses at fastLevel, and selects the level by it.
// It is safe for concurrent use.
type compressionSpeed struct {
	mu   sync.Mutex
	rate float64 // bytes a second, EWMA
	slow bool    // slowLevel is in use
}

// allCores returns the speed of all cores together at fastLevel, bytes a second.
func (s *compressionSpeed) allCores() float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rate * float64(cap(encoders))
}

// add adds a measurement: one core compressed n bytes at level in took.
func (s *compressionSpeed) add(level, n int, took time.Duration) {
	rate := float64(n) / max(took.Seconds(), 1e-9)
	if level == slowLevel {
		rate /= slowSpeed
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rate += (rate - s.rate) * speedGain
}

// level returns slowLevel once the processors would wait for the link half of the time even at
// slowLevel, and until they hardly wait any more. goodput is that of gzip, bytes of the image a
// second; 0: unknown.
func (s *compressionSpeed) level(goodput, busy float64) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	possible := s.rate * float64(cap(encoders)) * slowSpeed
	switch {
	case possible < fastAtHeadroom*goodput || busy > fastAtBusy:
		s.slow = false
	case goodput > 0 && possible > slowAtHeadroom*goodput && busy < slowAtBusy:
		s.slow = true
	}
	if s.slow {
		return slowLevel
	}
	return fastLevel
}
