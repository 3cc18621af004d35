package vhdx

import (
	"context"
	"encoding/binary"

	"github.com/transferd/transferd/internal/diskformat"
)

// The states of a block.
const (
	notPresent  = 0
	undefined   = 1
	zero        = 2
	unmapped    = 3
	unmappedOld = 5 // of version 0.95 of the specification
	present     = 6
)

const (
	entryLen  = 8
	stateMask = 7
	unitShift = 20 // bits 20 to 63 of an entry are an offset in MiB
)

// blockTable is the table of the blocks. After the entries of each group of blocks it has one for
// the bitmap of the group's sectors, which only differencing images use.
type blockTable struct {
	file  diskformat.File
	table *diskformat.Table
	at    region
	group int64 // in blocks
	meta  metadata
}

// openDisk checks the table of blocks.
func openDisk(
	ctx context.Context, f diskformat.File, table *diskformat.Table, at region, meta metadata,
) (*disk, error) {
	t := &blockTable{file: f, table: table, at: at, group: 8 << 20 * meta.sectorSize / meta.blockSize, meta: meta}
	d := &disk{
		Blocks:     diskformat.Blocks{File: f, DiskSize: meta.size, BlockSize: meta.blockSize, Find: t.find},
		sectorSize: meta.sectorSize,
	}
	for _, err := range d.Extents(ctx) {
		if err != nil {
			return nil, err
		}
	}
	return d, nil
}

// find returns the place of a block in the file.
func (t *blockTable) find(ctx context.Context, block int64) (diskformat.Run, error) {
	at, err := t.at.part((block+block/t.group)*entryLen, entryLen)
	if err != nil {
		return diskformat.Run{}, err
	}
	p, err := t.table.Read(ctx, at.off, entryLen)
	if err != nil {
		return diskformat.Run{}, err
	}
	entry := binary.LittleEndian.Uint64(p)
	switch state := entry & stateMask; state {
	case notPresent, undefined, zero, unmapped, unmappedOld:
		return diskformat.Run{Blocks: 1}, nil
	case present:
		return t.stored(block, entry>>unitShift)
	default:
		return diskformat.Run{}, diskformat.Damaged("block %d of the VHDX image has state %d", block, state)
	}
}

// stored is a block whose data is at an offset in MiB.
func (t *blockTable) stored(block int64, offset uint64) (diskformat.Run, error) {
	n := min(t.meta.blockSize, t.meta.size-block*t.meta.blockSize)
	if offset == 0 || !diskformat.Holds(t.file, int64(offset<<unitShift), n) {
		return diskformat.Run{}, diskformat.Damaged("block %d of the VHDX image is at MiB %d, outside of the file",
			block, offset)
	}
	return diskformat.Run{Blocks: 1, Stored: true, Off: int64(offset << unitShift)}, nil
}
