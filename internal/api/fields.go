package api

import (
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/shopspring/decimal"

	"github.com/transferd/transferd/internal/transfer"
)

// fields reads the values of an object. A missing key, and one without a value, is the zero value.
type fields struct {
	Object
	err error // of the first value that is malformed: CodeProtocol
}

func (f *fields) fail(key, want string) {
	if f.err == nil {
		f.err = transfer.Errorf(transfer.CodeProtocol, hintNotAPI,
			"%s is %q, not %s", singleLine([]byte(key)), singleLine([]byte(f.Object[key])), want)
	}
}

// id reads the identifier of an object. It is required.
func (f *fields) id(key string, k *kind) string {
	id := strings.ToLower(f.Object[key])
	if !k.valid(id) && f.err == nil {
		f.err = transfer.Errorf(transfer.CodeProtocol, hintNotAPI, "the response describes no %s", k.name)
	}
	return id
}

// integer reads a whole number.
func (f *fields) integer(key string) int64 {
	if f.Object[key] == "" {
		return 0
	}
	n, err := strconv.ParseInt(f.Object[key], 10, 64)
	if err != nil {
		f.fail(key, "a whole number")
	}
	return n
}

// amountForm bounds an amount: a decimal with a large exponent would take much time and memory. The
// live service also writes exponents, such as 0E-20.
var amountForm = regexp.MustCompile(`^[+-]?[0-9]{1,30}(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,2})?$`)

// amount reads an exact decimal number. It is not Valid if the response has none.
func (f *fields) amount(key string) decimal.NullDecimal {
	text := f.Object[key]
	if text == "" {
		return decimal.NullDecimal{}
	}
	if amountForm.MatchString(text) {
		if d, err := decimal.NewFromString(text); err == nil {
			return decimal.NewNullDecimal(d)
		}
	}
	f.fail(key, "a decimal number")
	return decimal.NullDecimal{}
}

// timeForms are the forms of times in responses. Those without a time zone are UTC.
var timeForms = []string{time.DateTime, "2006-01-02 15:04", time.DateOnly, time.RFC3339}

// time reads the first of the keys that has a value, as a time. It is zero if there is none, or if
// it has another form: times are only displayed.
func (f *fields) time(keys ...string) time.Time {
	for _, key := range keys {
		for _, form := range timeForms {
			if t, err := time.Parse(form, f.Object[key]); err == nil {
				return t
			}
		}
	}
	return time.Time{}
}

// Whole is the integer part of an amount; ok is false if the endpoint does not say it, or if it is
// negative or too large.
func Whole(amount decimal.NullDecimal) (n int64, ok bool) {
	whole := amount.Decimal.BigInt()
	if !amount.Valid || whole.Sign() < 0 || !whole.IsInt64() {
		return 0, false
	}
	return whole.Int64(), true
}
