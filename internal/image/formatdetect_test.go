package image

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/transfertest"
)

// openOn opens stored bytes on each medium.
func openOn(t *testing.T, stored []byte, opts Options) map[string]func() (transfer.Source, error) {
	opts.Roots, opts.DefaultSpool = anywhere, filepath.Join(tempDir(t), "spool")
	stdin := opts
	stdin.Stdin = bytes.NewReader(stored)
	return map[string]func() (transfer.Source, error){
		"file":               opener(t, tempFile(t, "x.img", stored), opts),
		"standard input":     opener(t, "-", stdin),
		"URL with ranges":    opener(t, serve(t, stored, true)+"/x.img", opts),
		"URL without ranges": opener(t, serve(t, stored, false)+"/x.img", opts),
	}
}

func opener(t *testing.T, path string, opts Options) func() (transfer.Source, error) {
	return func() (transfer.Source, error) { return Open(t.Context(), path, opts) }
}

// read opens a source, reads it to its end and closes it.
func read(t *testing.T, open func() (transfer.Source, error)) ([]byte, error) {
	t.Helper()
	src, err := open()
	if err != nil {
		return nil, err
	}
	defer closed(t, src)
	return drain(t, src)
}

// TestOtherFormatsAreRefusedAtEveryDepth: content that is no raw image is refused on each medium,
// compressed or not, by its first and last bytes. A stream is refused at its end because of its
// last bytes. If the format is given, all content is read.
func TestOtherFormatsAreRefusedAtEveryDepth(t *testing.T) {
	footer := append(bytes.Repeat([]byte("data"), 4096), "conectix"...)
	footer = append(footer, make([]byte, sampleSize-len("conectix"))...)
	for name, tc := range map[string]struct {
		content []byte
		what    string
		atEnd   bool
	}{
		"qcow2": {append([]byte("QFI\xfb\x00\x00\x00\x03"), make([]byte, 9000)...), "qcow2", false},
		"VDI":   {append(append(make([]byte, 64), "\x7f\x10\xda\xbe"...), make([]byte, 9000)...), "VDI", false},
		"page":  {[]byte("<html>sign in</html>"), "HTML", false},
		"gzip":  {gzipped(t, []byte("twice")), "with a gzip file in it", false},
		"VHD":   {footer, "fixed VHD", true},
	} {
		for storing, pack := range map[transfer.Format]func(testing.TB, []byte) []byte{
			transfer.FormatRaw:  func(_ testing.TB, p []byte) []byte { return p },
			transfer.FormatGzip: gzipped, transfer.FormatZstd: zstded,
		} {
			if name == "gzip" && storing == transfer.FormatRaw {
				continue
			}
			stored := pack(t, tc.content)
			for medium, open := range openOn(t, stored, Options{}) {
				src, err := open()
				byOffset := storing == transfer.FormatRaw && (medium == "file" || medium == "URL with ranges")
				if err == nil && tc.atEnd && !byOffset {
					_, err = drain(t, src)
				}
				if err == nil {
					t.Errorf("%s as %s on %s: got success, want a refusal", name, storing, medium)
					continue
				}
				expect(t, err, transfer.CodeInvalid, tc.what, "--format "+string(storing))
			}
			for medium, open := range openOn(t, stored, Options{Format: storing}) {
				if got, err := read(t, open); err != nil || !bytes.Equal(got, tc.content) {
					t.Errorf("%s as %s on %s: got %d bytes, %v; want %d",
						name, storing, medium, len(got), err, len(tc.content))
				}
			}
		}
	}
}

// TestMeasuringFindsAFooter: Measure finds that a compressed file holds a virtual disk by its last
// bytes, and reads the disk.
func TestMeasuringFindsAFooter(t *testing.T) {
	content := bytes.Repeat([]byte("data"), 1<<18)
	path := tempFile(t, "x.img.gz", gzipped(t, fixedVHD().pack(t, content)))
	got, err := read(t, opener(t, path, Options{Roots: anywhere, Measure: true, DefaultSpool: tempDir(t)}))
	if err != nil || !bytes.Equal(got, content) {
		t.Errorf("got %d bytes, %v; want the disk of %d", len(got), err, len(content))
	}
}

