package codec

import "testing"

// TestLevelIsHighWhereProcessorsAreIdle, with hysteresis.
func TestLevelIsHighWhereProcessorsAreIdle(t *testing.T) {
	s := compressionSpeed{rate: 180e6}
	all := s.allCores()
	for _, tc := range []struct {
		goodput, busy float64
		want          int
	}{
		{0, 0, fastLevel},
		{all, 1, fastLevel},
		{all / 3, 0.1, fastLevel},
		{all / 10, 0.1, slowLevel},
		{all / 4, 0.3, slowLevel}, // hysteresis
		{all / 2, 0.3, fastLevel},
		{all / 4, 0.1, fastLevel}, // hysteresis
		{all / 10, 0.1, slowLevel},
		{all / 10, 0.6, fastLevel}, // the processors have other work
		{all / 10, 0.3, fastLevel},
	} {
		if got := s.level(tc.goodput, tc.busy); got != tc.want {
			t.Errorf("at %.0f of %.0f bytes a second and %.1f busy: got level %d, want %d",
				tc.goodput, all, tc.busy, got, tc.want)
		}
	}
}
