package codec

import (
	"bytes"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
)

// The pools of gzip writers and output buffers, which all jobs share.
var (
	writers [gzip.BestCompression + 1]sync.Pool // by level, of *gzip.Writer
	buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}
)

// compress returns p as one gzip member, in a buffer from the pool.
func compress(p []byte, level int) Body {
	buf := buffers.Get().(*bytes.Buffer)
	buf.Reset()
	// Incompressible data becomes a little longer, so the buffer never grows again.
	buf.Grow(len(p) + len(p)/1024 + 64)
	writeMember(buf, p, level)
	return Body{Bytes: buf.Bytes(), Gzip: true, buf: buf}
}

// writeMember writes p as one gzip member to w, which never fails.
func writeMember(w io.Writer, p []byte, level int) {
	z := writer(w, level)
	defer writers[level].Put(z)
	// The only errors are those of w.
	_, _ = z.Write(p)
	_ = z.Close()
}

// writer returns a gzip writer for one member. The caller returns it to writers[level].
func writer(w io.Writer, level int) *gzip.Writer {
	if z, ok := writers[level].Get().(*gzip.Writer); ok {
		z.Reset(w)
		return z
	}
	z, err := gzip.NewWriterLevel(w, level)
	if err != nil {
		panic(err) // a level that transfer.Compression does not have
	}
	return z
}

// The samples by which compressible decides.
const (
	sampleCount = 16
	sampleSize  = 4 << 10 // bytes
)

// compressible compresses evenly spread samples of p and reports whether they shrink by a tenth or
// more. It takes less than 0.4 ms, while compressing a whole chunk in vain takes several
// milliseconds. Small chunks are not worth sampling.
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
