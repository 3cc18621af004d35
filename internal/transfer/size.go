package transfer

import (
	"fmt"
	"math"
	"strconv"
)

// ParseSize reads a size as the API writes it: decimal digits, then optionally one of k, M, G, T (powers of 1024;
// either case). There is no sign, fraction or blank, and the result fits into an int64.
func ParseSize(s string) (int64, error) {
	digits, shift := s, 0
	if s != "" {
		if shift = suffixShift(s[len(s)-1]); shift > 0 {
			digits = s[:len(s)-1]
		}
	}
	for i := range len(digits) {
		if digits[i] < '0' || digits[i] > '9' {
			return 0, badSize(s)
		}
	}
	n, err := strconv.ParseUint(digits, 10, 63)
	if err != nil || n > math.MaxInt64>>shift {
		return 0, badSize(s)
	}
	return int64(n) << shift, nil
}

func suffixShift(c byte) int {
	switch c {
	case 'k', 'K':
		return 10
	case 'm', 'M':
		return 20
	case 'g', 'G':
		return 30
	case 't', 'T':
		return 40
	}
	return 0
}

func badSize(s string) error {
	return &Error{
		Op: "read size", Code: CodeInvalid, Err: fmt.Errorf("%q is not a size", s),
		Hint: "write whole bytes, or a number with k, M, G or T (powers of 1024), such as 512k or 10G",
	}
}

// FormatSize writes n in the form that ParseSize reads, with the largest suffix that loses nothing.
func FormatSize(n int64) string {
	if n == 0 {
		return "0"
	}
	for _, u := range []struct {
		suffix string
		shift  int
	}{{"T", 40}, {"G", 30}, {"M", 20}, {"k", 10}} {
		if n&(1<<u.shift-1) == 0 {
			return strconv.FormatInt(n>>u.shift, 10) + u.suffix
		}
	}
	return strconv.FormatInt(n, 10)
}
