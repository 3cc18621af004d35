package vmdk_test

import (
	"bytes"
	"compress/zlib"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/transferd/transferd/internal/diskformat"
	"github.com/transferd/transferd/internal/diskformat/disktest"
	"github.com/transferd/transferd/internal/diskformat/vmdk"
	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/transfertest"
)

const sector = 512

// image is an image that is made by hand. Its fields may lie.
type image struct {
	version, flags       uint32
	sectors, grain       uint64
	descriptor           string
	entries              uint32
	directory, footerDir uint64 // sectors; footerDir is that in the footer, if there is one
	checks               string
	compression          uint16
}

const text = "# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\n"

func sparse() image {
	return image{
		version: 1, flags: 3, sectors: 1024, grain: 128, descriptor: text + "createType=\"monolithicSparse\"\n",
		entries: 512, directory: 21, checks: "\n \r\n",
	}
}

// header is the header of the image; its descriptor is in sectors 1 to 20.
func (m image) header(directory uint64) []byte {
	p := make([]byte, sector)
	copy(p, "KDMV")
	binary.LittleEndian.PutUint32(p[4:], m.version)
	binary.LittleEndian.PutUint32(p[8:], m.flags)
	binary.LittleEndian.PutUint64(p[12:], m.sectors)
	binary.LittleEndian.PutUint64(p[20:], m.grain)
	if m.descriptor != "" {
		binary.LittleEndian.PutUint64(p[28:], 1)
		binary.LittleEndian.PutUint64(p[36:], 20)
	}
	binary.LittleEndian.PutUint32(p[44:], m.entries)
	binary.LittleEndian.PutUint64(p[56:], directory)
	copy(p[73:], m.checks)
	binary.LittleEndian.PutUint16(p[77:], m.compression)
	return p
}

// bytes is the image with these sectors behind its descriptor, from sector 21.
func (m image) bytes(sectors ...[]byte) []byte {
	p := append(m.header(m.directory), make([]byte, 20*sector)...)
	copy(p[sector:], m.descriptor)
	for _, s := range sectors {
		p = append(p, s...)
		p = append(p, make([]byte, (sector-len(s)%sector)%sector)...)
	}
	return p
}

// table is a table of 32-bit entries.
func table(entries ...uint32) []byte {
	p := make([]byte, 4*len(entries))
	for i, e := range entries {
		binary.LittleEndian.PutUint32(p[4*i:], e)
	}
	return p
}

// grainTable is a table of 512 entries, which begins with these.
func grainTable(entries ...uint32) []byte {
	return append(table(entries...), make([]byte, 4*(512-len(entries)))...)
}

func openBytes(t testing.TB, p []byte) (diskformat.Disk, error) {
	return vmdk.Open(t.Context(), disktest.Bytes(p), noFiles)
}

// noFiles opens no files, as without --follow.
func noFiles(_ context.Context, name, _ string) (diskformat.Disk, error) {
	return nil, diskformat.Refused("use --follow", "the image names the file %q", name)
}

// filled is n bytes c.
func filled(c byte, n int) []byte { return bytes.Repeat([]byte{c}, n) }

// TestSparseExtentByHand: grains in any order, one that is zeros by its entry, and a last one that
// the file has only as far as the disk reaches.
func TestSparseExtentByHand(t *testing.T) {
	m := sparse()
	m.flags |= 4
	m.sectors = 5*128 - 127 // one sector of the fifth grain
	p := m.bytes(table(22), grainTable(154, 1, 26, 0, 282), filled('c', grain), filled('a', grain), filled('e', sector))
	disk, err := openBytes(t, p)
	if err != nil {
		t.Fatal(err)
	}
	want := slices.Concat(filled('a', grain), make([]byte, grain), filled('c', grain), make([]byte, grain),
		filled('e', sector))
	for _, step := range []int{1 << 20, grain, 1000} {
		disktest.Equal(t, disk, disktest.Bytes(want), step)
	}
	extents := []transfer.Extent{
		{Off: 0, Len: grain}, {Off: 2 * grain, Len: grain}, {Off: 4 * grain, Len: sector},
	}
	if got := disktest.Extents(t, disk); !slices.Equal(got, extents) {
		t.Errorf("got extents %v, want %v", got, extents)
	}
}

// stream is a stream-optimized image as VMware writes it: the grains with their markers, then the
// tables, the footer and the marker of the end.
type stream struct {
	image
	content []byte   // of the disk, in full grains
	order   []uint64 // of the grains that are stored
}

func newStream(content []byte, order ...uint64) stream {
	m := sparse()
	m.version, m.flags, m.compression, m.directory = 3, 0x30001, 1, 1<<64-1
	m.descriptor = text + "createType=\"streamOptimized\"\nRDONLY 1 SPARSE \"x-stream.vmdk\"\n"
	m.sectors = uint64(len(content) / sector)
	return stream{image: m, content: content, order: order}
}

