package image

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os/exec"
	"testing"

	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/transfertest"
)

// packedBy packs content by a program that reads standard input and writes standard output.
func packedBy(t testing.TB, content []byte, program string, flags ...string) []byte {
	t.Helper()
	transfertest.RequireProgram(t, program, debian[program])
	var packed, problem bytes.Buffer
	cmd := exec.Command(program, flags...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(content), &packed, &problem
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %q: %v\n%s", program, flags, err, problem.Bytes())
	}
	return packed.Bytes()
}

// noisyDisk is content with noise, text and zeros.
func noisyDisk() []byte {
	disk := make([]byte, 300_000)
	source := rand.NewChaCha8([32]byte{1})
	_, _ = source.Read(disk[1000:100_000])
	return append(disk, bytes.Repeat([]byte("data of a disk "), 10_000)...)
}

// TestFilesOfXzAndBzip2AreRead reads, on each medium, files that the programs made with all their
// options, and files of several streams, as pbzip2 and pixz write them.
func TestFilesOfXzAndBzip2AreRead(t *testing.T) {
	disk := noisyDisk()
	xz := func(flags ...string) []byte { return packedBy(t, disk, "xz", append([]string{"-c"}, flags...)...) }
	bz := func(flags ...string) []byte { return packedBy(t, disk, "bzip2", append([]string{"-c"}, flags...)...) }
	half := len(disk) / 2
	halves := func(program string) [][]byte {
		return [][]byte{packedBy(t, disk[:half], program, "-c"), packedBy(t, disk[half:], program, "-c")}
	}
	x, b := halves("xz"), halves("bzip2")
	none := packedBy(t, nil, "bzip2", "-c")
	for name, stored := range map[string][]byte{
		"xz -0": xz("-0"), "xz -9e": xz("-9e"), "blocks": xz("-T2", "--block-size=50000"),
		"no check": xz("--check=none"), "CRC-32": xz("--check=crc32"), "SHA-256": xz("--check=sha256"),
		"x86": xz("--x86", "--lzma2"), "delta": xz("--delta=dist=4", "--lzma2"), "ARM": xz("--arm", "--lzma2"),
		"xz streams": joined(x...), "xz padding": joined(x[0], make([]byte, 8), x[1], make([]byte, 400_000)),
		"bzip2 -1": bz("-1"), "bzip2 -9": bz("-9"), "bzip2 streams": joined(b...),
		"bzip2 padding": joined(b[0], b[1], make([]byte, 400_000)), "two zeros": joined(b[0], b[1], make([]byte, 2)),
		"an empty stream": joined(none, b[0], none, b[1], none),
	} {
		for medium, open := range openOn(t, stored, Options{Measure: true, StoredDigest: true}) {
			src, err := open()
			if err != nil {
				t.Errorf("%s on %s: got %v, want success", name, medium, err)
				continue
			}
			got, err := drain(t, src)
			if err != nil || !bytes.Equal(got, disk) {
				t.Errorf("%s on %s: got %d bytes, %v; want %d", name, medium, len(got), err, len(disk))
			}
			if sum := src.(transfer.StoredDigester).StoredSHA256(); sum != sha256Of(stored) {
				t.Errorf("%s on %s: got SHA-256 %s of the file, want %s", name, medium, sum, sha256Of(stored))
			}
			closed(t, src)
		}
	}
}

// TestTruncatedFilesOfXzAndBzip2AreRefused: a file that ends within a stream is never complete.
func TestTruncatedFilesOfXzAndBzip2AreRefused(t *testing.T) {
	for name, stored := range map[string][]byte{
		"xz":    packedBy(t, []byte("data of a disk"), "xz", "-c"),
		"bzip2": packedBy(t, []byte("data of a disk"), "bzip2", "-c"),
	} {
		if got, err := unpacked(t, stored); err != nil || string(got) != "data of a disk" {
			t.Fatalf("%s: got %q, %v; want the content", name, got, err)
		}
		complete := len(stored)
		twice := joined(stored, stored)
		for n := 13; n < len(twice); n++ { // the signatures have up to 10 bytes
			got, err := unpacked(t, twice[:n])
			if n == complete {
				continue
			}
			if err == nil {
				t.Errorf("%s: got %q of the first %d bytes, want a refusal", name, got, n)
				continue
			}
			expect(t, err, transfer.CodeInvalid, "truncated")
		}
	}
}

// unpacked is the content of a compressed file.
func unpacked(t testing.TB, stored []byte) ([]byte, error) {
	t.Helper()
	src := bytes.NewReader(stored)
	m := &stdin{in: newInput(readCancelable(src), nil)}
	r, err := detect(t.Context(), m, "")
	if err != nil {
		return nil, err
	}
	image, err := decodeMedium(t.Context(), m, r, Options{})
	if err != nil {
		return nil, err
	}
	defer closed(t, image)
	p := make([]byte, 1<<20)
	n, err := image.next(t.Context(), p)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return p[:n], err
}

// TestDamagedFilesOfXzAndBzip2AreRefused: damage in the data, bytes after the last stream and
// options that are not read here are refused with the reason.
func TestDamagedFilesOfXzAndBzip2AreRefused(t *testing.T) {
	disk := noisyDisk()
	xz, bz := packedBy(t, disk, "xz", "-c"), packedBy(t, disk, "bzip2", "-c")
	large := packedBy(t, disk, "xz", "-c", "--lzma2=dict=256MiB")
	filtered := packedBy(t, disk, "xz", "-c", "--arm64", "--lzma2") // xz 5.4 has it, the library not
	damaged := func(p []byte) []byte {
		p = bytes.Clone(p)
		p[len(p)/2] ^= 1
		return p
	}
	for name, tc := range map[string]struct {
		stored []byte
		words  []string
	}{
		"xz, damaged": {damaged(xz), []string{"damaged"}},
		"xz, garbage": {joined(xz, []byte("garbage and more")),
			[]string{"other bytes follow a complete xz stream"}},
		"xz, odd padding":        {joined(xz, make([]byte, 5)), []string{"damaged"}},
		"xz, a dictionary":       {large, []string{"128 MiB", "xz -dc IN"}},
		"xz, RISC-V":             {filtered, []string{"filter", "xz -dc IN"}},
		"bzip2, damaged":         {damaged(bz), []string{"damaged"}},
		"bzip2, garbage":         {joined(bz, []byte("garbage")), refusalAfter(bz)},
		"bzip2, a zero, garbage": {joined(bz, make([]byte, 3), []byte("x")), refusalAfter(bz)},
		"bzip2, a torn one":      {joined(bz, []byte("BZ")), []string{"truncated"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Open(t.Context(), tempFile(t, "x.img", tc.stored), Options{Roots: anywhere, Measure: true})
			expect(t, err, transfer.CodeInvalid, tc.words...)
		})
	}
}
