package qcow2

import (
	"bytes"
	"context"
	"io"
	"sync"

	"github.com/klauspost/compress/flate"
	zstdlib "github.com/klauspost/compress/zstd"

	"github.com/transferd/transferd/internal/diskformat"
)

const (
	// maxBatch is how many bytes of compressed clusters are read at once. They are stored one after
	// the other, so a read of each would be up to 64 times as many.
	maxBatch = 1 << 20
	maxGap   = 64 << 10 // bytes between two of them
)

// readCompressed reads the compressed cluster of r, at off of the disk, and those that follow it on
// the disk and in the file. It returns how many bytes of p it has filled.
func (d *disk) readCompressed(ctx context.Context, p []byte, off int64, r run) (n int64, err error) {
	batch, end := []run{r}, r.host+r.size
	for n = r.len; n < int64(len(p)); {
		next, err := d.find(ctx, off+n, int64(len(p))-n)
		if err != nil {
			return 0, err
		}
		if next.kind != compressed || next.host < r.host || next.host > end+maxGap ||
			next.host+next.size > r.host+maxBatch {
			break
		}
		batch, n, end = append(batch, next), n+next.len, max(end, next.host+next.size)
	}
	buf := d.codec.buffer(int(min(end, d.file.Size()) - r.host))
	defer d.codec.release(buf)
	if err := d.file.ReadAt(ctx, *buf, r.host); err != nil {
		return 0, err
	}
	for _, c := range batch {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		src := (*buf)[c.host-r.host : min(c.host-r.host+c.size, int64(len(*buf)))]
		if err := d.codec.decode(p[:c.len], src, off&(d.clusterSize()-1)); err != nil {
			return 0, diskformat.Damaged("the compressed cluster at byte %d of the disk does not unpack: %v", off, err)
		}
		p, off = p[c.len:], off+c.len
	}
	return n, nil
}

// codec decompresses clusters. Its memory is used again: each goroutine that reads needs a
// decompressor, compressed bytes and, for parts of clusters, a cluster.
type codec struct {
	clusterSize int
	decoders    *sync.Pool // of decoder
	buffers     *sync.Pool // of *[]byte
}

// decoder decompresses a stream from a reader.
type decoder interface {
	io.Reader
	Reset(r io.Reader) error
}

func newCodec(h header) codec {
	c := codec{clusterSize: int(h.clusterSize()), decoders: &sync.Pool{New: newDeflate}, buffers: &sync.Pool{}}
	if h.compression == zstd {
		c.decoders.New = newZstd
	}
	return c
}

// decode fills p with the bytes at within of the cluster that is compressed at the beginning of
// src.
func (c codec) decode(p, src []byte, within int64) error {
	z := c.decoders.Get().(decoder)
	defer c.decoders.Put(z)
	if err := z.Reset(bytes.NewReader(src)); err != nil {
		return err
	}
	if within > 0 {
		if _, err := io.CopyN(io.Discard, z, within); err != nil {
			return err
		}
	}
	_, err := io.ReadFull(z, p)
	return err
}

func (c codec) buffer(n int) *[]byte {
	if buf, ok := c.buffers.Get().(*[]byte); ok && cap(*buf) >= n {
		*buf = (*buf)[:n]
		return buf
	}
	buf := make([]byte, n, max(n, maxBatch))
	return &buf
}

func (c codec) release(buf *[]byte) { c.buffers.Put(buf) }

// deflater is a decoder of raw deflate streams, as QEMU writes with a window of 4 KiB.
type deflater struct{ io.ReadCloser }

func newDeflate() any { return deflater{flate.NewReader(nil)} }

func (d deflater) Reset(r io.Reader) error { return d.ReadCloser.(flate.Resetter).Reset(r, nil) }

// newZstd makes a decoder without goroutines, which needs no Close.
func newZstd() any {
	z, err := zstdlib.NewReader(nil, zstdlib.WithDecoderConcurrency(1), zstdlib.WithDecoderLowmem(true),
		zstdlib.WithDecoderMaxWindow(8<<20))
	if err != nil {
		panic(err) // the options are constants
	}
	return z
}
