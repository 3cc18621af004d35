package transfer

import (
	"strconv"
	"strings"
	"time"
)

// ParseDuration reads a duration as users type it: a sum of whole or broken numbers with the units
// s, m, h and d, a day of 24 hours, such as 90s, 1h30m or 7d; also ms, us and ns. Its errors have
// CodeInvalid.
func ParseDuration(s string) (time.Duration, error) {
	var days time.Duration
	rest := s
	if number, after, ok := strings.Cut(s, "d"); ok {
		n, err := strconv.ParseFloat(number, 64)
		const most = 1 << 16                      // days: more than a century
		if err != nil || !(n >= 0 && n <= most) { // NaN is neither
			return 0, badDuration(s)
		}
		if days = time.Duration(n * float64(24*time.Hour)); after == "" {
			return days, nil
		}
		rest = after
	}
	d, err := time.ParseDuration(rest)
	if err != nil || d < 0 || days+d < days {
		return 0, badDuration(s)
	}
	return days + d, nil
}

// FormatDuration writes d, which is not negative, in the form that ParseDuration reads: 7d, 1d12h,
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
