package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/transfertest"
)

// refusalAfter has words of the refusal of a sound stream with other bytes after it.
func refusalAfter(stream []byte) []string {
	n := len(stream)
	return []string{fmt.Sprintf("is sound and ends at byte %d", n), fmt.Sprintf("head -c %d IN >OUT", n)}
}

// TestTrailingBytesAreTreatedAsGzipAndZstdDo: bytes after a compressed image are treated as gzip
// and zstd treat them. An error says that the image itself is not damaged.
func TestTrailingBytesAreTreatedAsGzipAndZstdDo(t *testing.T) {
	disk := bytes.Repeat([]byte("data of a disk "), 10_000)
	gz, zst := gzipped(t, disk), zstded(t, disk)
	const skippable = "\x5f\x2a\x4d\x18\x04\x00\x00\x00meta"
	for name, tc := range map[string]struct {
		stored []byte
		rest   string
		note   string
		words  []string // of the refusal; none: it is read
	}{
		"gzip, zeros":                {gz, string(make([]byte, 100_000)), "", nil},
		"gzip, one zero":             {gz, "\x00", "", nil},
		"gzip, garbage":              {gz, "garbage", "7 bytes after the gzip stream ignored", nil},
		"gzip, one byte":             {gz, "x", "1 byte after", nil},
		"gzip, zeros and garbage":    {gz, "\x00\x00\x00x", "4 bytes after", nil},
		"gzip, most garbage":         {gz, strings.Repeat("x", maxTrailing), fmt.Sprint(maxTrailing), nil},
		"gzip, too much garbage":     {gz, strings.Repeat("x", maxTrailing+1), "", refusalAfter(gz)},
		"gzip, a torn member":        {gz, "\x1f", "", []string{"truncated"}},
		"gzip, a torn header":        {gz, "\x1f\x8b\x08", "", []string{"truncated"}},
		"gzip, a damaged member":     {gz, "\x1f\x8b\x07 and more than a header takes", "", []string{"damaged"}},
		"gzip, a member and garbage": {append(bytes.Clone(gz), gzipped(t, nil)...), "x", "1 byte after", nil},
		"Zstandard, skippable":       {zst, skippable, "", nil},
		"Zstandard, skippable twice": {append([]byte(skippable), zst...), skippable + skippable, "", nil},
		"Zstandard, torn skippable":  {zst, skippable[:9], "", []string{"truncated"}},
		"Zstandard, zeros":           {zst, string(make([]byte, 100_000)), "", refusalAfter(zst)},
		"Zstandard, garbage":         {zst, "garbage", "", refusalAfter(zst)},
		"Zstandard, one byte":        {zst, "x", "", refusalAfter(zst)},
		"Zstandard, a torn mark":     {zst, "\x28\xb5", "", []string{"truncated"}},
		"Zstandard, a torn header":   {zst, "\x28\xb5\x2f\xfd\x80", "", []string{"truncated"}},
	} {
		for medium, open := range openOn(t, append(bytes.Clone(tc.stored), tc.rest...), Options{Measure: true}) {
			src, err := open()
			var got []byte
			if err == nil {
				got, err = drain(t, src)
			}
			if tc.words != nil {
				expect(t, err, transfer.CodeInvalid, tc.words...)
				continue
			}
			if err != nil || !bytes.Equal(got, disk) {
				t.Errorf("%s on %s: got %d bytes, %v; want %d", name, medium, len(got), err, len(disk))
				continue
			}
			checkWarning(t, src, disk, tc.note)
			closed(t, src)
		}
	}
}

// TestZstdMemoryIsBounded: frames that the zstd program refuses by default are refused with a
// reason.
func TestZstdMemoryIsBounded(t *testing.T) {
	header := func(flags byte, more ...byte) []byte {
		return append(append([]byte("\x28\xb5\x2f\xfd"), flags), more...)
	}
	for name, tc := range map[string]struct {
		stored []byte
		words  []string
	}{
		"a window of 2 GiB":   {header(0, 21<<3), []string{"2048 MiB", "--long=31"}},
		"a little too large":  {header(0, 17<<3|1), []string{"144 MiB", "128 MiB", "--long=31"}},
		"a whole of 1 GiB":    {header(0xa0, 0, 0, 0, 0x40), []string{"1024 MiB", "--long=31"}},
		"a dictionary":        {header(1, 0, 7), []string{"dictionary 7", "zstd -dc -D"}},
		"all that is allowed": {header(0, 17<<3), []string{"truncated"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Open(t.Context(), tempFile(t, "x.zst", tc.stored), Options{Roots: anywhere, Measure: true})
			expect(t, err, transfer.CodeInvalid, tc.words...)
		})
	}
}

