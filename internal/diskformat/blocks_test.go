package diskformat_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/transferd/transferd/internal/diskformat"
	"github.com/transferd/transferd/internal/diskformat/disktest"
	"github.com/transferd/transferd/internal/transfer"
)

const blockSize = 512

var errFind = errors.New("no such table")

// disk is a disk of size bytes whose block i is block order[i] of the file, or zeros if that is
// below 0. A run has at most most blocks.
func disk(file *disktest.File, size int64, order []int64, most int64) *diskformat.Blocks {
	return &diskformat.Blocks{
		File: file, DiskSize: size, BlockSize: blockSize,
		Find: func(_ context.Context, block int64) (diskformat.Run, error) {
			if block >= int64(len(order)) {
				return diskformat.Run{}, errFind
			}
			at := order[block]
			run := diskformat.Run{Blocks: 1, Stored: at >= 0, Off: at * blockSize}
			for next := block + 1; next < int64(len(order)) && run.Blocks < most; next++ {
				if run.Stored && order[next] != at+run.Blocks || !run.Stored && order[next] >= 0 {
					break
				}
				run.Blocks++
			}
			return run, nil
		},
	}
}

// TestBlocksOfAnyOrder: disks of stored blocks in any order, and of zeros, read as their raw image,
// whatever Find joins.
func TestBlocksOfAnyOrder(t *testing.T) {
	stored := random(8 * blockSize)
	for _, order := range [][]int64{
		nil, {0}, {-1}, {0, 1, 2, 3}, {3, 2, 1, 0}, {-1, 0, 1, -1, -1, 2}, {0, -1}, {7, -1, 7}, {-1, -1, -1},
	} {
		for _, cut := range []int64{0, 1, blockSize - 1} {
			size := max(int64(len(order))*blockSize-cut, 0)
			raw := make([]byte, len(order)*blockSize)
			for i, at := range order {
				if at >= 0 {
					copy(raw[i*blockSize:][:blockSize], stored[at*blockSize:])
				}
			}
			for _, most := range []int64{1, 2, 100} {
				for _, step := range []int{1, 100, blockSize, blockSize + 1, 4096} {
					disktest.Equal(t, disk(disktest.Bytes(stored), size, order, most), disktest.Bytes(raw[:size]), step)
				}
			}
		}
	}
}

// TestBlocksReadRunsAtOnce: consecutive blocks are one read of the file, and zeros are none.
func TestBlocksReadRunsAtOnce(t *testing.T) {
	file := disktest.Bytes(random(8 * blockSize))
	d := disk(file, 8*blockSize, []int64{-1, 0, 1, 2, -1, 6, 7, -1}, 100)
	if err := d.ReadAt(t.Context(), make([]byte, 8*blockSize-100), 50); err != nil {
		t.Fatal(err)
	}
	if n, b := file.Reads.Load(), file.Bytes.Load(); n != 2 || b != 5*blockSize {
		t.Errorf("got %d reads of %d bytes, want 2 of %d", n, b, 5*blockSize)
	}
}

// TestExtentsOfBlocks: stored runs that follow each other are one extent, which ends with the disk.
func TestExtentsOfBlocks(t *testing.T) {
	file := disktest.Bytes(nil)
	for _, tc := range []struct {
		order []int64
		want  []transfer.Extent
	}{
		{nil, nil},
		{[]int64{-1, -1}, nil},
		{[]int64{5, 3}, []transfer.Extent{{Off: 0, Len: 2*blockSize - 1}}},
		{[]int64{0, -1, 4}, []transfer.Extent{{Off: 0, Len: blockSize}, {Off: 2 * blockSize, Len: blockSize - 1}}},
		{[]int64{-1, 1, 0, -1}, []transfer.Extent{{Off: blockSize, Len: 2 * blockSize}}},
	} {
		d := disk(file, max(int64(len(tc.order))*blockSize-1, 0), tc.order, 100)
		for range 2 {
			if got := disktest.Extents(t, d); !slices.Equal(got, tc.want) {
				t.Errorf("%v: got %v, want %v", tc.order, got, tc.want)
			}
		}
		for _, err := range d.Extents(t.Context()) {
			if err != nil {
				t.Error(err)
			}
			break
		}
	}
}

// TestErrorsOfBlocks: an error of Find or of a canceled context ends both reads and extents.
func TestErrorsOfBlocks(t *testing.T) {
	d := disk(disktest.Bytes(random(blockSize)), 2*blockSize, []int64{0}, 100)
	if err := d.ReadAt(t.Context(), make([]byte, 2*blockSize), 0); !errors.Is(err, errFind) {
		t.Errorf("ReadAt: got %v, want the error of Find", err)
	}
	lastError := func(ctx context.Context) (last error) {
		for _, err := range d.Extents(ctx) {
			if last != nil {
				t.Errorf("got an extent after %v", last)
			}
			last = err
		}
		return last
	}
	if err := lastError(t.Context()); !errors.Is(err, errFind) {
		t.Errorf("Extents: got %v, want the error of Find", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := lastError(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Extents: got %v, want a canceled context", err)
	}
	if err := d.ReadAt(ctx, make([]byte, 1), 0); !errors.Is(err, context.Canceled) {
		t.Errorf("ReadAt: got %v, want a canceled context", err)
	}
}

// TestBlocksDoNotWriteBeyondThePiece: a read fills its piece alone.
func TestBlocksDoNotWriteBeyondThePiece(t *testing.T) {
	stored := random(blockSize)
	d := disk(disktest.Bytes(stored), 2*blockSize, []int64{0, -1}, 100)
	p := bytes.Repeat([]byte{7}, 3*blockSize)
	if err := d.ReadAt(t.Context(), p[10:1000], 10); err != nil {
		t.Fatal(err)
	}
	want := append(bytes.Repeat([]byte{7}, 10), stored[10:]...)
	want = append(want, make([]byte, 1000-blockSize)...)
	want = append(want, bytes.Repeat([]byte{7}, 3*blockSize-1000)...)
	if !bytes.Equal(p, want) {
		t.Error("got other bytes than the stored ones between those of the caller")
	}
}
