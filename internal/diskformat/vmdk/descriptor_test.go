package vmdk_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/transferd/transferd/internal/diskformat"
	"github.com/transferd/transferd/internal/diskformat/disktest"
	"github.com/transferd/transferd/internal/diskformat/vmdk"
	"github.com/transferd/transferd/internal/transfer"
)

// files opens files of a map.
func files(contents map[string][]byte) diskformat.Opener {
	return func(ctx context.Context, name, format string) (diskformat.Disk, error) {
		content, ok := contents[name]
		if !ok || format != diskformat.Raw {
			return noFiles(ctx, name, format)
		}
		return disktest.Bytes(content), nil
	}
}

// TestDescriptorWithExtents: flat, zero and sparse extents in other files are one disk, in the order
// of the descriptor.
func TestDescriptorWithExtents(t *testing.T) {
	m := sparse()
	m.sectors = 129
	contents := map[string][]byte{
		"a b-flat.vmdk": slices.Concat(filled('x', 3*sector), filled('a', 5*sector)),
		"c.vmdk":        m.bytes(table(22), grainTable(0, 26), filled('c', sector)),
	}
	for _, lineEnd := range []string{"\n", "\r\n"} {
		descriptor := strings.ReplaceAll("# Disk DescriptorFile\nversion=1\nencoding=\"UTF-8\"\nCID=fffffffe\n"+
			"parentCID = FFFFFFFF\ncreateType = \"Custom\"\n\n"+
			"RW 4 FLAT \"a b-flat.vmdk\" 3\nRDONLY 2 ZERO\nRW  129\tSPARSE  \"c.vmdk\"\n"+
			"RW 1 FLAT \"a b-flat.vmdk\" 0\n"+
			"ddb.adapterType = \"ide\"\n", "\n", lineEnd)
		disk, err := vmdk.Open(t.Context(), disktest.Bytes([]byte(descriptor)), files(contents))
		if err != nil {
			t.Fatal(err)
		}
		want := slices.Concat(
			filled('a', 4*sector), make([]byte, 2*sector+grain), filled('c', sector), filled('x', sector))
		for _, step := range []int{1 << 20, 1000, 1} {
			disktest.Equal(t, disk, disktest.Bytes(want), step)
		}
		extents := []transfer.Extent{
			{Off: 0, Len: 4 * sector}, {Off: 6*sector + grain, Len: sector}, {Off: 7*sector + grain, Len: sector},
		}
		if got := disktest.Extents(t, disk); !slices.Equal(got, extents) {
			t.Errorf("got extents %v, want %v", got, extents)
		}
	}
}

// TestHolesOfFlatExtentsAreNotRead: what the file of a flat extent does not store is no extent of the
// disk.
func TestHolesOfFlatExtentsAreNotRead(t *testing.T) {
	sparseFile := &diskformat.Blocks{
		File: disktest.Bytes(filled('d', 2*sector)), DiskSize: 10 * sector, BlockSize: 2 * sector,
		Find: func(_ context.Context, block int64) (diskformat.Run, error) { // the second block is stored
			return diskformat.Run{Blocks: 1, Stored: block == 1}, nil
		},
	}
	open := func(context.Context, string, string) (diskformat.Disk, error) { return sparseFile, nil }
	for lines, want := range map[string][]transfer.Extent{
		"RW 10 FLAT \"a\" 0":                   {{Off: 2 * sector, Len: 2 * sector}},
		"RW 1 ZERO\nRW 5 FLAT \"a\" 3":         {{Off: sector, Len: sector}},
		"RW 3 FLAT \"a\" 0":                    {{Off: 2 * sector, Len: sector}},
		"RW 1 FLAT \"a\" 3\nRW 4 FLAT \"a\" 0": {{Off: 0, Len: sector}, {Off: 3 * sector, Len: 2 * sector}},
		"RW 6 FLAT \"a\" 4":                    nil,
	} {
		descriptor := text + "createType=\"custom\"\n" + lines
		disk, err := vmdk.Open(t.Context(), disktest.Bytes([]byte(descriptor)), open)
		if err != nil {
			t.Fatal(err)
		}
		if got := disktest.Extents(t, disk); !slices.Equal(got, want) {
			t.Errorf("%q: got extents %v, want %v", lines, got, want)
		}
	}
}

