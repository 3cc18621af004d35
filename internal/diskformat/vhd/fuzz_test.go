package vhd

import (
	"testing"

	"github.com/transferd/transferd/internal/diskformat/disktest"
)

// FuzzOpen: no content makes the reader panic, or read or allocate without bound. The checksums of
// the footer and of the header are made correct, so that what they protect varies, too.
func FuzzOpen(f *testing.F) {
	disk := random(8192)
	m := image{creator: "vpc ", size: 8192, blockSize: 4096, geometry: [4]byte{0, 2, 2, 2}}
	f.Add(m.fixed(disk), false)
	m.blocks, m.bitmaps = [][]byte{disk[:4096], disk[4096:]}, [][]byte{{0x0f}, {0xf3}}
	f.Add(m.dynamic(), false)
	f.Add(m.dynamic(), true)
	m.kind = kindDifferencing
	f.Add(m.dynamic(), true)
	f.Fuzz(func(t *testing.T, p []byte, correct bool) {
		if correct {
			for off, sum := range map[int]int{0: footerSum, len(p) - footerLen: footerSum, footerLen: headerSum} {
				n := footerLen
				if sum == headerSum {
					n = headerLen
				}
				if off >= 0 && off+n <= len(p) {
					seal(p[off:off+n], sum)
				}
			}
		}
		d, err := Open(t.Context(), disktest.Bytes(p))
		disktest.Survives(t, d, err)
	})
}
