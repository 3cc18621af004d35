package codec

import (
	"testing"
	"testing/synctest"
	"time"
)

const mib = 1 << 20

// link is how fast chunks of 4 MiB move in each encoding.
type link struct {
	plain, gzip float64 // bytes of the image a second
	busy        float64 // share of a gzip chunk's time that is spent on compressing
}

// move moves a chunk as the selector picks, in virtual time, and reports whether it went as gzip.
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

// TestBetterEncoding is selected on every link; the other is explored seldom, and the selector does
// not oscillate.
func TestBetterEncoding(t *testing.T) {
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
				t.Fatalf("%s: one alone probes", name)
			}
			f := c.Begin(false)
			<-time.After(time.Duration(float64(tuning.probeSize) / l.plain * float64(time.Second)))
			f.End(false, tuning.probeSize, 0)
			const n = 2000
			zipped, turns, last := 0, 0, false
			for range n {
				now := l.move(c)
				if now {
					zipped++
				}
				if now != last {
					turns++
				}
				last = now
			}
			better, worse := max(l.plain, l.gzip), min(l.plain, l.gzip)
			rest := zipped // the chunks that went the worse way
			if l.gzip > l.plain {
				rest = n - zipped
			}
			// What is lost by it, as a part of the best that could be.
			if lost := float64(rest) / n * (better/worse - 1); lost > 0.03 || turns > 30 {
				t.Errorf("%s: %d of %d zipped, %d turns, %.1f%% lost", name, zipped, n, turns, 100*lost)
			}
		})
	}
}

// TestTrialReverts a change to an encoding that is worse than the few chunks that explored it made
// it look: they had the processors to themselves.
func TestTrialReverts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewSelector(doubled)
		const n = 1000
		zipped, row := 0, 0
		for range n {
			l := link{105 * mib, 289 * mib, 0.1}
			if row > 2 {
				l.gzip = 84 * mib
			}
			if row++; l.move(c) {
				zipped++
			} else {
				row = 0
			}
		}
		if zipped < 2 || zipped > n/10 {
			t.Errorf("%d of %d zipped", zipped, n)
		}
	})
}

// TestPickWaits for a probe on a fast link, and not long on a slow one.
func TestPickWaits(t *testing.T) {
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
				t.Errorf("at %.0f bytes a second zipped is %v", rate, zipped)
			}
			if took := time.Since(began); took > tuning.probeWait {
				t.Errorf("it waited %s", took)
			}
			<-arrived
		})
	}
}

// TestProbeFails lets the next chunk probe.
func TestProbeFails(t *testing.T) {
	c := NewSelector(doubled)
	c.Probe(4*mib, 0)
	f := c.Begin(false)
	f.End(false, 0, 0)
	if c.Probe(4*mib, 0) == 0 {
		t.Error("no chunk probes after a probe that failed")
	}
}

// TestProbeOvertaken keeps chunks from going plain over a slow link, where one that was compressed
// arrives before the probe.
func TestProbeOvertaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewSelector(doubled)
		c.Probe(4*mib, 0)
		probe, zipped := c.Begin(false), c.Begin(true)
		<-time.After(time.Second)
		zipped.End(true, 4*mib, 0)
		began := time.Now()
		if !c.Pick() || c.Probe(4*mib, 0) != 0 || time.Since(began) > 0 {
			t.Error("a chunk goes plain, or waits, though gzip arrives and the probe does not")
		}
		probe.End(false, 0, 0)
		if c.Probe(4*mib, 0) == 0 {
			t.Error("no chunk probes after a probe that failed")
		}
	})
}

// TestGoodEstimate lets all chunks go as gzip, before one has arrived so, where that is likely to
// be much better and the processors have room for it; else one.
func TestGoodEstimate(t *testing.T) {
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
				t.Errorf("at %.0f MiB/s %d of 10 are zipped, not %d", plain/mib, zipped, want)
			}
		})
	}
}

// TestWaitingLeavesTheWire does not count chunks that are being compressed among those that share
// the wire.
func TestWaitingLeavesTheWire(t *testing.T) {
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
			t.Errorf("plain moves %.2f MiB/s, not %.2f", c.plain.rate/mib, want/mib)
		}
		for i := range waiting {
			waiting[i].End(true, 0, 0)
		}
		if c.wire.flows != 0 || c.wire.waiting != 0 {
			t.Errorf("%d are under way, %d of them waiting", c.wire.flows, c.wire.waiting)
		}
	})
}

// TestExploredInVain lets another chunk explore gzip when the first that was to did not compress,
// or did not arrive.
func TestExploredInVain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewSelector(func(plain float64) float64 { return 1.4 * plain })
		f := c.Begin(false)
		<-time.After(time.Second)
		f.End(false, 4*mib, 0)
		for _, n := range []int{4 * mib, 0} {
			if !c.Pick() || c.Pick() {
				t.Fatal("one chunk explores gzip, and one alone")
			}
			f := c.Begin(true)
			<-time.After(time.Second)
			f.End(false, n, 0)
		}
		if !c.Pick() {
			t.Error("gzip is not explored any more")
		}
	})
}

// TestSmallSample says nothing of the link: a few bytes from far away look like a slow one.
func TestSmallSample(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewSelector(doubled)
		f := c.Begin(false)
		<-time.After(100 * time.Millisecond)
		f.End(false, 4<<10, 0)
		if c.Probe(4*mib, 0) == 0 {
			t.Error("a small sample was taken for an observation of the link")
		}
	})
}

// TestLinkChanges follows a link that becomes another.
func TestLinkChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewSelector(doubled)
		// Nothing is observed at first, and no chunk probes, as with small ones.
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
				t.Errorf("after a thousand chunks at %.0f bytes a second %d of 10 are zipped: %+v", l.plain, zipped, c)
			}
		}
	})
}

// TestProbeWithLongRoundTrip finds out soon that a link is better than a probe showed it, most of
// whose time was round trips, and does not waste time on a slow link to do so.
func TestProbeWithLongRoundTrip(t *testing.T) {
	for name, tc := range map[string]struct {
		probe  time.Duration
		rtt    time.Duration
		l      link
		most   int // zipped, of the first hundred
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
				t.Errorf("%s: %d of 100 zipped", name, zipped)
			}
		})
	}
}
