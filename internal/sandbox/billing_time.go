package sandbox

import (
	"errors"
	"time"
)

const (
	timeLayout = "2006-01-02 15:04:05" // of responses; UTC
	dateLayout = "2006-01-02"
)

// Times of inputs are in these years; the price list is valid in all of them.
const firstYear, lastYear = 2000, 2099

var errTime = errors.New("must be a time from 2000 to 2099, as YYYY-MM-DD HH:MM:SS")

// parseTime parses YYYY-MM-DD HH:MM:SS, or the same without seconds or without a time of day, as
// UTC. Other forms that time.Parse takes, with fractions of seconds or blanks for zeros, are
// errors.
func parseTime(s string) (time.Time, error) {
	for _, layout := range []string{timeLayout, "2006-01-02 15:04", dateLayout} {
		t, err := time.Parse(layout, s)
		if err == nil && t.Format(layout) == s && t.Year() >= firstYear && t.Year() <= lastYear {
			return t, nil
		}
	}
	return time.Time{}, errTime
}

func formatTime(t time.Time) string { return t.UTC().Format(timeLayout) }

// addMonths is t, n calendar months later. If that month is too short for its day, the result is on
// the month's last day.
func addMonths(t time.Time, n int) time.Time {
	later := t.AddDate(0, n, 0)
	if later.Day() != t.Day() { // AddDate went on into the month after
		later = later.AddDate(0, 0, -later.Day())
	}
	return later
}
