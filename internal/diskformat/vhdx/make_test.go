package vhdx

import (
	"encoding/binary"
	"hash/crc32"
	"unicode/utf16"

	"github.com/transferd/transferd/internal/diskformat/disktest"
)

// Where images for tests have their regions and their first block, in bytes.
const (
	metadataAt = 1 << 20
	tableAt    = 2 << 20
	dataAt     = 3 << 20
	itemsAt    = metadataLen // in the region of metadata
	locatorAt  = 1024        // behind itemsAt
)

var le = binary.LittleEndian

// image describes an image for tests.
type image struct {
	size, sectorSize uint64
	blockSize        uint32
	flags            uint32
	entries          []uint64 // of the table of blocks
	file             int64    // size of the file, in bytes
	locator          []byte   // of the parent
}

// parts are the parts of the image by their offset, as the specification demands.
func (m image) parts() map[int64][]byte {
	items := make([]byte, 64<<10)
	le.PutUint32(items, m.blockSize)
	le.PutUint32(items[4:], m.flags)
	le.PutUint64(items[8:], m.size)
	le.PutUint32(items[16:], uint32(m.sectorSize))
	copy(items[locatorAt:], m.locator)
	table := make([]byte, 0, len(m.entries)*entryLen)
	for _, e := range m.entries {
		table = le.AppendUint64(table, e)
	}
	return map[int64][]byte{
		0:          []byte(identifier),
		header1:    header(1),
		header2:    header(2),
		regions1:   regionTable(region{tableAt, 1 << 20}, region{metadataAt, 1 << 20}),
		regions2:   regionTable(region{tableAt, 1 << 20}, region{metadataAt, 1 << 20}),
		metadataAt: itemTable(fileEntry, sizeEntry, sectorEntry, item{page83Item, 32, 16}),

		metadataAt + itemsAt: items,
		tableAt:              table,
	}
}

// with is the image with other parts.
func (m image) with(other map[int64][]byte) *disktest.File {
	parts := m.parts()
	for off, p := range other {
		parts[off] = p
	}
	return disktest.Parts(m.file, parts)
}

func header(sequence uint64) []byte {
	p := make([]byte, headerLen)
	copy(p, "head")
	le.PutUint64(p[headerSequence:], sequence)
	le.PutUint16(p[headerVersion:], 1)
	return seal(p)
}

// seal writes the checksum.
func seal(p []byte) []byte {
	clear(p[4:8])
	le.PutUint32(p[4:], crc32.Checksum(p, crc32.MakeTable(crc32.Castagnoli)))
	return p
}

// regionTable is the table of the regions with the blocks and with the metadata. Others follow, as
// they are in the table.
func regionTable(blocks, metadata region, other ...string) []byte {
	entry := func(id string, r region) string {
		p := le.AppendUint64([]byte(id), uint64(r.off))
		p = le.AppendUint32(p, uint32(r.len))
		return string(le.AppendUint32(p, 1))
	}
	p := make([]byte, regionsLen)
	copy(p, "regi")
	rows := append([]string{entry(blocksRegion, blocks), entry(metadataRegion, metadata)}, other...)
	le.PutUint32(p[8:], uint32(len(rows)))
	for i, row := range rows {
		copy(p[regionsHeaderLen+i*regionEntryLen:], row)
	}
	return seal(p)
}

// item is a part of the metadata. off is behind itemsAt.
type item struct {
	id       string
	off, len uint32
}

// The items that every image has, as parts places them.
var (
	fileEntry   = item{fileItem, 0, 8}
	sizeEntry   = item{sizeItem, 8, 8}
	sectorEntry = item{sectorItem, 16, 4}
)

func itemTable(items ...item) []byte {
	p := make([]byte, metadataLen)
	copy(p, "metadata")
	le.PutUint16(p[10:], uint16(len(items)))
	for i, it := range items {
		e := p[(i+1)*metadataEntryLen:]
		copy(e, it.id)
		le.PutUint32(e[16:], itemsAt+it.off)
		le.PutUint32(e[20:], it.len)
		le.PutUint32(e[24:], flagRequired)
	}
	return p
}

// locator is the item that names the parent, by keys and values.
func locator(pairs ...string) []byte {
	header := make([]byte, locatorHeaderLen+len(pairs)/2*locatorEntryLen)
	le.PutUint16(header[18:], uint16(len(pairs)/2))
	p := header
	for i, text := range pairs {
		e := header[locatorHeaderLen+i/2*locatorEntryLen:]
		le.PutUint32(e[i%2*4:], uint32(len(p)))
		le.PutUint16(e[8+i%2*2:], uint16(2*len(text)))
		for _, c := range utf16.Encode([]rune(text)) {
			p = le.AppendUint16(p, c)
		}
	}
	copy(p, header)
	return p
}
