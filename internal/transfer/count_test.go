package transfer

import "testing"

func TestCountIsSingularOnlyOfOne(t *testing.T) {
	for want, got := range map[string]string{
		"0 drives": Count(0, "drive"), "1 drive": Count(1, "drive"), "2 drives": Count(int64(2), "drive"),
		"1 retry": Count(1, "retry"), "3 retries": Count(3, "retry"),
		"1 mismatch": Count(1, "mismatch"), "0 mismatches": Count(0, "mismatch"),
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
