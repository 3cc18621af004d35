package sandbox

import (
	"math"
	"math/big"
	"regexp"
	"strings"
	"testing"
)

func TestParseSizeReadsSuffixes(t *testing.T) {
	good := map[string]int64{
		"0": 0, "1": 1, "007": 7, "4M": 4 << 20, "4096k": 4 << 20, "4096K": 4 << 20, "8G": 8 << 30, "1t": 1 << 40,
		"9223372036854775807": math.MaxInt64, "8388607T": 8388607 << 40, "0G": 0,
	}
	for s, want := range good {
		if got, err := parseSize(s); err != nil || got != want {
			t.Errorf("%q: got %d, %v; want %d", s, got, err, want)
		}
	}
	for _, s := range []string{
		"", "k", "-1", "+1", "1.5G", " 1", "1 ", "1 G", "1kk", "1B", "1kB", "0x10", "1e3", "٣",
		"9223372036854775808", "18446744073709551617", "8388608T", "99999999999999999999999G",
	} {
		if n, err := parseSize(s); err == nil {
			t.Errorf("%q: got %d, want an error", s, n)
		}
	}
}

var sizeForm = regexp.MustCompile(`^[0-9]+[kKmMgGtT]?$`)

func FuzzSize(f *testing.F) {
	for _, seed := range []string{"0", "4M", "1T", "9223372036854775808", "8388608T", "1.5G", "-1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := parseSize(s)
		if !sizeForm.MatchString(s) {
			if err == nil {
				t.Fatalf("%q: got %d, want an error", s, n)
			}
			return
		}
		want, shift := new(big.Int), strings.Index("kmgt", strings.ToLower(s[len(s)-1:]))
		want.SetString(strings.TrimRight(s, "kKmMgGtT"), 10)
		want.Lsh(want, uint(10*(shift+1)))
		if want.IsInt64() != (err == nil) || err == nil && n != want.Int64() {
			t.Fatalf("%q: got %d, %v; want %s", s, n, err, want)
		}
	})
}
