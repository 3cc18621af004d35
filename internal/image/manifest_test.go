package image

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/transfertest"
	"github.com/transferd/transferd/internal/verify"
)

// describe writes the manifest of content for the file at path.
func describe(t *testing.T, path string, content []byte) {
	t.Helper()
	var text bytes.Buffer
	if err := verify.WriteManifest(&text, transfertest.Manifest(content, transfer.MinChunkSize)); err != nil {
		t.Fatal(err)
	}
	writeFile(t, path+manifestSuffix, text.Bytes())
}

// TestManifestDecidesTheFormat: the manifest decides how to read a backup of a drive that looks
// like another format.
func TestManifestDecidesTheFormat(t *testing.T) {
	disk := bytes.Repeat([]byte("data"), 5000)
	qcow := append([]byte("QFI\xfb\x00\x00\x00\x03"), disk...)
	const another = "it describes another image"
	gz := gzipped(t, disk)
	vhd := append(append(bytes.Clone(disk), "conectix"...), make([]byte, sampleSize-8)...)
	for name, tc := range map[string]struct {
		file            string
		stored, of, got []byte // the file, the content that the manifest describes, the image that is read
		warning         string // of what is read; empty: none
		refusal         string
	}{
		"a gzip stream on a drive":       {"x.img", gz, gz, gz, "", ""},
		"a qcow2 image on a drive":       {"x.img", qcow, qcow, qcow, "", ""},
		"a footer on a drive":            {"x.img", vhd, vhd, vhd, "", ""},
		"a name of another format":       {"x.img.gz", disk, disk, disk, "", ""},
		"a compressed backup":            {"x.img.gz", gz, disk, disk, "", ""},
		"a compressed backup of a qcow2": {"x.img.gz", gzipped(t, qcow), qcow, qcow, "", ""},
		"a Zstandard backup of a gzip":   {"x.img.zst", zstded(t, gz), gz, gz, "", ""},
		"a raw image":                    {"x.img", disk, disk, disk, "", ""},
		"another qcow2 image":            {"x.img", qcow, flipped(qcow), nil, "", another},
		"a damaged manifest":             {"x.img", gz, nil, disk, "is ignored", ""},
		"a qcow2, a damaged manifest":    {"x.img", qcow, nil, nil, "", "is ignored"},
	} {
		t.Run(name, func(t *testing.T) {
			path := tempFile(t, tc.file, tc.stored)
			if describe(t, path, tc.of); tc.of == nil {
				writeFile(t, path+manifestSuffix, []byte(`{"version": 1`))
			}
			for _, open := range []func() (transfer.Source, error){
				func() (transfer.Source, error) {
					return Open(t.Context(), path, Options{Roots: anywhere, Measure: true})
				},
				func() (transfer.Source, error) {
					return OpenImageOrManifest(t.Context(), path, Options{Roots: anywhere})
				},
			} {
				src, err := open()
				if tc.refusal != "" {
					expect(t, err, transfer.CodeInvalid, manifestSuffix, tc.refusal, "a qcow2 image")
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				if got, err := drain(t, src); err != nil || !bytes.Equal(got, tc.got) {
					t.Errorf("got %d bytes, %v; want %d", len(got), err, len(tc.got))
				}
				checkWarning(t, src, tc.got, tc.warning)
				closed(t, src)
			}
		})
	}
}

// TestImageMustMatchItsManifest: an image that differs from its manifest fails, if its size is
// known when it is opened, and otherwise when it was read. --format leaves the manifest out.
func TestImageMustMatchItsManifest(t *testing.T) {
	disk := bytes.Repeat([]byte("data"), 5000)
	gz := gzipped(t, disk)
	for name, tc := range map[string]struct {
		stored, of []byte // the file, and the content that the manifest describes
		measure    bool
		opens      bool
		want       string
	}{
		"a raw image that was changed":   {disk, flipped(disk), true, true, "chunks_root"},
		"a raw image that has grown":     {disk, disk[1:], true, false, "has 20000 bytes, and the manifest has 19999"},
		"a raw image that was cut off":   {disk[1:], disk, true, false, "has 19999 bytes, and the manifest has 20000"},
		"a gzip stream that was changed": {gz, flipped(disk), true, true, "chunks_root"},
		"one of another size":            {gz, disk[1:], true, false, "has 20000 bytes"},
		"one that is not measured":       {gz, disk[1:], false, true, "has 20000 bytes"},
		"one of the manifest's size":     {gz, flipped(gz), true, false, "has 20000 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			path := tempFile(t, "x.img", tc.stored)
			describe(t, path, tc.of)
			src, err := Open(t.Context(), path, Options{Roots: anywhere, Measure: tc.measure})
			if (err == nil) != tc.opens {
				t.Fatalf("got %v, want that it opens: %t", err, tc.opens)
			}
			if err == nil {
				content, drainErr := drain(t, src)
				if drainErr != nil {
					t.Fatal(drainErr)
				}
				err = src.(transfer.Described).CheckImage(transfertest.Manifest(content, transfer.MinChunkSize))
				closed(t, src)
			}
			expect(t, err, transfer.CodeMismatch, path, path+manifestSuffix, tc.want, "remove the manifest", "--format")
			if !errors.Is(err, transfer.ErrWrongImage) {
				t.Errorf("got %v, want ErrWrongImage", err)
			}
			src = open(t, path, Options{Format: transfer.FormatRaw})
			m := transfertest.Manifest(nil, transfer.MinChunkSize)
			if err := src.(transfer.Described).CheckImage(m); err != nil {
				t.Errorf("with a format: got %v, want success", err)
			}
			closed(t, src)
		})
	}
}