// TestDiskContentIsARawImage: typical content of drives is read as a raw image.
func TestDiskContentIsARawImage(t *testing.T) {
	at := func(off int, text string) []byte {
		p := make([]byte, 1<<20)
		copy(p[off:], text)
		return p
	}
	boot := func(head string) []byte {
		p := at(510, "\x55\xaa")
		copy(p, head)
		return p
	}
	withTar := boot("\xeb\x63\x90")
	copy(withTar[tarMagic:], "ustar\x0000")
	for name, content := range map[string][]byte{
		"zeros": make([]byte, 1<<20), "MBR": boot("\xeb\x63\x90"), "MBR with tar's magic": withTar,
		"GPT": append(boot("")[:512], at(0, "EFI PART")...),
		"FAT": boot("\xeb\x3c\x90mkfs.fat"), "NTFS": boot("\xeb\x52\x90NTFS    "),
		"EFI stub": boot("MZ"), "XFS": at(0, "XFSB"),
		"ext4": at(1080, "\x53\xef"), "swap": at(4086, "SWAPSPACE2"),
		"LVM": at(512, "LABELONE"), "ISO": at(32769, "CD001"),
		"LUKS": at(0, "LUKS\xba\xbe\x00\x02"), "squashfs": at(0, "hsqs"), "Btrfs": at(65600, "_BHRfS_M"),
		"text":           []byte("plain text\n"),
		"gzip by chance": at(0, "\x1f\x8b\x00"), "one byte": {0x1f},
	} {
		for medium, open := range openOn(t, content, Options{}) {
			if got, err := read(t, open); err != nil || !bytes.Equal(got, content) {
				t.Errorf("%s on %s: got %d bytes, %v; want %d", name, medium, len(got), err, len(content))
			}
		}
	}
}

// debian has the Debian package of each program that the tests run.
var debian = map[string]string{
	"bzip2": "bzip2", "gzip": "gzip", "losetup": "mount", "mkfs.ext4": "e2fsprogs", "mkswap": "util-linux",
	"mount": "mount", "qemu-img": "qemu-utils", "tar": "tar", "xz": "xz-utils", "zip": "zip", "zstd": "zstd",
}

