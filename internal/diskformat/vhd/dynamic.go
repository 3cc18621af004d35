package vhd

import (
	"context"
	"encoding/binary"
	"iter"
	"math"

	"github.com/transferd/transferd/internal/diskformat"
	"github.com/transferd/transferd/internal/transfer"
)

const (
	headerCookie = "cxsparse"
	headerLen    = 1024
	entryLen     = 4
	unallocated  = 0xffffffff // entry of a block that is all zeros
)

// Offsets in the header.
const (
	headerTable     = 16
	headerVersion   = 24
	headerEntries   = 28
	headerBlock     = 32
	headerSum       = 36
	headerParent    = 64
	headerParentLen = 512
)

// dynamic is a disk of blocks. Extents are whole blocks, so that finding them reads the table alone.
// Reads also follow the bitmap of each block: a sector whose bit is not set is zeros, whatever the
// file has there. (QEMU ignores the bitmaps. It sets all bits, as most programs do. XenServer does
// not clear the sectors of a new block, so that its file has old data of other disks there.)
type dynamic struct {
	footer
	file      diskformat.File
	table     *diskformat.Table
	tableOff  int64
	blocks    diskformat.Blocks
	bitmapLen int64 // in bytes, of each block
}

var (
	_ diskformat.Disk   = (*dynamic)(nil)
	_ diskformat.Warner = (*dynamic)(nil)
)

// openDynamic reads the header, and checks it and the table.
func openDynamic(ctx context.Context, f diskformat.File, table *diskformat.Table, foot footer) (*dynamic, error) {
	p, err := readHeader(ctx, table, foot.header)
	if err != nil {
		return nil, err
	}
	blockSize := int64(binary.BigEndian.Uint32(p[headerBlock:]))
	if blockSize < sectorSize || blockSize&(blockSize-1) != 0 {
		return nil, diskformat.Damaged("the VHD image has blocks of %d bytes", blockSize)
	}
	size, err := foot.diskSize(int64(binary.BigEndian.Uint32(p[headerEntries:])) * blockSize)
	if err != nil {
		return nil, err
	}
	d := &dynamic{
		footer: foot, file: f, table: table,
		tableOff:  int64(min(binary.BigEndian.Uint64(p[headerTable:]), math.MaxInt64)),
		bitmapLen: roundUp(blockSize/sectorSize, 8*sectorSize) / 8,
	}
	d.blocks = diskformat.Blocks{File: f, DiskSize: size, BlockSize: blockSize, Find: d.find}
	for _, err := range d.Extents(ctx) {
		if err != nil {
			return nil, err
		}
	}
	return d, nil
}

// readHeader returns the header at off.
func readHeader(ctx context.Context, table *diskformat.Table, off uint64) ([]byte, error) {
	p, err := table.Read(ctx, int64(min(off, math.MaxInt64)), headerLen)
	if err == nil && (string(p[:len(headerCookie)]) != headerCookie || !isVersion(p, headerSum, headerVersion)) {
		err = diskformat.Damaged("the header of the VHD image at byte %d is damaged", off)
	}
	return p, err
}

// find returns the place of a block in the file.
func (d *dynamic) find(ctx context.Context, block int64) (diskformat.Run, error) {
	p, err := d.table.Read(ctx, d.tableOff+block*entryLen, entryLen)
	if err != nil {
		return diskformat.Run{}, err
	}
	sector := binary.BigEndian.Uint32(p)
	if sector == unallocated {
		return diskformat.Run{Blocks: 1}, nil
	}
	data := int64(sector)*sectorSize + d.bitmapLen
	n := min(d.blocks.BlockSize, d.Size()-block*d.blocks.BlockSize)
	if sector == 0 || !diskformat.Holds(d.file, data, n) {
		return diskformat.Run{}, diskformat.Damaged("block %d of the VHD image is at sector %d, outside of the file",
			block, sector)
	}
	return diskformat.Run{Blocks: 1, Stored: true, Off: data}, nil
}

// Size is the size of the disk in bytes.
func (d *dynamic) Size() int64 { return d.blocks.DiskSize }

// Extents yields the ranges of the allocated blocks.
func (d *dynamic) Extents(ctx context.Context) iter.Seq2[transfer.Extent, error] {
	return d.blocks.Extents(ctx)
}

// ReadAt fills p with the bytes of the disk at off.
func (d *dynamic) ReadAt(ctx context.Context, p []byte, off int64) error {
	for len(p) > 0 {
		block, within := off/d.blocks.BlockSize, off%d.blocks.BlockSize
		run, err := d.find(ctx, block)
		if err != nil {
			return err
		}
		n := min(int64(len(p)), d.blocks.BlockSize-within)
		if !run.Stored {
			clear(p[:n])
		} else if err := d.readBlock(ctx, p[:n], run.Off, within); err != nil {
			return err
		}
		p, off = p[n:], off+n
	}
	return nil
}

// readBlock fills p with the bytes at within of the block whose data is at off.
func (d *dynamic) readBlock(ctx context.Context, p []byte, off, within int64) error {
	first := within / sectorSize / 8 // byte of the bitmap
	bitmap := make([]byte, (within+int64(len(p))-1)/sectorSize/8-first+1)
	if err := d.file.ReadAt(ctx, bitmap, off-d.bitmapLen+first); err != nil {
		return err
	}
	sectors := diskformat.Blocks{File: d.file, DiskSize: d.blocks.BlockSize, BlockSize: sectorSize}
	sectors.Find = func(_ context.Context, sector int64) (diskformat.Run, error) {
		run := diskformat.Run{Off: off + sector*sectorSize, Stored: hasBit(bitmap, sector-first*8)}
		for end := (first + int64(len(bitmap))) * 8; sector < end; sector++ {
			if hasBit(bitmap, sector-first*8) != run.Stored {
				break
			}
			run.Blocks++
		}
		return run, nil
	}
	return sectors.ReadAt(ctx, p, within)
}

// hasBit reports whether a bit is set. The first one is the most significant of the first byte.
func hasBit(bitmap []byte, i int64) bool { return bitmap[i/8]&(0x80>>(i%8)) != 0 }

func roundUp(n, unit int64) int64 { return (n + unit - 1) / unit * unit }
