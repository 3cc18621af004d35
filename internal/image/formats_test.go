package image

import (
	"archive/tar"
	"bytes"
	"fmt"
	"math/bits"
	"strings"
	"testing"

	"github.com/transferd/transferd/internal/transfer"
)

// noMetadata is the metadata of a medium without any.
var noMetadata metadata

// contentOf is content that begins, or ends, with a signature.
func contentOf(m signature) sample {
	s := sample{head: make([]byte, sampleSize), tail: make([]byte, sampleSize)}
	switch {
	case m.off < 0:
		copy(s.tail[sampleSize+m.off:], m.bytes)
	default:
		copy(s.head[m.off:], m.bytes)
	}
	return s
}

// TestEverySignatureIsFound: each signature of each format is found in a file, in a gzip stream and
// in a Zstandard frame.
func TestEverySignatureIsFound(t *testing.T) {
	for i := range formats {
		f := &formats[i]
		for _, m := range f.signatures {
			if m.is != nil {
				continue
			}
			if bits := bitsOf(m); bits < 32 && !f.readable() || bits < 27 {
				t.Errorf("%s: got a signature of %d bits, which raw images have by chance; want 32", f.name, bits)
			}
			if len(m.bytes)+max(m.off, -m.off-len(m.bytes)) > sampleSize {
				t.Errorf("%s: got a signature outside of the sample of %d bytes", f.name, sampleSize)
			}
			s := contentOf(m)
			if f.readable() {
				if got, err := noMetadata.accept("open x", s); err != nil || got != f {
					t.Errorf("got %v, %v; want %s", got, err, f.name)
				}
			} else {
				_, err := noMetadata.accept("open x", s)
				expect(t, err, transfer.CodeInvalid,
					"this is "+f.name+", not a raw image", f.convert, f.advice, "--format raw")
			}
			for _, outer := range []transfer.Format{transfer.FormatGzip, transfer.FormatZstd} {
				err := noMetadata.acceptInside("open x", formatNamed(outer), s)
				expect(t, err, transfer.CodeInvalid, "with "+f.name+" in it", f.advice, "--format "+string(outer))
			}
			xz := formatOf(sample{head: []byte("\xfd7zXZ\x00")})
			err := noMetadata.acceptInside("open x", xz, s)
			expect(t, err, transfer.CodeInvalid, "with "+f.name+" in it", "copy it as it is: xz -dc IN >FILE")
			// An incomplete signature does not count: a raw image may begin with any bytes.
			if !m.text && m.off >= 0 {
				cut := sample{head: s.head[:m.off+len(m.bytes)-1]}
				if got := formatOf(cut); got == f {
					t.Errorf("got %s for an incomplete signature, want another format", f.name)
				}
			}
		}
	}
}

func bitsOf(m signature) (n int) {
	for i := range len(m.bytes) {
		b := byte(0xff)
		if m.mask != "" {
			b = m.mask[i]
		}
		n += bits.OnesCount8(b)
	}
	return n
}

// TestSkippableFramesAreZstandard: one signature with a mask has all 16 magic numbers (RFC 8878,
// 3.1.2).
func TestSkippableFramesAreZstandard(t *testing.T) {
	for first := range 256 {
		head := append([]byte{byte(first)}, "\x2a\x4d\x18 and more"...)
		want := transfer.FormatRaw
		if first >= 0x50 && first <= 0x5f {
			want = transfer.FormatZstd
		}
		if f := formatOf(sample{head: head}); f.id != want {
			t.Errorf("%#x: got %v, want %s", first, f.name, want)
		}
	}
}

// TestTextSignaturesIgnoreCaseAndBlanks: pages and descriptors are found in each common form.
func TestTextSignaturesIgnoreCaseAndBlanks(t *testing.T) {
	for content, want := range map[string]string{
		"<!DOCTYPE html>\n<html>": "HTML", "\xef\xbb\xbf\r\n  <HTML lang=en>": "HTML", "<head>": "HTML",
		"<?xml version=\"1.0\"?><Error/>": "XML", "# Disk DescriptorFile\r\nversion=1": "VMDK",
		"version https://git-lfs.github.com/spec/v1\noid": "LFS", "%PDF-1.7\n%\xb5": "PDF",
		"\x1f\x9d\x90\x64\xca\xd0": "compress", "{\n  \"error\": \"denied\"\n}": "JSON", "[ {\"id\": 1}]": "JSON",
		"{\"\x00\x01": "raw", "{ 1": "raw", "{": "raw",
		"plain text": "raw", "<": "raw", "": "raw",
	} {
		if f := formatOf(sample{head: []byte(content)}); !strings.Contains(f.name, want) {
			t.Errorf("%q: got %s, want %s", content, f.name, want)
		}
	}
}