// TestDescriptorsThatAreRefused: each kind of disk that is not read is refused with the command, and
// lines that lie are damage.
func TestDescriptorsThatAreRefused(t *testing.T) {
	const flat = "createType=\"monolithicFlat\"\n"
	contents := map[string][]byte{
		"flat": make([]byte, 10*sector), "cowd": append([]byte("COWD"), make([]byte, 2000)...),
	}
	kind := func(name string) string { return text + fmt.Sprintf("createType=%q\n", name) }
	for descriptor, words := range map[string][]string{
		kind("vmfs") + `RW 10 VMFS "flat"`:                                        {"vmfs", "qemu-img convert"},
		kind("vmfsSparse") + `RW 10 VMFSSPARSE "flat"`:                            {"vmfsSparse", "qemu-img convert"},
		kind("seSparse") + `RW 10 SESPARSE "flat"`:                                {"seSparse", "qemu-img convert"},
		kind("twoGbMaxExtentFlat") + `RW 10 FLAT "flat" 0`:                        {"twoGbMaxExtentFlat", "qemu-img"},
		kind("2GbMaxExtentSparse") + `RW 10 SPARSE "flat"`:                        {"2GbMaxExtentSparse", "qemu-img"},
		kind("fullDevice") + `RW 10 FLAT "/dev/sda" 0`:                            {"fullDevice", "qemu-img convert"},
		kind("custom") + `RW 10 VMFSRDM "flat"`:                                   {"VMFSRDM", "qemu-img convert"},
		kind("custom") + `RW 10 SPARSE "cowd"`:                                    {"ESX", "qemu-img convert"},
		kind("custom") + `NOACCESS 10 FLAT "flat" 0`:                              {"NOACCESS", "qemu-img convert"},
		kind("custom") + strings.Repeat("RW 1 ZERO\n", 17):                        {"more than 16", "qemu-img convert"},
		"CID=1\nparentCID=12345678\n" + flat + "parentFileNameHint=\"base.vmdk\"": {`parent "base.vmdk"`, "qemu-img"},
		"CID=1\nparentCID=1\n" + flat + `RW 10 FLAT "flat" 0`:                     {"parent", "qemu-img"},
		"CID=1\nparentCID=x\n" + flat + `RW 10 FLAT "flat" 0`:                     {"parent", "qemu-img"},
		text + flat + `RW 10 FLAT "../../etc/passwd" 0`:                           {"../../etc/passwd", "--follow"},
		text + flat + `RW 11 FLAT "flat" 0`:                                       {"5120 bytes", "5632"},
		text + flat + `RW 1 FLAT "flat" 10`:                                       {"at byte 5120"},
		text + flat + `RW 1 FLAT "flat" 9223372036854775807`:                      {"the line"},
		text + flat + `RW 9223372036854775807 FLAT "flat" 0`:                      {"the line"},
		text + flat + `RW 99999999999999999999 FLAT "flat" 0`:                     {"the line"},
		text + flat + `RW -1 FLAT "flat" 0`:                                       {"the line"},
		text + flat + `RW 1 FLAT "flat" -1`:                                       {"the line"},
		text + flat + "RW 1 FLAT \"flat":                                          {"the line"},
		text + flat + `RW 1 FLAT "" 0`:                                            {"the line"},
		text + flat + "RW 1 FLAT":                                                 {"the line"},
		text + flat + "RW":                                                        {"the line"},
		kind("custom") + `RW 10 SPARSE "flat"`:                                    {"no header"},
		kind("custom") + strings.Repeat("RW 137438953472 ZERO\n", 2):              {"more than"},
		text: {"no createType"},
		"":   {"no createType"},
		text + strings.Repeat("# comment\n", 7000): {"too large"},
	} {
		_, err := vmdk.Open(t.Context(), disktest.Bytes([]byte(descriptor)), files(contents))
		disktest.Refused(t, err, words...)
		if t.Failed() {
			t.Fatalf("%.300q", descriptor)
		}
	}
}

