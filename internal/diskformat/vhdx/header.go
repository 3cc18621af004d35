package vhdx

import (
	"bytes"
	"context"
	"encoding/binary"
	"math"

	"github.com/transferd/transferd/internal/diskformat"
)

// Where the structures are that have a fixed place, and their sizes, in bytes.
const (
	header1, header2   = 64 << 10, 128 << 10
	headerLen          = 4 << 10
	regions1, regions2 = 192 << 10, 256 << 10
	regionsLen         = 64 << 10
)

// Offsets in a header.
const (
	headerSequence = 8
	headerLog      = 48
	headerVersion  = 66
)

// checkHeader refuses an image without a valid header, and one with a log.
func checkHeader(ctx context.Context, table *diskformat.Table) error {
	p, err := currentHeader(ctx, table)
	if err != nil {
		return err
	}
	if log := p[headerLog : headerLog+guidLen]; !bytes.Equal(log, make([]byte, guidLen)) {
		return diskformat.Refused(hintLog,
			"the log of the VHDX image is not empty: it is in use, or what wrote to it has crashed")
	}
	return nil
}

// currentHeader returns the valid header with the higher sequence number. Two equal headers, as
// Disk2vhd writes them, are one.
func currentHeader(ctx context.Context, table *diskformat.Table) (current []byte, err error) {
	for _, off := range []int64{header1, header2} {
		p, err := table.Read(ctx, off, headerLen)
		if err != nil {
			return nil, err
		}
		if !isHeader(p) {
			continue
		}
		if current == nil || sequence(p) > sequence(current) {
			current = p
		} else if sequence(p) == sequence(current) && !bytes.Equal(p, current) {
			return nil, diskformat.Damaged("the two headers of the VHDX image differ, and have the same number")
		}
	}
	if current == nil {
		return nil, diskformat.Damaged("both headers of the VHDX image are damaged")
	}
	return current, nil
}

func sequence(header []byte) uint64 { return binary.LittleEndian.Uint64(header[headerSequence:]) }

// isHeader reports whether p is a header of the version of the specification.
func isHeader(p []byte) bool {
	return string(p[:4]) == "head" && hasChecksum(p) && binary.LittleEndian.Uint16(p[headerVersion:]) == 1
}

// region is a part of the file.
type region struct{ off, len int64 }

// part is the n bytes at off of the region; it fails if they are not in the region.
func (r region) part(off, n int64) (region, error) {
	if off < 0 || n < 0 || off > r.len || n > r.len-off {
		return region{}, diskformat.Damaged("the VHDX image has data at byte %d of a region of %d bytes", off, r.len)
	}
	return region{r.off + off, n}, nil
}

// regions are those that are used here.
type regions struct{ blocks, metadata region }

// GUIDs of regions, as stored.
const (
	guidLen        = 16
	blocksRegion   = "\x66\x77\xc2\x2d\x23\xf6\x00\x42\x9d\x64\x11\x5e\x9b\xfd\x4a\x08"
	metadataRegion = "\x06\xa2\x7c\x8b\x90\x47\x9a\x4b\xb8\xfe\x57\x5f\x05\x0f\x88\x6e"
)

const (
	regionsHeaderLen = 16
	regionEntryLen   = 32
	maxRegions       = 2047
)

// findRegions reads the first table of regions that is valid. Both have the same content.
func findRegions(ctx context.Context, table *diskformat.Table) (regions, error) {
	for _, off := range []int64{regions1, regions2} {
		p, err := table.Read(ctx, off, regionsLen)
		if err != nil {
			return regions{}, err
		}
		if string(p[:4]) == "regi" && hasChecksum(p) {
			return parseRegions(p)
		}
	}
	return regions{}, diskformat.Damaged("both tables of regions of the VHDX image are damaged")
}

func parseRegions(p []byte) (found regions, err error) {
	n := binary.LittleEndian.Uint32(p[8:])
	if n > maxRegions {
		return found, diskformat.Damaged("the VHDX image has %d regions; at most %d are possible", n, maxRegions)
	}
	for i := range n {
		e := p[regionsHeaderLen+i*regionEntryLen:][:regionEntryLen]
		r := region{
			off: int64(min(binary.LittleEndian.Uint64(e[16:]), math.MaxInt64)),
			len: int64(binary.LittleEndian.Uint32(e[24:])),
		}
		required := binary.LittleEndian.Uint32(e[28:])&1 != 0
		switch id := string(e[:guidLen]); {
		case id == blocksRegion:
			found.blocks = r
		case id == metadataRegion:
			found.metadata = r
		case required:
			return found, diskformat.Refused(hintConvert, "the VHDX image has a region that is not read here: %x", id)
		}
	}
	if found.blocks.len == 0 || found.metadata.len == 0 {
		return found, diskformat.Damaged("the VHDX image lacks the region of the metadata or of the table of blocks")
	}
	return found, nil
}
