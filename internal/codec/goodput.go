package codec

import "time"

// goodput is what one encoding moves: an EWMA of samples, weighted by their bytes.
type goodput struct {
	rate  float64       // bytes of the image a second; 0: not observed
	seen  time.Duration // of all samples together
	bytes int           // of all samples, at most tuning.ewmaBytes
}

func (g *goodput) observed() bool { return g.rate > 0 }

// add takes a sample of n bytes in; explored: of the encoding that is not current.
func (g *goodput) add(rate float64, n int, took time.Duration, explored bool) {
	weight := float64(n) / float64(n+g.bytes)
	if explored {
		weight = max(weight, tuning.exploreWeight)
	}
	g.rate += (rate - g.rate) * weight
	g.bytes = min(g.bytes+n, tuning.ewmaBytes)
	g.seen += took
}

// clock is what all chunks together move by the wall clock. A chunk that explores has the
// processors, or the wire, to itself, and what it costs the chunks of the other direction shows in
// no flow's goodput; so a trial is decided by the wall clock.
type clock struct {
	began time.Time
	bytes int
	rate  float64 // of the last tuning.clockSize, bytes a second; 0: none yet
}

// add counts a chunk of n bytes that has arrived and reports whether rate is new. The first chunk
// only starts the clock.
func (k *clock) add(n int) bool {
	now := time.Now()
	if k.began.IsZero() {
		k.began = now
		return false
	}
	if k.bytes += n; k.bytes < tuning.clockSize {
		return false
	}
	k.rate = float64(k.bytes) / max(now.Sub(k.began).Seconds(), 1e-9)
	k.began, k.bytes = now, 0
	return true
}
