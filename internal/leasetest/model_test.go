package leasetest

import "testing"

// TestNoViolationWithAllRules visits every reachable state.
func TestNoViolationWithAllRules(t *testing.T) {
	states, history := New().Explore()
	if history != nil {
		t.Fatalf("got a violation after %d states, want none:\n%s", states, String(history))
	}
	t.Logf("%d states", states)
}

// TestEachRuleIsNeeded finds a violation in the model without each rule.
func TestEachRuleIsNeeded(t *testing.T) {
	for _, r := range Rules {
		t.Run(string(r), func(t *testing.T) {
			t.Parallel()
			states, history := New(r).Explore()
			if history == nil {
				t.Fatalf("got no violation in %d states without it", states)
			}
			t.Logf("after %d states:\n%s", states, String(history))
		})
	}
}
