package flow

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/transferd/transferd/internal/transfer"
)

// TestSlowStartDoublesForAQuickFirstChunk, unless a call failed.
func TestSlowStartDoublesForAQuickFirstChunk(t *testing.T) {
	for name, tc := range map[string]struct {
		fixed, most int
		took        time.Duration
		code        transfer.Code
		want        int
	}{
		"quick":     {0, 16, slowChunk / 2, "", 2 * slowStartLimit},
		"slow":      {0, 16, slowChunk, "", slowStartLimit},
		"throttled": {0, 16, slowChunk / 2, transfer.CodeThrottled, slowStartLimit / 2},
		"failed":    {0, 16, slowChunk / 2, transfer.CodeTimeout, slowStartLimit},
		"few":       {0, 5, slowChunk / 2, "", 5},
		"fewer":     {0, 3, slowChunk / 2, "", 3},
		"fixed":     {4, 16, slowChunk / 2, "", 4},
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

// TestWindowBacksOff: the limit halves once in a round in which the endpoint throttles or more
// calls fail than chunks are done. Throttling does not change a fixed limit.
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

// TestWindowFollowsItsTable holds the table at finishRound: after one round a window has the next
// limit and phase.
func TestWindowFollowsItsTable(t *testing.T) {
	const (
		chunk = 1 << 20
		quick = 100 * time.Millisecond
	)
	baseline := func(limit int, gain float64) float64 { // a round of quick chunks exceeds it by gain
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
		"slow start, quick":        {slowStart(), quick, nil, phaseClimb, 8, 0, 4},
		"slow start, slow":         {slowStart(), slowChunk, nil, phaseClimb, 4, 0, 4},
		"slow start, failure":      {slowStart(), quick, codes(1, transfer.CodeTimeout), phaseClimb, 4, 0, 4},
		"slow start, throttled":    {slowStart(), quick, codes(1, transfer.CodeThrottled), phaseBackOff, 2, 31, 4},
		"climb, first rate":        {climb(4, 0), quick, nil, phaseClimb, 8, 0, 4},
		"climb, moved more":        {climb(4, baseline(4, 1.11)), quick, nil, phaseClimb, 8, 0, 4},
		"climb, up to the maximum": {climb(12, baseline(12, 1.11)), quick, nil, phaseClimb, 16, 0, 4},
		"climb, moved less":        {climb(8, baseline(8, 1.09)), quick, nil, phaseHold, 4, 4, 8},
		"climb, took no time":      {climb(4, 0), 0, nil, phaseClimb, 4, 0, 4},
		"climb, slow chunks":       {climb(4, 0), slowChunk, nil, phaseHold, 4, 4, 4},
		"climb, at the maximum":    {climb(16, baseline(16, 1.11)), quick, nil, phaseHold, 16, 4, 4},
		"climb, some failures":     {climb(4, 0), quick, codes(4, transfer.CodeTimeout), phaseClimb, 8, 0, 4},
		"climb, more failures":     {climb(4, 0), quick, codes(5, transfer.CodeTimeout), phaseBackOff, 2, 32, 4},
		"climb, a busy drive":      {climb(4, 0), quick, codes(5, transfer.CodeConflict), phaseClimb, 8, 0, 4},
		"climb, throttled":         {climb(8, 0), quick, codes(3, transfer.CodeThrottled), phaseBackOff, 4, 31, 4},
		"hold, a round":            {keep(phaseHold, 8, 2), quick, nil, phaseHold, 8, 1, 4},
		"hold, the last":           {keep(phaseHold, 8, 1), quick, nil, phaseClimb, 8, 0, 4},
		"hold, more failures": {
			keep(phaseHold, 8, 2), quick, codes(9, transfer.CodeNetwork), phaseBackOff, 4, 32, 4,
		},
		"back off, a round":  {keep(phaseBackOff, 4, 32), quick, nil, phaseBackOff, 4, 31, 4},
		"back off, the last": {keep(phaseBackOff, 4, 1), quick, nil, phaseClimb, 4, 0, 4},
		"back off, more failures": {
			keep(phaseBackOff, 1, 9), quick, codes(2, transfer.CodeNetwork), phaseBackOff, 1, 32, 4,
		},
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
				chunks := w.limit // as throttling has left it
				if w.phase == phaseSlowStart {
					chunks = 1
				}
				for range chunks {
					w.ChunkDone(chunk, began)
				}
				if w.round.chunks != 0 {
					t.Fatalf("got %d chunks in the round, want a new round", w.round.chunks)
				}
				if w.phase != tc.phase || w.limit != tc.limit || w.left != tc.left || w.nextHold != tc.nextHold {
					t.Errorf("got %s at %d for %d rounds, then hold for %d; want %s at %d for %d, then %d",
						w.phase, w.limit, w.left, w.nextHold, tc.phase, tc.limit, tc.left, tc.nextHold)
				}
				if w.baseline > 0 && w.phase != phaseClimb {
					t.Errorf("got baseline %g in phase %s, want 0", w.baseline, w.phase)
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

// TestFarEndpointSkipsSlowStart: there the first chunk takes four long round trips.
func TestFarEndpointSkipsSlowStart(t *testing.T) {
	if w := NewWindow(0, 16, farRTT-1); w.Limit() != slowStartLimit || w.phase != phaseSlowStart {
		t.Errorf("near: got %s at %d, want slow start at %d", w.phase, w.Limit(), slowStartLimit)
	}
	if w := NewWindow(0, 16, farRTT); w.Limit() != 2*slowStartLimit || w.phase != phaseClimb {
		t.Errorf("far: got %s at %d, want climb at %d", w.phase, w.Limit(), 2*slowStartLimit)
	}
}

// TestEnterAndLeaveFollowTheLimit when it grows and when it falls.
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

// TestOnlyChunksOfTheRoundCount: chunks do not count that began before the round, or while fewer
// were in flight than the limit of a climb.
func TestOnlyChunksOfTheRoundCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := NewWindow(0, 16, farRTT)
		began := time.Now()
		time.Sleep(time.Second)
		w.newRound()
		if w.ChunkDone(1, began); w.round.chunks != 0 {
			t.Error("a chunk that began before the round counts, want that it does not")
		}
		began = time.Now()
		time.Sleep(time.Second)
		w.baseline, w.running = 1, w.limit-1
		if w.ChunkDone(1, began); w.round.chunks != 0 {
			t.Error("a chunk counts while fewer are in flight than the limit, want that it does not")
		}
		w.ChunkDone(1, began)
		if !w.Enter() || !w.round.began.After(began) {
			t.Error("the limit is reached: got the same round, want a new one")
		}
		if w.ChunkDone(1, time.Now()); w.round.chunks != 1 {
			t.Errorf("got %d chunks in the round, want 1", w.round.chunks)
		}
	})
}

// TestNilWindowCountsNothing: calls outside of a copy have no window.
func TestNilWindowCountsNothing(*testing.T) {
	var w *Window
	w.ChunkDone(1, time.Now())
	w.Failed(transfer.CodeThrottled)
}

// TestBoundHoldsTheLimitDown until it is removed. A fixed window ignores it.
func TestBoundHoldsTheLimitDown(t *testing.T) { synctest.Test(t, testBound) }

func testBound(t *testing.T) {
	w := NewWindow(0, 64, farRTT)
	if w.Bound(3); w.Limit() != 3 {
		t.Errorf("got limit %d, want 3", w.Limit())
	}
	w.Bound(0)
	for range 50 {
		for w.Enter() {
		}
		began := time.Now()
		time.Sleep(time.Millisecond)
		w.ChunkDone(1<<20, began)
	}
	if w.Limit() <= 3 {
		t.Errorf("got limit %d after the bound is removed, want more than 3", w.Limit())
	}
	fixed := NewWindow(7, 64, 0)
	if fixed.Bound(3); fixed.Limit() != 7 {
		t.Errorf("a fixed window: got limit %d, want 7", fixed.Limit())
	}
}
