package transfer

import (
	"testing"
	"time"
)

func TestParseDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"0s": 0, "0": 0, "0d": 0, "90s": 90 * time.Second, "1h30m": 90 * time.Minute,
		"7d": 168 * time.Hour, "1.5d": 36 * time.Hour, "1d12h": 36 * time.Hour, "300ms": 300 * time.Millisecond,
	} {
		if got, err := ParseDuration(text); got != want || err != nil {
			t.Errorf("%q is %s, %v, not %s", text, got, err, want)
		}
	}
	for _, text := range []string{"", "7", "d", "-1s", "-1d", "1d-1h", "NaNd", "1e9d", "1w", "tomorrow", "300000000h"} {
		if got, err := ParseDuration(text); CodeOf(err) != CodeInvalid {
			t.Errorf("%q is %s, %v", text, got, err)
		}
	}
}
