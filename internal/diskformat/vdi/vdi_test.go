package vdi_test

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"github.com/transferd/transferd/internal/diskformat"
	"github.com/transferd/transferd/internal/diskformat/disktest"
	"github.com/transferd/transferd/internal/diskformat/vdi"
	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/transfertest"
)

const (
	sector = 512
	block  = 1 << 20

	free      = 0xffffffff // an entry of a block that was never written
	discarded = 0xfffffffe // of one that was written and discarded
)

// image is a VDI image that is made by hand. Its fields may lie.
type image struct {
	version, kind     uint32
	table, data       uint32 // offsets in bytes
	sectorSize        uint32
	size              uint64
	blockSize, extra  uint32
	blocks            uint32
	link, parent      byte // the first of their UUIDs
	entries           []uint32
	withoutSignature  bool
	content           []byte
	missingFromTheEnd int
}

func dynamic(content []byte, entries ...uint32) image {
	return image{
		version: 0x10001, kind: 1, table: sector, data: 2 * sector, sectorSize: sector,
		size: uint64(len(entries)) * 4096, blockSize: 4096, blocks: uint32(len(entries)), entries: entries,
		content: content,
	}
}

func (m image) bytes() []byte {
	p := make([]byte, 2*sector)
	u32 := func(off int, v uint32) { binary.LittleEndian.PutUint32(p[off:], v) }
	if !m.withoutSignature {
		u32(64, 0xbeda107f)
	}
	u32(68, m.version)
	u32(72, 0x190)
	u32(76, m.kind)
	u32(340, m.table)
	u32(344, m.data)
	u32(360, m.sectorSize)
	binary.LittleEndian.PutUint64(p[368:], m.size)
	u32(376, m.blockSize)
	u32(380, m.extra)
	u32(384, m.blocks)
	p[424], p[440] = m.link, m.parent
	for i, e := range m.entries {
		u32(sector+4*i, e)
	}
	p = append(p, m.content...)
	return p[:len(p)-m.missingFromTheEnd]
}

func openBytes(t testing.TB, p []byte) (diskformat.Disk, error) {
	return vdi.Open(t.Context(), disktest.Bytes(p))
}

// blocks are blocks of 4096 bytes, each of one letter.
func blocks(letters string) (p []byte) {
	for _, c := range letters {
		p = append(p, strings.Repeat(string(c), 4096)...)
	}
	return p
}

// TestImagesOfQemu: dynamic and static images, as qemu-img writes them, have the content that
// qemu-img reads from them.
func TestImagesOfQemu(t *testing.T) {
	transfertest.RequireProgram(t, "qemu-img", "qemu-utils")
	open := func(t testing.TB, path string) (diskformat.Disk, error) {
		return vdi.Open(t.Context(), disktest.Open(t, path))
	}
	for _, size := range []int64{0, 1, 511, 512, 513, block - 1, block, block + 1, 10*block + 5, 300*block - 512} {
		for _, options := range []string{"static=off", "static=on"} {
			disktest.Qemu(t, size, "vdi", "-o "+options, open)
		}
	}
	disktest.Qemu(t, 5<<30, "vdi", "-o static=off", open) // a static one would have all of it
}

// TestBlocksInAnyOrder: blocks lie in any order; free and discarded ones are zeros.
func TestBlocksInAnyOrder(t *testing.T) {
	zeros := make([]byte, 4096)
	m := dynamic(blocks("abcd"), 3, free, 0, 1, discarded, free, 2)
	want := slices.Concat(blocks("d"), zeros, blocks("ab"), zeros, zeros, blocks("c"))
	disk, err := openBytes(t, m.bytes())
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []int{1 << 20, 4096, 1000, 1} {
		disktest.Equal(t, disk, disktest.Bytes(want), step)
	}
	extents := []transfer.Extent{{Off: 0, Len: 4096}, {Off: 2 * 4096, Len: 2 * 4096}, {Off: 6 * 4096, Len: 4096}}
	if got := disktest.Extents(t, disk); !slices.Equal(got, extents) {
		t.Errorf("got extents %v, want %v", got, extents)
	}
}

// TestSizesOfVirtualBox: VirtualBox writes disks whose size is no multiple of a sector; their last
// sector is padded, and the file may end with it. A table may be longer than the disk.
func TestSizesOfVirtualBox(t *testing.T) {
	m := dynamic(blocks("ab"), 1, 0, free)
	m.size = 4096 + 700
	disk, err := openBytes(t, m.bytes())
	if err != nil {
		t.Fatal(err)
	}
	disktest.Equal(t, disk, disktest.Bytes(slices.Concat(blocks("b"), blocks("a")[:1024])), 100)

	m.entries = []uint32{0, 1}
	m.missingFromTheEnd = 4096 - 1024
	if disk, err = openBytes(t, m.bytes()); err != nil {
		t.Fatal(err)
	}
	disktest.Equal(t, disk, disktest.Bytes(blocks("ab")[:4096+1024]), 100)
}

