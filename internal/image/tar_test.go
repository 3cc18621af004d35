package image

import (
	"archive/tar"
	"bytes"
	"crypto/sha1"
	"crypto/sha512"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/transfertest"
)

// tarFile is a file of a tar archive.
type tarFile struct {
	name    string
	content []byte
}

// tarOf is an archive of files.
func tarOf(t testing.TB, files ...tarFile) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		err := w.WriteHeader(&tar.Header{Name: f.name, Size: int64(len(f.content)), Mode: 0o600})
		_, err2 := w.Write(f.content)
		if err := errors.Join(err, err2); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// tarred is an archive of one file.
func tarred(t testing.TB, name string, content []byte) []byte {
	return tarOf(t, tarFile{name, content})
}

// qcow2Of is a qcow2 image with this content, as qemu-img makes it.
func qcow2Of(t testing.TB, content []byte, flags ...string) []byte {
	t.Helper()
	return byQemu("qcow2", flags...).pack(t, content)
}

// packings has each way to compress a file.
func packings(t testing.TB, stored []byte) map[string][]byte {
	return map[string][]byte{
		"": stored, ".gz": gzipped(t, stored), ".zst": zstded(t, stored),
		".xz": packedBy(t, stored, "xz", "-c"), ".bz2": packedBy(t, stored, "bzip2", "-c"),
	}
}

// descriptor is the content of an OVF descriptor.
const descriptor = `<?xml version="1.0"?><Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1"></Envelope>`

// TestOneDiskInAnArchiveIsRead reads the disk of archives, compressed or not, on each medium: it is
// found by its name and content, whatever else is in the archive.
func TestOneDiskInAnArchiveIsRead(t *testing.T) {
	disk := sectors(noisyDisk())
	side := []tarFile{
		{"vm.ovf", []byte(descriptor)}, {"vm.mf", []byte("SHA1(vm.ovf)= 00\n")}, {"vm.cert", []byte("-----BEGIN\n")},
		{"vm.nvram", []byte{1, 0, 2}}, {"Vagrantfile", []byte("Vagrant.configure\n")},
		{"._disk.vmdk", []byte{0, 5, 22}},
		{"metadata.json", []byte("{}")}, {"empty.img", nil}, {"folder/", nil}, {"notes", []byte("a text")},
	}
	for name, image := range map[string]tarFile{
		"raw": {"disk.raw", disk}, "ISO": {"x/y.iso", disk}, "no ending": {"box", disk},
		"qcow2":            {"box.img", qcow2Of(t, disk)},
		"compressed qcow2": {"disk.qcow2", qcow2Of(t, disk, "-c")},
		"text":             {"disk.img", bytes.Repeat([]byte("text"), 1024)},
	} {
		want := disk
		if name == "text" {
			want = image.content
		}
		stored := tarOf(t, append(append(side[:5:5], image), side[5:]...)...)
		for ending, packed := range packings(t, stored) {
			for medium, open := range openOn(t, packed, Options{StoredDigest: true}) {
				src, err := open()
				if err != nil {
					t.Errorf("%s%s on %s: got %v, want success", name, ending, medium, err)
					continue
				}
				got, err := drain(t, src)
				if err != nil || !bytes.Equal(got, want) {
					t.Errorf("%s%s on %s: got %d bytes, %v; want %d", name, ending, medium, len(got), err, len(want))
				}
				if src.Size() != int64(len(want)) {
					t.Errorf("%s%s on %s: got size %d, want %d", name, ending, medium, src.Size(), len(want))
				}
				if sum := src.(transfer.StoredDigester).StoredSHA256(); sum != sha256Of(packed) {
					t.Errorf("%s%s on %s: got digest %q, want that of the archive", name, ending, medium, sum)
				}
				closed(t, src)
			}
		}
	}
}

// sectors is content with zeros up to a multiple of a sector.
func sectors(p []byte) []byte { return append(p, make([]byte, (512-len(p)%512)%512)...) }

// TestPlainArchiveNeedsNoSpool: the disk in an archive is read where it is stored, by offset.
func TestPlainArchiveNeedsNoSpool(t *testing.T) {
	disk := sectors(noisyDisk())
	for _, content := range [][]byte{disk, qcow2Of(t, disk)} {
		stored := tarOf(t, tarFile{"vm.ovf", []byte(descriptor)}, tarFile{"vm.img", content})
		for _, path := range []string{tempFile(t, "x.ova", stored), serve(t, stored, true) + "/x.ova"} {
			src := open(t, path, Options{Measure: true})
			if _, ok := src.(transfer.RandomAccess); !ok {
				t.Errorf("%s: got a %T, want random access", path, src)
			}
			if got, err := drain(t, src); err != nil || !bytes.Equal(got, disk) {
				t.Errorf("%s: got %d bytes, %v; want %d", path, len(got), err, len(disk))
			}
			closed(t, src)
		}
	}
}