// TestHeadersThatAreRefused: headers whose fields lie or are not known are refused by Open.
func TestHeadersThatAreRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*image)
		words  string
	}{
		"version 0":            {func(m *image) { m.version = 0 }, "version 0"},
		"version 4":            {func(m *image) { m.version = 4 }, "version 4"},
		"unknown flag":         {func(m *image) { m.flags |= 1 << 20 }, "flags 0x100003"},
		"compression":          {func(m *image) { m.compression = 2 }, "compression 2"},
		"compression, no flag": {func(m *image) { m.compression = 1 }, "compression 1"},
		"flag, no compression": {func(m *image) { m.flags |= 0x30000 }, "compression 0"},
		"no markers":           {func(m *image) { m.flags |= 0x10000; m.compression = 1 }, "compression 1"},
		"no grain":             {func(m *image) { m.grain = 0 }, "grains of 0"},
		"odd grain":            {func(m *image) { m.grain = 127 }, "grains of 127"},
		"large grain":          {func(m *image) { m.grain = 1 << 63 }, "grains of"},
		"no entries":           {func(m *image) { m.entries = 0 }, "tables of 0"},
		"many entries":         {func(m *image) { m.entries = 1<<32 - 1 }, "tables of"},
		"large disk":           {func(m *image) { m.sectors = 1<<64 - 1 }, "a disk of"},
		"disk without tables":  {func(m *image) { m.sectors = 64 << 40 / sector }, "outside of the file"},
		"directory in header":  {func(m *image) { m.directory = 0 }, "outside of the file"},
		"directory outside":    {func(m *image) { m.directory = 1 << 40 }, "outside of the file"},
		"largest directory":    {func(m *image) { m.directory = 1<<64 - 2 }, "outside of the file"},
		"no footer":            {func(m *image) { m.directory = 1<<64 - 1 }, "no footer"},
		"text mode":            {func(m *image) { m.checks = "\r\n \r" }, "binary"},
		"no descriptor":        {func(m *image) { m.descriptor = "" }, "only a part of a disk"},
		"empty descriptor":     {func(m *image) { m.descriptor = "\x00" + m.descriptor }, "only a part of a disk"},
		"descriptor of a part": {
			func(m *image) { m.descriptor += "createType=\"twoGbMaxExtentSparse\"" }, "twoGbMaxExtentSparse",
		},
		"descriptor of a child": {
			func(m *image) { m.descriptor += "parentFileNameHint=\"/vm/base.vmdk\"" }, "/vm/base.vmdk",
		},
		"several extents": {func(m *image) {
			m.descriptor += "RW 9 SPARSE \"a\"\nRW 9 SPARSE \"b\"\n"
		}, "2 parts"},
	} {
		m := sparse()
		tc.change(&m)
		_, err := openBytes(t, m.bytes(table(22), grainTable(0), make([]byte, 2*sector)))
		disktest.Refused(t, err, tc.words)
		if t.Failed() {
			t.Fatal(name)
		}
	}
	for _, magic := range []string{"COWD", "\xbe\xba\xfe\xca\x00\x00\x00\x00"} {
		_, err := openBytes(t, append([]byte(magic), make([]byte, 2000)...))
		disktest.Refused(t, err, "ESX", "qemu-img convert -O raw")
	}
	s := newStream(content(grain), 0)
	s.footerDir = 1<<64 - 1
	_, err := openBytes(t, s.file(t))
	disktest.Refused(t, err, "no footer")
	whole := sparse().bytes(table(22), grainTable(0))
	for _, n := range []int{4, 8, 76, sector - 1, sector, 2 * sector, 21 * sector, 21*sector + 3} {
		if _, err := openBytes(t, whole[:n]); err == nil {
			t.Errorf("got no error for the first %d bytes of an image", n)
		}
	}
}

// TestLargestImageHoldsItsBound: an image with tables for 2 TiB is read in bounded memory.
func TestLargestImageHoldsItsBound(t *testing.T) {
	const tables = 2 << 40 / (512 * grain)
	m := sparse()
	m.sectors = 2 << 40 / sector
	directory := make([]uint32, tables)
	for i := range directory {
		directory[i] = uint32(21 + 512 + 4*i) // whose grains are zeros
	}
	p := m.bytes(table(directory...))
	p = append(p, make([]byte, (21+512)*sector-len(p)+tables*2048)...)
	heap := disktest.Heap(func() any {
		disk, err := openBytes(t, p)
		if err != nil {
			t.Fatal(err)
		}
		for e, err := range disk.Extents(t.Context()) {
			t.Errorf("got %v, %v; want no extents", e, err)
		}
		return disk
	})
	if heap > 5<<20 {
		t.Errorf("got %d bytes in memory, want at most 5 MiB", heap)
	}
}

// FuzzOpen: images with any content are read or refused, by errors for users, in bounded time.
func FuzzOpen(f *testing.F) {
	m := sparse()
	m.grain, m.sectors = 2, 9
	f.Add(m.bytes(table(22), grainTable(26, 0, 1, 28), filled('a', 2*sector), filled('b', 2*sector)), []byte(nil))
	m.flags |= 4
	f.Add(m.bytes(table(22), grainTable(1, 0, 0, 0, 26), filled('a', sector)), []byte(nil))
	s := newStream(content(7*sector), 2, 0, 3)
	s.grain = 2
	f.Add(s.file(f), []byte(nil))
	f.Add(newStream(content(4*sector), 0).file(f), []byte(nil))
	f.Add([]byte(text+"createType=\"custom\"\nRW 1 ZERO\nRW 2 FLAT \"a\" 1\nRW 1024 SPARSE \"b\"\n"),
		sparse().bytes(table(22), grainTable(0)))
	f.Add([]byte(text+"createType=\"monolithicFlat\"\nRW 2 FLAT \"a\" 0\n"), filled('f', 2*sector))
	f.Fuzz(func(t *testing.T, p, other []byte) {
		open := func(context.Context, string, string) (diskformat.Disk, error) { return disktest.Bytes(other), nil }
		disk, err := vmdk.Open(t.Context(), disktest.Bytes(p), open)
		disktest.Survives(t, disk, err)
	})
}
