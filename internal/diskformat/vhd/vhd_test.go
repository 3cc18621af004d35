package vhd

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/transferd/transferd/internal/diskformat"
	"github.com/transferd/transferd/internal/diskformat/disktest"
)

func random(n int) []byte {
	p := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(n)}).Read(p) // never fails
	return p
}

// expectDisk opens an image, whose disk must be want.
func expectDisk(t *testing.T, image, want []byte) diskformat.Disk {
	t.Helper()
	d, err := Open(t.Context(), disktest.Bytes(image))
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []int{100, 512, 4096, 1 << 20} {
		disktest.Equal(t, d, disktest.Bytes(want), step)
	}
	return d
}

// expectRefused opens an image, which must be refused with these words.
func expectRefused(t *testing.T, image []byte, words ...string) {
	t.Helper()
	_, err := Open(t.Context(), disktest.Bytes(image))
	disktest.Refused(t, err, words...)
}

func TestFootersHave512Or511Bytes(t *testing.T) {
	disk := random(10 * sectorSize)
	for _, n := range []int{footerLen, oldFooterLen} {
		m := image{creator: "win ", size: uint64(len(disk)), tail: n}
		expectDisk(t, m.fixed(disk), disk)
		m.blockSize, m.blocks = 4096, [][]byte{disk[:4096], disk[4096:]}
		expectDisk(t, m.dynamic(), disk)
	}
}

func TestSizeIsInBytesUnlessTheCreatorGoesByGeometry(t *testing.T) {
	disk := random(10 * sectorSize)
	small, largest := [4]byte{0, 2, 2, 2}, [4]byte{0xff, 0xff, 16, 255}
	for _, tc := range []struct {
		creator  string
		geometry [4]byte
		sectors  int
	}{
		{"vpc ", small, 8}, {"qemu", small, 8}, {"qemu", largest, 10}, {"vpc ", [4]byte{}, 10},
		{"win ", small, 10}, {"qem2", small, 10}, {"d2v ", small, 10}, {"CTXS", small, 10}, {"tap\x00", small, 10},
		{"wa\x00\x00", small, 10}, {"vbox", small, 10}, {"?", small, 10},
	} {
		m := image{creator: tc.creator, size: uint64(len(disk)), geometry: tc.geometry}
		d := expectDisk(t, m.fixed(disk), disk[:tc.sectors*sectorSize])
		warnings := d.(diskformat.Warner).Warnings()
		if leftOut := tc.sectors < 10; leftOut != (len(warnings) == 1) {
			t.Errorf("%q: got warnings %q, want one only if bytes are left out", tc.creator, warnings)
		}
		m.blockSize, m.blocks = 4096, [][]byte{disk[:4096], disk[4096:]}
		expectDisk(t, m.dynamic(), disk[:tc.sectors*sectorSize])
	}
}

// TestSectorsWithoutABitAreZeros: the file may have old data there.
func TestSectorsWithoutABitAreZeros(t *testing.T) {
	const blockSize = 128 * sectorSize
	disk := random(3 * blockSize)
	m := image{creator: "tap\x00", size: 3 * blockSize, blockSize: blockSize}
	m.blocks = [][]byte{slices.Clone(disk[:blockSize]), nil, slices.Clone(disk[2*blockSize:])}
	m.bitmaps = [][]byte{{0x7f, 0x00, 0xff, 0x01, 0xfe}, nil, bytes.Repeat([]byte{0xaa}, 16)}
	for block, bitmap := range m.bitmaps {
		for i := range int64(len(bitmap) * 8) {
			if !hasBit(bitmap, i) {
				clear(disk[int64(block)*blockSize+i*sectorSize:][:sectorSize])
			}
		}
	}
	clear(disk[blockSize : 2*blockSize])
	expectDisk(t, m.dynamic(), disk)
}

// TestBitmapsOfLargeBlocksAreReadInPart: a block of 1 GiB has a bitmap of 256 KiB.
func TestBitmapsOfLargeBlocksAreReadInPart(t *testing.T) {
	const blockSize = 1 << 30
	m := image{kind: kindDynamic, creator: "win ", size: blockSize, blockSize: blockSize, entries: 1}
	const at, bitmapLen = 2048, blockSize / sectorSize / 8
	data := random(sectorSize)
	f := disktest.Parts(at+bitmapLen+blockSize, map[int64][]byte{
		0: m.footer(), footerLen: m.header(), footerLen + headerLen: {0, 0, 0, at / sectorSize},
		at + 200_000: {0x10}, at + bitmapLen + (200_000*8+3)*sectorSize: data,
	})
	d, err := Open(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	want := make([]byte, 1<<20)
	copy(want[3*sectorSize:], data)
	before := f.Bytes.Load()
	got := random(len(want))
	if err := d.ReadAt(t.Context(), got, 200_000*8*sectorSize); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("got other bytes, %v", err)
	}
	if n := f.Bytes.Load() - before; n > sectorSize+1<<20/sectorSize/8 {
		t.Errorf("got %d bytes read, want the sector with data and the bits of 1 MiB", n)
	}
}

