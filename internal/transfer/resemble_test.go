package transfer

import "testing"

// TestMistypedNamesResemble: prefixes of three bytes, and names that are two edits away.
func TestMistypedNamesResemble(t *testing.T) {
	for _, c := range []struct {
		known, name string
		want        bool
	}{
		{"upload", "uplaod", true}, {"upload", "Upload", true}, {"upload", "upl", true}, {"upload", "up", false},
		{"list", "lst", true}, {"api", "zzz", false}, {"url", "", false}, {"password_file", "passwordfile", true},
		{"upload", "download", false}, {"", "", true},
	} {
		if got := Resembles(c.known, c.name); got != c.want {
			t.Errorf("%q for %q: got %v, want %v", c.name, c.known, got, c.want)
		}
	}
}
