package vhdx

import (
	"testing"

	"github.com/transferd/transferd/internal/diskformat/disktest"
)

// FuzzOpen: no content makes the reader panic, or read or allocate without bound. The content is
// that of the header, the tables and the metadata, each from its beginning, at their places of other
// tests; what protects them is made correct.
func FuzzOpen(f *testing.F) {
	m, _, _ := small()
	add := func(m image, extra ...item) {
		parts := m.parts()
		items := append([]item{fileEntry, sizeEntry, sectorEntry}, extra...)
		f.Add(parts[header1][:80], parts[regions1][:256], itemTable(items...)[:256], parts[metadataAt+itemsAt][:2048],
			parts[tableAt], m.file)
	}
	add(m)
	m.sectorSize = 4096
	add(m)
	m.flags, m.locator = flagHasParent, locator("absolute_win32_path", `C:\base.vhdx`, "relative_path", `.\base.vhdx`)
	add(m, item{parentItem, locatorAt, uint32(len(m.locator))})
	f.Fuzz(func(t *testing.T, head, regions, items, values, table []byte, size int64) {
		sealed := func(p []byte, n int) []byte {
			full := make([]byte, n)
			copy(full, p)
			return seal(full)
		}
		d, err := Open(t.Context(), disktest.Parts(max(size, 0), map[int64][]byte{
			0: []byte(identifier), header1: sealed(head, headerLen), regions1: sealed(regions, regionsLen),
			metadataAt: items[:min(len(items), metadataLen)], metadataAt + itemsAt: values[:min(len(values), 64<<10)],
			tableAt: table,
		}))
		disktest.Survives(t, d, err)
	})
}

// TestReadersHoldLittleMemory: a disk of 2 TiB may have a table of 16 MiB.
func TestReadersHoldLittleMemory(t *testing.T) {
	m := image{size: 2 << 40, sectorSize: 512, blockSize: mib, file: 1 << 40}
	const tableLen = (2<<20 + 2<<20/4096) * entryLen
	parts := map[int64][]byte{regions1: regionTable(region{tableAt, tableLen}, region{metadataAt, mib})}
	got := disktest.Heap(func() any {
		d, err := Open(t.Context(), m.with(parts))
		if err != nil {
			t.Fatal(err)
		}
		return d
	})
	if got > 8<<20 {
		t.Errorf("got %d bytes of memory, want at most 8 MiB", got)
	}
}