func TestAnyFooterWithACorrectChecksumCounts(t *testing.T) {
	disk := random(4096)
	m := image{creator: "win ", size: 4096, blockSize: 4096, blocks: [][]byte{disk}}
	for _, cut := range []func(p []byte) []byte{
		func(p []byte) []byte { p[100]++; return p },          // the copy is damaged
		func(p []byte) []byte { clear(p[:512]); return p },    // the copy is lost
		func(p []byte) []byte { p[len(p)-1]++; return p },     // the footer is damaged
		func(p []byte) []byte { return p[:len(p)-footerLen] }, // the footer is lost
	} {
		expectDisk(t, cut(m.dynamic()), disk)
	}
}

func TestImagesThatCannotBeReadAreRefused(t *testing.T) {
	disk := random(8192)
	m := image{creator: "win ", size: 8192, blockSize: 4096, blocks: [][]byte{disk[:4096], disk[4096:]}}
	const table = footerLen + headerLen
	// edit changes the header, whose checksum stays correct.
	edit := func(off int, value uint32) []byte {
		p := m.dynamic()
		binary.BigEndian.PutUint32(p[footerLen+off:], value)
		seal(p[footerLen:table], headerSum)
		return p
	}
	entry := func(value uint32) []byte {
		p := m.dynamic()
		binary.BigEndian.PutUint32(p[table+entryLen:], value)
		return p
	}
	change := func(p []byte, off int) []byte { p[(len(p)+off)%len(p)]++; return p }
	short := m
	short.entries = 1
	huge := m
	huge.size, huge.entries = 1<<64-1, 2
	ofType := image{kind: 5, size: 8192, blockSize: 4096}
	for name, tc := range map[string]struct {
		image []byte
		words []string
	}{
		"no footer":                  {disk, []string{"no footer"}},
		"nothing":                    {nil, []string{"no footer"}},
		"footer of a fixed image":    {change(m.fixed(disk), -1), []string{"byte 8192", "damaged"}},
		"fixed, cut":                 {m.fixed(disk[:4096]), []string{"8192 bytes", "4096"}},
		"fixed, of any size":         {huge.fixed(disk), []string{"damaged"}},
		"of any size":                {huge.dynamic(), []string{"damaged"}},
		"type":                       {ofType.dynamic(), []string{"type 5", "qemu-img convert"}},
		"header":                     {change(m.dynamic(), footerLen+100), []string{"header", "damaged"}},
		"version of the header":      {edit(headerVersion, 0x20000), []string{"header", "damaged"}},
		"block size 0":               {edit(headerBlock, 0), []string{"blocks of 0 bytes"}},
		"block size 256":             {edit(headerBlock, 256), []string{"blocks of 256 bytes"}},
		"block size 3 sectors":       {edit(headerBlock, 1536), []string{"blocks of 1536 bytes"}},
		"table too short":            {short.dynamic(), []string{"8192 bytes", "4096"}},
		"table outside":              {edit(headerTable+4, 1<<30), []string{"outside of the file"}},
		"table far outside":          {edit(headerTable, 1<<31), []string{"outside of the file"}},
		"block at the footer":        {entry(0), []string{"block 1", "sector 0"}},
		"block outside":              {entry(1 << 20), []string{"block 1", "outside of the file"}},
		"block far outside":          {entry(0xfffffffe), []string{"block 1", "outside of the file"}},
		"dynamic, cut":               {m.dynamic()[:table+512+8192], []string{"block 1", "outside of the file"}},
		"header outside of the file": {m.dynamic()[:footerLen], []string{"outside of the file"}},
	} {
		t.Run(name, func(t *testing.T) { expectRefused(t, tc.image, tc.words...) })
	}
}

func TestDifferencingImagesAreRefusedWithTheirParent(t *testing.T) {
	m := image{kind: kindDifferencing, creator: "win ", size: 4096, blockSize: 4096, parent: `C:\base "1".vhd`}
	expectRefused(t, m.dynamic(), `parent "C:\\base \"1\".vhd"`, "Convert-VHD", "VBoxManage")
	damaged := m.dynamic()
	clear(damaged[footerLen : footerLen+headerLen])
	expectRefused(t, damaged, "in its parent;", "Convert-VHD")
}
