package flow

import (
	"testing"
	"testing/synctest"
	"time"
)

const ms = time.Millisecond

// observe records n calls of a size.
func observe(s *Split, n, size int, took time.Duration, running int) {
	for range n {
		s.Observe(size, took, running)
	}
}

// TestSplitPhases is the table of the type.
func TestSplitPhases(t *testing.T) {
	const chunk = 4 * pieceSize
	for name, tc := range map[string]struct {
		rtt       time.Duration
		piece     time.Duration // of a call, with 4 running
		whole     time.Duration // of a chunk's; 0: none is observed
		wantCalls int
		wantPhase splitPhase
	}{
		"fast link":                     {20 * ms, 4*slowPiece - ms, 0, 0, splitSettled},
		"slow link, nothing to compare": {20 * ms, 4 * slowPiece, 0, 0, splitExplore},
		"the link takes the time":       {20 * ms, 180 * ms, 700 * ms, 2 + spareCalls, splitSettled},
		"far":                           {200 * ms, 180 * ms, 600 * ms, 6 + spareCalls, splitSettled},
		"latency takes the time":        {20 * ms, 180 * ms, 200 * ms, 0, splitSettled},
		"just enough":                   {0, 180 * ms, 360 * ms, 1 + spareCalls, splitSettled},
		"not enough":                    {0, 180 * ms, 359 * ms, 0, splitSettled},
	} {
		t.Run(name, func(t *testing.T) {
			s := NewSplit(chunk, tc.rtt)
			if got := s.Piece(chunk); got != pieceSize || !s.Splits() {
				t.Errorf("the first chunk: got pieces of %d bytes, want %d", got, pieceSize)
			}
			observe(s, splitSample, pieceSize, tc.piece, 4)
			if tc.whole > 0 {
				observe(s, splitSample, pieceSize, tc.piece, 4)
				observe(s, wholeSample, chunk, tc.whole, 4)
			}
			if s.phase != tc.wantPhase || s.Calls() != tc.wantCalls {
				t.Errorf("got phase %s with %d calls, want %s with %d", s.phase, s.Calls(), tc.wantPhase, tc.wantCalls)
			}
			if tc.wantPhase != splitSettled {
				return
			}
			want := map[bool]int{true: pieceSize, false: chunk}[tc.wantCalls > 0]
			if got := s.Piece(chunk); got != want || s.Splits() != (tc.wantCalls > 0) {
				t.Errorf("settled: got pieces of %d bytes, want %d", got, want)
			}
		})
	}
}

// TestSplitExplores one chunk in exploreEvery as a whole.
func TestSplitExplores(t *testing.T) {
	const chunk = 4 * pieceSize
	s := NewSplit(chunk, 0)
	observe(s, splitSample, pieceSize, time.Second, 1)
	whole := 0
	for range 3 * exploreEvery {
		if s.Piece(chunk) == chunk {
			whole++
		}
	}
	if whole != 3 {
		t.Errorf("got %d whole chunks, want 3", whole)
	}
}

// TestSplitDecidesAgain when a decision is old.
func TestSplitDecidesAgain(t *testing.T) {
	const chunk = 4 * pieceSize
	s := NewSplit(chunk, 0)
	observe(s, splitSample, pieceSize, ms, 4)
	for i := range splitFor {
		if got := s.Piece(chunk); got != chunk {
			t.Fatalf("chunk %d: got pieces of %d bytes, want %d", i, got, chunk)
		}
	}
	if got := s.Piece(chunk); got != pieceSize || s.phase != splitProbe {
		t.Errorf("got pieces of %d bytes in phase %s, want %d in %s", got, s.phase, pieceSize, splitProbe)
	}
	observe(s, splitSample, pieceSize, ms, 4)
	for range 2 * splitFor { // the same decision is kept for twice as long
		s.Piece(chunk)
	}
	if s.phase != splitSettled {
		t.Errorf("got phase %s, want %s", s.phase, splitSettled)
	}
	if s.Piece(chunk); s.phase != splitProbe {
		t.Errorf("got phase %s, want %s", s.phase, splitProbe)
	}
	observe(s, splitSample, pieceSize, time.Second, 4)
	observe(s, splitSample, pieceSize, time.Second, 4)
	observe(s, wholeSample, chunk, 4*time.Second, 4)
	if s.phase != splitSettled || s.keep != splitFor {
		t.Errorf("another decision is kept for %d chunks in phase %s, want %d", s.keep, s.phase, splitFor)
	}
}

// TestSmallChunksAreNotSplit, nor is any without a Split.
func TestSmallChunksAreNotSplit(t *testing.T) {
	var none *Split
	none.Observe(pieceSize, ms, 1)
	if got := none.Piece(4 * pieceSize); got != 4*pieceSize || none.Splits() || none.Calls() != 0 {
		t.Errorf("without a Split: got pieces of %d bytes", got)
	}
	for _, size := range []int{1, pieceSize - 1, pieceSize} {
		if NewSplit(size, 0) != nil {
			t.Errorf("chunks of %d bytes are split", size)
		}
		if got := NewSplit(4*pieceSize, 0).Piece(size); got != size { // the last chunk of an image
			t.Errorf("got pieces of %d bytes, want %d", got, size)
		}
	}
}

// TestWindowBound keeps the limit down and lets it grow again.
func TestWindowBound(t *testing.T) { synctest.Test(t, testWindowBound) }

func testWindowBound(t *testing.T) {
	w := NewWindow(0, 64, farRTT)
	if w.Bound(3); w.Limit() != 3 {
		t.Errorf("got limit %d, want 3", w.Limit())
	}
	w.Bound(0)
	for range 50 {
		for w.Enter() {
		}
		began := time.Now()
		time.Sleep(ms) // virtual
		w.ChunkDone(1<<20, began)
	}
	if w.Limit() <= 3 {
		t.Errorf("got limit %d after the bound is gone, want more than 3", w.Limit())
	}
	fixed := NewWindow(7, 64, 0)
	if fixed.Bound(3); fixed.Limit() != 7 {
		t.Errorf("a fixed window: got limit %d, want 7", fixed.Limit())
	}
}
