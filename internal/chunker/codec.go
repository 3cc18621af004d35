package chunker

import (
	"bytes"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"

	"github.com/transferd/transferd/internal/transfer"
)

// autoLevel is the gzip level of CompressionAuto. On a file system's data level 1 runs at 180 MB/s a core and halves it;
// level 6 takes twice as long for 8% less.
const autoLevel = gzip.BestSpeed

// Body is a chunk as it goes over the wire.
type Body struct {
	Bytes []byte
	Gzip  bool // Bytes is one gzip member; else it is the chunk itself
	buf   *bytes.Buffer
	codec *Codec
}

// Release gives the body's memory back. It is called once, when nothing reads Bytes any more.
func (b *Body) Release() {
	if b.buf != nil {
		b.codec.bufs.Put(b.buf)
	}
	*b = Body{}
}

// Codec encodes chunks. It is safe for concurrent use: chunks are compressed side by side, each by one goroutine, which
// scales with the cores where splitting a single chunk does not.
type Codec struct {
	auto    bool
	level   int // 0: raw
	writers sync.Pool
	bufs    sync.Pool
	zeros   sync.Map // int → []byte, the gzip member of that many zeros
}

// NewCodec makes a codec for one job.
func NewCodec(c transfer.Compression) *Codec {
	codec := &Codec{auto: c == transfer.CompressionAuto, level: int(c)}
	if codec.auto {
		codec.level = autoLevel
	}
	codec.bufs.New = func() any { return new(bytes.Buffer) }
	codec.writers.New = func() any {
		w, err := gzip.NewWriterLevel(nil, codec.level)
		if err != nil {
			panic(err) // transfer.Compression has no other levels than gzip's
		}
		return w
	}
	return codec
}

// Encode returns p as it is to be sent. The body may share p's memory, so p stays as it is until Release.
func (c *Codec) Encode(p []byte) Body {
	switch {
	case c.level == 0:
		return Body{Bytes: p}
	case IsZero(p):
		return Body{Bytes: c.zeroBody(len(p)), Gzip: true}
	case c.auto && !c.compressible(p):
		return Body{Bytes: p}
	}
	b := c.compress(p)
	if c.auto && len(b.Bytes) >= len(p) {
		b.Release()
		return Body{Bytes: p}
	}
	return b
}

func (c *Codec) compress(p []byte) Body {
	buf := c.bufs.Get().(*bytes.Buffer)
	buf.Reset()
	// gzip of what does not compress is a little longer than the input, so this is the only growth there is.
	buf.Grow(len(p) + len(p)/1024 + 64)
	c.gzip(buf, p)
	return Body{Bytes: buf.Bytes(), Gzip: true, buf: buf, codec: c}
}

func (c *Codec) gzip(w io.Writer, p []byte) {
	z := c.writers.Get().(*gzip.Writer)
	defer c.writers.Put(z)
	z.Reset(w)
	// Neither fails: the writers here are memory.
	_, _ = z.Write(p)
	_ = z.Close()
}

// zeroBody makes the gzip member of n zeros once for each n; a job has at most two lengths of chunk.
func (c *Codec) zeroBody(n int) []byte {
	if b, ok := c.zeros.Load(n); ok {
		return b.([]byte)
	}
	var buf bytes.Buffer
	c.gzip(&buf, make([]byte, n))
	b, _ := c.zeros.LoadOrStore(n, buf.Bytes())
	return b.([]byte)
}

const (
	probeSamples = 16
	probeSize    = 4 << 10
)

// compressible compresses samples of p, spread evenly, and reports whether they lost a tenth or more. It takes under
// 0.4 ms where compressing a whole chunk in vain takes several; small chunks are not worth a probe.
func (c *Codec) compressible(p []byte) bool {
	if len(p) <= probeSamples*probeSize {
		return true
	}
	var n countingWriter
	z := c.writers.Get().(*gzip.Writer)
	defer c.writers.Put(z)
	z.Reset(&n)
	stride := (len(p) - probeSize) / (probeSamples - 1)
	for i := range probeSamples {
		_, _ = z.Write(p[i*stride : i*stride+probeSize])
	}
	_ = z.Close()
	return int(n) < probeSamples*probeSize*9/10
}

type countingWriter int

func (n *countingWriter) Write(p []byte) (int, error) {
	*n += countingWriter(len(p))
	return len(p), nil
}
