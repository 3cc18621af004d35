package vhdx

import (
	"context"
	"encoding/binary"
	"math"

	"github.com/transferd/transferd/internal/diskformat"
)

// GUIDs of items of metadata, as stored.
const (
	fileItem     = "\x37\x67\xa1\xca\x36\xfa\x43\x4d\xb3\xb6\x33\xf0\xaa\x44\xe7\x6b"
	sizeItem     = "\x24\x42\xa5\x2f\x1b\xcd\x76\x48\xb2\x11\x5d\xbe\xd8\x3b\xf4\xb8"
	page83Item   = "\xab\x12\xca\xbe\xe6\xb2\x23\x45\x93\xef\xc3\x09\xe0\x00\xc7\x46"
	sectorItem   = "\x1d\xbf\x41\x81\x6f\xa9\x09\x47\xba\x47\xf2\x33\xa8\xfa\xab\x5f"
	physicalItem = "\xc7\x48\xa3\xcd\x5d\x44\x71\x44\x9c\xc9\xe9\x88\x52\x51\xc5\x56"
	parentItem   = "\x2d\x5f\xd3\xa8\x0b\xb3\x4d\x45\xab\xf7\xd3\xd8\x48\x34\xab\x0c"
)

const (
	metadataLen      = 64 << 10 // bytes of the table of items
	metadataEntryLen = 32       // also of the table's own header
	maxItems         = 2047
	flagRequired     = 4 // of an item
	flagHasParent    = 2 // of the file
)

// Limits of the specification, in bytes.
const (
	minBlock = 1 << 20
	maxBlock = 256 << 20
	maxSize  = 64 << 40
)

// metadata describes the disk. All is in bytes.
type metadata struct {
	size, blockSize, sectorSize int64
}

// readMetadata reads the metadata in a region, and checks it.
func readMetadata(ctx context.Context, table *diskformat.Table, r region) (m metadata, err error) {
	items, err := findItems(ctx, table, r)
	if err != nil {
		return m, err
	}
	file, err := readItem(ctx, table, items, fileItem, 8)
	if err != nil {
		return m, err
	}
	if binary.LittleEndian.Uint32(file[4:])&flagHasParent != 0 {
		return m, refuseDifferencing(ctx, table, items)
	}
	size, err := readItem(ctx, table, items, sizeItem, 8)
	if err != nil {
		return m, err
	}
	sector, err := readItem(ctx, table, items, sectorItem, 4)
	if err != nil {
		return m, err
	}
	m = metadata{
		size:       int64(min(binary.LittleEndian.Uint64(size), math.MaxInt64)),
		blockSize:  int64(binary.LittleEndian.Uint32(file)),
		sectorSize: int64(binary.LittleEndian.Uint32(sector)),
	}
	return m, m.check()
}

func (m metadata) check() error {
	switch {
	case m.blockSize < minBlock || m.blockSize > maxBlock || m.blockSize&(m.blockSize-1) != 0:
		return diskformat.Damaged("the VHDX image has blocks of %d bytes", m.blockSize)
	case m.sectorSize != 512 && m.sectorSize != 4096:
		return diskformat.Damaged("the disk of the VHDX image has sectors of %d bytes", m.sectorSize)
	case m.size > maxSize || m.size%m.sectorSize != 0:
		return diskformat.Damaged("the disk of the VHDX image has %d bytes, in sectors of %d", m.size, m.sectorSize)
	}
	return nil
}

// findItems returns the place of each item of the specification. An unknown one that is required to
// read the disk is an error.
func findItems(ctx context.Context, table *diskformat.Table, r region) (map[string]region, error) {
	at, err := r.part(0, metadataLen)
	if err != nil {
		return nil, err
	}
	p, err := table.Read(ctx, at.off, metadataLen)
	if err != nil {
		return nil, err
	}
	n := int(binary.LittleEndian.Uint16(p[10:]))
	if string(p[:8]) != "metadata" || n > maxItems {
		return nil, diskformat.Damaged("the table of metadata of the VHDX image is damaged")
	}
	items := map[string]region{}
	for i := range n {
		e := p[(i+1)*metadataEntryLen:][:metadataEntryLen]
		switch id := string(e[:guidLen]); id {
		case fileItem, sizeItem, page83Item, sectorItem, physicalItem, parentItem:
			off, length := binary.LittleEndian.Uint32(e[16:]), binary.LittleEndian.Uint32(e[20:])
			if items[id], err = r.part(int64(off), int64(length)); err != nil {
				return nil, err
			}
		default:
			if binary.LittleEndian.Uint32(e[24:])&flagRequired != 0 {
				return nil, diskformat.Refused(hintConvert, "the VHDX image has metadata that is not read here: %x", id)
			}
		}
	}
	return items, nil
}

// readItem returns the first n bytes of an item, which must be in the image.
func readItem(
	ctx context.Context, table *diskformat.Table, items map[string]region, id string, n int64,
) ([]byte, error) {
	at, err := items[id].part(0, n)
	if err != nil {
		return nil, diskformat.Damaged("the VHDX image lacks the metadata %x, or has only a part of it", id)
	}
	return table.Read(ctx, at.off, int(n))
}