// TestHolesOfAnArchiveAreHolesOfItsImage: extents are those of the archive's file within the image.
func TestHolesOfAnArchiveAreHolesOfItsImage(t *testing.T) {
	disk := make([]byte, 1<<20)
	copy(disk[512<<10:], noisyDisk()[:64<<10])
	src := open(t, sparseFile(t, tarred(t, "disk.raw", disk)), Options{})
	defer closed(t, src)
	var data int64
	for e, err := range src.(transfer.Mapper).Extents(t.Context()) {
		if err != nil || e.Off < 0 || e.Off+e.Len > src.Size() {
			t.Fatalf("got extent %+v, %v; want one within the image", e, err)
		}
		data += e.Len
	}
	if data > 128<<10 {
		t.Errorf("got %d bytes of data, want holes left out", data)
	}
}

// TestSparseFilesOfArchivesAreRead: files whose holes are not in the archive are read with their
// holes.
func TestSparseFilesOfArchivesAreRead(t *testing.T) {
	transfertest.RequireProgram(t, "tar", debian["tar"])
	disk := make([]byte, 1<<20)
	copy(disk[512<<10:], noisyDisk()[:64<<10])
	path := sparseFile(t, disk)
	for _, flags := range [][]string{
		{"--format=gnu"}, {"--format=pax", "--sparse-version=0.0"}, {"--format=pax", "--sparse-version=0.1"},
		{"--format=pax", "--sparse-version=1.0"},
	} {
		out := filepath.Join(tempDir(t), "x.tar")
		args := slices.Concat(flags, []string{"-S", "-cf", out, "-C", filepath.Dir(path), filepath.Base(path)})
		if text, err := exec.Command("tar", args...).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		stored, err := os.ReadFile(out)
		if err != nil || len(stored) > len(disk)/2 {
			t.Fatalf("tar %q: got %d bytes, %v; want a sparse file", flags, len(stored), err)
		}
		for medium, open := range openOn(t, stored, Options{}) {
			if got, err := read(t, open); err != nil || !bytes.Equal(got, disk) {
				t.Errorf("%q on %s: got %d bytes, %v; want %d", flags, medium, len(got), err, len(disk))
			}
		}
	}
}

// TestWhatIsNotOneDiskIsRefused: archives of several disks or none, two layers of packing and
// packed archives are refused when they are opened, on each medium, with what to do.
func TestWhatIsNotOneDiskIsRefused(t *testing.T) {
	disk := sectors(noisyDisk())
	gz := gzipped(t, disk)
	several := make([]tarFile, 0, 20)
	for i := range 20 {
		several = append(several, tarFile{fmt.Sprintf("disk%d.raw", i), disk[:1024]})
	}
	many := make([]tarFile, 0, maxMembers+1)
	for i := range maxMembers + 1 {
		many = append(many, tarFile{fmt.Sprintf("%d.txt", i), []byte("text")})
	}
	inner := tarred(t, "disk.raw", disk)
	for name, tc := range map[string]struct {
		stored []byte
		words  []string
	}{
		"two disks": {tarOf(t, tarFile{"a b.raw", disk}, tarFile{"vm.ovf", nil}, tarFile{"b.vmdk", disk}),
			[]string{`several disk images in it: "a b.raw", "b.vmdk"`, "tar -xf IN"}},
		"an ISO, too": {tarOf(t, tarFile{"a.vmdk", disk}, tarFile{"tools.iso", disk}),
			[]string{`"a.vmdk", "tools.iso"`}},
		"20 disks":   {tarOf(t, several...), []string{`"disk9.raw" and more`}},
		"no disk":    {tarred(t, "vm.ovf", []byte(descriptor)), []string{"without a disk image", "tar -tf IN"}},
		"many files": {tarOf(t, many...), []string{"more than 1000 files"}},
		"gzip in tar": {tarred(t, "it's.img.gz", gz), []string{"a tar archive with a gzip file in it",
			`tar -xOf IN 'it'\''s.img.gz' >FILE && gzip -dc FILE >OUT`}},
		"zip in tar": {tarred(t, "x.zip", []byte("PK\x03\x04 and more\x00")),
			[]string{"with a zip archive in it", "unzip -p FILE"}},
		"tar in tar": {tarred(t, "x.tar", inner),
			[]string{"a tar archive with a tar archive in it", "tar -xf FILE"}},
		"QED in tar": {tarred(t, "x.qed", []byte("QED\x00 and more")),
			[]string{"with a QED image in it", "qemu-img convert -O raw FILE OUT"}},
		"a truncated one": {inner[:len(inner)/2], []string{"truncated"}},
	} {
		for ending, packed := range packings(t, tc.stored) {
			for medium, open := range openOn(t, packed, Options{}) {
				src, err := open()
				if err == nil {
					closed(t, src)
				}
				t.Run(name+ending+" on "+medium, func(t *testing.T) {
					expect(t, err, transfer.CodeInvalid, tc.words...)
				})
			}
		}
	}
	for name, stored := range map[string][]byte{
		"gzip": gzipped(t, gz), "xz": gzipped(t, packedBy(t, disk, "xz", "-c")),
		"bzip2":     packedBy(t, gz, "bzip2", "-c"),
		"tar.gz.gz": gzipped(t, gzipped(t, inner)), "zip": packedBy(t, []byte("PK\x03\x04 and more"), "xz", "-c"),
	} {
		for medium, open := range openOn(t, stored, Options{}) {
			_, err := open()
			t.Run(name+" on "+medium, func(t *testing.T) {
				expect(t, err, transfer.CodeInvalid, "in it, not a raw image", "FILE && ")
			})
		}
	}
}

