package transfer

import (
	"strconv"
	"strings"
	"time"
)

// ParseDuration parses a duration as users type it: a sum of decimal numbers with the units ns, us,
// ms, s, m, h and d (24 hours), such as 90s, 1h30m or 7d. Negative durations are invalid. Its
// errors have CodeInvalid.
func ParseDuration(s string) (time.Duration, error) {
	var days time.Duration
	hours := s // and smaller units
	if number, after, ok := strings.Cut(s, "d"); ok {
		n, err := strconv.ParseFloat(number, 64)
		const most = 1 << 16                      // days, about 179 years
		if err != nil || !(n >= 0 && n <= most) { // NaN fails this too
			return 0, badDuration(s)
		}
		if days = time.Duration(n * float64(24*time.Hour)); after == "" {
			return days, nil
		}
		hours = after
	}
	d, err := time.ParseDuration(hours)
	if err != nil || d < 0 || days+d < days {
		return 0, badDuration(s)
	}
	return days + d, nil
}

// FormatDuration returns d, which is not negative, in the form that ParseDuration reads: 7d, 1d12h,
// 5m, 1m30s. It omits units that are zero; 0 is 0s.
func FormatDuration(d time.Duration) string {
	const day = 24 * time.Hour
	if d >= day {
		days := strconv.FormatInt(int64(d/day), 10) + "d"
		if d %= day; d == 0 {
			return days
		}
		return days + FormatDuration(d)
	}
	s := d.String() // 1h0m0s
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

func badDuration(s string) error {
	return invalid("use a duration such as 90s, 15m, 6h or 7d", "%q is not a duration", s)
}
