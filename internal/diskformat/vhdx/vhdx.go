// Package vhdx reads images in the VHDX format, fixed and dynamic (Microsoft, MS-VHDX).
//
// An image has two headers, of which the newer one counts, and two equal tables of its regions. One
// region has metadata, such as the size of the disk, and one the table of blocks. Numbers are
// little-endian, and headers and tables of regions have a CRC-32C.
package vhdx

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/transferd/transferd/internal/diskformat"
)

const (
	hintConvert = "make a raw image of it: qemu-img convert -f vhdx -O raw IN OUT"
	hintLog     = "write the log to its place: qemu-img check -r all IN; if that changes nothing, " + hintConvert
	hintMerge   = "merge it with its parents first, on Hyper-V: " +
		"Convert-VHD -Path IN -DestinationPath OUT.vhdx -VHDType Dynamic"
)

const identifier = "vhdxfile"

// Open reads the metadata of an image. It refuses a differencing image, because a parent has the
// other part of the disk, and one whose log has not been written to its place.
func Open(ctx context.Context, f diskformat.File) (diskformat.Disk, error) {
	table := diskformat.NewTable(f)
	p, err := table.Read(ctx, 0, len(identifier))
	if err != nil {
		return nil, err
	}
	if string(p) != identifier {
		return nil, diskformat.Damaged("it is no VHDX image: it does not begin with %q", identifier)
	}
	if err := checkHeader(ctx, table); err != nil {
		return nil, err
	}
	r, err := findRegions(ctx, table)
	if err != nil {
		return nil, err
	}
	meta, err := readMetadata(ctx, table, r.metadata)
	if err != nil {
		return nil, err
	}
	return openDisk(ctx, f, table, r.blocks, meta)
}

// hasChecksum reports whether the CRC-32C of p, which has it in bytes 4 to 8, is correct.
func hasChecksum(p []byte) bool {
	castagnoli := crc32.MakeTable(crc32.Castagnoli)
	sum := crc32.Update(0, castagnoli, p[:4])
	sum = crc32.Update(sum, castagnoli, make([]byte, 4))
	sum = crc32.Update(sum, castagnoli, p[8:])
	return binary.LittleEndian.Uint32(p[4:]) == sum
}

// disk is a disk of blocks.
type disk struct {
	diskformat.Blocks
	sectorSize int64 // of the machine's disk, in bytes
}

var (
	_ diskformat.Disk   = (*disk)(nil)
	_ diskformat.Warner = (*disk)(nil)
)

// Warnings says that the disk has large sectors.
func (d *disk) Warnings() []string {
	if d.sectorSize == 512 {
		return nil
	}
	return []string{fmt.Sprintf("the disk in the VHDX image has sectors of %d bytes, and its partition table counts "+
		"in them: a machine whose drives have other sectors does not find the partitions", d.sectorSize)}
}