// TestDiskThatPointsOutsideOfItsArchiveIsRefused: a virtual disk in an archive cannot be read beyond
// its own end.
func TestDiskThatPointsOutsideOfItsArchiveIsRefused(t *testing.T) {
	image := qcow2Of(t, sectors(noisyDisk()))
	binary.BigEndian.PutUint64(image[40:], 1<<20) // the table of clusters, behind the image's end
	stored := tarOf(t, tarFile{"disk.qcow2", image}, tarFile{"x.txt", bytes.Repeat([]byte("text"), 1<<20)})
	_, err := Open(t.Context(), tempFile(t, "x.tar", stored), Options{Roots: anywhere})
	expect(t, err, transfer.CodeInvalid)
	if !strings.Contains(err.Error(), "qcow2") {
		t.Errorf("got %v, want a damaged qcow2 image", err)
	}
}

// TestDigestsInAnArchiveAreCompared: the disk of an OVA must have the digest that the OVA's manifest
// lists, before anything is made. Where that takes a second reading over a network, it is not
// compared, with a warning.
func TestDigestsInAnArchiveAreCompared(t *testing.T) {
	disk := sectors(noisyDisk())
	sum1, sum512 := sha1.Sum(disk), sha512.Sum512(disk)
	for line, ok := range map[string]bool{
		"SHA256(vm.raw)= " + sha256Of(disk): true, "SHA256(vm.raw)= " + sha256Of(nil): false,
		"SHA1(vm.raw)= " + hex.EncodeToString(sum1[:]): true, "SHA1 (vm.raw) = 00": false,
		"SHA512(vm.raw)=" + strings.ToUpper(hex.EncodeToString(sum512[:])): true,
		"SHA256(other.raw)= 00": true, "no digest": true,
	} {
		lines := []byte("SHA1(vm.ovf)= 00\r\n" + line + "\r\n")
		stored := tarOf(t, tarFile{"./vm.ovf", []byte(descriptor)}, tarFile{"./vm.mf", lines},
			tarFile{"./vm.raw", disk})
		for ending, packed := range packings(t, stored) {
			for medium, open := range openOn(t, packed, Options{Measure: true}) {
				src, err := open()
				unchecked := ending == "" && medium == "URL with ranges"
				if !ok && !unchecked {
					expect(t, err, transfer.CodeInvalid, "vm.mf", "vm.raw", "get it again")
					continue
				}
				if err != nil {
					t.Errorf("%s%s on %s: got %v, want success", line, ending, medium, err)
					continue
				}
				warning := ""
				if unchecked && strings.Contains(line, "vm.raw") {
					warning = "was not compared"
				}
				if got, err := drain(t, src); err != nil || !bytes.Equal(got, disk) {
					t.Errorf("%s%s on %s: got %d bytes, %v; want %d", line, ending, medium, len(got), err, len(disk))
				}
				checkWarning(t, src, disk, warning)
				closed(t, src)
			}
		}
	}
}