// checkWarning checks that want is in the only warning of a source; empty: there must be none.
func checkWarning(t *testing.T, src transfer.Source, content []byte, want string) {
	t.Helper()
	var got []string
	if w, ok := src.(transfer.Warner); ok {
		got = w.Warnings(transfertest.Manifest(content, transfer.MinChunkSize))
	}
	if want == "" && len(got) > 0 || want != "" && (len(got) != 1 || !strings.Contains(got[0], want)) {
		t.Errorf("got warnings %q, want %q", got, want)
	}
}

// TestManifestOfOtherChunkSizeIsComparedBySize: if the chunk sizes differ, the sizes of the images
// are compared, not the chunks roots, and a warning says so.
func TestManifestOfOtherChunkSizeIsComparedBySize(t *testing.T) {
	disk := bytes.Repeat([]byte("data"), 5000)
	path := tempFile(t, "x.img", disk)
	describe(t, path, disk)
	file := open(t, path, Options{})
	defer closed(t, file)
	m := transfertest.Manifest(disk, 2*transfer.MinChunkSize)
	got := file.(transfer.Warner).Warnings(m)
	if len(got) != 1 || !strings.Contains(got[0], "--chunk-size 4k") {
		t.Errorf("got warnings %q, want one with --chunk-size 4k", got)
	}
	src := file.(transfer.Described)
	if err := src.CheckImage(m); err != nil {
		t.Errorf("got %v, want success", err)
	}
	m.Size++
	expect(t, src.CheckImage(m), transfer.CodeMismatch, "20001 bytes")
}

// TestManifestOutsideTheRootsIsNotRead: a manifest outside of the roots is not read.
func TestManifestOutsideTheRootsIsNotRead(t *testing.T) {
	inside, outside := tempFile(t, "x.img", []byte("QFI\xfb and more")), tempFile(t, "m.json", []byte("{}"))
	if err := os.Symlink(outside, inside+manifestSuffix); err != nil {
		t.Fatal(err)
	}
	_, err := Open(t.Context(), inside, Options{Roots: Roots{strings.TrimSuffix(inside, "/x.img")}})
	expect(t, err, transfer.CodeInvalid, "qcow2", "is ignored", "roots")
}
