package vhd

import (
	"encoding/binary"
	"slices"
	"unicode/utf16"
)

// image describes an image for tests. Its parts are written as the specification demands, with
// correct checksums.
type image struct {
	kind      uint32
	creator   string
	size      uint64   // of the disk, in bytes
	geometry  [4]byte  // cylinders in two bytes, heads, sectors
	blockSize uint32   // in bytes
	entries   uint32   // of the table; 0: as many as the size needs
	blocks    [][]byte // data of the first blocks, each at most blockSize bytes; nil: not allocated
	bitmaps   [][]byte // of the first blocks; a missing one has all bits
	parent    string   // its name
	tail      int      // bytes of the footer at the end; 0: 512
}

func (m image) footer() []byte {
	p := make([]byte, footerLen)
	copy(p, footerCookie)
	binary.BigEndian.PutUint32(p[8:], 2)
	binary.BigEndian.PutUint32(p[footerVersion:], formatVersion)
	binary.BigEndian.PutUint64(p[footerHeader:], footerLen)
	copy(p[footerCreator:], m.creator)
	binary.BigEndian.PutUint64(p[40:], m.size)
	binary.BigEndian.PutUint64(p[footerSize:], m.size)
	copy(p[footerGeometry:], m.geometry[:])
	binary.BigEndian.PutUint32(p[footerKind:], m.kind)
	seal(p, footerSum)
	return p
}

// seal writes the checksum.
func seal(p []byte, off int) { binary.BigEndian.PutUint32(p[off:], checksum(p, off)) }

func (m image) header() []byte {
	p := make([]byte, headerLen)
	copy(p, headerCookie)
	binary.BigEndian.PutUint64(p[8:], 1<<64-1)
	binary.BigEndian.PutUint64(p[headerTable:], footerLen+headerLen)
	binary.BigEndian.PutUint32(p[headerVersion:], formatVersion)
	binary.BigEndian.PutUint32(p[headerEntries:], m.entries)
	binary.BigEndian.PutUint32(p[headerBlock:], m.blockSize)
	for i, c := range utf16.Encode([]rune(m.parent)) {
		binary.BigEndian.PutUint16(p[headerParent+2*i:], c)
	}
	seal(p, headerSum)
	return p
}

// fixed is a fixed image of this disk.
func (m image) fixed(disk []byte) []byte {
	m.kind = kindFixed
	return append(slices.Clone(disk), m.end()...)
}

func (m image) end() []byte {
	if m.tail == 0 {
		m.tail = footerLen
	}
	return m.footer()[:m.tail]
}

// dynamic is an image of blocks.
func (m image) dynamic() []byte {
	if m.kind == 0 {
		m.kind = kindDynamic
	}
	if m.entries == 0 {
		m.entries = uint32((m.size + uint64(m.blockSize) - 1) / uint64(m.blockSize))
	}
	table := make([]byte, roundUp(int64(m.entries)*entryLen, sectorSize))
	for i := range table {
		table[i] = 0xff
	}
	p := slices.Concat(m.footer(), m.header(), table)
	bitmapLen := roundUp(int64(m.blockSize)/sectorSize, 8*sectorSize) / 8
	for i, data := range m.blocks {
		if data == nil {
			continue
		}
		binary.BigEndian.PutUint32(p[footerLen+headerLen+i*entryLen:], uint32(len(p)/sectorSize))
		bitmap := make([]byte, bitmapLen)
		for i := range bitmap {
			bitmap[i] = 0xff
		}
		if i < len(m.bitmaps) {
			copy(bitmap, m.bitmaps[i])
		}
		p = slices.Concat(p, bitmap, data, make([]byte, int(m.blockSize)-len(data)))
	}
	return append(p, m.end()...)
}
