package image

import (
	"context"
	"errors"
	"io"
	"iter"

	"github.com/transferd/transferd/internal/transfer"
)

// part is what one layer of packing on a medium holds, read by offset: the file in a tar archive,
// or the copy of an unpacked image. It is a medium, and a raw image on it. It is the origin's in
// all but its bytes: it has its name, its identity and its changes.
type part struct {
	medium                       // the origin
	bytes  transfer.RandomAccess // closed with the part
	label  string                // the name of the file in an archive; empty: none
	outer  *format               // of the layer
	inside *format               // of the bytes
	digest *listedDigest         // by a manifest in the archive; nil: none
	notes  []string              // warnings about the packing
	// storedSum is the SHA-256 of the origin in hexadecimal; empty: not requested.
	storedSum string
}

var (
	_ medium                  = (*part)(nil)
	_ transfer.RandomAccess   = (*part)(nil)
	_ transfer.Warner         = (*part)(nil)
	_ transfer.Described      = (*part)(nil)
	_ transfer.Resembler      = (*part)(nil)
	_ transfer.Unwatched      = (*part)(nil)
	_ transfer.StoredDigester = (*part)(nil)
)

// openPart opens the image in a part.
func openPart(ctx context.Context, p *part, r reading, opts Options) (transfer.Source, error) {
	if p.inside == &raw || r.asIs {
		return p, nil
	}
	r.format = p.inside
	return openDisk(ctx, p, r, opts)
}

func (p *part) metadata() metadata {
	meta := p.medium.metadata()
	meta.fileName = p.label
	return meta
}

func (p *part) random() transfer.RandomAccess { return p }

func (p *part) head(ctx context.Context, n int) ([]byte, error) {
	head := make([]byte, min(int64(n), p.Size()))
	return head, p.ReadChunk(ctx, transfer.Chunk{Len: len(head)}, head)
}

func (p *part) stream(context.Context) (*input, error) { return newInput(readerOf(p), nil), nil }

// readerOf reads all of a source in order.
func readerOf(r transfer.RandomAccess) readFunc {
	var off int64
	return func(ctx context.Context, p []byte) (int, error) {
		n := min(int64(len(p)), r.Size()-off)
		if n == 0 {
			return 0, io.EOF
		}
		if err := r.ReadChunk(ctx, transfer.Chunk{Off: off, Len: int(n)}, p[:n]); err != nil {
			return 0, err
		}
		off += n
		return int(n), nil
	}
}

// Size is the size of the part.
func (p *part) Size() int64 { return p.bytes.Size() }

// Extents are those of the part.
func (p *part) Extents(ctx context.Context) iter.Seq2[transfer.Extent, error] {
	return p.bytes.Extents(ctx)
}

// ReadChunk reads from the part.
func (p *part) ReadChunk(ctx context.Context, c transfer.Chunk, to []byte) error {
	return p.bytes.ReadChunk(ctx, c, to)
}

// holeFinder finds the holes in a range of it without a search of all of it.
type holeFinder interface {
	// dataWithin is the first extent of data within the n bytes at off; its length is 0 if there is
	// none.
	dataWithin(ctx context.Context, off, n int64) (transfer.Extent, error)
}

var (
	_ holeFinder = (*File)(nil)
	_ holeFinder = (*part)(nil)
	_ holeFinder = (*window)(nil)
)

// dataWithin is that of a source; of one that finds no holes it is the whole range.
func dataWithin(ctx context.Context, src transfer.RandomAccess, off, n int64) (transfer.Extent, error) {
	if f, ok := src.(holeFinder); ok {
		return f.dataWithin(ctx, off, n)
	}
	return transfer.Extent{Off: off, Len: n}, nil
}

func (p *part) dataWithin(ctx context.Context, off, n int64) (transfer.Extent, error) {
	return dataWithin(ctx, p.bytes, off, n)
}

// Warnings are those of the origin and of the packing.
func (p *part) Warnings(m *transfer.Manifest) (list []string) {
	if w, ok := p.medium.(transfer.Warner); ok {
		list = w.Warnings(m)
	}
	return append(list, p.notes...)
}

// CheckImage is that of the origin.
func (p *part) CheckImage(m *transfer.Manifest) error {
	if d, ok := p.medium.(transfer.Described); ok {
		return d.CheckImage(m)
	}
	return nil
}

// Resembles is that of the origin.
func (p *part) Resembles(identity string) bool {
	r, ok := p.medium.(transfer.Resembler)
	return ok && r.Resembles(identity)
}

// UndetectedChanges is that of the origin.
func (p *part) UndetectedChanges() string {
	if u, ok := p.medium.(transfer.Unwatched); ok {
		return u.UndetectedChanges()
	}
	return ""
}

// DropCache is that of the origin.
func (p *part) DropCache() error {
	if u, ok := p.medium.(transfer.Unwatched); ok {
		return u.DropCache()
	}
	return nil
}

// StoredSHA256 is the SHA-256 of the origin, if it was requested.
func (p *part) StoredSHA256() string { return p.storedSum }

// Close closes the part and its origin.
func (p *part) Close() error { return errors.Join(p.bytes.Close(), p.medium.Close()) }

// window is a range of another source, which it does not own.
type window struct {
	transfer.RandomAccess
	off, size int64
}

// Size is the size of the range in bytes.
func (w *window) Size() int64 { return w.size }

// Extents are the extents of the source within the range.
func (w *window) Extents(ctx context.Context) iter.Seq2[transfer.Extent, error] {
	return func(yield func(transfer.Extent, error) bool) {
		for e, err := range w.RandomAccess.Extents(ctx) {
			from, to := max(e.Off, w.off), min(e.Off+e.Len, w.off+w.size)
			switch {
			case err != nil:
				yield(transfer.Extent{}, err)
				return
			case from >= w.off+w.size:
				return
			case from < to && !yield(transfer.Extent{Off: from - w.off, Len: to - from}, nil):
				return
			}
		}
	}
}

func (w *window) dataWithin(ctx context.Context, off, n int64) (transfer.Extent, error) {
	e, err := dataWithin(ctx, w.RandomAccess, w.off+off, n)
	e.Off -= w.off
	return e, err
}

// ReadChunk reads from the range.
func (w *window) ReadChunk(ctx context.Context, c transfer.Chunk, p []byte) error {
	c.Off += w.off
	return w.RandomAccess.ReadChunk(ctx, c, p)
}

// Close does nothing.
func (w *window) Close() error { return nil }
