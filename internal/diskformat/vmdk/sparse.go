package vmdk

import (
	"bytes"
	"context"
	"encoding/binary"
	"math/bits"

	"github.com/transferd/transferd/internal/diskformat"
)

const (
	entrySize   = 4    // bytes of an entry of a table
	maxEntries  = 512  // of a grain table
	maxGrain    = 2048 // sectors; all known programs write 128
	entryZeroed = 1    // of a grain that is zeros, if the header has flagZeroed
	maxZeroRun  = 1024 // grain tables that one call of find looks at
	newLines    = "\n \r\n"
	atEnd       = 1<<64 - 1 // the offset in a header that is followed by a footer

	flagNewLines   = 1 << 0 // the header has newLines
	flagZeroed     = 1 << 2
	flagCompressed = 1 << 16
	flagMarkers    = 1 << 17
	mustKnow       = 0xffff0000 // flags that a reader has to know

	compressDeflate = 1
)

// header is the header of a sparse extent.
type header struct {
	sectors        int64 // of the disk
	grain          int64 // sectors
	descriptorOff  int64 // bytes
	descriptorSize int64 // bytes
	entries        int64 // of a grain table
	directoryOff   int64 // bytes
	zeroed         bool  // an entry may say that a grain is zeros
	compressed     bool
}

// readHeader reads and checks the header of a sparse extent, or its footer, if the tables are
// behind the grains.
func readHeader(ctx context.Context, f diskformat.File) (header, error) {
	p, err := read(ctx, f, 0, sector)
	if err != nil {
		return header{}, err
	}
	if isESX(p) {
		return header{}, diskformat.Refused(hintConvert, "sparse VMDK extents of ESX are not read")
	}
	h, last, err := parseHeader(p)
	if err != nil || !last {
		return h, err
	}
	// The footer is a copy of the header, and followed by the marker of the end.
	if p, err = read(ctx, f, max(f.Size()-2*sector, 0), sector); err != nil {
		return header{}, err
	}
	footer, last, err := parseHeader(p)
	if err != nil || last {
		return header{}, diskformat.Damaged("the VMDK image has no footer, so its end is missing")
	}
	return footer, nil
}

// parseHeader checks a header, whose fields may have any values. last says that the footer has the
// offset of the tables.
func parseHeader(p []byte) (h header, last bool, err error) {
	if len(p) < sector || !bytes.HasPrefix(p, magicSparse) {
		return h, false, diskformat.Damaged("the VMDK extent has no header")
	}
	u32 := func(off int) uint32 { return binary.LittleEndian.Uint32(p[off:]) }
	u64 := func(off int) uint64 { return binary.LittleEndian.Uint64(p[off:]) }
	flags, compression := u32(8), binary.LittleEndian.Uint16(p[77:])
	if flags&flagNewLines != 0 && string(p[73:77]) != newLines {
		return h, false, diskformat.Refused("get it again, as a binary file",
			"the VMDK image is damaged: it was transferred as a text, and its line ends were changed")
	}
	if v := u32(4); v < 1 || v > 3 || flags&mustKnow&^(flagCompressed|flagMarkers) != 0 {
		return h, false, diskformat.Refused(hintConvert, "VMDK version %d with flags %#x is not read", v, flags)
	}
	h = header{
		entries: int64(u32(44)), zeroed: flags&flagZeroed != 0, compressed: flags&flagCompressed != 0,
	}
	if h.compressed != (compression == compressDeflate) || compression > compressDeflate ||
		h.compressed && flags&flagMarkers == 0 {
		return h, false, diskformat.Refused(hintConvert, "VMDK compression %d with flags %#x is not read",
			compression, flags)
	}
	grain, sectors, directory := u64(20), u64(12), u64(56)
	if bits.OnesCount64(grain) != 1 || grain > maxGrain || h.entries < 1 || h.entries > maxEntries {
		return h, false, diskformat.Damaged("the VMDK image has grains of %d sectors, and tables of %d",
			grain, h.entries)
	}
	if sectors > maxSectors {
		return h, false, diskformat.Damaged("the VMDK image has a disk of %d sectors", sectors)
	}
	last = directory == atEnd
	h.grain, h.sectors = int64(grain), int64(sectors)
	h.directoryOff = bytesOf(directory)
	h.descriptorOff, h.descriptorSize = bytesOf(u64(28)), bytesOf(u64(36))
	return h, last, nil
}

// bytesOf turns sectors of a file into bytes. Sectors that no file has are the most that there are.
func bytesOf(sectors uint64) int64 { return int64(min(sectors, 1<<63/sector-1)) * sector }