// TestBootSectorIsNoTarArchive: tar archives of every kind are recognised, and a boot sector with
// the magic of tar is a raw image.
func TestBootSectorIsNoTarArchive(t *testing.T) {
	archive := func(name string) []byte {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		if err := w.WriteHeader(&tar.Header{Name: name, Size: 3, Mode: 0o600}); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()[:sampleSize]
	}
	v7 := archive("disk.img")
	copy(v7[tarMagic:], make([]byte, 8))
	sum := int64(tarSumLen * ' ')
	for i, c := range v7 {
		if i < tarSum || i >= tarSum+tarSumLen {
			sum += int64(c)
		}
	}
	copy(v7[tarSum:], fmt.Sprintf("%06o\x00 ", sum))
	boot := make([]byte, sampleSize)
	copy(boot[tarMagic:], "ustar")
	damaged := bytes.Clone(boot)
	copy(boot[bootSigOffset:], "\x55\xaa")
	for want, heads := range map[string][][]byte{
		"a tar archive": {archive("disk.img"), archive("vm.ovf"), v7, damaged},
		"a raw image":   {boot, make([]byte, sampleSize), v7[:sampleSize-1], nil},
	} {
		for i, head := range heads {
			if f := formatOf(sample{head: head}); f.name != want {
				t.Errorf("%d: got %s, want %s", i, f.name, want)
			}
		}
	}
}

// TestContentMustMatchTheName: a file whose name and content have different formats is refused.
func TestContentMustMatchTheName(t *testing.T) {
	gz, zst, raw := []byte("\x1f\x8b\x08\x00"), []byte("\x28\xb5\x2f\xfd"), []byte("content")
	for _, tc := range []struct {
		name string
		head []byte
		ok   bool
	}{
		{"x.gz", gz, true}, {"/a/X.GZ", gz, true}, {"x.gz", raw, false}, {"x.gz", zst, false}, {"x.gz", nil, false},
		{"x.zst", zst, true}, {"x.zst", raw, false}, {"x.zst", gz, false}, {"x.xz", raw, false}, {"x.bz2", raw, false},
		{"x.img", gz, true}, {"x", zst, true}, {"x.img", raw, true}, {"", nil, true}, {"x.gz/y", raw, true},
		// The flat extent of a VMDK image is raw, and other raw images may have such names, too.
		{"x-flat.vmdk", raw, true}, {"x.qcow2", raw, true}, {"x.vhd", raw, true},
	} {
		_, err := metadata{fileName: tc.name}.accept("open x", sample{head: tc.head})
		if tc.ok && err != nil {
			t.Errorf("%s with %q: got %v, want success", tc.name, tc.head, err)
		}
		if !tc.ok {
			expect(t, err, transfer.CodeInvalid, "damaged", "--format raw")
		}
	}
}

// FuzzFormat: any content has a format. Content whose first and last sector are zeros is accepted,
// and each refusal has a reason.
func FuzzFormat(f *testing.F) {
	for i := range formats {
		for _, m := range formats[i].signatures {
			s := contentOf(m)
			f.Add(s.head, s.tail)
		}
	}
	f.Fuzz(func(t *testing.T, head, tail []byte) {
		s := sample{head: head[:min(len(head), sampleSize)], tail: tail[:min(len(tail), sampleSize)]}
		got, err := noMetadata.accept("open x", s)
		if (err == nil) != (got != nil && got.readable()) {
			t.Errorf("got %v, %v; want an error for a format that is not read, and only then", got, err)
		}
		if err != nil {
			expect(t, err, transfer.CodeInvalid, "not a raw image", "--format raw")
		}
		if len(bytes.Trim(head, "\x00")) == 0 && len(bytes.Trim(tail, "\x00")) == 0 && got != &raw {
			t.Errorf("zeros: got %v, %v; want a raw image", got, err)
		}
	})
}

// TestFormatsOfJobsAreStoredAndRead: jobs can store and read each format that they can name, and no
// other.
func TestFormatsOfJobsAreStoredAndRead(t *testing.T) {
	for _, id := range []transfer.Format{transfer.FormatRaw, transfer.FormatGzip, transfer.FormatZstd} {
		f := formatNamed(id)
		if f == nil || f.id != id || f.encode == nil || f.decode == nil {
			t.Fatalf("%s: got %+v, want a format with encode and decode", id, f)
		}
		var stored bytes.Buffer
		enc, err := f.encode(&stored)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Fprint(enc, "content"); err != nil {
			t.Errorf("%s: got %v, want success", id, err)
		}
		closed(t, enc)
		enc.abandon()
		if got, err := noMetadata.accept("open x", sample{head: stored.Bytes()}); err != nil || got.id != id {
			t.Errorf("content stored as %s: got %v, %v", id, got, err)
		}
	}
	for _, id := range []transfer.Format{"", "vmdk", "gzip"} {
		if f := formatNamed(id); f != nil {
			t.Errorf("%q: got %s, want none", id, f.name)
		}
	}
	_, err := Create(t.Context(), "x", CreateOptions{Format: "vmdk", Roots: anywhere})
	expect(t, err, transfer.CodeInvalid, "vmdk")
}
