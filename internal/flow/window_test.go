package flow

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/transferd/transferd/internal/transfer"
)

// TestSlowStartDoublesForAQuickFirstChunk, unless something failed.
func TestSlowStartDoublesForAQuickFirstChunk(t *testing.T) {
	for name, tc := range map[string]struct {
		fixed, most int
		took        time.Duration
		code        transfer.Code
		want        int
	}{
		"quick":    {0, 16, slowChunk / 2, "", 2 * slowStartLimit},
		"slow":     {0, 16, slowChunk, "", slowStartLimit},
		"refused":  {0, 16, slowChunk / 2, transfer.CodeThrottled, slowStartLimit / 2},
		"failed":   {0, 16, slowChunk / 2, transfer.CodeTimeout, slowStartLimit},
		"few":      {0, 5, slowChunk / 2, "", 5},
		"fewer":    {0, 3, slowChunk / 2, "", 3},
		"as asked": {4, 16, slowChunk / 2, "", 4},
	} {
		w := NewWindow(tc.fixed, tc.most, 0)
		if tc.code != "" {
			w.Failed(tc.code)
		}
		w.ChunkDone(1, time.Now().Add(-tc.took))
		if w.limit != tc.want {
			t.Errorf("%s: got the limit %d, want %d", name, w.limit, tc.want)
		}
	}
}

// TestWindowBacksOff halves the limit once for each round in which the endpoint asks for less or
// more calls fail than
// succeed, and leaves a fixed one as it is.
func TestWindowBacksOff(t *testing.T) {
	w := NewWindow(0, 16, 0)
	w.limit, w.running = 16, 16
	w.Failed(transfer.CodeThrottled)
	w.Failed(transfer.CodeThrottled) // of the same round
	if w.limit != 8 {
		t.Errorf("after 429: got the limit %d, want 8", w.limit)
	}
	for range 8 {
		w.Failed(transfer.CodeTimeout)
		w.Failed(transfer.CodeNetwork)
		w.Failed(transfer.CodeConflict)
		w.ChunkDone(1, time.Now())
	}
	if w.limit != 4 {
		t.Errorf("after a round of failures: got the limit %d, want 4", w.limit)
	}
	fixed := NewWindow(5, 16, 0)
	fixed.Failed(transfer.CodeThrottled)
	if fixed.limit != 5 {
		t.Errorf("fixed, after 429: got the limit %d, want 5", fixed.limit)
	}
}

// TestPhases holds the table of finishRound: a window in a phase carries one round, and has the
// next limit and phase.
func TestPhases(t *testing.T) {
	const (
		chunk = 1 << 20
		quick = 100 * time.Millisecond
	)
	baseline := func(limit int, gain float64) float64 { // that a round of quick chunks exceeds by gain
		return chunk / quick.Seconds() * float64(limit) / gain
	}
	for name, tc := range map[string]struct {
		from     *Window
		took     time.Duration // by each chunk
		failures []transfer.Code
		phase    phase
		limit    int
		left     int // rounds
		nextHold int // rounds
	}{
		"slow start, quick":       {slowStart(), quick, nil, phaseClimb, 8, 0, 4},
		"slow start, slow":        {slowStart(), slowChunk, nil, phaseClimb, 4, 0, 4},
		"slow start, failure":     {slowStart(), quick, codes(1, transfer.CodeTimeout), phaseClimb, 4, 0, 4},
		"slow start, throttled":   {slowStart(), quick, codes(1, transfer.CodeThrottled), phaseBackOff, 2, 31, 4},
		"climb, first rate":       {climb(4, 0), quick, nil, phaseClimb, 8, 0, 4},
		"climb, moved more":       {climb(4, baseline(4, 1.11)), quick, nil, phaseClimb, 8, 0, 4},
		"climb, up to the most":   {climb(12, baseline(12, 1.11)), quick, nil, phaseClimb, 16, 0, 4},
		"climb, moved less":       {climb(8, baseline(8, 1.09)), quick, nil, phaseHold, 4, 4, 8},
		"climb, took no time":     {climb(4, 0), 0, nil, phaseClimb, 4, 0, 4},
		"climb, slow chunks":      {climb(4, 0), slowChunk, nil, phaseHold, 4, 4, 4},
		"climb, at the most":      {climb(16, baseline(16, 1.11)), quick, nil, phaseHold, 16, 4, 4},
		"climb, some failures":    {climb(4, 0), quick, codes(4, transfer.CodeTimeout), phaseClimb, 8, 0, 4},
		"climb, more failures":    {climb(4, 0), quick, codes(5, transfer.CodeTimeout), phaseBackOff, 2, 32, 4},
		"climb, a busy drive":     {climb(4, 0), quick, codes(5, transfer.CodeConflict), phaseClimb, 8, 0, 4},
		"climb, throttled":        {climb(8, 0), quick, codes(3, transfer.CodeThrottled), phaseBackOff, 4, 31, 4},
		"hold, a round":           {keep(phaseHold, 8, 2), quick, nil, phaseHold, 8, 1, 4},
		"hold, the last":          {keep(phaseHold, 8, 1), quick, nil, phaseClimb, 8, 0, 4},
		"hold, more failures":     {keep(phaseHold, 8, 2), quick, codes(9, transfer.CodeNetwork), phaseBackOff, 4, 32, 4},
		"back off, a round":       {keep(phaseBackOff, 4, 32), quick, nil, phaseBackOff, 4, 31, 4},
		"back off, the last":      {keep(phaseBackOff, 4, 1), quick, nil, phaseClimb, 4, 0, 4},
		"back off, more failures": {keep(phaseBackOff, 1, 9), quick, codes(2, transfer.CodeNetwork), phaseBackOff, 1, 32, 4},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := tc.from
				w.most, w.running, w.nextHold = 16, w.limit, firstHold
				w.newRound()
				began := time.Now()
				time.Sleep(tc.took)
				for _, code := range tc.failures {
					w.Failed(code)
				}
				chunks := w.limit // backing off has changed it where it did
				if w.phase == phaseSlowStart {
					chunks = 1
				}
				for range chunks {
					w.ChunkDone(chunk, began)
				}
				if w.round.chunks != 0 {
					t.Fatalf("the round goes on after %d chunks", w.round.chunks)
				}
				if w.phase != tc.phase || w.limit != tc.limit || w.left != tc.left || w.nextHold != tc.nextHold {
					t.Errorf("got %s at %d for %d rounds, then hold for %d; want %s at %d for %d, then %d",
						w.phase, w.limit, w.left, w.nextHold, tc.phase, tc.limit, tc.left, tc.nextHold)
				}
				if w.baseline > 0 && w.phase != phaseClimb {
					t.Errorf("got the baseline %g in %s", w.baseline, w.phase)
				}
			})
		})
	}
}