// sparse is a sparse extent.
type sparse struct {
	header
	file   diskformat.File
	table  *diskformat.Table
	grains int64 // of the disk
}

// openSparse checks where the grain directory of an extent is.
func openSparse(f diskformat.File, h header) (diskformat.Disk, error) {
	s := &sparse{header: h, file: f, table: diskformat.NewTable(f), grains: (h.sectors + h.grain - 1) / h.grain}
	tables := (s.grains + h.entries - 1) / h.entries
	if h.directoryOff < sector || !diskformat.Holds(f, h.directoryOff, tables*entrySize) {
		return nil, diskformat.Damaged(
			"the directory of the VMDK image, of %d tables at byte %d, is outside of the file",
			tables, h.directoryOff)
	}
	blocks := diskformat.Blocks{File: f, DiskSize: h.sectors * sector, BlockSize: h.grain * sector, Find: s.find}
	if h.compressed {
		return newCompressed(s, blocks), nil
	}
	return &blocks, nil
}

// entriesFrom returns the entries of the grain table with a grain, from that one to the table's
// last one; none: the grains of the table are zeros. n is their number.
func (s *sparse) entriesFrom(ctx context.Context, grain int64) (entries []byte, n int64, err error) {
	within := grain % s.entries
	n = min(s.entries-within, s.grains-grain)
	p, err := s.table.Read(ctx, s.directoryOff+grain/s.entries*entrySize, entrySize)
	if err != nil {
		return nil, n, err
	}
	off := int64(binary.LittleEndian.Uint32(p)) * sector
	if off == 0 {
		return nil, n, nil
	}
	entries, err = s.table.Read(ctx, off+within*entrySize, int(n*entrySize))
	return entries, n, err
}

// place is where the file has the grain of entry i: 0 for a grain that is zeros.
func (s *sparse) place(entries []byte, i int64) int64 {
	e := binary.LittleEndian.Uint32(entries[i*entrySize:])
	if e == entryZeroed && s.zeroed {
		return 0
	}
	return int64(e) * sector
}

// find returns the run that begins with a grain. Compressed grains that are stored are one run.
func (s *sparse) find(ctx context.Context, grain int64) (diskformat.Run, error) {
	entries, n, err := s.entriesFrom(ctx, grain)
	if err != nil {
		return diskformat.Run{}, err
	}
	if entries == nil {
		return s.findZeros(ctx, grain, n), nil
	}
	run := diskformat.Run{Off: s.place(entries, 0)}
	run.Stored = run.Off > 0
	if run.Stored {
		if err := s.check(ctx, grain, run.Off); err != nil {
			return run, err
		}
	}
	for run.Blocks = 1; run.Blocks < n; run.Blocks++ {
		off := s.place(entries, run.Blocks)
		next := run.Off + run.Blocks*s.grain*sector
		if run.Stored && (off == 0 || !s.compressed && off != next || s.check(ctx, grain+run.Blocks, off) != nil) ||
			!run.Stored && off > 0 {
			break
		}
	}
	return run, nil
}

// findZeros returns a run of grains whose tables do not exist: n up to the end of the first table,
// and those of the next tables.
func (s *sparse) findZeros(ctx context.Context, grain, n int64) diskformat.Run {
	run := diskformat.Run{Blocks: n}
	for range maxZeroRun {
		if grain+run.Blocks == s.grains {
			break
		}
		entries, n, err := s.entriesFrom(ctx, grain+run.Blocks)
		if err != nil || entries != nil {
			break // the next call of find begins there
		}
		run.Blocks += n
	}
	return run
}

// check fails if the file does not have a grain at off, as much of it as is on the disk, or all of it
// if it is compressed.
func (s *sparse) check(ctx context.Context, grain, off int64) error {
	n := min(s.grain, s.sectors-grain*s.grain) * sector
	if s.compressed {
		n = markerSize
		// Only the markers of those at the end are read: their sizes show that a file was cut.
		if diskformat.Holds(s.file, off, n) && !diskformat.Holds(s.file, off, maxStored*s.grain*sector) {
			marker, err := s.table.Read(ctx, off, markerSize)
			if err != nil {
				return err
			}
			n += int64(binary.LittleEndian.Uint32(marker[8:]))
		}
	}
	if !diskformat.Holds(s.file, off, n) {
		return diskformat.Damaged("grain %d of the VMDK image, at byte %d, is outside of the file", grain, off)
	}
	return nil
}
