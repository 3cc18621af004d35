package vhdx

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/transferd/transferd/internal/diskformat"
	"github.com/transferd/transferd/internal/diskformat/disktest"
	"github.com/transferd/transferd/internal/transfer"
)

const mib = 1 << 20

func random(n int) []byte {
	p := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(n)}).Read(p) // never fails
	return p
}

// small is an image of a disk of 3.5 MiB with two blocks in reverse order.
func small() (m image, data map[int64][]byte, disk []byte) {
	disk = random(7 * mib / 2)
	clear(disk[mib : 3*mib])
	m = image{
		size: uint64(len(disk)), sectorSize: 512, blockSize: mib, file: 5 * mib,
		entries: []uint64{4<<unitShift | present, zero, undefined, 3<<unitShift | present},
	}
	return m, map[int64][]byte{dataAt: disk[3*mib:], dataAt + mib: disk[:mib]}, disk
}

func expectDisk(t *testing.T, f *disktest.File, want []byte) diskformat.Disk {
	t.Helper()
	d, err := Open(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	disktest.Equal(t, d, disktest.Bytes(want), mib/2+1)
	return d
}

// expectRefused opens an image, which must be refused with these words.
func expectRefused(t *testing.T, f *disktest.File, words ...string) {
	t.Helper()
	_, err := Open(t.Context(), f)
	disktest.Refused(t, err, words...)
}

// TestOneValidHeaderAndTableSuffice: a program may crash while it writes one of them.
func TestOneValidHeaderAndTableSuffice(t *testing.T) {
	m, data, disk := small()
	for _, off := range []int64{header1, header2, regions1, regions2} {
		damaged := maps.Clone(data)
		damaged[off] = slices.Clone(m.parts()[off])
		damaged[off][headerLog]++ // of a table of regions it is in the second GUID
		expectDisk(t, m.with(damaged), disk)
	}
}

// TestTheHeaderWithTheHigherNumberCounts: its log counts, and not the other one's.
func TestTheHeaderWithTheHigherNumberCounts(t *testing.T) {
	m, data, disk := small()
	withLog := func(sequence uint64) []byte {
		p := header(sequence)
		p[headerLog] = 1
		return seal(p)
	}
	for _, tc := range []struct {
		first, second []byte
		refused       string // empty: read
	}{
		{withLog(1), header(2), ""},
		{header(1<<63 + 1), withLog(1 << 63), ""},
		{header(7), header(7), ""}, // of Disk2vhd
		{header(1), withLog(2), "qemu-img check -r all IN"},
		{withLog(1 << 63), header(1<<63 - 1), "qemu-img check -r all IN"},
		{header(7), withLog(7), "same number"},
		{make([]byte, headerLen), make([]byte, headerLen), "both headers"},
	} {
		data[header1], data[header2] = tc.first, tc.second
		f := m.with(data)
		if tc.refused == "" {
			expectDisk(t, f, disk)
		} else {
			expectRefused(t, f, tc.refused)
		}
	}
}

func TestStatesOfBlocks(t *testing.T) {
	m, data, disk := small()
	for state := range uint64(8) {
		m.entries[1] = 3<<unitShift | state
		switch state {
		case present:
			continue
		case 4, 7:
			expectRefused(t, m.with(data), "block 1", fmt.Sprint("state ", state))
		default:
			expectDisk(t, m.with(data), disk)
		}
	}
}

// TestEntriesOfBitmapsAreSkipped: there is one after each group of blocks. The size of a group
// depends on the sizes of blocks and sectors.
func TestEntriesOfBitmapsAreSkipped(t *testing.T) {
	for _, tc := range []struct {
		blockSize uint32
		sector    uint64
		group     int
	}{{256 * mib, 512, 16}, {256 * mib, 4096, 128}, {64 * mib, 512, 64}, {mib, 512, 4096}, {mib, 4096, 32768}} {
		blocks := 2*tc.group + 1
		m := image{
			size: uint64(blocks)*uint64(tc.blockSize) - tc.sector, sectorSize: tc.sector, blockSize: tc.blockSize,
			file: dataAt + int64(tc.blockSize)*2, entries: make([]uint64, blocks+2),
		}
		m.entries[tc.group-1] = 3<<unitShift | present
		m.entries[tc.group] = 1<<60 | 7 // the bitmap
		m.entries[tc.group+1] = 3<<unitShift | present
		m.entries[2*tc.group+1] = 1<<60 | 7 // the bitmap
		m.entries[2*tc.group+2] = 3<<unitShift | present
		d, err := Open(t.Context(), m.with(nil))
		if err != nil {
			t.Fatal(err)
		}
		n, group := int64(tc.blockSize), int64(tc.group)
		want := []transfer.Extent{{Off: n * (group - 1), Len: 2 * n}, {Off: 2 * group * n, Len: n - int64(tc.sector)}}
		if got := disktest.Extents(t, d); !slices.Equal(got, want) {
			t.Errorf("%+v: got %v, want %v", tc, got, want)
		}
	}
}

func TestDisksWithLargeSectorsAreReadWithAWarning(t *testing.T) {
	m, data, disk := small()
	for sector, want := range map[uint64]int{512: 0, 4096: 1} {
		m.sectorSize = sector
		d := expectDisk(t, m.with(data), disk)
		if got := d.(diskformat.Warner).Warnings(); len(got) != want {
			t.Errorf("sectors of %d bytes: got warnings %q, want %d", sector, got, want)
		}
	}
}

func TestDifferencingImagesAreRefusedWithTheirParent(t *testing.T) {
	m, _, _ := small()
	m.flags = flagHasParent
	for _, tc := range []struct {
		pairs []string
		want  string
	}{
		{[]string{"absolute_win32_path", `C:\vm\base.vhdx`, "relative_path", `.\base.vhdx`}, `".\\base.vhdx"`},
		{[]string{"parent_linkage", "{00}", "absolute_win32_path", `C:\base.vhdx`}, `"C:\\base.vhdx"`},
		{nil, "in its parent;"},
	} {
		m.locator = locator(tc.pairs...)
		items := itemTable(fileEntry, item{parentItem, locatorAt, uint32(len(m.locator))})
		expectRefused(t, m.with(map[int64][]byte{metadataAt: items}), tc.want, "Convert-VHD")
	}
	expectRefused(t, m.with(nil), "in its parent;", "Convert-VHD")
}

func TestDamagedTablesAreRefused(t *testing.T) {
	type parts = map[int64][]byte
	regions := func(blocks, metadata region, other ...string) parts {
		return parts{regions1: regionTable(blocks, metadata, other...)}
	}
	items := func(list ...item) parts { return parts{metadataAt: itemTable(list...)} }
	blocks, meta := region{tableAt, mib}, region{metadataAt, mib}
	tooMany := regionTable(blocks, meta)
	le.PutUint32(tooMany[8:], maxRegions+1)
	unknown := strings.Repeat("x", 28)
	for name, tc := range map[string]struct {
		parts parts
		want  string
	}{
		"identifier":         {parts{0: []byte("vhdxfilX")}, "no VHDX image"},
		"regions":            {parts{regions1: {1}, regions2: {1}}, "tables of regions"},
		"too many regions":   {parts{regions1: seal(tooMany)}, "2048 regions"},
		"no table of blocks": {regions(region{}, meta), "lacks the region"},
		"no metadata":        {regions(blocks, region{}), "lacks the region"},
		"an unknown region":  {regions(blocks, meta, unknown+"\x01"), "qemu-img convert"},
		"metadata outside":   {regions(blocks, region{1 << 40, mib}), "outside of the file"},
		"metadata far away":  {regions(blocks, region{-1, mib}), "outside of the file"},
		"table far away":     {regions(region{-1, mib}, meta), "outside of the file"},
		"little metadata":    {regions(blocks, region{metadataAt, 4096}), "region of 4096 bytes"},
		"table too short":    {regions(region{tableAt, 24}, meta), "region of 24 bytes"},
		"table of metadata":  {parts{metadataAt: {1}}, "table of metadata"},
		"no items":           {items(), "lacks the metadata"},
		"no size":            {items(fileEntry, sectorEntry), "lacks the metadata"},
		"no sector size":     {items(fileEntry, sizeEntry), "lacks the metadata"},
		"a part of an item":  {items(item{fileItem, 0, 4}), "lacks the metadata"},
		"an item outside":    {items(item{fileItem, mib, 8}), "region of 1048576 bytes"},
		"an item too long":   {items(item{fileItem, 0, 1<<32 - 1}), "region of 1048576 bytes"},
		"an unknown item":    {items(item{unknown[:16], 0, 8}), "qemu-img convert"},
	} {
		t.Run(name, func(t *testing.T) {
			m, _, _ := small()
			expectRefused(t, m.with(tc.parts), tc.want)
		})
	}
}

func TestWrongValuesAreRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(m *image)
		want   string
	}{
		"a short file":        {func(m *image) { m.file = 100 }, "outside of the file"},
		"block size 0":        {func(m *image) { m.blockSize = 0 }, "blocks of 0 bytes"},
		"block size 3 MiB":    {func(m *image) { m.blockSize = 3 * mib }, "blocks of 3145728 bytes"},
		"block size 512 MiB":  {func(m *image) { m.blockSize = 512 * mib }, "blocks of 536870912 bytes"},
		"sector size":         {func(m *image) { m.sectorSize = 1024 }, "sectors of 1024 bytes"},
		"size not in sectors": {func(m *image) { m.size++ }, "in sectors of 512"},
		"any size":            {func(m *image) { m.size = 1<<64 - 512 }, "in sectors of 512"},
		"size over 64 TiB":    {func(m *image) { m.size = 64<<40 + 512 }, "in sectors of 512"},
		"a block at 0":        {func(m *image) { m.entries[1] = present }, "at MiB 0, outside of the file"},
		"a block outside":     {func(m *image) { m.entries[1] = 5<<unitShift | present }, "at MiB 5, outside"},
		"a block far away":    {func(m *image) { m.entries[1] = 0xfffffffffff00000 | present }, "outside of the file"},
		"cut":                 {func(m *image) { m.file-- }, "block 0 of the VHDX image"},
	} {
		t.Run(name, func(t *testing.T) {
			m, _, _ := small()
			tc.change(&m)
			expectRefused(t, m.with(nil), tc.want)
		})
	}
}
