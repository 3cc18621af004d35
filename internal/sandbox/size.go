package sandbox

import (
	"errors"
	"math"
)

const (
	// maxRead is the longest read, in bytes (manual 7.3).
	maxRead = 4 << 20
	// tooLarge is the first size that a drive cannot have: 1 PiB.
	tooLarge = 1 << 50
)

var errSize = errors.New("not a size: digits are expected, then optionally k, M, G or T")

// parseSize parses decimal digits and an optional suffix k, M, G or T (powers of 1024, either case)
// as a number of bytes. Signs, fractions, blanks, missing digits and values of more than 63 bits
// are errors; 0 is not.
func parseSize(s string) (int64, error) {
	var n int64
	for i := range len(s) {
		c := s[i]
		if c < '0' || c > '9' {
			shift := suffix(c)
			if i == 0 || i != len(s)-1 || shift == 0 || n > math.MaxInt64>>shift {
				return 0, errSize
			}
			return n << shift, nil
		}
		digit := int64(c - '0')
		if n > (math.MaxInt64-digit)/10 {
			return 0, errSize
		}
		n = n*10 + digit
	}
	if s == "" {
		return 0, errSize
	}
	return n, nil
}

// suffix is the power of two of a suffix, 0 if c is none.
func suffix(c byte) int {
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

// driveSize parses the size of a drive: 1 byte up to less than 1 PiB. why is empty for a valid
// size.
func driveSize(s string) (size int64, why string) {
	n, err := parseSize(s)
	switch {
	case err != nil:
		return 0, err.Error()
	case n == 0:
		return 0, "must be at least 1 byte"
	case n >= tooLarge:
		return 0, "must be less than 1 PiB"
	}
	return n, ""
}
