package vmdk

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"sync"

	"github.com/klauspost/compress/zlib"

	"github.com/transferd/transferd/internal/diskformat"
)

const (
	markerSize = 12       // bytes in front of a compressed grain: its first sector and its size
	maxStored  = 2        // sizes of a grain that a compressed one has at most (QEMU, block/vmdk.c)
	maxBatch   = 2 << 20  // bytes of one read of the file
	maxGap     = 64 << 10 // bytes that a read may include for nothing, such as a table between grains
)

// compressed is a sparse extent whose grains are compressed. A read of it is few reads of the file,
// each of as many grains as lie close together: programs write them in the order of the disk, so
// this is all of a chunk.
type compressed struct {
	diskformat.Blocks // its ReadAt is not used

	s *sparse
	// buffers are *buffers, one for each reader at a time.
	buffers sync.Pool
}

var _ diskformat.Disk = (*compressed)(nil)

// buffers are what one reader needs: 3 MiB at most.
type buffers struct {
	batch []byte // compressed grains, at most maxBatch
	grain []byte // the last grain that was read in part
	held  int64  // its number + 1; 0: there is none
	src   bytes.Reader
	zlib  io.ReadCloser // nil before the first grain
}

func newCompressed(s *sparse, blocks diskformat.Blocks) *compressed {
	return &compressed{Blocks: blocks, s: s, buffers: sync.Pool{New: func() any { return new(buffers) }}}
}

// stored is a grain in the file.
type stored struct {
	grain    int64
	off, end int64 // it is between these bytes of the file
	dst      []byte
	skip     int64 // bytes of the grain in front of dst
}

// ReadAt fills p with the bytes of the disk at off.
func (c *compressed) ReadAt(ctx context.Context, p []byte, off int64) error {
	b := c.buffers.Get().(*buffers)
	defer c.buffers.Put(b)
	var batch []stored
	for len(p) > 0 {
		grain, skip := off/c.BlockSize, off%c.BlockSize
		dst := p[:min(int64(len(p)), c.BlockSize-skip)]
		p, off = p[len(dst):], off+int64(len(dst))
		if b.held == grain+1 {
			copy(dst, b.grain[skip:])
			continue
		}
		g, err := c.locate(ctx, grain)
		if err != nil {
			return err
		}
		if g.end == 0 {
			clear(dst)
			continue
		}
		g.dst, g.skip = dst, skip
		if len(batch) > 0 && !joins(batch, g) {
			if err := c.readBatch(ctx, b, batch); err != nil {
				return err
			}
			batch = batch[:0]
		}
		batch = append(batch, g)
	}
	return c.readBatch(ctx, b, batch)
}

// joins reports whether a grain can be read together with those of a batch.
func joins(batch []stored, g stored) bool {
	first, last := batch[0], batch[len(batch)-1]
	return g.off > last.off && g.off-last.end <= maxGap && g.end-first.off <= maxBatch
}

// locate finds a grain. Its end is 0 if it is zeros, and else the beginning of the next grain, if
// that is not too far.
func (c *compressed) locate(ctx context.Context, grain int64) (stored, error) {
	entries, n, err := c.s.entriesFrom(ctx, grain)
	if err != nil || entries == nil {
		return stored{}, err
	}
	off := c.s.place(entries, 0)
	if off == 0 {
		return stored{}, nil
	}
	if err := c.s.check(ctx, grain, off); err != nil {
		return stored{}, err
	}
	g := stored{grain: grain, off: off, end: min(off+maxStored*c.BlockSize, c.File.Size())}
	for i := int64(1); i < n; i++ {
		if next := c.s.place(entries, i); next > 0 {
			if next > off {
				g.end = min(g.end, next)
			}
			break
		}
	}
	return g, nil
}

// readBatch reads grains that lie one after the other, by one read of the file.
func (c *compressed) readBatch(ctx context.Context, b *buffers, batch []stored) error {
	if len(batch) == 0 {
		return nil
	}
	start := batch[0].off
	b.batch = resized(b.batch, batch[len(batch)-1].end-start)
	if err := c.File.ReadAt(ctx, b.batch, start); err != nil {
		return err
	}
	for i, g := range batch {
		if i+1 < len(batch) {
			g.end = min(g.end, batch[i+1].off)
		}
		if err := c.inflate(b, g, b.batch[g.off-start:g.end-start]); err != nil {
			return err
		}
	}
	return nil
}

// resized is p with n bytes of any value. It never has room for more than the largest n.
func resized(p []byte, n int64) []byte {
	if int64(cap(p)) < n {
		return make([]byte, n)
	}
	return p[:n]
}

// inflate decompresses a grain, whose marker p begins with, to its dst.
func (c *compressed) inflate(b *buffers, g stored, p []byte) error {
	if len(p) < markerSize || binary.LittleEndian.Uint64(p) != uint64(g.grain*c.s.grain) {
		return c.damaged(g.grain, "its marker is not there")
	}
	size := int64(binary.LittleEndian.Uint32(p[8:]))
	if p = p[markerSize:]; size > int64(len(p)) {
		return c.damaged(g.grain, "it overlaps the next one or the end")
	}
	b.src.Reset(p[:size])
	if err := b.reset(); err != nil {
		return c.damaged(g.grain, err.Error())
	}
	// The last grain may be compressed in full, or as much as is on the disk.
	want := min(c.BlockSize, c.DiskSize-g.grain*c.BlockSize)
	dst, whole := g.dst, int64(len(g.dst)) == want
	if !whole {
		b.held = 0
		b.grain = resized(b.grain, want)
		dst = b.grain
	}
	if _, err := io.ReadFull(b.zlib, dst); err != nil {
		return c.damaged(g.grain, err.Error())
	}
	// Only the end of the stream has its checksum.
	if _, err := io.CopyN(io.Discard, b.zlib, c.BlockSize-want+1); err == nil {
		return c.damaged(g.grain, "it is too long")
	} else if !errors.Is(err, io.EOF) {
		return c.damaged(g.grain, err.Error())
	}
	if !whole {
		b.held = g.grain + 1
		copy(g.dst, dst[g.skip:])
	}
	return nil
}

// reset begins to decompress src.
func (b *buffers) reset() (err error) {
	if b.zlib == nil {
		b.zlib, err = zlib.NewReader(&b.src)
		return err
	}
	return b.zlib.(zlib.Resetter).Reset(&b.src, nil)
}

func (c *compressed) damaged(grain int64, why string) error {
	return diskformat.Damaged("grain %d of the VMDK image cannot be read: %s", grain, why)
}
