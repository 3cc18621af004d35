package image

import (
	"encoding/binary"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// zstdWriter stores an image as a seekable Zstandard file: each Write makes a frame of its own, and
// Close adds a table of the frames in a skippable frame, which decoders pass over. The format is
// zstd_seekable_compression_format.md, version 0.1.0, of the Zstandard project. Many goroutines may
// call compress at once, and one at a time the other methods.
type zstdWriter struct {
	w      io.Writer
	enc    *zstd.Encoder
	frames []zstdEntry
	err    error // the first one of w: a frame may be stored in part
}

var _ io.WriteCloser = (*zstdWriter)(nil)

// zstdEntry describes a frame in the seek table, in bytes.
type zstdEntry struct{ stored, image uint32 }

const (
	zstdSeekTable  = 0x184d2a5e // the magic number of the skippable frame with the table
	zstdSeekable   = 0x8f92eab1 // the last bytes of a seekable file
	seekTableHead  = 8
	seekTableEntry = 8
	seekTableFoot  = 9
	// maxSeekFrames is the most frames that get a table, whose size in memory is 64 MiB then. A
	// file of more frames is a plain Zstandard file: 32 TiB in frames of 4 MiB.
	maxSeekFrames = 8 << 20
)

// newZstdWriter uses the default level, each frame on one core. The next level takes five times as
// long for 3% less.
func newZstdWriter(w io.Writer) (*zstdWriter, error) {
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		return nil, fmt.Errorf("make Zstandard writer: %w", err)
	}
	return &zstdWriter{w: w, enc: enc}, nil
}

// zstdBuffers hold compressed frames.
var zstdBuffers = sync.Pool{New: func() any { return new([]byte) }}

// encodedFrame is a compressed chunk of an image.
type encodedFrame struct {
	buf   *[]byte
	image int // bytes before compression
}

func (f *encodedFrame) release() { zstdBuffers.Put(f.buf) }

// compress makes a frame of p, with a checksum.
func (z *zstdWriter) compress(p []byte) *encodedFrame {
	f := &encodedFrame{buf: zstdBuffers.Get().(*[]byte), image: len(p)}
	*f.buf = z.enc.EncodeAll(p, (*f.buf)[:0])
	return f
}

// append writes a frame. After an error it returns that error again.
func (z *zstdWriter) append(f *encodedFrame) error {
	if z.err != nil {
		return z.err
	}
	if _, z.err = z.w.Write(*f.buf); z.err != nil {
		return z.err
	}
	if len(z.frames) <= maxSeekFrames {
		stored, image := uint32(len(*f.buf)), uint32(f.image) // a chunk has at most 4 MiB
		z.frames = append(z.frames, zstdEntry{stored: stored, image: image})
	}
	return nil
}

// Write stores p as one frame.
func (z *zstdWriter) Write(p []byte) (int, error) {
	f := z.compress(p)
	defer f.release()
	if err := z.append(f); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Close writes the seek table.
func (z *zstdWriter) Close() error {
	if z.err != nil || len(z.frames) > maxSeekFrames {
		return z.err
	}
	table := make([]byte, 0, seekTableHead+len(z.frames)*seekTableEntry+seekTableFoot)
	number := func(n uint32) { table = binary.LittleEndian.AppendUint32(table, n) }
	number(zstdSeekTable)
	number(uint32(cap(table) - seekTableHead))
	for _, f := range z.frames {
		number(f.stored)
		number(f.image)
	}
	number(uint32(len(z.frames)))
	table = append(table, 0) // the entries have no checksums: the frames have their own
	number(zstdSeekable)
	_, z.err = z.w.Write(table)
	return z.err
}
