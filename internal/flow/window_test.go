package flow

import (
	"testing"
	"time"

	"github.com/transferd/transferd/internal/transfer"
)

// TestWindowBegins goes on with more if the first chunk was quick, and nothing went wrong.
func TestWindowBegins(t *testing.T) {
	for name, tc := range map[string]struct {
		fixed, most int
		took        time.Duration
		code        transfer.Code
		want        int
	}{
		"quick":    {0, 16, slowChunk / 2, "", 2 * firstInFlight},
		"slow":     {0, 16, slowChunk, "", firstInFlight},
		"refused":  {0, 16, slowChunk / 2, transfer.CodeThrottled, firstInFlight / 2},
		"failed":   {0, 16, slowChunk / 2, transfer.CodeTimeout, firstInFlight},
		"few":      {0, 5, slowChunk / 2, "", 5},
		"fewer":    {0, 3, slowChunk / 2, "", 3},
		"as asked": {4, 16, slowChunk / 2, "", 4},
	} {
		p := NewWindow(tc.fixed, tc.most, 0)
		if tc.code != "" {
			p.Failed(tc.code)
		}
		p.ChunkDone(1, time.Now().Add(-tc.took))
		if p.limit != tc.want {
			t.Errorf("%s: %d in flight, not %d", name, p.limit, tc.want)
		}
	}
}

// TestWindowFalls halves what is in flight when the endpoint asks for less, and when more fails than succeeds.
func TestWindowFalls(t *testing.T) {
	p := NewWindow(0, 16, 0)
	p.limit, p.running = 16, 16
	p.Failed(transfer.CodeThrottled)
	p.Failed(transfer.CodeThrottled) // of the same round
	if p.limit != 8 {
		t.Errorf("%d in flight after 429", p.limit)
	}
	for range 8 {
		p.Failed(transfer.CodeTimeout)
		p.Failed(transfer.CodeNetwork)
		p.Failed(transfer.CodeConflict)
		p.ChunkDone(1, time.Now())
	}
	if p.limit != 4 {
		t.Errorf("%d in flight after a round of failures", p.limit)
	}
	fixed := NewWindow(5, 16, 0)
	fixed.Failed(transfer.CodeThrottled)
	if fixed.limit != 5 {
		t.Errorf("a number that was asked for became %d", fixed.limit)
	}
}
