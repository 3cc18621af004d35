package codec

import "testing"

// TestLevel is the high one where the link leaves the processors idle.
func TestLevel(t *testing.T) {
	s := speed{rate: 180e6}
	all := s.allCores()
	for _, tc := range []struct {
		goodput, busy float64
		want          int
	}{
		{0, 0, fastLevel},
		{all, 1, fastLevel},
		{all / 3, 0.1, fastLevel},
		{all / 10, 0.1, slowLevel},
		{all / 4, 0.3, slowLevel}, // it is kept
		{all / 2, 0.3, fastLevel},
		{all / 4, 0.1, fastLevel}, // it is kept
		{all / 10, 0.1, slowLevel},
		{all / 10, 0.6, fastLevel}, // the processors have other things to do
		{all / 10, 0.3, fastLevel},
	} {
		if got := s.level(tc.goodput, tc.busy); got != tc.want {
			t.Errorf("at %.0f of %.0f bytes a second and %.1f busy the level is %d, not %d",
				tc.goodput, all, tc.busy, got, tc.want)
		}
	}
}
