package codec

import (
	"bytes"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
)

// All jobs share what they compress with and into.
var (
	writers [gzip.BestCompression + 1]sync.Pool // by level, of *gzip.Writer
	buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}
)

// compress returns p as one gzip member in a buffer of the pool.
func compress(p []byte, level int) Body {
	buf := buffers.Get().(*bytes.Buffer)
	buf.Reset()
	// gzip of what does not compress is a little longer than the input, so this is the only growth there is.
	buf.Grow(len(p) + len(p)/1024 + 64)
	writeMember(buf, p, level)
	return Body{Bytes: buf.Bytes(), Gzip: true, buf: buf}
}

// writeMember writes p to w, which is memory, as one gzip member.
func writeMember(w io.Writer, p []byte, level int) {
	z := writer(w, level)
	defer writers[level].Put(z)
	// Neither fails: the writers here are memory.
	_, _ = z.Write(p)
	_ = z.Close()
}

// writer is a gzip writer for one member, to be put back.
func writer(w io.Writer, level int) *gzip.Writer {
	if z, ok := writers[level].Get().(*gzip.Writer); ok {
		z.Reset(w)
		return z
	}
	z, err := gzip.NewWriterLevel(w, level)
	if err != nil {
		panic(err) // transfer.Compression has no other levels than gzip's
	}
	return z
}

// Samples of a chunk tell whether it compresses.
const (
	sampleCount = 16
	sampleSize  = 4 << 10 // bytes
)

// compressible compresses samples of p, spread evenly, and reports whether they lost a tenth or more.
// It takes under 0.4 ms where compressing a whole chunk in vain takes several; small chunks are not
// worth sampling.
func compressible(p []byte) bool {
	if len(p) <= sampleCount*sampleSize {
		return true
	}
	var n countingWriter
	z := writer(&n, fastLevel)
	defer writers[fastLevel].Put(z)
	stride := (len(p) - sampleSize) / (sampleCount - 1)
	for i := range sampleCount {
		_, _ = z.Write(p[i*stride : i*stride+sampleSize])
	}
	_ = z.Close()
	return int(n) < sampleCount*sampleSize*9/10
}

type countingWriter int

func (n *countingWriter) Write(p []byte) (int, error) {
	*n += countingWriter(len(p))
	return len(p), nil
}
