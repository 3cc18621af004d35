package codec

import (
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"
)

// The levels of CompressionAuto. On a file system's data level 1 runs at 180 MB/s a core and halves
// it; level 6 takes about twice as long for 8% less, which pays where the link is so slow that the
// processors wait for it.
const (
	fastLevel = gzip.BestSpeed
	slowLevel = 6
	// slowSpeed is the speed of slowLevel as a part of fastLevel's.
	slowSpeed = 0.45
	// fastSpeed is fastLevel's on one core, bytes a second, until it is measured.
	fastSpeed = 180e6
	// speedGain is the weight of the latest chunk in the mean speed.
	speedGain = 1.0 / 8
)

// The hysteresis of level. Headroom is what all cores compress at slowLevel ÷ the goodput of gzip;
// busy is the share of a chunk's time that it is being compressed, which is high without headroom
// being low if the processors have much else to do.
const (
	slowAtHeadroom = 2.0
	slowAtBusy     = 0.2
	fastAtHeadroom = 1.25
	fastAtBusy     = 0.5
)

// speed is how fast one core compresses at fastLevel. It is safe for concurrent use.
type speed struct {
	mu   sync.Mutex
	rate float64 // bytes a second, EWMA
	slow bool    // slowLevel is the one in use
}

// allCores is what all cores together compress at fastLevel, bytes a second.
func (s *speed) allCores() float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rate * float64(cap(encoders))
}

// add takes in that n bytes took one core so long at level.
func (s *speed) add(level, n int, took time.Duration) {
	rate := float64(n) / max(took.Seconds(), 1e-9)
	if level == slowLevel {
		rate /= slowSpeed
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rate += (rate - s.rate) * speedGain
}

// level is slowLevel once even that leaves the processors waiting for the link half of the time, until
// they hardly wait any more. goodput is what gzip moves, bytes of the image a second, 0 if unknown.
func (s *speed) level(goodput, busy float64) int {
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
