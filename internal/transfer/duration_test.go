package transfer

import (
	"math"
	"testing"
	"time"
)

// TestDurationsHaveDays, the units of time.ParseDuration, and no sign.
func TestDurationsHaveDays(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"0s": 0, "0": 0, "0d": 0, "90s": 90 * time.Second, "1h30m": 90 * time.Minute,
		"7d": 168 * time.Hour, "1.5d": 36 * time.Hour, "1d12h": 36 * time.Hour, "300ms": 300 * time.Millisecond,
	} {
		if got, err := ParseDuration(text); got != want || err != nil {
			t.Errorf("%q: got %s, %v; want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"", "7", "d", "-1s", "-1d", "1d-1h", "NaNd", "1e9d", "1w", "tomorrow", "300000000h"} {
		if got, err := ParseDuration(text); CodeOf(err) != CodeInvalid {
			t.Errorf("%q: got %s, %v; want %s", text, got, err, CodeInvalid)
		}
	}
}

// TestFormatDurationOmitsZeroUnits: as in 7d, 1d12h or 5m.
func TestFormatDurationOmitsZeroUnits(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", time.Millisecond: "1ms", 34 * time.Second: "34s", 90 * time.Second: "1m30s", 5 * time.Minute: "5m",
		10 * time.Second: "10s", 10 * time.Minute: "10m", time.Hour: "1h", 10 * time.Hour: "10h",
		time.Hour + time.Second: "1h0m1s", 90 * time.Minute: "1h30m", 24 * time.Hour: "1d", 36 * time.Hour: "1d12h",
		24*time.Hour + 5*time.Second: "1d5s", 7 * 24 * time.Hour: "7d", math.MaxInt64: "106751d23h47m16.854775807s",
	} {
		if got := FormatDuration(d); got != want {
			t.Errorf("FormatDuration(%d) = %q, want %q", d, got, want)
		}
	}
}

// FuzzDuration formats each valid duration, up to the largest number of days, and parses it again.
func FuzzDuration(f *testing.F) {
	for _, s := range []string{"0s", "90s", "7d", "1d12h", "1h0m1s", "1.5d", "300ms", "d", "-1s"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := ParseDuration(s)
		if err != nil || d > 65536*24*time.Hour {
			return
		}
		if back, err := ParseDuration(FormatDuration(d)); err != nil || back != d {
			t.Fatalf("%q, formatted as %q: got %s, %v; want %s", s, FormatDuration(d), back, err, d)
		}
	})
}