// TestFilesOfTheZstdProgramAreRead reads files that the zstd program made with options that the
// library lacks.
func TestFilesOfTheZstdProgramAreRead(t *testing.T) {
	transfertest.RequireProgram(t, "zstd", debian["zstd"])
	disk := bytes.Repeat([]byte("data of a disk "), 100_000)
	for _, flags := range [][]string{
		{"--ultra", "-22"}, {"--long=27"}, {"--no-check"}, {"--no-content-size"}, {"-T2", "-B100KB"},
		{"--stream-size=1500000"},
	} {
		var packed bytes.Buffer
		cmd := exec.Command("zstd", append([]string{"-q", "-c"}, flags...)...)
		cmd.Stdin, cmd.Stdout = bytes.NewReader(disk), &packed
		if err := cmd.Run(); err != nil {
			t.Errorf("zstd %q: %v", flags, err)
			continue
		}
		for medium, open := range openOn(t, packed.Bytes(), Options{}) {
			if got, err := read(t, open); err != nil || !bytes.Equal(got, disk) {
				t.Errorf("%q on %s: got %d bytes, %v; want %d", flags, medium, len(got), err, len(disk))
			}
		}
	}
}

// FuzzZstdFrames: zstdFrames passes a stream on unchanged if the library takes it for complete, and
// returns an error for all others.
func FuzzZstdFrames(f *testing.F) {
	zst := zstded(f, []byte("content"))
	for _, rest := range []string{
		"", "x", "\x00\x00\x00\x00\x00", "\x28\xb5", "\x50\x2a\x4d\x18\x01\x00\x00\x00x", string(zst),
	} {
		f.Add(append(bytes.Clone(zst), rest...))
	}
	f.Fuzz(func(t *testing.T, stored []byte) {
		if formatOf(sample{head: stored}).id != transfer.FormatZstd {
			return
		}
		read := func(r io.Reader) ([]byte, error) {
			z, err := zstd.NewReader(r,
				zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderMaxMemory(64<<20))
			if err != nil {
				return nil, err
			}
			defer z.Close()
			return io.ReadAll(io.LimitReader(z, 1<<20))
		}
		want, wantErr := read(bytes.NewReader(stored))
		src := bytes.NewReader(stored)
		in := newInput(func(_ context.Context, p []byte) (int, error) { return src.Read(p) }, nil)
		in.setContext(t.Context())
		got, err := read(&zstdFrames{in: in})
		var known *transfer.Error
		if errors.As(err, &known) && wantErr != nil {
			return // refused for another reason, or with another text
		}
		if !bytes.Equal(got, want) || (err == nil) != (wantErr == nil) {
			t.Errorf("%x: got %q, %v, want %q, %v", stored, got, err, want, wantErr)
		}
	})
}

// TestStoredDigestCoversTheWholeFile: the SHA-256 of a compressed file covers all of it, also bytes
// after the image.
func TestStoredDigestCoversTheWholeFile(t *testing.T) {
	disk := bytes.Repeat([]byte("data"), 10_000)
	for _, stored := range [][]byte{gzipped(t, disk), append(gzipped(t, disk), "garbage"...), zstded(t, disk)} {
		for medium, open := range openOn(t, stored, Options{StoredDigest: true, Measure: true}) {
			src, err := open()
			if err != nil {
				t.Fatal(err)
			}
			d := src.(transfer.StoredDigester)
			if early := d.StoredSHA256(); early != "" {
				t.Errorf("%s, before the end: got %s, want none", medium, early)
			}
			if _, err := drain(t, src); err != nil || d.StoredSHA256() != sha256Of(stored) {
				t.Errorf("%s: got %s, %v; want %s", medium, d.StoredSHA256(), err, sha256Of(stored))
			}
			closed(t, src)
		}
	}
	src := open(t, tempFile(t, "x.gz", gzipped(t, disk)), Options{})
	defer closed(t, src)
	_, err := drain(t, src)
	if got := src.(transfer.StoredDigester).StoredSHA256(); err != nil || got != "" {
		t.Errorf("without StoredDigest: got %q, %v; want none", got, err)
	}
}
