package codec

import "time"

// goodput is the goodput of one encoding: an EWMA of samples, weighted by their bytes.
type goodput struct {
	rate  float64       // bytes of the image a second; 0: not observed
	took  time.Duration // of all samples together
	bytes int           // weight of rate, at most tuning.ewmaBytes
}

func (g *goodput) observed() bool { return g.rate > 0 }

// add adds a sample of n bytes. explored says that the encoding is not the current one.
func (g *goodput) add(rate float64, n int, took time.Duration, explored bool) {
	weight := float64(n) / float64(n+g.bytes)
	if explored {
		weight = max(weight, tuning.exploreWeight)
	}
	g.rate += (rate - g.rate) * weight
	g.bytes = min(g.bytes+n, tuning.ewmaBytes)
	g.took += took
}

// clock measures the rate of all chunks together by the wall clock, which decides a trial. The
// goodput of flows does not suffice: a chunk that explores has the processors, or the wire, to
// itself, and its cost to chunks in the other direction is in no flow.
type clock struct {
	began time.Time
	bytes int
	rate  float64 // over the last tuning.clockSize bytes, bytes a second; 0: none yet
}

// add counts a chunk of n bytes that has arrived, and reports whether it has updated rate. The
// first chunk only starts the clock.
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
