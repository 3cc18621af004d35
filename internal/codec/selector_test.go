package codec

import (
	"testing"
	"testing/synctest"
	"time"
)

const mib = 1 << 20

// link is how fast chunks of 4 MiB move each way.
type link struct {
	plain, gzip float64 // bytes of the image a second
	busy        float64 // part of a packed chunk's time that is spent on packing
}

// move moves a chunk as the choice says, in virtual time, and reports whether it was packed.
func (l link) move(c *Choice) bool {
	if n := c.Probe(4*mib, 0); n > 0 {
		f := c.Begin(false)
		<-time.After(time.Duration(float64(n) / l.plain * float64(time.Second)))
		f.End(false, n, 0)
	}
	packed := c.Gzip()
	f := c.Begin(packed)
	rate := l.plain
	if packed {
		rate = l.gzip
	}
	took := time.Duration(4 * mib / rate * float64(time.Second))
	<-time.After(took)
	f.End(packed, 4*mib, time.Duration(l.busy*float64(took)))
	return packed
}

func doubled(plain float64) float64 { return min(360*mib, 2*plain) }

// TestChoice takes the better way on every link, tries the other seldom, and does not swing between them.
func TestChoice(t *testing.T) {
	for name, l := range map[string]link{
		"near":                         {1000 * mib, 130 * mib, 0},
		"far":                          {100 * mib, 200 * mib, 0},
		"slow":                         {1 * mib, 2.2 * mib, 0},
		"slow to inflate at the end":   {100 * mib, 50 * mib, 0},
		"as good":                      {100 * mib, 101 * mib, 0},
		"hardly worse, guessed better": {300 * mib, 280 * mib, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			c := NewChoice(doubled)
			if c.Probe(4*mib, 0) != ProbeSize || c.Probe(4*mib, 0) != 0 {
				t.Fatalf("%s: one alone probes", name)
			}
			f := c.Begin(false)
			<-time.After(time.Duration(ProbeSize / l.plain * float64(time.Second)))
			f.End(false, ProbeSize, 0)
			const n = 2000
			packed, turns, last := 0, 0, false
			for range n {
				now := l.move(c)
				if now {
					packed++
				}
				if now != last {
					turns++
				}
				last = now
			}
			better, worse := max(l.plain, l.gzip), min(l.plain, l.gzip)
			rest := packed // the chunks that went the worse way
			if l.gzip > l.plain {
				rest = n - packed
			}
			// What is lost by it, as a part of the best that could be.
			if lost := float64(rest) / n * (better/worse - 1); lost > 0.03 || turns > 30 {
				t.Errorf("%s: %d of %d packed, %d turns, %.1f%% lost", name, packed, n, turns, 100*lost)
			}
		})
	}
}

// TestTurnsBack finds out that a way is worse than the few chunks that tried it made it look: they had the processors to
// themselves.
func TestTurnsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewChoice(doubled)
		const n = 1000
		packed, row := 0, 0
		for range n {
			l := link{105 * mib, 289 * mib, 0.1}
			if row > 2 {
				l.gzip = 84 * mib
			}
			if row++; l.move(c) {
				packed++
			} else {
				row = 0
			}
		}
		if packed < 2 || packed > n/10 {
			t.Errorf("%d of %d packed", packed, n)
		}
	})
}

// TestChoiceWaits lets the others wait for a probe on a fast link, and not on a slow one.
func TestChoiceWaits(t *testing.T) {
	for _, rate := range []float64{1000 * mib, 1 * mib} {
		synctest.Test(t, func(t *testing.T) {
			c := NewChoice(doubled)
			c.Probe(4*mib, 0)
			f := c.Begin(false)
			arrived := make(chan struct{})
			time.AfterFunc(time.Duration(ProbeSize/rate*float64(time.Second)), func() {
				f.End(false, ProbeSize, 0)
				close(arrived)
			})
			began := time.Now()
			if packed := c.Gzip(); packed != (rate < 100*mib) {
				t.Errorf("at %.0f bytes a second packed is %v", rate, packed)
			}
			if took := time.Since(began); took > probeWait {
				t.Errorf("it waited %s", took)
			}
			<-arrived
		})
	}
}

// TestProbeFails leaves the probe to the next.
func TestProbeFails(t *testing.T) {
	c := NewChoice(doubled)
	c.Probe(4*mib, 0)
	f := c.Begin(false)
	f.End(false, 0, 0)
	if c.Probe(4*mib, 0) == 0 {
		t.Error("nobody probes after a probe that failed")
	}
}

// TestProbeOvertaken keeps chunks from going plain over a slow link, where one that was compressed arrives before the probe.
func TestProbeOvertaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewChoice(doubled)
		c.Probe(4*mib, 0)
		probe, packed := c.Begin(false), c.Begin(true)
		<-time.After(time.Second)
		packed.End(true, 4*mib, 0)
		began := time.Now()
		if !c.Gzip() || c.Probe(4*mib, 0) != 0 || time.Since(began) > 0 {
			t.Error("a chunk goes plain, or waits, though gzip arrives and the probe does not")
		}
		probe.End(false, 0, 0)
		if c.Probe(4*mib, 0) == 0 {
			t.Error("nobody probes after a probe that failed")
		}
	})
}

