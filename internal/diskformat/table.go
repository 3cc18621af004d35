package diskformat

import (
	"context"
	"sync"
)

const (
	pageSize = 64 << 10 // bytes
	maxPages = 64       // kept of one table
)

// Table reads a table of fixed-size entries that lies in a file. It keeps at most 4 MiB of it,
// however large it is. Many goroutines may use it at once.
type Table struct {
	file File

	mu    sync.Mutex
	pages map[int64][]byte // by their offset in the file
	order []int64          // of the pages, the oldest first
}

// NewTable reads tables of a file. One Table serves all tables of a file.
func NewTable(file File) *Table { return &Table{file: file, pages: map[int64][]byte{}} }

// Read returns the n bytes at off of the file, which may cross pages; n is at least 1. A range that
// is not in the file is Damaged. The caller does not change the bytes.
func (t *Table) Read(ctx context.Context, off int64, n int) ([]byte, error) {
	if !Holds(t.file, off, int64(n)) {
		return nil, Damaged("a table of the image is at byte %d, outside of the file", off)
	}
	var p []byte
	for {
		page, err := t.page(ctx, off/pageSize*pageSize)
		if err != nil {
			return nil, err
		}
		part := page[off%pageSize:]
		part = part[:min(len(part), n-len(p))]
		if len(part) == n {
			return part, nil
		}
		if p = append(p, part...); len(p) == n {
			return p, nil
		}
		off += int64(len(part))
	}
}

// page returns the page at off, which is in the file; it ends at the end of the file at the latest.
func (t *Table) page(ctx context.Context, off int64) ([]byte, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if page, ok := t.pages[off]; ok {
		return page, nil
	}
	page := make([]byte, min(pageSize, t.file.Size()-off))
	if err := t.file.ReadAt(ctx, page, off); err != nil {
		return nil, err
	}
	if len(t.order) == maxPages {
		delete(t.pages, t.order[0])
		t.order = t.order[1:]
	}
	t.pages[off], t.order = page, append(t.order, off)
	return page, nil
}
