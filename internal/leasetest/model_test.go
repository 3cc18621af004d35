package leasetest

import "testing"

// TestNothingIsLostWithAllGuards visits every state.
func TestNothingIsLostWithAllGuards(t *testing.T) {
	states, history := New().Explore()
	if history != nil {
		t.Fatalf("after %d states:\n%s", states, String(history))
	}
	t.Logf("%d states", states)
}

// TestEachGuardIsNeeded finds what goes wrong without it.
func TestEachGuardIsNeeded(t *testing.T) {
	for _, g := range Guards {
		t.Run(string(g), func(t *testing.T) {
			t.Parallel()
			states, history := New(g).Explore()
			if history == nil {
				t.Fatalf("%d states without it, and nothing goes wrong", states)
			}
			t.Logf("after %d states:\n%s", states, String(history))
		})
	}
}
