// Package vmdk reads VMDK images, the format of VMware. A disk is a row of extents. Text, the
// descriptor, says which: it is a file of its own, or part of the only extent.
//
//   - A sparse extent has a header, tables with one entry for each grain of the disk, and the grains,
//     which usually have 64 KiB. In a stream-optimized one they are compressed, and the tables may
//     be behind them.
//   - A flat extent is a range of raw bytes in another file. A zero extent is not stored.
//
// Open reads images of one file, and descriptors that are named as a disk of any kind but those
// that belong to a server or are split by size. Extents of ESX (COWD, seSparse) and disks that
// depend on a parent are refused.
//
// The source of the format is "Virtual Disk Format 5.0" of VMware. All numbers are little-endian.
package vmdk

import (
	"bytes"
	"context"

	"github.com/transferd/transferd/internal/diskformat"
)

const (
	sector = 512
	// maxSectors are of the largest disk, 64 TiB; those of vSphere end at 62 TiB.
	maxSectors = 64 << 40 / sector
	// maxDescriptor bounds the bytes of a descriptor. Those of one extent have some hundreds.
	maxDescriptor = 64 << 10

	hintConvert = "make a raw image of it: qemu-img convert -O raw IN OUT"
	hintParent  = "make a raw image of it, where its parent is: qemu-img convert -O raw IN OUT"
	hintParts   = "make a raw image of it, with all files of the disk in one folder: qemu-img convert -O raw IN OUT, " +
		"where IN is the descriptor, the VMDK file that is a text"
)

var (
	magicSparse   = []byte("KDMV")
	magicCOWD     = []byte("COWD")
	magicSESparse = []byte("\xbe\xba\xfe\xca\x00\x00\x00\x00")
)

// Open reads the metadata of the image in f, a sparse extent or a descriptor. It opens the files of
// other extents by open.
func Open(ctx context.Context, f diskformat.File, open diskformat.Opener) (diskformat.Disk, error) {
	head, err := read(ctx, f, 0, sector)
	if err != nil {
		return nil, err
	}
	if !bytes.HasPrefix(head, magicSparse) && !isESX(head) {
		return openDescriptor(ctx, f, open)
	}
	h, err := readHeader(ctx, f)
	if err != nil {
		return nil, err
	}
	if err := checkEmbedded(ctx, f, h); err != nil {
		return nil, err
	}
	return openSparse(f, h)
}

func isESX(head []byte) bool {
	return bytes.HasPrefix(head, magicCOWD) || bytes.HasPrefix(head, magicSESparse)
}

// read returns the n bytes at off of the file, or those up to its end.
func read(ctx context.Context, f diskformat.File, off, n int64) ([]byte, error) {
	if off < 0 || off > f.Size() {
		return nil, diskformat.Damaged("the VMDK image has %d bytes, and refers to byte %d", f.Size(), off)
	}
	p := make([]byte, min(n, f.Size()-off))
	return p, f.ReadAt(ctx, p, off)
}

// checkEmbedded checks the descriptor within a sparse extent, which is all of a disk.
func checkEmbedded(ctx context.Context, f diskformat.File, h header) error {
	var text []byte
	if h.descriptorOff > 0 {
		var err error
		if text, err = read(ctx, f, h.descriptorOff, min(h.descriptorSize, maxDescriptor)); err != nil {
			return err
		}
	}
	d, err := parseDescriptor(text)
	if err != nil {
		return err
	}
	if d.kind == "" {
		return diskformat.Refused(hintParts, "the VMDK file is only a part of a disk: it has no descriptor")
	}
	if err := d.check(embeddedKinds); err != nil {
		return err
	}
	if len(d.extents) > 1 {
		return diskformat.Refused(hintParts, "the VMDK image is a part of a disk of %d parts", len(d.extents))
	}
	return nil
}

// openDescriptor reads a descriptor that is a file, and opens its extents.
func openDescriptor(ctx context.Context, f diskformat.File, open diskformat.Opener) (diskformat.Disk, error) {
	if f.Size() > maxDescriptor {
		return nil, diskformat.Damaged("the VMDK image is no sparse extent, and too large for a descriptor")
	}
	text, err := read(ctx, f, 0, maxDescriptor)
	if err != nil {
		return nil, err
	}
	d, err := parseDescriptor(text)
	if err != nil {
		return nil, err
	}
	if err := d.check(descriptorKinds); err != nil {
		return nil, err
	}
	var disk parts
	for _, e := range d.extents {
		p, err := e.open(ctx, open)
		if err != nil {
			return nil, err
		}
		disk = append(disk, part{Disk: p, off: disk.Size()})
		if disk.Size() > maxSectors*sector {
			return nil, diskformat.Damaged("the extents of the VMDK image have more than %d bytes", disk.Size())
		}
	}
	return disk, nil
}

// open opens an extent.
func (e *extent) open(ctx context.Context, open diskformat.Opener) (diskformat.Disk, error) {
	size := e.sectors * sector
	if e.kind == extentZero || size == 0 {
		return zeros(size), nil
	}
	f, err := open(ctx, e.name, diskformat.Raw)
	if err != nil {
		return nil, err
	}
	if e.kind == extentFlat {
		if !diskformat.Holds(f, e.off*sector, size) {
			return nil, diskformat.Damaged("the file %q has %d bytes, and the VMDK image needs %d at byte %d of it",
				e.name, f.Size(), size, e.off*sector)
		}
		return &window{Disk: f, off: e.off * sector, size: size}, nil
	}
	h, err := readHeader(ctx, f)
	if err != nil {
		return nil, err
	}
	if h.sectors != e.sectors {
		return nil, diskformat.Damaged("the extent %q has %d sectors, and the VMDK image says %d",
			e.name, h.sectors, e.sectors)
	}
	return openSparse(f, h)
}
