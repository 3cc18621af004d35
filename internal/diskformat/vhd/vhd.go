// Package vhd reads images in the Virtual Hard Disk format, fixed and dynamic (Microsoft, Virtual
// Hard Disk Image Format Specification, version 1.0).
//
// A fixed image is the disk, followed by a footer. A dynamic one begins with a copy of the footer.
// A header and a table of blocks follow, and each block begins with a bitmap of its sectors that
// hold data. Numbers are big-endian, and the table counts in sectors.
package vhd

import (
	"context"
	"encoding/binary"
	"strconv"
	"strings"
	"unicode/utf16"

	"github.com/transferd/transferd/internal/diskformat"
)

const sectorSize = 512 // bytes; a VHD has no other

const (
	hintConvert = "make a raw image of it: qemu-img convert -f vpc -O raw IN OUT"
	hintMerge   = "merge it with its parents first: VBoxManage clonemedium disk IN OUT --format RAW, or on Hyper-V " +
		"Convert-VHD -Path IN -DestinationPath OUT.vhdx -VHDType Dynamic"
)

// Open reads the metadata of an image. It refuses a differencing image, because a parent has the
// other part of the disk.
//
// Only a footer with a correct checksum counts. A file with the cookie of a footer and no correct
// one is refused and not taken as a raw image: no raw image has these 8 bytes in the place of a
// footer by chance, and a damaged VHD as a raw image would be a disk with a footer on it.
func Open(ctx context.Context, f diskformat.File) (diskformat.Disk, error) {
	table := diskformat.NewTable(f)
	foot, err := findFooter(ctx, f.Size(), table)
	if err != nil {
		return nil, err
	}
	switch foot.kind {
	case kindFixed:
		return openFixed(f, foot)
	case kindDynamic:
		return openDynamic(ctx, f, table, foot)
	case kindDifferencing:
		return nil, refuseDifferencing(ctx, table, foot)
	}
	return nil, diskformat.Refused(hintConvert, "it is a VHD image of type %d, which is not read here", foot.kind)
}

// refuseDifferencing is the error for an image with a parent, which it names if it can be read.
func refuseDifferencing(ctx context.Context, table *diskformat.Table, foot footer) error {
	parent := ""
	if p, err := readHeader(ctx, table, foot.header); err == nil {
		parent = " " + text(p[headerParent:headerParent+headerParentLen])
	}
	return diskformat.Refused(hintMerge,
		"it is a differencing VHD image: the other part of the disk is in its parent%s", parent)
}

// text quotes a text in UTF-16 that zeros may follow.
func text(p []byte) string {
	units := make([]uint16, len(p)/2)
	for i := range units {
		units[i] = binary.BigEndian.Uint16(p[2*i:])
	}
	name, _, _ := strings.Cut(string(utf16.Decode(units)), "\x00")
	return strconv.Quote(name)
}

// checksum is the ones' complement of the sum of all bytes but those of the checksum, at off.
func checksum(p []byte, off int) (sum uint32) {
	for i, c := range p {
		if i < off || i >= off+4 {
			sum += uint32(c)
		}
	}
	return ^sum
}
