package codec

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// inPhase returns a selector in phase p. Encodings that are observed in p have a goodput of 100
// MiB/s. In phaseTrial gzip is current and has 100 MiB/s to beat.
func inPhase(p phase) *Selector {
	s := NewSelector(doubled)
	s.phase = p
	known := goodput{rate: 100 * mib, took: time.Second, bytes: tuning.ewmaBytes}
	if p != phaseProbe {
		s.plain = known
	}
	if p == phaseSettled || p == phaseTrial {
		s.gzip = known
	}
	if p == phaseTrial {
		s.onGzip, s.toBeat = true, 100*mib
	}
	return s
}

// arrives is one flow that moves n bytes in took.
func arrives(gzip bool, n int, took time.Duration) func(*Selector) {
	return func(s *Selector) {
		f := s.Begin(gzip)
		f.Sending(gzip)
		<-time.After(took)
		f.End(gzip, n, 0)
	}
}

func repeated(times int, event func(*Selector)) func(*Selector) {
	return func(s *Selector) {
		for range times {
			event(s)
		}
	}
}

// TestSelectorFollowsItsTable holds the table at type phase: each event leads to the next phase and
// to the current encoding.
func TestSelectorFollowsItsTable(t *testing.T) {
	pick := func(s *Selector) { s.Pick() }
	// better sets the goodput of the other encoding to rate, as if just observed.
	better := func(rate float64) func(*Selector) {
		return func(s *Selector) {
			s.other().rate, s.explore.sampled = rate, true
			s.Pick()
		}
	}
	clocked := func(rate float64) func(*Selector) {
		return func(s *Selector) {
			s.clock.rate = rate
			better(200 * mib)(s)
		}
	}
	// 17 chunks of 4 MiB give a wall-clock rate: the first one only starts the clock.
	fast := 20 * time.Millisecond
	slow := 80 * time.Millisecond
	for _, tc := range []struct {
		phase  phase
		event  string
		do     func(*Selector)
		next   phase
		onGzip bool
	}{
		{phaseProbe, "pick", pick, phaseProbe, false},
		{phaseProbe, "probe begins", func(s *Selector) { s.Probe(4*mib, 0) }, phaseProbe, false},
		{phaseProbe, "probe fails", arrives(false, 0, fast), phaseProbe, false},
		{phaseProbe, "probe arrives", arrives(false, tuning.probeSize, fast), phaseEstimate, false},
		{phaseProbe, "a small sample arrives", arrives(false, tuning.minSample-1, fast), phaseProbe, false},
		{phaseProbe, "gzip arrives", arrives(true, 4*mib, fast), phaseProbe, false},
		{phaseProbe, "gzip and then plain arrive", func(s *Selector) {
			arrives(true, 4*mib, fast)(s)
			arrives(false, 4*mib, fast)(s)
		}, phaseSettled, false},

		{phaseEstimate, "pick", repeated(100, pick), phaseEstimate, false},
		{phaseEstimate, "plain arrives", arrives(false, 4*mib, slow), phaseEstimate, false},
		{phaseEstimate, "plain has a wall-clock rate", repeated(17, arrives(false, 4*mib, slow)), phaseEstimate, false},
		{phaseEstimate, "gzip fails", arrives(true, 0, fast), phaseEstimate, false},
		{phaseEstimate, "gzip arrives", arrives(true, 4*mib, fast), phaseSettled, false},

		{phaseSettled, "pick", repeated(100, pick), phaseSettled, false},
		{phaseSettled, "gzip is slightly better", better(149 * mib), phaseSettled, false},
		{phaseSettled, "gzip is better, without a wall-clock rate", better(151 * mib), phaseSettled, true},
		{phaseSettled, "gzip is better, with one", clocked(100 * mib), phaseTrial, true},
		{phaseSettled, "gzip was better once", func(s *Selector) {
			s.gzip.rate = 200 * mib
			s.Pick()
		}, phaseSettled, false},
		{
			phaseSettled, "plain arrives, slower than before", repeated(17, arrives(false, 4*mib, slow)),
			phaseSettled, false,
		},

		{phaseTrial, "pick", repeated(10, pick), phaseTrial, true},
		{phaseTrial, "plain is slightly better", better(149 * mib), phaseTrial, true},
		{phaseTrial, "plain is clearly better", better(151 * mib), phaseSettled, false},
		{phaseTrial, "gzip arrives", repeated(16, arrives(true, 4*mib, slow)), phaseTrial, true},
		{phaseTrial, "the wall-clock rate is higher", repeated(17, arrives(true, 4*mib, fast)), phaseSettled, true},
		{phaseTrial, "the wall-clock rate is lower", repeated(17, arrives(true, 4*mib, slow)), phaseSettled, false},
		{phaseTrial, "plain arrives", repeated(17, arrives(false, 4*mib, fast)), phaseTrial, true},
	} {
		t.Run(fmt.Sprintf("%s/%s", tc.phase, tc.event), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := inPhase(tc.phase)
				tc.do(s)
				if s.phase != tc.next || s.onGzip != tc.onGzip {
					t.Errorf("got phase %s, gzip current %t; want %s, %t", s.phase, s.onGzip, tc.next, tc.onGzip)
				}
			})
		})
	}
}

// TestExploreIntervalGrows: the number of picks between two explorations doubles with each
// exploration, starts again after a trial that succeeds, and quadruples after one that fails.
func TestExploreIntervalGrows(t *testing.T) {
	explored := func(s *Selector, n int) (at []int) {
		for i := range n {
			if s.Pick() != s.onGzip {
				at = append(at, i+1)
			}
		}
		return at
	}
	if got, want := fmt.Sprint(explored(inPhase(phaseSettled), 250)), "[32 96 224]"; got != want {
		t.Errorf("explored at picks %s, want %s", got, want)
	}
	for took, want := range map[time.Duration]int{
		20 * time.Millisecond: tuning.exploreEvery,
		80 * time.Millisecond: 8 * tuning.exploreEvery,
	} {
		synctest.Test(t, func(t *testing.T) {
			s := inPhase(phaseTrial)
			s.explore.every = 2 * tuning.exploreEvery
			repeated(17, arrives(true, 4*mib, took))(s)
			if s.explore.every != want {
				t.Errorf("after a trial with %s a chunk: got one exploration in %d, want one in %d", took,
					s.explore.every, want)
			}
		})
	}
}

// TestHopelessIsNotExplored: an encoding with less than half of the goodput is not explored, unless
// this host's load slows gzip down.
func TestHopelessIsNotExplored(t *testing.T) {
	for _, tc := range []struct {
		onGzip bool
		busy   float64
		want   bool
	}{{false, 0.9, false}, {true, 0.1, false}, {true, 0.9, true}} {
		s := inPhase(phaseSettled)
		s.onGzip, s.busy = tc.onGzip, tc.busy
		s.other().rate = 49 * mib
		explored := false
		for range tuning.exploreEvery {
			explored = s.Pick() != s.onGzip || explored
		}
		if explored != tc.want {
			t.Errorf("gzip current %t, busy %.1f: explored %t, want %t", tc.onGzip, tc.busy, explored, tc.want)
		}
	}
}
