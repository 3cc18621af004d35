package sandbox

import (
	"fmt"
	"math/big"
	"strings"
	"testing"
)

func TestMoneyIsReadToTheCent(t *testing.T) {
	for s, want := range map[string]money{
		"0": 0, "10": 1000, "10.5": 1050, "10.50": 1050, "0.05": 5, "-0.05": -5, "007.10": 710,
		"999999999999.99": 99999999999999,
	} {
		if got, err := parseMoney(s); err != nil || got != want {
			t.Errorf("%q: got %d, %v; want %d", s, got, err, want)
		}
	}
	for _, s := range []string{
		"", "-", ".", "1.", ".5", "1.234", "+1", "1,5", "1e3", " 1", "1 ", "--1", "1.-5", "1.+5", "1k", "1.5k", "٣",
		"1000000000000", "92233720368547758070", "0x1",
	} {
		if got, err := parseMoney(s); err == nil {
			t.Errorf("%q: got %d, want an error", s, got)
		}
	}
}

func FuzzMoney(f *testing.F) {
	for _, seed := range []string{
		"0", "10.5", "-0.05", "1.", ".5", "999999999999.99", "1000000000000", "1e3", "-", "1.005", "-1000001",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		m, err := parseMoney(s)
		if err != nil {
			return
		}
		again, err := parseMoney(m.String())
		if err != nil || again != m {
			t.Fatalf("%q: got %s, which parses as %d, %v; want %d", s, m, again, err, m)
		}
		want, ok := new(big.Rat).SetString(s)
		if got := big.NewRat(int64(m), 100); !ok || got.Cmp(want) != 0 {
			t.Fatalf("%q: got %s, want %v", s, got, want)
		}
	})
}

func TestTimesAreReadInThreeForms(t *testing.T) {
	for s, want := range map[string]string{
		"2026-11-27 14:05:06": "2026-11-27 14:05:06",
		"2026-11-27 14:05":    "2026-11-27 14:05:00",
		"2026-11-27":          "2026-11-27 00:00:00",
		"2000-01-01":          "2000-01-01 00:00:00",
		"2028-02-29":          "2028-02-29 00:00:00",
		"2099-12-31 23:59:59": "2099-12-31 23:59:59",
	} {
		if got, err := parseTime(s); err != nil || formatTime(got) != want {
			t.Errorf("%q: got %v, %v; want %s", s, got, err, want)
		}
	}
	for _, s := range []string{
		"", "2026-11-27T14:05:06Z", "2026-11-27 14:05:06.5", "2026-11-27 24:00:00", "2026-02-29", "2026-13-01",
		"1999-12-31", "2100-01-01", "27.11.2026", "2026-1-2", "2026-11-27 4:05", "2026-11-27 14:05:60", " 2026-11-27",
		"2026-11-27  4:05:06", "2026-11-27 14:05:06,5",
	} {
		if got, err := parseTime(s); err == nil {
			t.Errorf("%q: got %v, want an error", s, got)
		}
	}
}

func FuzzTime(f *testing.F) {
	for _, seed := range []string{
		"2026-11-27 14:05:06", "2026-11-27 14:05", "2026-11-27", "2026-02-29", "0000-00-00", "2026-11-27 14:05:06.9",
		"2000-01-01  0:00",
	} {
		f.Add(seed, 1)
	}
	f.Fuzz(func(t *testing.T, s string, months int) {
		start, err := parseTime(s)
		if err != nil {
			return
		}
		if text := formatTime(start); !strings.HasPrefix(text, s) {
			t.Fatalf("%q: got %s, want the same time", s, text)
		}
		months = 1 + int(uint(months)%maxMonths)
		end := addMonths(start, months)
		passed := (end.Year()-start.Year())*12 + int(end.Month()-start.Month())
		if passed != months || end.Day() > start.Day() || end.Format("15:04:05") != start.Format("15:04:05") {
			t.Fatalf("%s and %d months: got %s", s, months, formatTime(end))
		}
	})
}

func TestAddMonthsStaysInTheMonth(t *testing.T) {
	for _, c := range []struct {
		from string
		n    int
		want string
	}{
		{"2026-01-31", 1, "2026-02-28"}, {"2027-12-31", 2, "2028-02-29"}, {"2026-01-31", 2, "2026-03-31"},
		{"2026-08-31", 1, "2026-09-30"}, {"2026-11-27", 12, "2027-11-27"}, {"2028-02-29", 12, "2029-02-28"},
	} {
		from, err := parseTime(c.from)
		if err != nil {
			t.Fatal(err)
		}
		if got := addMonths(from, c.n).Format(dateLayout); got != c.want {
			t.Errorf("%s and %d months: got %s, want %s", c.from, c.n, got, c.want)
		}
	}
}

func FuzzMegabytes(f *testing.F) {
	for _, seed := range []string{"2048", "2G", "1k", "1024k", "8388608T", "9223372036854775807", "-1", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := parseMegabytes(s)
		if err != nil {
			return
		}
		size, err := parseSize(fmt.Sprintf("%dM", n))
		if err != nil {
			t.Fatalf("%q: got %d MB, which is no size: %v", s, n, err)
		}
		if same, err := parseSize(s); err != nil || same != size && same != n {
			t.Fatalf("%q: got %d MB, want %d bytes", s, n, same)
		}
	})
}