func (s stream) file(t testing.TB) []byte {
	t.Helper()
	p := s.bytes()
	pad := func() { p = append(p, make([]byte, (sector-len(p)%sector)%sector)...) }
	size := int(s.grain) * sector
	tables := (len(s.content) + 512*size - 1) / (512 * size)
	entries := make([]uint32, 512*tables)
	for _, i := range s.order {
		pad()
		entries[i] = uint32(len(p) / sector)
		var packed bytes.Buffer
		w, err := zlib.NewWriterLevel(&packed, zlib.BestSpeed)
		if err != nil {
			t.Fatal(err)
		}
		part := make([]byte, size)
		copy(part, s.content[int(i)*size:])
		_, err = w.Write(part)
		if err := errors.Join(err, w.Close()); err != nil {
			t.Fatal(err)
		}
		p = binary.LittleEndian.AppendUint64(p, i*s.grain)
		p = binary.LittleEndian.AppendUint32(p, uint32(packed.Len()))
		p = append(p, packed.Bytes()...)
	}
	var directory []uint32
	for i := range tables {
		pad()
		p = append(p, marker(4, 1)...)
		directory = append(directory, uint32(len(p)/sector))
		p = append(p, table(entries[512*i:][:512]...)...)
	}
	pad()
	p = append(p, marker(1, 2)...)
	if s.footerDir == 0 {
		s.footerDir = uint64(len(p) / sector)
	}
	p = append(p, table(directory...)...)
	pad()
	p = append(p, marker(1, 3)...)
	p = append(p, s.header(s.footerDir)...)
	return append(p, marker(0, 0)...)
}

// marker stands in front of n sectors of metadata.
func marker(n uint64, kind uint32) []byte {
	p := make([]byte, sector)
	binary.LittleEndian.PutUint64(p, n)
	binary.LittleEndian.PutUint32(p[12:], kind)
	return p
}

// content is n bytes that compress, and that differ in each grain.
func content(n int) []byte {
	p := make([]byte, 0, n+100)
	for i := 0; len(p) < n; i++ {
		p = fmt.Appendf(p, "line %d of the disk\n", i*i)
	}
	return p[:n]
}

