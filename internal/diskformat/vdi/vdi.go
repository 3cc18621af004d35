// Package vdi reads VDI images, the format of VirtualBox: a header, a table with one entry for each
// block of the disk, and the blocks in any order. Dynamic images store the blocks that were written;
// static ones store all.
//
// The source of the format is the VDI header 1.1 of VirtualBox (VDICore.h). All numbers are
// little-endian.
package vdi

import (
	"bytes"
	"context"
	"encoding/binary"
	"math/bits"

	"github.com/transferd/transferd/internal/diskformat"
)

const (
	headerSize = 512 // bytes that matter here
	signature  = 0xbeda107f
	version    = 0x00010001 // 1.1

	parentsOff, parentsEnd = 424, 456 // the UUIDs of the images that this one depends on

	kindDynamic = 1
	kindStatic  = 2
	kindUndo    = 3
	kindDiff    = 4

	entrySize  = 4          // bytes of an entry of the table
	entryZeros = 0xfffffffe // this entry, or the one above it: the block is zeros and not stored

	sector       = 512
	maxBlockSize = 1 << 30 // bytes; VirtualBox writes 1 MiB
	maxRun       = 256     // blocks that one call of find looks at

	hintConvert = "make a raw image of it: qemu-img convert -O raw IN OUT"
	hintVBox    = "make a raw image of it where VirtualBox knows it: VBoxManage clonemedium disk IN OUT --format RAW"
)

// header has the fields of a header that matter here.
type header struct {
	kind      uint32
	tableOff  int64 // bytes
	dataOff   int64 // bytes
	diskSize  int64 // bytes
	blockSize int64 // bytes
	blocks    int64 // entries of the table
}

// image is an open image.
type image struct {
	header
	file  diskformat.File
	table *diskformat.Table
}

// Open reads the header of the image in f. Images that depend on others, and other versions, are
// refused.
func Open(ctx context.Context, f diskformat.File) (diskformat.Disk, error) {
	if !diskformat.Holds(f, 0, headerSize) {
		return nil, diskformat.Damaged("the VDI image ends within its header")
	}
	p := make([]byte, headerSize)
	if err := f.ReadAt(ctx, p, 0); err != nil {
		return nil, err
	}
	h, err := parse(p)
	if err != nil {
		return nil, err
	}
	if !diskformat.Holds(f, h.tableOff, h.blocks*entrySize) {
		return nil, diskformat.Damaged("the table of the VDI image, of %d blocks at byte %d, is outside of the file",
			h.blocks, h.tableOff)
	}
	m := &image{header: h, file: f, table: diskformat.NewTable(f)}
	return &diskformat.Blocks{File: f, DiskSize: h.diskSize, BlockSize: h.blockSize, Find: m.find}, nil
}

// parse checks a header, whose fields may have any values.
func parse(p []byte) (header, error) {
	u32 := func(off int) uint32 { return binary.LittleEndian.Uint32(p[off:]) }
	if u32(64) != signature {
		return header{}, diskformat.Damaged("this is no VDI image: it has no signature")
	}
	if v := u32(68); v != version {
		return header{}, diskformat.Refused(hintConvert, "VDI version %d.%d is not read, only 1.1", v>>16, v&0xffff)
	}
	h := header{
		kind: u32(76), tableOff: int64(u32(340)), dataOff: int64(u32(344)),
		blockSize: int64(u32(376)), blocks: int64(u32(384)),
	}
	if h.kind == kindUndo || h.kind == kindDiff || !zero(p[parentsOff:parentsEnd]) {
		return header{}, diskformat.Refused(hintVBox, "the VDI image has only the differences to another image")
	}
	if h.kind != kindDynamic && h.kind != kindStatic {
		return header{}, diskformat.Damaged("the VDI image is of kind %d, which does not exist", h.kind)
	}
	if size, extra := u32(360), u32(380); size != sector || extra != 0 {
		return header{}, diskformat.Refused(hintVBox,
			"VDI images with sectors of %d bytes and %d bytes in front of each block are not read", size, extra)
	}
	if bits.OnesCount64(uint64(h.blockSize)) != 1 || h.blockSize < sector || h.blockSize > maxBlockSize {
		return header{}, diskformat.Damaged("the blocks of the VDI image have %d bytes", h.blockSize)
	}
	size := binary.LittleEndian.Uint64(p[368:])
	if size > uint64(h.blocks*h.blockSize) {
		return header{}, diskformat.Damaged("the VDI image has a disk of %d bytes, and a table for %d",
			size, h.blocks*h.blockSize)
	}
	// VirtualBox makes disks of any size of a raw image; their last sector is padded.
	h.diskSize = (int64(size) + sector - 1) / sector * sector
	h.blocks = (h.diskSize + h.blockSize - 1) / h.blockSize
	return h, nil
}

func zero(p []byte) bool { return len(bytes.TrimLeft(p, "\x00")) == 0 }

// find returns the run that begins with a block: blocks that are stored one after the other, or
// that are not stored.
func (m *image) find(ctx context.Context, block int64) (diskformat.Run, error) {
	n := min(m.blocks-block, maxRun)
	p, err := m.table.Read(ctx, m.tableOff+block*entrySize, int(n)*entrySize)
	if err != nil {
		return diskformat.Run{}, err
	}
	entry := func(i int64) int64 { return int64(binary.LittleEndian.Uint32(p[i*entrySize:])) }
	first := entry(0)
	run := diskformat.Run{Blocks: 1, Stored: first < entryZeros, Off: m.dataOff + first*m.blockSize}
	if !run.Stored {
		for run.Blocks < n && entry(run.Blocks) >= entryZeros {
			run.Blocks++
		}
		return run, nil
	}
	if !m.holds(block, run.Off) {
		return run, diskformat.Damaged("block %d of the VDI image, at byte %d, is outside of the file", block, run.Off)
	}
	for run.Blocks < n && entry(run.Blocks) == first+run.Blocks && first+run.Blocks < entryZeros &&
		m.holds(block+run.Blocks, run.Off+run.Blocks*m.blockSize) {
		run.Blocks++
	}
	return run, nil
}

// holds reports whether the file has a block at off, as much of it as is on the disk.
func (m *image) holds(block, off int64) bool {
	return diskformat.Holds(m.file, off, min(m.blockSize, m.diskSize-block*m.blockSize))
}
