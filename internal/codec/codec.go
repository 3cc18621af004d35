package codec

import (
	"bytes"
	"io"
	"runtime"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/transferd/transferd/internal/chunker"
	"github.com/transferd/transferd/internal/transfer"
)

// The levels of CompressionAuto. On a file system's data level 1 runs at 180 MB/s a core and halves it; level 6 takes
// about twice as long for 8% less, which pays where the link is so slow that the processors wait for it.
const (
	fastLevel = gzip.BestSpeed
	slowLevel = 6
	// slowSpeed is the speed of slowLevel as a part of fastLevel's.
	slowSpeed = 0.45
	// fastSpeed is fastLevel's on one core, bytes a second, until it was measured.
	fastSpeed = 180e6
)

// Body is a chunk as it goes over the wire.
type Body struct {
	Bytes   []byte
	Gzip    bool // Bytes is one gzip member; else it is the chunk itself
	buf     *bytes.Buffer
	flow    Flow
	n       int           // of the chunk, bytes, if it counts for the choice and has arrived
	working time.Duration // spent on compressing
}

// Arrived tells the codec that the endpoint has the chunk, from which it learns what pays.
func (b *Body) Arrived(n int) { b.n = n }

// Release gives the body's memory back. It is called once, when nothing reads Bytes any more.
func (b *Body) Release() {
	if b.flow.choice != nil {
		b.flow.End(b.Gzip, b.n, b.working)
	}
	if b.buf != nil {
		bufs.Put(b.buf)
	}
	*b = Body{}
}

// Codec encodes chunks. It is safe for concurrent use: chunks are compressed side by side, each by one goroutine, which
// scales with the cores where splitting a single chunk does not.
type Codec struct {
	level  int     // 0: raw
	choice *Choice // nil: always level
	speed  speed
	zeros  sync.Map // int → []byte, the gzip member of that many zeros
}

// All jobs share what they compress with and into.
var (
	writers [gzip.BestCompression + 1]sync.Pool // by level, of *gzip.Writer
	bufs    = sync.Pool{New: func() any { return new(bytes.Buffer) }}
)

// speed is how fast one core compresses at fastLevel.
type speed struct {
	mu   sync.Mutex
	rate float64 // bytes a second
	slow bool    // slowLevel is the one in use
}

// encoders bounds how many chunks are compressed at once, in all jobs: more than there are cores only take turns.
var encoders = make(chan struct{}, runtime.GOMAXPROCS(0))

// NewCodec makes a codec for one job.
func NewCodec(c transfer.Compression) *Codec {
	codec := &Codec{level: int(c), speed: speed{rate: fastSpeed}}
	if c == transfer.CompressionAuto {
		codec.level = fastLevel
		codec.choice = NewChoice(func(plain float64) float64 {
			return min(codec.speed.all(), guessedRatio*plain)
		})
	}
	return codec
}

// guessedRatio is how much a file system's data shrinks, until it was tried.
const guessedRatio = 2

// all is what all cores compress at fastLevel.
func (s *speed) all() float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rate * float64(cap(encoders))
}

func (s *speed) add(level, n int, took time.Duration) {
	rate := float64(n) / max(took.Seconds(), 1e-9)
	if level == slowLevel {
		rate /= slowSpeed
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rate += (rate - s.rate) / 8
}

// level is slowLevel where even that leaves the processors waiting for the link half of the time, and stays so until they
// hardly wait any more. moved is what gzip moves, bytes a second, and busy the share of a chunk's time that it is being
// compressed: the processors may be slower than they can be, with much else to do.
func (s *speed) level(moved, busy float64) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	possible := s.rate * float64(cap(encoders)) * slowSpeed
	switch {
	case possible < 1.25*moved || busy > 0.5:
		s.slow = false
	case moved > 0 && possible > 2*moved && busy < 0.2:
		s.slow = true
	}
	if s.slow {
		return slowLevel
	}
	return fastLevel
}

// Probe is how many bytes of a chunk of size the caller is to send by themselves, encoded by Plain, for the codec to learn of the
// link; 0: none. away is how far the other end is known to be, there and back.
func (c *Codec) Probe(size int, away time.Duration) int {
	if c.choice == nil {
		return 0
	}
	return c.choice.Probe(size, away)
}

// Plain returns p to be sent as it is.
func (c *Codec) Plain(p []byte) Body { return Body{Bytes: p, flow: c.begin(false)} }

func (c *Codec) begin(asked bool) Flow {
	if c.choice == nil {
		return Flow{}
	}
	return c.choice.Begin(asked)
}

// Encode returns p as it is to be sent. The body may share p's memory, so p stays as it is until Release.
func (c *Codec) Encode(p []byte) Body {
	switch {
	case c.level == 0:
		return Body{Bytes: p}
	case chunker.IsZero(p):
		return Body{Bytes: c.zeroBody(len(p)), Gzip: true}
	case c.choice == nil:
		return compress(p, c.level)
	case !c.choice.Gzip():
		return c.Plain(p)
	}
	flow, began := c.begin(true), time.Now()
	b := Body{Bytes: p}
	encoders <- struct{}{}
	if worth := time.Now(); compressible(p) {
		level := c.speed.level(c.choice.packed())
		b = compress(p, level)
		c.speed.add(level, len(p), time.Since(worth))
	}
	<-encoders
	if len(b.Bytes) > len(p) {
		b.Release()
		b = Body{Bytes: p}
	}
	flow.Moves()
	b.flow, b.working = flow, time.Since(began)
	return b
}

func compress(p []byte, level int) Body {
	buf := bufs.Get().(*bytes.Buffer)
	buf.Reset()
	// gzip of what does not compress is a little longer than the input, so this is the only growth there is.
	buf.Grow(len(p) + len(p)/1024 + 64)
	pack(buf, p, level)
	return Body{Bytes: buf.Bytes(), Gzip: true, buf: buf}
}

func pack(w io.Writer, p []byte, level int) {
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

// zeroBody makes the gzip member of n zeros once for each n; a job has at most two lengths of chunk.
func (c *Codec) zeroBody(n int) []byte {
	if b, ok := c.zeros.Load(n); ok {
		return b.([]byte)
	}
	var buf bytes.Buffer
	pack(&buf, make([]byte, n), c.level)
	b, _ := c.zeros.LoadOrStore(n, buf.Bytes())
	return b.([]byte)
}

const (
	probeSamples = 16
	probeSize    = 4 << 10
)

// compressible compresses samples of p, spread evenly, and reports whether they lost a tenth or more. It takes under
// 0.4 ms where compressing a whole chunk in vain takes several; small chunks are not worth a probe.
func compressible(p []byte) bool {
	if len(p) <= probeSamples*probeSize {
		return true
	}
	var n countingWriter
	z := writer(&n, fastLevel)
	defer writers[fastLevel].Put(z)
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