// TestImagesThatAreRefused: images that depend on others, or that lie, are refused by Open, or by
// the extents before anything is read.
func TestImagesThatAreRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*image)
		words  []string
	}{
		"no signature":     {func(m *image) { m.withoutSignature = true }, []string{"no signature"}},
		"version 0.1":      {func(m *image) { m.version = 1 }, []string{"version 0.1", "qemu-img convert"}},
		"undo image":       {func(m *image) { m.kind = 3 }, []string{"differences", "clonemedium"}},
		"difference":       {func(m *image) { m.kind = 4 }, []string{"differences", "clonemedium"}},
		"link":             {func(m *image) { m.link = 1 }, []string{"differences", "clonemedium"}},
		"parent":           {func(m *image) { m.parent = 1 }, []string{"differences", "clonemedium"}},
		"kind 0":           {func(m *image) { m.kind = 0 }, []string{"kind 0"}},
		"sectors":          {func(m *image) { m.sectorSize = 4096 }, []string{"sectors of 4096 bytes"}},
		"extra":            {func(m *image) { m.extra = 512 }, []string{"512 bytes in front"}},
		"blocks of 0":      {func(m *image) { m.blockSize = 0 }, []string{"blocks", "0 bytes"}},
		"odd blocks":       {func(m *image) { m.blockSize = 4097 }, []string{"4097 bytes"}},
		"small blocks":     {func(m *image) { m.blockSize = 256 }, []string{"256 bytes"}},
		"large blocks":     {func(m *image) { m.blockSize = 1 << 31 }, []string{"blocks"}},
		"large disk":       {func(m *image) { m.size = 1<<64 - 1 }, []string{"a table for"}},
		"disk and table":   {func(m *image) { m.size++ }, []string{"a table for"}},
		"table outside":    {func(m *image) { m.table = 1<<32 - 1 }, []string{"outside of the file"}},
		"large table":      {func(m *image) { m.blocks, m.size = 1<<32-1, 1<<43 }, []string{"outside of the file"}},
		"data outside":     {func(m *image) { m.data = 1<<32 - 1 }, []string{"outside of the file"}},
		"block outside":    {func(m *image) { m.entries[1] = 4 }, []string{"block 1", "outside of the file"}},
		"largest entry":    {func(m *image) { m.entries[2] = discarded - 1 }, []string{"block 2", "outside of the"}},
		"cut block":        {func(m *image) { m.missingFromTheEnd = 1 }, []string{"block 3", "outside of the file"}},
		"cut table":        {func(m *image) { m.missingFromTheEnd = 4*4096 + sector }, []string{"table", "outside"}},
		"nothing but text": {func(m *image) { m.missingFromTheEnd = 4*4096 + 2*sector - 64 }, []string{"header"}},
	} {
		t.Run(name, func(t *testing.T) {
			m := dynamic(blocks("abcd"), 0, 1, 2, 3)
			tc.change(&m)
			disk, err := openBytes(t, m.bytes())
			if err == nil {
				for _, err = range disk.Extents(t.Context()) {
				}
			}
			disktest.Refused(t, err, tc.words...)
		})
	}
}

// TestLargestTableHoldsItsBound: a table of 64 MiB is read in bounded memory.
func TestLargestTableHoldsItsBound(t *testing.T) {
	m := dynamic(nil)
	m.blocks, m.blockSize, m.size = 16<<20, block, 16<<40
	p := slices.Concat(m.bytes()[:sector], bytes.Repeat([]byte{0xff}, 64<<20))
	heap := disktest.Heap(func() any {
		disk, err := openBytes(t, p)
		if err != nil {
			t.Fatal(err)
		}
		if got := disktest.Extents(t, disk); len(got) > 0 {
			t.Errorf("got extents %v, want none", got)
		}
		return disk
	})
	if heap > 5<<20 {
		t.Errorf("got %d bytes in memory, want at most 5 MiB", heap)
	}
}

// FuzzOpen: images with any content are read or refused, by errors for users, in bounded time.
func FuzzOpen(f *testing.F) {
	f.Add(dynamic(blocks("abcd"), 3, free, 0, 1, discarded, free, 2).bytes())
	m := dynamic(blocks("ab"), 0, 1)
	m.kind, m.size = 2, 4096+700
	f.Add(m.bytes())
	m.kind, m.parent = 4, 1
	f.Add(m.bytes())
	f.Add(dynamic(nil).bytes())
	f.Fuzz(func(t *testing.T, p []byte) {
		disk, err := openBytes(t, p)
		disktest.Survives(t, disk, err)
	})
}