// TestImagesOfOtherProgramsAreRecognised runs programs that make images, and detects their formats.
func TestImagesOfOtherProgramsAreRecognised(t *testing.T) {
	dir := tempDir(t)
	disk := filepath.Join(dir, "disk.img")
	if err := errors.Join(os.WriteFile(disk, nil, 0o600), os.Truncate(disk, 4<<20)); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		what, program, script string
	}{
		{"a raw image", "mkfs.ext4", "mkfs.ext4 -q -F disk.img && cp disk.img OUT"},
		{"a raw image", "mkswap", "cp disk.img OUT && mkswap -q OUT"},
		{"a qcow image", "qemu-img", "qemu-img convert -O qcow disk.img OUT"},
		{"a qcow2 image", "qemu-img", "qemu-img convert -O qcow2 -o compat=0.10 disk.img OUT"},
		{"a qcow2 image", "qemu-img", "qemu-img convert -O qcow2 disk.img OUT"},
		{"a QED image", "qemu-img", "qemu-img convert -O qed disk.img OUT"},
		{"a VDI image", "qemu-img", "qemu-img convert -O vdi disk.img OUT"},
		{"a VHDX image", "qemu-img", "qemu-img convert -O vhdx disk.img OUT"},
		{"a Parallels image", "qemu-img", "qemu-img convert -O parallels disk.img OUT"},
		{"a VHD image", "qemu-img", "qemu-img convert -O vpc disk.img OUT"},
		{"a fixed VHD image", "qemu-img", "qemu-img convert -O vpc -o subformat=fixed disk.img OUT"},
		{"a VMDK image", "qemu-img", "qemu-img convert -O vmdk disk.img OUT"},
		{"a VMDK image", "qemu-img", "qemu-img convert -O vmdk -o subformat=streamOptimized disk.img OUT"},
		{"a VMDK image", "qemu-img", "qemu-img convert -O vmdk -o subformat=monolithicFlat disk.img OUT"},
		{"a tar archive", "tar", "tar -cf OUT disk.img"},
		{"a tar archive", "tar", "tar --format=v7 -cf OUT disk.img"},
		{"a tar archive", "tar", "tar --format=pax -cf OUT disk.img"},
		{"a tar archive", "tar", "touch vm.ovf && tar -cf OUT vm.ovf disk.img"},
		{"a zip archive", "zip", "zip -q disk.zip disk.img && mv disk.zip OUT"},
		{"an xz file", "xz", "xz -c disk.img >OUT"},
		{"an lzma file", "xz", "xz --format=lzma -c disk.img >OUT"},
		{"a bzip2 file", "bzip2", "bzip2 -c disk.img >OUT"},
		{"a bzip2 file", "bzip2", "bzip2 -c </dev/null >OUT"},
		{"a gzip file", "gzip", "gzip -c disk.img >OUT"},
		{"a Zstandard file", "zstd", "zstd -q -c disk.img >OUT"},
	} {
		transfertest.RequireProgram(t, tc.program, debian[tc.program])
		cmd := exec.Command("sh", "-c", "rm -f OUT && "+tc.script)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", tc.script, err, out)
			continue
		}
		f, err := openFile(anywhere, filepath.Join(dir, "OUT"))
		if err != nil {
			t.Fatal(err)
		}
		s, err := readSample(t.Context(), f)
		if got := formatOf(s).name; err != nil || !bytes.HasPrefix([]byte(got), []byte(tc.what)) {
			t.Errorf("%s: got %s, %v, want %s", tc.script, got, err, tc.what)
		}
		closed(t, f)
	}
}

// TestPagesAreRefused: a page in place of an image is refused, and no image because of its content
// type.
func TestPagesAreRefused(t *testing.T) {
	disk := append([]byte("data of a disk"), 0, 0xff)
	for _, tc := range []struct {
		kind    string
		content []byte
		name    string
		ok      bool
	}{
		{"text/html; charset=utf-8", []byte("Please sign in"), "/x.img", false},
		{"application/json", []byte(`{"error": "denied"}`), "/x.img.gz", false},
		{"application/xml", []byte("<Error><Code>AccessDenied</Code></Error>"), "/x.img", false},
		{"", []byte("<html>"), "/x.img", false},
		{"text/html", gzipped(t, []byte("Please sign in")), "/x.img", false},
		{"text/html", disk, "/x.img", true},
		{"text/html", gzipped(t, disk), "/x.img", true},
		{"text/plain", []byte("a text"), "/x.img", true},
		{"application/octet-stream", []byte("a text"), "/x.img", true},
		{"no type;;", []byte("a text"), "/x.img", true},
	} {
		for _, ranges := range []string{"", `"1"`} {
			s := server(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", tc.kind)
				if ranges == "" {
					_, _ = w.Write(tc.content)
					return
				}
				content(ranges, tc.content)(w, r)
			})
			_, err := read(t, opener(t, s.URL+tc.name, Options{}))
			if tc.ok && err != nil {
				t.Errorf("%s: got %v, want success", tc.kind, err)
			}
			if !tc.ok {
				expect(t, err, transfer.CodeInvalid, "sign-in")
			}
		}
	}
}

