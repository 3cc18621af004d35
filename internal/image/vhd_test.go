package image

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"testing"

	"github.com/transferd/transferd/internal/transfer"
)

// reseal changes the footer of a fixed VHD image, and makes its checksum correct (Virtual Hard Disk
// Image Format Specification, "Hard Disk Footer Format").
func reseal(image []byte, change func(footer []byte)) []byte {
	image = bytes.Clone(image)
	footer := image[len(image)-512:]
	change(footer)
	clear(footer[64:68])
	var sum uint32
	for _, c := range footer {
		sum += uint32(c)
	}
	binary.BigEndian.PutUint32(footer[64:], ^sum)
	return image
}

// fixedVHD stores disks as raw bytes with a footer behind them. A stream is known to have one by its
// name.
func fixedVHD() storage {
	s := byQemu("vpc", "-o", "subformat=fixed,force_size=on")
	s.ending = ".vhd"
	return s
}

// TestDamagedFooterIsRefused: bytes that end in the cookie of a VHD footer are no raw image, unless
// --format says so.
func TestDamagedFooterIsRefused(t *testing.T) {
	image := fixedVHD().pack(t, bytes.Repeat([]byte("data"), 1024))
	image[len(image)-1]++
	path := tempFile(t, "x.vhd", image)
	_, err := Open(t.Context(), path, Options{Roots: anywhere})
	expect(t, err, transfer.CodeInvalid, "open "+path, "footer of the VHD image at byte 4096 is damaged",
		"--format raw")
	got, err := read(t, opener(t, path, Options{Roots: anywhere, Format: transfer.FormatRaw}))
	if err != nil || !bytes.Equal(got, image) {
		t.Errorf("as raw: got %d bytes, %v; want the file", len(got), err)
	}
}

// TestLeftOutBytesOfAVHDAreReported: a disk of Virtual PC ends with its geometry.
func TestLeftOutBytesOfAVHDAreReported(t *testing.T) {
	content := bytes.Repeat([]byte("data"), 1024)
	image := fixedVHD().pack(t, content)
	image = reseal(image, func(footer []byte) {
		copy(footer[28:], "vpc ")
		copy(footer[56:], []byte{0, 1, 1, 7})
	})
	src := open(t, tempFile(t, "x.vhd", image), Options{})
	defer closed(t, src)
	if got, err := drain(t, src); err != nil || !bytes.Equal(got, content[:7*512]) {
		t.Errorf("got %d bytes, %v; want the first 7 sectors", len(got), err)
	}
	checkWarning(t, src, content[:7*512], "the last 512 bytes in the VHD image are left out")
}

// TestHolesOfAFixedVHDAreNotRead: they are those of its file, also in an archive and in a spool.
func TestHolesOfAFixedVHDAreNotRead(t *testing.T) {
	content := make([]byte, 8<<20)
	copy(content[4<<20:], "data")
	image := fixedVHD().pack(t, content)
	for _, path := range []string{
		sparseFile(t, image), sparseFile(t, tarred(t, "x.vhd", image)), tempFile(t, "x.vhd.gz", gzipped(t, image)),
	} {
		src := open(t, path, Options{DefaultSpool: tempDir(t)})
		var data int64
		for e, err := range src.(transfer.RandomAccess).Extents(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			data += e.Len
		}
		if data == 0 || data > 1<<20 {
			t.Errorf("%s: got %d bytes of data, want the %d without its holes", path, data, len(content))
		}
		closed(t, src)
	}
}

// TestVHDXWithALogIsRefused with the command that writes the log to its place, before a drive is
// made.
func TestVHDXWithALogIsRefused(t *testing.T) {
	image := byQemu("vhdx", "-o", "block_size=1M").pack(t, bytes.Repeat([]byte("data"), 1024))
	for _, off := range []int{64 << 10, 128 << 10} {
		header := image[off : off+4096]
		header[48] = 1 // LogGuid (MS-VHDX, 2.2.2)
		clear(header[4:8])
		binary.LittleEndian.PutUint32(header[4:], crc32.Checksum(header, crc32.MakeTable(crc32.Castagnoli)))
	}
	path := tempFile(t, "x.vhdx", image)
	_, err := Open(t.Context(), path, Options{Roots: anywhere})
	expect(t, err, transfer.CodeInvalid, "open "+path, "log of the VHDX image", "qemu-img check -r all IN",
		"--format raw")
}

// TestTruncatedVHDsAreRefused before a drive is made, on files and URLs.
func TestTruncatedVHDsAreRefused(t *testing.T) {
	content := bytes.Repeat([]byte("data"), 1<<20)
	for _, format := range []string{"vpc", "vhdx"} {
		image := byQemu(format, "-o", "subformat=dynamic").pack(t, content)
		for medium, open := range openOn(t, image[:len(image)/2], Options{}) {
			if medium != "file" && medium != "URL with ranges" {
				continue
			}
			_, err := open()
			expect(t, err, transfer.CodeInvalid, "outside of the file", "damaged or incomplete")
		}
	}
}
