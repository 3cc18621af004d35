package leasetest

import "testing"

// TestNoViolationWithAllGuards visits every reachable state.
func TestNoViolationWithAllGuards(t *testing.T) {
	states, history := New().Explore()
	if history != nil {
		t.Fatalf("got a violation after %d states, want none:\n%s", states, String(history))
	}
	t.Logf("%d states", states)
}

// TestEachGuardIsNeeded finds a violation in the model without each guard.
func TestEachGuardIsNeeded(t *testing.T) {
	for _, g := range Guards {
		t.Run(string(g), func(t *testing.T) {
			t.Parallel()
			states, history := New(g).Explore()
			if history == nil {
				t.Fatalf("got no violation in %d states without it", states)
			}
			t.Logf("after %d states:\n%s", states, String(history))
		})
	}
}
