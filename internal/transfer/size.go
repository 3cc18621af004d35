package transfer

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// ParseSize reads a number of bytes as users and the API write it: decimal digits, then optionally
// k, M, G or T (either case) or KiB, MiB, GiB or TiB. All of them are powers of 1024. It accepts no
// sign, fraction or blank, and the result fits into an int64. Its errors have CodeInvalid.
func ParseSize(s string) (int64, error) {
	digits, shift := strings.TrimSuffix(s, "iB"), 0
	if digits != "" {
		shift = suffixShift(digits[len(digits)-1])
	}
	switch {
	case shift > 0:
		digits = digits[:len(digits)-1]
	case digits != s:
		return 0, badSize(s) // iB without a letter before it
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
		Hint: "write whole bytes, or a number with k, M, G, T, KiB, MiB, GiB or TiB, such as 512k or 10GiB",
	}
}

// FormatSize returns n in the form that ParseSize reads, with the largest suffix that is exact.
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