// TestStreamWithFooter: images whose tables are at the end are read, in whatever order their grains
// are, in pieces of any size.
func TestStreamWithFooter(t *testing.T) {
	all := content(9*grain + 3*sector)
	for _, order := range [][]uint64{
		{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, {9, 8, 7, 6, 5, 4, 3, 2, 1, 0}, {3, 4, 9, 0, 1}, {5}, {},
	} {
		want := make([]byte, len(all))
		for _, i := range order {
			copy(want[i*grain:min(int(i+1)*grain, len(all))], all[i*grain:])
		}
		disk, err := openBytes(t, newStream(all, order...).file(t))
		if err != nil {
			t.Fatal(err)
		}
		for _, step := range []int{1 << 20, grain, 100_000, 1000} {
			disktest.Equal(t, disk, disktest.Bytes(want), step)
		}
	}
}

// TestQemuReadsTheSameStream: the images that this test makes as VMware does are those of the format.
func TestQemuReadsTheSameStream(t *testing.T) {
	transfertest.RequireProgram(t, "qemu-img", "qemu-utils")
	dir := t.TempDir()
	all := content(9*grain + 3*sector)
	path := filepath.Join(dir, "disk.vmdk")
	if err := os.WriteFile(path, newStream(all, 9, 8, 0, 1, 2, 3, 4, 5, 6, 7).file(t), 0o600); err != nil {
		t.Fatal(err)
	}
	disktest.Run(t, dir, "qemu-img", "convert", "-q", "-O", "raw", "disk.vmdk", "disk.raw")
	disktest.Equal(t, disktest.Open(t, filepath.Join(dir, "disk.raw")), disktest.Bytes(all), 1<<20)
}

// TestStreamHoldsItsBound: a reader of the largest grains has 3 MiB in memory.
func TestStreamHoldsItsBound(t *testing.T) {
	s := newStream(content(16<<20), 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
	s.grain = 2048
	file, p := s.file(t), make([]byte, 4<<20)
	heap := disktest.Heap(func() any {
		disk, err := openBytes(t, file)
		if err != nil {
			t.Fatal(err)
		}
		for off := int64(0); off < 10<<20; off += 1_234_567 {
			if err := disk.ReadAt(t.Context(), p, off); err != nil || !bytes.Equal(p, s.content[off:off+4<<20]) {
				t.Fatalf("at %d: got other bytes, %v", off, err)
			}
		}
		return disk
	})
	if heap > 3<<20+3<<19 { // and a page of the tables, and the tables of the decompressor
		t.Errorf("got %d bytes in memory, want about 3 MiB", heap)
	}
}

// TestStreamReadsChunksAtOnce: a chunk of 4 MiB is few reads of the file, and each grain is read
// once.
func TestStreamReadsChunksAtOnce(t *testing.T) {
	all := content(520 * grain) // two grain tables
	order := make([]uint64, 520)
	for i := range order {
		order[i] = uint64(i)
	}
	file := disktest.Bytes(newStream(all, order...).file(t))
	disk, err := vmdk.Open(t.Context(), file, noFiles)
	if err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 4<<20)
	if err := disk.ReadAt(t.Context(), p, 0); err != nil { // reads the tables, too
		t.Fatal(err)
	}
	for off := int64(4 << 20); off < disk.Size()-4<<20; off += 4 << 20 {
		file.Reads.Store(0)
		if err := disk.ReadAt(t.Context(), p, off); err != nil {
			t.Fatal(err)
		}
		if n := file.Reads.Load(); n > 2 {
			t.Errorf("at %d: got %d reads of the file, want at most 2", off, n)
		}
	}
	file.Bytes.Store(0)
	disktest.Equal(t, disk, disktest.Bytes(all), 4<<20)
	if n := file.Bytes.Load(); n > file.Size()*11/10 {
		t.Errorf("got %d bytes read of a file of %d, want each once", n, file.Size())
	}
}

// TestDamagedStream: a stream that was cut anywhere, or changed in a grain, is an error and never
// other bytes.
func TestDamagedStream(t *testing.T) {
	all := content(3 * grain)
	whole := newStream(all, 0, 1, 2).file(t)
	for _, cut := range []int{1, 100, sector, 2 * sector, 3 * sector, len(whole) / 2} {
		_, err := openBytes(t, whole[:len(whole)-cut])
		disktest.Refused(t, err, "damaged or incomplete")
	}
	first := 21 * sector // the marker of the first grain
	for off, what := range map[int]string{
		first: "marker", first + 9: "overlaps", first + 11: "outside", first + 12: "zlib", first + 3000: "",
	} {
		p := bytes.Clone(whole)
		p[off] ^= 0x55
		disk, err := openBytes(t, p)
		if err != nil {
			t.Fatal(err)
		}
		disktest.Refused(t, disk.ReadAt(t.Context(), make([]byte, len(all)), 0), "grain 0", what)
		disktest.Refused(t, disk.ReadAt(t.Context(), make([]byte, 1), 5), "grain 0", what)
		if err := disk.ReadAt(t.Context(), make([]byte, grain), grain); err != nil {
			t.Errorf("got %v, want the next grain", err)
		}
	}
}

// TestCutStreamWithTablesInFront: a stream as qemu-img writes it has no footer. That its last grain
// is cut shows before anything is read.
func TestCutStreamWithTablesInFront(t *testing.T) {
	s := newStream(content(3*grain), 0, 1, 2)
	whole := s.file(t)
	tables := bytes.Index(whole, marker(4, 1))
	// The directory is sector 21, its table 22 to 25; the grains are 5 sectors further.
	front := s.image
	front.directory = 21
	offsets := bytes.Clone(whole[tables+sector : tables+5*sector])
	for i := range 3 {
		e := binary.LittleEndian.Uint32(offsets[4*i:])
		binary.LittleEndian.PutUint32(offsets[4*i:], e+5)
	}
	p := front.bytes(table(22), offsets, whole[21*sector:tables])
	last := 21*sector + 5*sector + (int(binary.LittleEndian.Uint32(offsets[8:]))-26)*sector
	end := last + 12 + int(binary.LittleEndian.Uint32(p[last+8:]))
	for n, ok := range map[int]bool{
		len(p): true, end: true, end - 1: false, last + 12: false, last + 5: false, last: false,
	} {
		disk, err := openBytes(t, p[:n])
		if err != nil {
			t.Fatal(err)
		}
		for _, err = range disk.Extents(t.Context()) {
		}
		if ok {
			if err != nil {
				t.Errorf("%d of %d bytes: got %v, want success", n, len(p), err)
			}
			disktest.Equal(t, disk, disktest.Bytes(s.content), 1<<20)
			continue
		}
		disktest.Refused(t, err, "grain 2", "outside of the file")
	}
}

// TestTablesOutsideOfTheFile: a directory, a table or a grain outside of the file is found by Open or
// by the extents, before anything is read.
func TestTablesOutsideOfTheFile(t *testing.T) {
	m := sparse()
	for name, p := range map[string][]byte{
		"no directory":    m.bytes(),
		"grain table":     m.bytes(table(1 << 30)),
		"cut grain table": m.bytes(table(22), make([]byte, 16))[:23*sector-496],
		"grain":           m.bytes(table(22), grainTable(1<<31)),
		"end of grain":    m.bytes(table(22), grainTable(26, 27), make([]byte, grain)),
		"largest entries": m.bytes(table(22), grainTable(1<<32-1)),
		"largest tables":  m.bytes(table(1<<32 - 1)),
		"second grain":    m.bytes(table(22), grainTable(0, 1<<20)),
	} {
		disk, err := openBytes(t, p)
		if err == nil {
			for _, err = range disk.Extents(t.Context()) {
			}
		}
		if err == nil {
			t.Errorf("%s: got no error", name)
			continue
		}
		disktest.Refused(t, err, "outside of the file")
	}
}
