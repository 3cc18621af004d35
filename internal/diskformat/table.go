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

// Read returns the n bytes at off of the file, which may cross pages. The caller does not change
// them.
func (t *Table) Read(ctx context.Context, off int64, n int) ([]byte, error) {
	start := off / pageSize * pageSize
	page, err := t.page(ctx, start)
	if err != nil {
		return nil, err
	}
	within := int(off - start)
	if within+n <= len(page) {
		return page[within : within+n], nil
	}
	p := make([]byte, n)
	return p, t.file.ReadAt(ctx, p, off)
}

// page returns the page at off, which ends at the end of the file at the latest.
func (t *Table) page(ctx context.Context, off int64) ([]byte, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if page, ok := t.pages[off]; ok {
		return page, nil
	}
	n := min(pageSize, t.file.Size()-off)
	if off < 0 || n <= 0 {
		return nil, Damaged("a table of the image is at byte %d, outside of the file", off)
	}
	page := make([]byte, n)
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