func slowStart() *Window { return &Window{phase: phaseSlowStart, limit: slowStartLimit} }

func climb(limit int, baseline float64) *Window {
	return &Window{phase: phaseClimb, limit: limit, baseline: baseline}
}

func keep(p phase, limit, left int) *Window { return &Window{phase: p, limit: limit, left: left} }

func codes(n int, code transfer.Code) []transfer.Code {
	list := make([]transfer.Code, n)
	for i := range list {
		list[i] = code
	}
	return list
}

// TestFarEndpointSkipsSlowStart, for its first chunk takes four round trips.
func TestFarEndpointSkipsSlowStart(t *testing.T) {
	if w := NewWindow(0, 16, farRTT-1); w.Limit() != slowStartLimit || w.phase != phaseSlowStart {
		t.Errorf("near: got %s at %d, want slow start at %d", w.phase, w.Limit(), slowStartLimit)
	}
	if w := NewWindow(0, 16, farRTT); w.Limit() != 2*slowStartLimit || w.phase != phaseClimb {
		t.Errorf("far: got %s at %d, want climb at %d", w.phase, w.Limit(), 2*slowStartLimit)
	}
}

// TestEnterAndLeaveFollowTheLimit, up and down.
func TestEnterAndLeaveFollowTheLimit(t *testing.T) {
	w := NewWindow(2, 16, 0)
	for n, want := range []bool{true, true, false} {
		if got := w.Enter(); got != want {
			t.Errorf("limit 2, with %d in flight: got %v, want %v", n, got, want)
		}
	}
	if w.Leave() {
		t.Error("limit 2, with 2 in flight: got true from Leave, want false")
	}
	w.limit = 1
	for n, want := range []bool{true, false} {
		if got := w.Leave(); got != want {
			t.Errorf("limit 1, after %d have left: got %v, want %v", n, got, want)
		}
	}
}

// TestOnlyChunksOfTheRoundCount leaves out those that began before it or ran while fewer were in
// flight than a climb tries.
func TestOnlyChunksOfTheRoundCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := NewWindow(0, 16, farRTT)
		began := time.Now()
		time.Sleep(time.Second)
		w.newRound()
		if w.ChunkDone(1, began); w.round.chunks != 0 {
			t.Error("a chunk counted that began before the round")
		}
		began = time.Now()
		time.Sleep(time.Second)
		w.baseline, w.running = 1, w.limit-1
		if w.ChunkDone(1, began); w.round.chunks != 0 {
			t.Error("a chunk counted in a climb with fewer in flight than its limit")
		}
		w.ChunkDone(1, began)
		if !w.Enter() || !w.round.began.After(began) {
			t.Error("the round did not begin when the limit was reached")
		}
		if w.ChunkDone(1, time.Now()); w.round.chunks != 1 {
			t.Error("a chunk of the round did not count")
		}
	})
}

// TestNilWindowCountsNothing: calls before the copy begins have no window.
func TestNilWindowCountsNothing(*testing.T) {
	var w *Window
	w.ChunkDone(1, time.Now())
	w.Failed(transfer.CodeThrottled)
}
