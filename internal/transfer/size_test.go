package transfer

import (
	"math"
	"testing"
)

// TestSizesHaveSuffixesOf1024, up to the largest int64.
func TestSizesHaveSuffixesOf1024(t *testing.T) {
	for _, tc := range []struct {
		in   string
		want int64
	}{
		{"0", 0}, {"1", 1}, {"007", 7}, {"511", 511}, {"0T", 0},
		{"1k", 1 << 10}, {"1K", 1 << 10}, {"4M", 4 << 20}, {"4m", 4 << 20}, {"10G", 10 << 30}, {"2T", 2 << 40},
		{"4096k", 4 << 20},
		{"1KiB", 1 << 10}, {"1kiB", 1 << 10}, {"4MiB", 4 << 20}, {"10GiB", 10 << 30}, {"2TiB", 2 << 40}, {"0KiB", 0},
		{"9223372036854775807", math.MaxInt64},
		{"9007199254740991k", math.MaxInt64 - 1023},
		{"8388607T", 8388607 << 40},
	} {
		if got, err := ParseSize(tc.in); err != nil || got != tc.want {
			t.Errorf("ParseSize(%q) = %d, %v; want %d", tc.in, got, err, tc.want)
		}
	}
}

// TestSizesHaveNoOtherForm: no sign, fraction, blank or overflow.
func TestSizesHaveNoOtherForm(t *testing.T) {
	for _, in := range []string{
		"", " ", "k", "T", "-1", "+1", "1 ", " 1", "1kk", "1kB", "1P", "1.5G", "0x10", "1e3", "1_000", "１", "k1",
		"KiB", "iB", "1iB", "1kib", "1KiBiB", "1 KiB", "1MB", "1Ki", "1B", "1.5GiB", "8388608TiB",
		"9223372036854775808", "9007199254740992k", "8388608T", "99999999999999999999",
	} {
		if got, err := ParseSize(in); CodeOf(err) != CodeInvalid {
			t.Errorf("ParseSize(%q) = %d, %v; want %s", in, got, err, CodeInvalid)
		}
	}
}

// TestFormatSizeIsExact: it has the largest suffix that loses nothing.
func TestFormatSizeIsExact(t *testing.T) {
	for _, tc := range []struct {
		in   int64
		want string
	}{
		{0, "0"}, {1, "1"}, {1023, "1023"}, {1024, "1k"}, {1025, "1025"}, {1536, "1536"}, {2048, "2k"},
		{1<<20 - 1, "1048575"}, {1 << 20, "1M"}, {3 << 29, "1536M"}, {1 << 30, "1G"}, {1 << 40, "1T"},
		{1 << 50, "1024T"}, {math.MaxInt64, "9223372036854775807"},
	} {
		if got := FormatSize(tc.in); got != tc.want {
			t.Errorf("FormatSize(%d) = %q, want %q", tc.in, got, tc.want)
		}
	}
}

// FuzzSize formats each valid size and parses it again.
func FuzzSize(f *testing.F) {
	for _, s := range []string{
		"0", "1", "4M", "10G", "8388607T", "9223372036854775807", "1536k", "", "k", "-1", "512KiB", "4MiB", "10GiB",
		"8388607TiB", "1iB", "KiB",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := ParseSize(s)
		if err != nil {
			return
		}
		if n < 0 {
			t.Fatalf("ParseSize(%q) = %d, want no negative size", s, n)
		}
		if back, err := ParseSize(FormatSize(n)); err != nil || back != n {
			t.Fatalf("%q, formatted as %q: got %d, %v; want %d", s, FormatSize(n), back, err, n)
		}
	})
}
