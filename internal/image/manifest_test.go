package image

import (
	"bytes"
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
		"a raw image that was changed":   {"x.img", disk, flipped(disk), disk, another, ""},
		"a raw image that has grown":     {"x.img", disk, disk[1:], disk, another, ""},
		"another gzip stream":            {"x.img", gz, gzipped(t, vhd[4:]), disk, another, ""},
		"one of the same size":           {"x.img", gz, flipped(gz), disk, another, ""},
		"another qcow2 image":            {"x.img", qcow, flipped(qcow), nil, "", another},
		"another compressed qcow2":       {"x.img.gz", gzipped(t, qcow), flipped(qcow), nil, "", another},
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
					expect(t, err, transfer.CodeInvalid, manifestSuffix, tc.refusal, "qemu-img convert")
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
// are compared, not the chunks roots.
func TestManifestOfOtherChunkSizeIsComparedBySize(t *testing.T) {
	disk := bytes.Repeat([]byte("data"), 5000)
	path := tempFile(t, "x.img", disk)
	describe(t, path, disk)
	file := open(t, path, Options{})
	defer closed(t, file)
	src := file.(transfer.Warner)
	m := transfertest.Manifest(disk, 2*transfer.MinChunkSize)
	if got := src.Warnings(m); len(got) > 0 {
		t.Errorf("got warnings %q, want none", got)
	}
	m.Size++
	if got := src.Warnings(m); len(got) != 1 {
		t.Errorf("got warnings %q, want one", got)
	}
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
