package image

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/transferd/transferd/internal/transfer"
)

// TestMagics begins a file with each mark of each format.
func TestMagics(t *testing.T) {
	for _, f := range formats {
		for _, m := range f.magics {
			if m.off+len(m.bytes) > headSize {
				t.Errorf("%s: a magic ends at %d, beyond the %d bytes that are looked at", f.name, m.off+len(m.bytes), headSize)
			}
			head := make([]byte, headSize)
			copy(head[m.off:], m.bytes)
			got, err := formatOf("open x", "x", head)
			if f.convert != "" {
				expect(t, err, transfer.CodeInvalid, "this is a "+f.name+" file, no raw image", f.convert)
				continue
			}
			if err != nil || got.name != f.name {
				t.Errorf("%s: got %v, %v", f.name, got, err)
			}
			// A mark that is cut off is none, and a raw image may begin with anything.
			if got, err := formatOf("open x", "x", head[:max(0, m.off+len(m.bytes)-1)]); err != nil || got.id != transfer.FormatRaw {
				t.Errorf("%s, cut off: got %v, %v, want raw", f.name, got, err)
			}
		}
	}
	if last := formats[len(formats)-1]; last.id != transfer.FormatRaw || !last.begins(nil) {
		t.Errorf("the last format is %s, want raw, which is all that nothing else is", last.name)
	}
}

// TestSkippableFrames are 16 marks, of which a mask makes one row (RFC 8878, 3.1.2).
func TestSkippableFrames(t *testing.T) {
	for first := range 256 {
		head := append([]byte{byte(first)}, "\x2a\x4d\x18 and more"...)
		want := transfer.FormatRaw
		if first >= 0x50 && first <= 0x5f {
			want = transfer.FormatZstd
		}
		if f, err := formatOf("open x", "x", head); err != nil || f.id != want {
			t.Errorf("%#x: got %v, %v, want %s", first, f, err, want)
		}
	}
}

// TestNames compares what a file's name says of its format with its content.
func TestNames(t *testing.T) {
	gz, zst, raw := []byte("\x1f\x8b\x08"), []byte("\x28\xb5\x2f\xfd"), []byte("content")
	for _, tc := range []struct {
		name string
		head []byte
		ok   bool
	}{
		{"x.gz", gz, true}, {"/a/X.GZ", gz, true}, {"x.gz", raw, false}, {"x.gz", zst, false}, {"x.gz", nil, false},
		{"x.zst", zst, true}, {"x.zst", raw, false}, {"x.zst", gz, false},
		{"x.img", gz, true}, {"x", zst, true}, {"x.img", raw, true}, {"", nil, true}, {"x.gz/y", raw, true},
	} {
		_, err := formatOf("open x", tc.name, tc.head)
		if tc.ok && err != nil {
			t.Errorf("%s with %q: %v", tc.name, tc.head, err)
		}
		if !tc.ok {
			expect(t, err, transfer.CodeInvalid, "damaged")
		}
	}
}

// TestFormatNamed finds what jobs can write, by the names that they have for it, and nothing else.
func TestFormatNamed(t *testing.T) {
	for _, id := range []transfer.Format{transfer.FormatRaw, transfer.FormatGzip, transfer.FormatZstd} {
		f := formatNamed(id)
		if f == nil || f.id != id || f.encode == nil || f.decode == nil {
			t.Fatalf("%s: got %+v", id, f)
		}
		var stored bytes.Buffer
		enc, err := f.encode(&stored)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Fprint(enc, "content"); err != nil {
			t.Error(err)
		}
		closed(t, enc)
		enc.abandon()
		if got, err := formatOf("open x", "x", stored.Bytes()); err != nil || got.id != id {
			t.Errorf("what is stored as %s is taken for %v, %v", id, got, err)
		}
	}
	for _, id := range []transfer.Format{"", "qcow2", "gzip"} {
		if f := formatNamed(id); f != nil {
			t.Errorf("%q: got %s, want none", id, f.name)
		}
	}
	_, err := Create(t.Context(), "x", CreateOptions{Format: "qcow2", Roots: everywhere})
	expect(t, err, transfer.CodeInvalid, "qcow2")
}
