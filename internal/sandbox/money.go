package sandbox

import (
	"errors"
	"fmt"
	"math/bits"
	"strings"
)

// money is an amount in cents of the account's currency. Sums and prices are exact; the one place
// that rounds is product.price.
type money int64

// maxUnits limits an amount that parseMoney reads, in whole units, so that sums cannot overflow.
const maxUnits = 1_000_000_000_000

var errMoney = errors.New("not an amount: digits are expected, then optionally a point and one or two digits")

// parseMoney parses an amount of less than maxUnits units, such as 10, 10.5 or -10.50. Blanks, a
// plus sign, an exponent, more than two decimals and a point without digits on both sides are
// errors.
func parseMoney(s string) (money, error) {
	digits, negative := strings.CutPrefix(s, "-")
	whole, cents, hasPoint := strings.Cut(digits, ".")
	if len(cents) > 2 || hasPoint && cents == "" {
		return 0, errMoney
	}
	units, err := parseCount(whole)
	if err != nil || units >= maxUnits {
		return 0, errMoney
	}
	var part int64
	if hasPoint {
		if part, err = parseCount(cents); err != nil {
			return 0, errMoney
		}
		if len(cents) == 1 {
			part *= 10
		}
	}
	m := money(units*100 + part)
	if negative {
		m = -m
	}
	return m, nil
}

// String is m with two decimals, such as -0.05.
func (m money) String() string {
	sign := ""
	if m < 0 {
		sign, m = "-", -m
	}
	return fmt.Sprintf("%s%d.%02d", sign, m/100, m%100)
}

// times is m * n / per, rounded to the nearest cent, half a cent up. m and n are not negative, per
// is at least 1, and the result must fit into 63 bits.
func (m money) times(n, per int64) money {
	high, low := bits.Mul64(uint64(m), uint64(n))
	low, carry := bits.Add64(low, uint64(per/2), 0)
	quotient, _ := bits.Div64(high+carry, low, uint64(per))
	return money(quotient)
}