// TestGoodGuess lets all chunks go as gzip, before one has arrived so, where that is likely to be much better and the processors
// have room for it; else one.
func TestGoodGuess(t *testing.T) {
	for plain, want := range map[float64]int{1 * mib: 10, 100 * mib: 1} {
		synctest.Test(t, func(t *testing.T) {
			c := NewChoice(doubled)
			f := c.Begin(false)
			<-time.After(time.Second)
			f.End(false, int(plain), 0)
			packed := 0
			for range 10 {
				if c.Gzip() {
					packed++
				}
			}
			if packed != want {
				t.Errorf("at %.0f MiB/s %d of 10 are packed, not %d", plain/mib, packed, want)
			}
		})
	}
}

// TestPackingLeavesTheWire counts chunks that are being compressed not among those that share the wire.
func TestPackingLeavesTheWire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewChoice(doubled)
		var packing [7]Flow
		for i := range packing {
			packing[i] = c.Begin(true)
		}
		f := c.Begin(false)
		<-time.After(time.Second)
		packing[0].Moves()
		<-time.After(time.Second)
		f.End(false, 3*mib, 0)
		if want := 1.5 * 1.5 * mib; c.plain.rate != want {
			t.Errorf("plain moves %.2f MiB/s, not %.2f", c.plain.rate/mib, want/mib)
		}
		for i := range packing {
			packing[i].End(true, 0, 0)
		}
		if c.flows != 0 || c.packing != 0 {
			t.Errorf("%d are under way, %d of them packing", c.flows, c.packing)
		}
	})
}

// TestTriedInVain lets another chunk try gzip when the first that was to did not compress, or did not arrive.
func TestTriedInVain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewChoice(func(plain float64) float64 { return 1.4 * plain })
		f := c.Begin(false)
		<-time.After(time.Second)
		f.End(false, 4*mib, 0)
		for _, n := range []int{4 * mib, 0} {
			if !c.Gzip() || c.Gzip() {
				t.Fatal("one chunk tries gzip, and one alone")
			}
			f := c.Begin(true)
			<-time.After(time.Second)
			f.End(false, n, 0)
		}
		if !c.Gzip() {
			t.Error("gzip is not tried any more")
		}
	})
}

// TestSmallSample says nothing of the link: a few bytes from far away look like a slow one.
func TestSmallSample(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewChoice(doubled)
		f := c.Begin(false)
		<-time.After(100 * time.Millisecond)
		f.End(false, 4<<10, 0)
		if c.Probe(4*mib, 0) == 0 {
			t.Error("a small sample passed for knowledge of the link")
		}
	})
}

// TestChoiceChanges follows a link that becomes another.
func TestChoiceChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewChoice(doubled)
		// Nothing is known at first, and nobody probes, as with small chunks.
		near, far := link{1000 * mib, 130 * mib, 0.9}, link{10 * mib, 22 * mib, 0}
		for _, l := range []link{near, far, near} {
			for range 1000 {
				l.move(c)
			}
			packed := 0
			for range 10 {
				if l.move(c) {
					packed++
				}
			}
			if (l == far) != (packed > 5) {
				t.Errorf("after a thousand chunks at %.0f bytes a second %d of 10 are packed: %+v", l.plain, packed, c)
			}
		}
	})
}

// TestLevel is the high one where the link leaves the processors idle.
func TestLevel(t *testing.T) {
	s := speed{rate: 180e6}
	all := s.all()
	for _, tc := range []struct {
		moved, busy float64
		want        int
	}{
		{0, 0, fastLevel},
		{all, 1, fastLevel},
		{all / 3, 0.1, fastLevel},
		{all / 10, 0.1, slowLevel},
		{all / 4, 0.3, slowLevel}, // it is kept
		{all / 2, 0.3, fastLevel},
		{all / 4, 0.1, fastLevel}, // it is kept
		{all / 10, 0.1, slowLevel},
		{all / 10, 0.6, fastLevel}, // the processors have other things to do
		{all / 10, 0.3, fastLevel},
	} {
		if got := s.level(tc.moved, tc.busy); got != tc.want {
			t.Errorf("at %.0f of %.0f bytes a second and %.1f busy the level is %d, not %d", tc.moved, all, tc.busy, got, tc.want)
		}
	}
}

// TestProbeFromAfar finds out soon that a link is better than a probe showed it, most of whose time was distance, and does not
// waste time on a slow link to do so.
func TestProbeFromAfar(t *testing.T) {
	for name, tc := range map[string]struct {
		probe  time.Duration
		away   time.Duration
		l      link
		most   int // packed, of the first hundred
		fewest int
	}{
		"fast, far":  {24 * time.Millisecond, 20 * time.Millisecond, link{100 * mib, 85 * mib, 0.5}, 4, 1},
		"slow start": {105 * time.Millisecond, 20 * time.Millisecond, link{100 * mib, 85 * mib, 0.5}, 4, 1},
		"slow":       {500 * time.Millisecond, 20 * time.Millisecond, link{1 * mib, 2.2 * mib, 0}, 100, 98},
	} {
		synctest.Test(t, func(t *testing.T) {
			c := NewChoice(doubled)
			c.Probe(4*mib, tc.away)
			f := c.Begin(false)
			<-time.After(tc.probe)
			f.End(false, ProbeSize, 0)
			packed := 0
			for range 100 {
				if tc.l.move(c) {
					packed++
				}
			}
			if packed > tc.most || packed < tc.fewest {
				t.Errorf("%s: %d of 100 packed", name, packed)
			}
		})
	}
}
