package vhd

import (
	"context"
	"encoding/binary"

	"github.com/transferd/transferd/internal/diskformat"
)

const (
	footerCookie  = "conectix"
	footerLen     = 512
	oldFooterLen  = 511        // of programs before Virtual PC 2004, which lack the last zero
	formatVersion = 0x00010000 // of the footer, and of the header
)

// Offsets in the footer.
const (
	footerVersion  = 12
	footerHeader   = 16
	footerCreator  = 28
	footerSize     = 48
	footerGeometry = 56
	footerKind     = 60
	footerSum      = 64
)

// The types of images.
const (
	kindFixed        = 2
	kindDynamic      = 3
	kindDifferencing = 4
)

// footer is what is used of a footer.
type footer struct {
	off      int64 // of the footer in the file
	kind     uint32
	header   uint64 // its offset in the file
	creator  string // the program that made the image, 4 bytes
	size     uint64 // of the disk, in bytes
	geometry int64  // the size of the disk by its cylinders, heads and sectors, in bytes
}

// findFooter returns the first footer with a correct checksum: the copy at the beginning, which all
// images but fixed ones have, or the footer at the end.
func findFooter(ctx context.Context, fileSize int64, table *diskformat.Table) (footer, error) {
	err := diskformat.Damaged("it is no VHD image: it has no footer")
	for _, at := range []struct{ off, n int64 }{
		{0, footerLen},
		{fileSize - footerLen, footerLen},
		{fileSize - oldFooterLen, oldFooterLen},
	} {
		if at.off < 0 || at.off+at.n > fileSize {
			continue
		}
		p, readErr := table.Read(ctx, at.off, int(at.n))
		if readErr != nil {
			return footer{}, readErr
		}
		if string(p[:len(footerCookie)]) != footerCookie {
			continue
		}
		foot := parseFooter(p, at.off)
		if !isVersion(p, footerSum, footerVersion) {
			err = diskformat.Damaged("the footer of the VHD image at byte %d is damaged", at.off)
		} else if foot.kind != kindFixed || at.off+at.n == fileSize {
			return foot, nil
		}
	}
	return footer{}, err
}

// isVersion reports whether a footer or header has a correct checksum and the version of the
// specification, at these offsets.
func isVersion(p []byte, sum, version int) bool {
	return binary.BigEndian.Uint32(p[sum:]) == checksum(p, sum) &&
		binary.BigEndian.Uint32(p[version:]) == formatVersion
}

func parseFooter(p []byte, off int64) footer {
	g := p[footerGeometry:]
	return footer{
		off:      off,
		kind:     binary.BigEndian.Uint32(p[footerKind:]),
		header:   binary.BigEndian.Uint64(p[footerHeader:]),
		creator:  string(p[footerCreator : footerCreator+4]),
		size:     binary.BigEndian.Uint64(p[footerSize:]),
		geometry: int64(binary.BigEndian.Uint16(g)) * int64(g[2]) * int64(g[3]) * sectorSize,
	}
}
