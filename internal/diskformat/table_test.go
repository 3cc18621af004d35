package diskformat_test

import (
	"bytes"
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/transferd/transferd/internal/diskformat"
	"github.com/transferd/transferd/internal/diskformat/disktest"
)

const (
	page = 64 << 10
	kept = 4 << 20 // bytes of a table that stay in memory, as its comment says
)

// random is n bytes, the same in each run.
func random(n int) []byte {
	p := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{}).Read(p)
	return p
}

// TestTableReadsAcrossPages: any range of the file is read, also across pages and to the end.
func TestTableReadsAcrossPages(t *testing.T) {
	content := random(3*page + 100)
	table := diskformat.NewTable(disktest.Bytes(content))
	for _, off := range []int{0, 1, page - 8, page - 1, page, 2*page + 1, 3 * page, 3*page + 99} {
		for _, n := range []int{1, 8, 512, page, page + 1, 2*page + 50} {
			got, err := table.Read(t.Context(), int64(off), n)
			if off+n > len(content) {
				disktest.Refused(t, err)
				continue
			}
			if err != nil || !bytes.Equal(got, content[off:off+n]) {
				t.Errorf("%d bytes at %d: got %d other bytes, %v", n, off, len(got), err)
			}
		}
	}
}

// TestTableOutsideOfTheFileIsDamaged: no offset and length from a file reads outside of it.
func TestTableOutsideOfTheFileIsDamaged(t *testing.T) {
	table := diskformat.NewTable(disktest.Bytes(make([]byte, 1000)))
	for _, off := range []int64{-1, -1000, math.MinInt64, 993, 1000, 1001, page, math.MaxInt64 - 3, math.MaxInt64} {
		_, err := table.Read(t.Context(), off, 8)
		disktest.Refused(t, err)
	}
}

// TestTableReadsEachPageOnce: entries of one page cost one read of the file.
func TestTableReadsEachPageOnce(t *testing.T) {
	file := disktest.Bytes(random(2 * page))
	table := diskformat.NewTable(file)
	for off := int64(0); off < 2*page; off += 4 {
		if _, err := table.Read(t.Context(), off, 4); err != nil {
			t.Fatal(err)
		}
	}
	if n := file.Reads.Load(); n != 2 {
		t.Errorf("got %d reads of the file, want 2", n)
	}
}

// TestTableKeepsABound: a table of any size keeps 4 MiB in memory, and the pages in use stay there.
func TestTableKeepsABound(t *testing.T) {
	file := &disktest.File{R: zeros{}, N: 1 << 40}
	table := diskformat.NewTable(file)
	heap := disktest.Heap(func() any {
		for i := range int64(1000) {
			if _, err := table.Read(t.Context(), i*(1<<30), 8); err != nil {
				t.Fatal(err)
			}
		}
		return table
	})
	if heap > kept+kept/4 {
		t.Errorf("got %d bytes in memory, want at most %d", heap, kept)
	}
	before := file.Reads.Load()
	if _, err := table.Read(t.Context(), 999*(1<<30), 8); err != nil || file.Reads.Load() != before {
		t.Errorf("got %v and %d further reads, want the last page from memory", err, file.Reads.Load()-before)
	}
}

// zeros is a file without an end.
type zeros struct{}

func (zeros) ReadAt(p []byte, _ int64) (int, error) {
	clear(p)
	return len(p), nil
}

// TestTableAfterAnError: a page that could not be read is read by the next call.
func TestTableAfterAnError(t *testing.T) {
	content := random(100)
	table := diskformat.NewTable(disktest.Bytes(content))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := table.Read(ctx, 0, 8); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want a canceled read", err)
	}
	if got, err := table.Read(t.Context(), 0, 8); err != nil || !bytes.Equal(got, content[:8]) {
		t.Errorf("got %x, %v; want %x", got, err, content[:8])
	}
}

// TestTableOfManyReaders: many goroutines read one table.
func TestTableOfManyReaders(t *testing.T) {
	content := random(10 * page)
	table := diskformat.NewTable(disktest.Bytes(content))
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			for off := i; off < len(content)-8; off += 4099 {
				got, err := table.Read(t.Context(), int64(off), 8)
				if err != nil || !bytes.Equal(got, content[off:off+8]) {
					t.Errorf("at %d: got %x, %v; want %x", off, got, err, content[off:off+8])
				}
			}
		})
	}
	group.Wait()
}