// TestEncodedBodyIsReadOrRefused: some servers encode a body although the request forbids it, and
// some send the header with a file that they do not encode. The image is read, or refused with a
// hint.
func TestEncodedBodyIsReadOrRefused(t *testing.T) {
	disk := bytes.Repeat([]byte("data"), 1000)
	gz := gzipped(t, disk)
	for name, tc := range map[string]struct {
		encoding string
		body     []byte
		format   transfer.Format
		words    []string // of the refusal; none: it is read
	}{
		"compressed for transfer": {"gzip", gz, "", nil},
		"another name of gzip":    {"x-gzip", gz, "", nil},
		"meta, and not done":      {"gzip", disk, "", nil},
		"compressed twice": {"gzip", gzipped(t, gz), "",
			[]string{"compressed it for the transfer (Content-Encoding: gzip)", "and give FILE"}},
		"another compression": {"zstd", zstded(t, gz), "", []string{"(Content-Encoding: zstd)", "curl --compressed"}},
		"a QED image in it": {"gzip", gzipped(t, []byte("QED\x00 more")), "",
			[]string{"curl --compressed -o FILE URL && qemu-img convert -O raw FILE OUT"}},
		"a page in it":             {"gzip", gzipped(t, []byte("<html>")), "", []string{"sign-in"}},
		"undetectable compression": {"br", disk, "", []string{"Content-Encoding: br", "curl --compressed"}},
		"the format is given": {"gzip", gz, transfer.FormatRaw,
			[]string{"Content-Encoding: gzip", "curl --compressed"}},
	} {
		s := server(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", tc.encoding)
			w.Header().Set("Content-Type", "application/octet-stream")
			_, _ = w.Write(tc.body)
		})
		got, err := read(t, opener(t, s.URL+"/x.img", Options{Format: tc.format}))
		if tc.words != nil {
			expect(t, err, transfer.CodeInvalid, tc.words...)
		} else if err != nil || !bytes.Equal(got, disk) {
			t.Errorf("%s: got %d bytes, %v; want all of them", name, len(got), err)
		}
	}
}

// TestStreamShorterThanMinSizeIsRefused: a stream without a mark at its end is refused if it is
// shorter than MinSize.
func TestStreamShorterThanMinSizeIsRefused(t *testing.T) {
	disk := bytes.Repeat([]byte("data"), 1000)
	unframed := server(t, func(w http.ResponseWriter, _ *http.Request) {
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, err = c.Write(append([]byte("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"), disk...))
		if err := errors.Join(err, c.Close()); err != nil {
			t.Error(err)
		}
	})
	framed := serve(t, disk, false)
	for _, tc := range []struct {
		path    string
		minSize int64
		ok      bool
	}{
		{"-", 4000, true}, {"-", 4001, false}, {"-", 0, true},
		{unframed.URL, 4000, true}, {unframed.URL, 4001, false}, {framed, 4001, true},
	} {
		for _, stored := range [][]byte{disk, gzipped(t, disk)} {
			opts := Options{Stdin: bytes.NewReader(stored), MinSize: tc.minSize}
			_, err := read(t, opener(t, tc.path, opts))
			if tc.ok && err != nil {
				t.Errorf("%s with MinSize %d: got %v, want success", tc.path, tc.minSize, err)
			}
			if !tc.ok {
				expect(t, err, transfer.CodeInvalid, "ended after 4000 bytes", "--size of 4001", "--allow-short")
			}
		}
	}
}

// TestCheckRefusesWhatOpenRefuses: Check refuses what Open refuses, unless a manifest may overrule
// it.
func TestCheckRefusesWhatOpenRefuses(t *testing.T) {
	qcow := append([]byte("QFI\xfb"), binary.BigEndian.AppendUint32(nil, 3)...)
	path := tempFile(t, "x.img", qcow)
	expect(t, Check(path, Options{}), transfer.CodeInvalid, "qcow2")
	qed := gzipped(t, []byte("QED\x00 and more"))
	expect(t, Check(tempFile(t, "x.img.gz", qed), Options{}), transfer.CodeInvalid, "gzip file with a QED")
	if err := Check(path, Options{Format: transfer.FormatRaw}); err != nil {
		t.Errorf("as a raw image: got %v, want success", err)
	}
	writeFile(t, path+manifestSuffix, nil)
	if err := Check(path, Options{}); err != nil {
		t.Errorf("with a manifest: got %v, want success", err)
	}
}
