package vhd

import (
	"fmt"
	"math"
	"slices"

	"github.com/transferd/transferd/internal/diskformat"
)

// geometryCreators are the programs whose machines have disks of the size that cylinders, heads and
// sectors state: Virtual PC, and QEMU without force_size, which states the same size in both ways.
// Both are from the table in QEMU's block/vpc.c. The machines of all others, such as Hyper-V, Azure,
// XenServer and VirtualBox, have disks of the size in bytes. QEMU goes by geometry also for programs
// that its table does not name, and so leaves out the last bytes of a disk of VirtualBox.
var geometryCreators = []string{"vpc ", "qemu"}

// maxGeometry is the largest size that a geometry can state, in bytes. A larger disk has this one.
const maxGeometry = 65535 * 16 * 255 * sectorSize

// byGeometry reports whether the geometry is the size of the disk.
func (f footer) byGeometry() bool {
	return slices.Contains(geometryCreators, f.creator) && f.geometry > 0 && f.geometry < maxGeometry
}

// diskSize is the size of the disk in bytes, at most limit.
func (f footer) diskSize(limit int64) (int64, error) {
	size := f.size / sectorSize * sectorSize
	if f.byGeometry() {
		size = uint64(f.geometry)
	}
	if size > uint64(limit) {
		return 0, diskformat.Damaged("the VHD image is of a disk of %d bytes, and has only %d", size, limit)
	}
	return int64(size), nil
}

// Warnings says that bytes are left out.
func (f footer) Warnings() []string {
	if !f.byGeometry() || f.size <= uint64(f.geometry) || f.size > math.MaxInt64 {
		return nil
	}
	return []string{fmt.Sprintf("the last %d bytes in the VHD image are left out: a disk of %q ends with its geometry",
		f.size-uint64(f.geometry), f.creator)}
}
