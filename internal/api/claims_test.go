package api

import (
	"strings"
	"testing"
)

// TestClaimsNameTheServer: only those of running servers do.
func TestClaimsNameTheServer(t *testing.T) {
	for text, want := range map[string]Claim{
		uuidA + ":guest:" + uuidB + ":ide:0:0": {Server: uuidB, Device: "ide:0:0"},
		uuidA + ":guest:" + uuidB:              {},
		uuidA + ":imaging:" + uuidB:            {},
		uuidA + ":guest:me:ide:0:0":            {},
		"":                                     {},
	} {
		want.Text = text
		if got := ParseClaim(text); got != want {
			t.Errorf("%q: got %+v, want %+v", text, got, want)
		}
	}
}

// FuzzParseClaim: a claim keeps its text, and names a server by a UUID or not at all.
func FuzzParseClaim(f *testing.F) {
	for _, text := range []string{"", uuidA + ":guest:" + uuidB + ":ide:0:0", uuidA + ":imaging:" + uuidB, ":guest::"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c := ParseClaim(text)
		if c.Text != text || c.Server != "" && !ValidUUID(c.Server) || !strings.HasSuffix(text, c.Device) {
			t.Errorf("%q: got %+v", text, c)
		}
	})
}

// TestServersDoNotWriteToCDsAndTheLibrary: so such a drive is not in use in the sense of a copy.
func TestServersDoNotWriteToCDsAndTheLibrary(t *testing.T) {
	const server = "0a1b2c3d-0a1b-0a1b-0a1b-0a1b2c3d4e5f"
	for name, tc := range map[string]struct {
		keys Object
		want int
	}{
		"disk":    {Object{"type": "disk"}, 1},
		"no type": {Object{}, 1},
		"CD":      {Object{"type": "cdrom"}, 0},
		"library": {Object{"type": "disk", "user": libraryUser}, 0},
	} {
		d := DriveInfo{Claimed: []string{"host:guest:" + server + ":ide:0:0"}, Keys: tc.keys}
		if got := d.Writers(); len(got) != tc.want || len(d.Servers()) != 1 {
			t.Errorf("%s: got writers %q of servers %q, want %d of 1", name, got, d.Servers(), tc.want)
		}
	}
}
