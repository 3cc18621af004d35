package codec

import (
	"testing"
	"testing/synctest"
	"time"
)

const mib = 1 << 20

// link is a link with a goodput for each encoding.
type link struct {
	plain, gzip float64 // bytes of the image a second
	busy        float64 // share of a gzip chunk's time for compression
}

// move sends a chunk of 4 MiB in virtual time, as the selector picks, and reports whether it was
// gzip.
func (l link) move(c *Selector) bool {
	if n := c.Probe(4*mib, 0); n > 0 {
		f := c.Begin(false)
		<-time.After(time.Duration(float64(n) / l.plain * float64(time.Second)))
		f.End(false, n, 0)
	}
	zipped := c.Pick()
	f := c.Begin(zipped)
	rate := l.plain
	if zipped {
		rate = l.gzip
	}
	took := time.Duration(4 * mib / rate * float64(time.Second))
	<-time.After(took)
	f.End(zipped, 4*mib, time.Duration(l.busy*float64(took)))
	return zipped
}

func doubled(plain float64) float64 { return min(360*mib, 2*plain) }

// TestBetterEncodingIsSelected on every link. The other one is explored rarely, and the selector
// does not oscillate.
func TestBetterEncodingIsSelected(t *testing.T) {
	for name, l := range map[string]link{
		"near":                           {1000 * mib, 130 * mib, 0},
		"far":                            {100 * mib, 200 * mib, 0},
		"slow":                           {1 * mib, 2.2 * mib, 0},
		"slow to inflate at the end":     {100 * mib, 50 * mib, 0},
		"as good":                        {100 * mib, 101 * mib, 0},
		"hardly worse, estimated better": {300 * mib, 280 * mib, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			c := NewSelector(doubled)
			if c.Probe(4*mib, 0) != tuning.probeSize || c.Probe(4*mib, 0) != 0 {
				t.Fatalf("%s: want a probe of %d bytes and no second one", name, tuning.probeSize)
			}
			f := c.Begin(false)
			<-time.After(time.Duration(float64(tuning.probeSize) / l.plain * float64(time.Second)))
			f.End(false, tuning.probeSize, 0)
			const n = 2000
			zipped, changes, last := 0, 0, false
			for range n {
				now := l.move(c)
				if now {
					zipped++
				}
				if now != last {
					changes++
				}
				last = now
			}
			better, worse := max(l.plain, l.gzip), min(l.plain, l.gzip)
			inWorse := zipped // chunks in the worse encoding
			if l.gzip > l.plain {
				inWorse = n - zipped
			}
			// The time that these chunks cost, as a share of the best time.
			if lost := float64(inWorse) / n * (better/worse - 1); lost > 0.03 || changes > 30 {
				t.Errorf("%s: %d of %d zipped: got %.1f%% lost and %d changes, want at most 3%% and 30",
					name, zipped, n, 100*lost, changes)
			}
		})
	}
}

// TestTrialRevertsAWorseEncoding that looked better in the few chunks that explored it, because
// they had the processors to themselves.
func TestTrialRevertsAWorseEncoding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewSelector(doubled)
		const n = 1000
		zipped, inARow := 0, 0
		for range n {
			l := link{105 * mib, 289 * mib, 0.1}
			if inARow > 2 {
				l.gzip = 84 * mib
			}
			if inARow++; l.move(c) {
				zipped++
			} else {
				inARow = 0
			}
		}
		if zipped < 2 || zipped > n/10 {
			t.Errorf("got %d of %d zipped, want 2 to %d", zipped, n, n/10)
		}
	})
}

// TestPickWaitsForAProbe on a fast link, and picks gzip after a while on a slow one.
func TestPickWaitsForAProbe(t *testing.T) {
	for _, rate := range []float64{1000 * mib, 1 * mib} {
		synctest.Test(t, func(t *testing.T) {
			c := NewSelector(doubled)
			c.Probe(4*mib, 0)
			f := c.Begin(false)
			arrived := make(chan struct{})
			time.AfterFunc(time.Duration(float64(tuning.probeSize)/rate*float64(time.Second)), func() {
				f.End(false, tuning.probeSize, 0)
				close(arrived)
			})
			began := time.Now()
			if zipped := c.Pick(); zipped != (rate < 100*mib) {
				t.Errorf("at %.0f bytes a second: got gzip %v, want %v", rate, zipped, rate < 100*mib)
			}
			if took := time.Since(began); took > tuning.probeWait {
				t.Errorf("at %.0f bytes a second: waited %s, want at most %s", rate, took, tuning.probeWait)
			}
			<-arrived
		})
	}
}

// TestFailedProbeIsRepeated by the next chunk.
func TestFailedProbeIsRepeated(t *testing.T) {
	c := NewSelector(doubled)
	c.Probe(4*mib, 0)
	f := c.Begin(false)
	f.End(false, 0, 0)
	if c.Probe(4*mib, 0) == 0 {
		t.Error("after a failed probe: got none, want another")
	}
}

