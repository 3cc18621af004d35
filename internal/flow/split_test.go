package flow

import (
	"cmp"
	"testing"
	"time"
)

const ms = time.Millisecond

// observe records n calls of size bytes.
func observe(s *Split, n, size int, took time.Duration, running int) {
	for range n {
		s.Observe(size, took, running)
	}
}

// TestSplitFollowsItsTable holds the table at type Split.
func TestSplitFollowsItsTable(t *testing.T) {
	const chunk = 4 * maxPiece
	for name, tc := range map[string]struct {
		rtt        time.Duration
		half, full time.Duration // of calls that write halfPiece and maxPiece, with 4 running; 0: none
		wantPiece  int
		wantCalls  int
		wantPhase  splitPhase
	}{
		"no limit":                  {20 * ms, 0, 20*ms + 4*wholePiece - ms, 0, 0, splitSettled},
		"fast link":                 {20 * ms, 37 * ms, 54 * ms, 0, 2 + spareCalls, splitSettled},
		"fast link, far away":       {200 * ms, 0, 200*ms + 4*slowPiece - ms, 0, 0, splitSettled},
		"nothing to compare":        {20 * ms, 0, 20*ms + 4*slowPiece, 0, 0, splitExplore},
		"slow endpoint":             {20 * ms, 2*slowPiece + 21*ms, 20*ms + 4*slowPiece, 0, 4, splitSettled},
		"link takes the time":       {0, 60 * ms, 120 * ms, maxPiece, 1 + spareCalls, splitSettled},
		"round trip":                {20 * ms, 60 * ms, 120 * ms, maxPiece, 2 + spareCalls, splitSettled},
		"slower link":               {0, 120 * ms, 240 * ms, halfPiece, 1 + spareCalls, splitSettled},
		"slowest link":              {0, 2 * time.Second, 4 * time.Second, minPiece, 1 + spareCalls, splitSettled},
		"endpoint's latency":        {0, 138 * ms, 196 * ms, maxPiece, 4 + spareCalls, splitSettled},
		"latency takes the time":    {20 * ms, 380 * ms, 455 * ms, 0, 4 + spareCalls, splitSettled},
		"larger ones are no slower": {20 * ms, 380 * ms, 100 * ms, 0, 0, splitSettled},
	} {
		t.Run(name, func(t *testing.T) {
			s := NewSplit(chunk, tc.rtt)
			if got := s.Piece(chunk); got != maxPiece || !s.Splits() {
				t.Errorf("the first chunk: got pieces of %d bytes, want %d", got, maxPiece)
			}
			observe(s, splitSample, maxPiece, tc.full, 4)
			if tc.half > 0 {
				observe(s, splitSample, maxPiece, tc.full, 4)
				observe(s, splitSample, halfPiece, tc.half, 4)
			}
			if s.phase != tc.wantPhase || s.Calls() != tc.wantCalls {
				t.Errorf("got phase %s with %d calls, want %s with %d", s.phase, s.Calls(), tc.wantPhase, tc.wantCalls)
			}
			if tc.wantPhase != splitSettled {
				return
			}
			want := cmp.Or(tc.wantPiece, chunk)
			if got := s.Piece(chunk); got != want || s.Splits() != (tc.wantPiece > 0) {
				t.Errorf("settled: got pieces of %d bytes, want %d", got, want)
			}
		})
	}
}

// TestSplitExploresBothSizesAlternately in phase explore.
func TestSplitExploresBothSizesAlternately(t *testing.T) {
	const chunk = 4 * maxPiece
	s := NewSplit(chunk, 0)
	observe(s, splitSample, maxPiece, time.Second, 1)
	count := map[int]int{}
	for range 6 {
		count[s.Piece(chunk)]++
	}
	if count[halfPiece] != 3 || count[maxPiece] != 3 {
		t.Errorf("got chunks by the size of their pieces %v, want 3 of each size", count)
	}
}

// TestSplitProbesAgainAfterADecision, and keeps a repeated decision for twice as long.
func TestSplitProbesAgainAfterADecision(t *testing.T) {
	const chunk = 4 * maxPiece
	s := NewSplit(chunk, 0)
	observe(s, splitSample, maxPiece, ms, 4)
	for i := range splitFor {
		if got := s.Piece(chunk); got != chunk {
			t.Fatalf("chunk %d: got pieces of %d bytes, want %d", i, got, chunk)
		}
	}
	if got := s.Piece(chunk); got != maxPiece || s.phase != splitProbe {
		t.Errorf("got pieces of %d bytes in phase %s, want %d in %s", got, s.phase, maxPiece, splitProbe)
	}
	observe(s, splitSample, maxPiece, ms, 4)
	for range 2 * splitFor { // the same decision is kept for twice as long
		s.Piece(chunk)
	}
	if s.phase != splitSettled {
		t.Errorf("got phase %s, want %s", s.phase, splitSettled)
	}
	if s.Piece(chunk); s.phase != splitProbe {
		t.Errorf("got phase %s, want %s", s.phase, splitProbe)
	}
	observe(s, 2*splitSample, maxPiece, 2*time.Second, 4)
	observe(s, splitSample, halfPiece, time.Second, 4)
	if s.phase != splitSettled || s.keep != splitFor {
		t.Errorf("another decision is kept for %d chunks in phase %s, want %d", s.keep, s.phase, splitFor)
	}
}

// TestSmallChunksAreNotSplit, and a nil Split splits none.
func TestSmallChunksAreNotSplit(t *testing.T) {
	var none *Split
	none.Observe(maxPiece, ms, 1)
	if got := none.Piece(4 * maxPiece); got != 4*maxPiece || none.Splits() || none.Calls() != 0 {
		t.Errorf("nil Split: got pieces of %d bytes, want %d", got, 4*maxPiece)
	}
	for _, size := range []int{1, maxPiece - 1, maxPiece} {
		if NewSplit(size, 0) != nil {
			t.Errorf("chunks of %d bytes: got a Split, want nil", size)
		}
	}
	for _, size := range []int{1, maxPiece - 1, maxPiece} {
		if got := NewSplit(4*maxPiece, 0).Piece(size); got != size { // the last chunk of an image
			t.Errorf("got pieces of %d bytes, want %d", got, size)
		}
	}
}
