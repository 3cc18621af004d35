package diskformat_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/transferd/transferd/internal/diskformat"
	"github.com/transferd/transferd/internal/diskformat/disktest"
	"github.com/transferd/transferd/internal/transfer"
)

// sparseFile is a file with data at these extents.
type sparseFile struct {
	*disktest.File
	data []transfer.Extent
}

var errData = errors.New("no map")

func (f sparseFile) Data(_ context.Context, off, n int64) (transfer.Extent, error) {
	if f.data == nil {
		return transfer.Extent{}, errData
	}
	for _, e := range f.data {
		if from, to := max(e.Off, off), min(e.Off+e.Len, off+n); from < to {
			return transfer.Extent{Off: from, Len: to - from}, nil
		}
	}
	return transfer.Extent{}, nil
}

// TestHolesOfTheFileAreNoExtents: of blocks that are stored, those in a hole of the file are left
// out.
func TestHolesOfTheFileAreNoExtents(t *testing.T) {
	const mib = 1 << 20
	find := func(_ context.Context, block int64) (diskformat.Run, error) { // blocks 2 and 3 are stored first
		run := map[int64]diskformat.Run{
			0: {Blocks: 2, Stored: true, Off: 2 * mib}, 2: {Blocks: 2, Stored: true}, 4: {Blocks: 4},
			8: {Blocks: 2, Stored: true, Off: 4 * mib},
		}[block]
		return run, nil
	}
	for name, tc := range map[string]struct{ data, want []transfer.Extent }{
		"no data": {[]transfer.Extent{{}}, nil},
		"all data": {
			[]transfer.Extent{{Len: 6 * mib}},
			[]transfer.Extent{{Len: 4 * mib}, {Off: 8 * mib, Len: 2 * mib}},
		},
		"in part": {[]transfer.Extent{{Off: 100, Len: 5}}, []transfer.Extent{{Off: 2*mib + 100, Len: 5}}},
		"two parts": {
			[]transfer.Extent{{Off: 5, Len: 1}, {Off: 9, Len: 1}},
			[]transfer.Extent{{Off: 2*mib + 5, Len: 1}, {Off: 2*mib + 9, Len: 1}},
		},
		"across": {
			[]transfer.Extent{{Off: 2*mib - 7, Len: 9}},
			[]transfer.Extent{{Len: 2}, {Off: 4*mib - 7, Len: 7}},
		},
	} {
		d := &diskformat.Blocks{
			File: sparseFile{disktest.Bytes(nil), tc.data}, DiskSize: 10 * mib, BlockSize: mib, Find: find,
		}
		if got := disktest.Extents(t, d); !slices.Equal(got, tc.want) {
			t.Errorf("%s: got %v, want %v", name, got, tc.want)
		}
		for _, err := range d.Extents(t.Context()) { // ends after the first
			if err != nil {
				t.Errorf("%s: got %v, want an extent", name, err)
			}
			break
		}
	}
	d := &diskformat.Blocks{File: sparseFile{File: disktest.Bytes(nil)}, DiskSize: 10 * mib, BlockSize: mib, Find: find}
	for _, err := range d.Extents(t.Context()) {
		if !errors.Is(err, errData) {
			t.Errorf("got %v, want the error of the file", err)
		}
	}
}