// TestOvertakenProbeKeepsGzip: on a slow link, where a gzip chunk arrives before the probe, chunks
// stay gzip and do not wait.
func TestOvertakenProbeKeepsGzip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewSelector(doubled)
		c.Probe(4*mib, 0)
		probe, zipped := c.Begin(false), c.Begin(true)
		<-time.After(time.Second)
		zipped.End(true, 4*mib, 0)
		began := time.Now()
		if !c.Pick() || c.Probe(4*mib, 0) != 0 || time.Since(began) > 0 {
			t.Error("a chunk is plain, probes or waits; want gzip at once")
		}
		probe.End(false, 0, 0)
		if c.Probe(4*mib, 0) == 0 {
			t.Error("after a failed probe: got none, want another")
		}
	})
}

// TestGoodEstimatePicksGzipForAll before gzip is observed, where gzip should be much better and the
// processors have headroom. Otherwise a single chunk explores gzip.
func TestGoodEstimatePicksGzipForAll(t *testing.T) {
	for plain, want := range map[float64]int{1 * mib: 10, 100 * mib: 1} {
		synctest.Test(t, func(t *testing.T) {
			c := NewSelector(doubled)
			f := c.Begin(false)
			<-time.After(time.Second)
			f.End(false, int(plain), 0)
			zipped := 0
			for range 10 {
				if c.Pick() {
					zipped++
				}
			}
			if zipped != want {
				t.Errorf("at %.0f MiB/s: got %d of 10 zipped, want %d", plain/mib, zipped, want)
			}
		})
	}
}

// TestCompressingChunksDoNotShareTheWire: a chunk that is still being compressed does not count
// among the flows on the wire.
func TestCompressingChunksDoNotShareTheWire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewSelector(doubled)
		var waiting [7]Flow
		for i := range waiting {
			waiting[i] = c.Begin(true)
		}
		f := c.Begin(false)
		<-time.After(time.Second)
		waiting[0].Sending(true)
		<-time.After(time.Second)
		f.End(false, 3*mib, 0)
		if want := 1.5 * 1.5 * mib; c.plain.rate != want {
			t.Errorf("got a plain goodput of %.2f MiB/s, want %.2f", c.plain.rate/mib, want/mib)
		}
		for i := range waiting {
			waiting[i].End(true, 0, 0)
		}
		if c.wire.flows != 0 || c.wire.waiting != 0 {
			t.Errorf("got %d flows, %d of them waiting, want none", c.wire.flows, c.wire.waiting)
		}
	})
}

// TestExplorationIsRepeated by another chunk if the first one did not compress, or did not arrive.
func TestExplorationIsRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewSelector(func(plain float64) float64 { return 1.4 * plain })
		f := c.Begin(false)
		<-time.After(time.Second)
		f.End(false, 4*mib, 0)
		for _, n := range []int{4 * mib, 0} {
			if !c.Pick() || c.Pick() {
				t.Fatal("want exactly one chunk that explores gzip")
			}
			f := c.Begin(true)
			<-time.After(time.Second)
			f.End(false, n, 0)
		}
		if !c.Pick() {
			t.Error("got no further exploration of gzip, want one")
		}
	})
}

// TestSmallSampleIsNotObserved: with a long round-trip time a few bytes make any link look slow.
func TestSmallSampleIsNotObserved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewSelector(doubled)
		f := c.Begin(false)
		<-time.After(100 * time.Millisecond)
		f.End(false, 4<<10, 0)
		if c.Probe(4*mib, 0) == 0 {
			t.Error("after a small sample: got no probe, want one")
		}
	})
}

// TestSelectorFollowsALinkThatChanges between fast and slow.
func TestSelectorFollowsALinkThatChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewSelector(doubled)
		near, far := link{1000 * mib, 130 * mib, 0.9}, link{10 * mib, 22 * mib, 0}
		for _, l := range []link{near, far, near} {
			for range 1000 {
				l.move(c)
			}
			zipped := 0
			for range 10 {
				if l.move(c) {
					zipped++
				}
			}
			if (l == far) != (zipped > 5) {
				t.Errorf("after 1000 chunks at %.0f bytes a second: got %d of 10 zipped, want most: %v",
					l.plain, zipped, l == far)
			}
		}
	})
}

// TestLongRoundTripDoesNotMakeALinkSlow: a probe whose time is mostly round trips is corrected
// soon, but not at the cost of many plain chunks on a slow link.
func TestLongRoundTripDoesNotMakeALinkSlow(t *testing.T) {
	for name, tc := range map[string]struct {
		probe  time.Duration
		rtt    time.Duration
		l      link
		most   int // of the first hundred chunks are zipped
		fewest int
	}{
		"fast, long round trip": {24 * time.Millisecond, 20 * time.Millisecond, link{100 * mib, 85 * mib, 0.5}, 4, 1},
		"slow start":            {105 * time.Millisecond, 20 * time.Millisecond, link{100 * mib, 85 * mib, 0.5}, 4, 1},
		"slow":                  {500 * time.Millisecond, 20 * time.Millisecond, link{1 * mib, 2.2 * mib, 0}, 100, 98},
	} {
		synctest.Test(t, func(t *testing.T) {
			c := NewSelector(doubled)
			c.Probe(4*mib, tc.rtt)
			f := c.Begin(false)
			<-time.After(tc.probe)
			f.End(false, tuning.probeSize, 0)
			zipped := 0
			for range 100 {
				if tc.l.move(c) {
					zipped++
				}
			}
			if zipped > tc.most || zipped < tc.fewest {
				t.Errorf("%s: got %d of 100 zipped, want %d to %d", name, zipped, tc.fewest, tc.most)
			}
		})
	}
}
