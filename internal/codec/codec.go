package codec

import (
	"bytes"
	"runtime"
	"sync"
	"time"

	"github.com/transferd/transferd/internal/chunker"
	"github.com/transferd/transferd/internal/transfer"
)

// Codec encodes the chunks of one job. It is safe for concurrent use. Several goroutines compress
// one chunk each at the same time; this scales with the cores better than splitting one chunk does.
type Codec struct {
	level    int       // of gzip; 0: plain
	selector *Selector // nil: level is fixed
	speed    compressionSpeed
	zeros    sync.Map // int → []byte, the gzip member of that many zeros
}

// estimatedRatio is the compression ratio of a file system's data until it is observed. Measured
// values are from two to seven.
const estimatedRatio = 2

// encoders limits how many chunks are compressed at once in all jobs. More than one a core would
// only share the cores.
var encoders = make(chan struct{}, runtime.GOMAXPROCS(0))

// NewCodec returns a codec for one job. With CompressionAuto it selects an encoding for each chunk;
// otherwise all chunks are plain or gzip of level c.
func NewCodec(c transfer.Compression) *Codec {
	codec := &Codec{level: int(c), speed: compressionSpeed{rate: fastSpeed}}
	if c == transfer.CompressionAuto {
		codec.level = fastLevel
		codec.selector = NewSelector(func(plain float64) float64 {
			return min(codec.speed.allCores(), estimatedRatio*plain)
		})
	}
	return codec
}

// Body is a chunk encoded for the wire, from Encode or Plain. The sender calls Sending right before
// the first byte goes to the wire, Arrived if the endpoint has stored the chunk, and Release in any
// case. One goroutine at a time calls its methods.
type Body struct {
	Bytes []byte // valid until Release; read only
	Gzip  bool   // Bytes is one gzip member; otherwise it is the chunk itself

	buf      *bytes.Buffer // holds Bytes and is returned to the pool; nil: Bytes is not from the pool
	selector *Selector     // observes the body; nil: none
	flow     Flow          // of selector; zero before it begins
	sent     bool          // Sending was called
	arrived  int           // bytes of the image
	working  time.Duration // spent on compressing, and on waiting for a core
}

// Sending records that the body's first byte goes to the wire now. Before that, a gzip body has no
// share of the wire and a plain body takes no time, however long it waits. Only the first call
// counts.
func (b *Body) Sending() {
	if b.selector == nil || b.sent {
		return
	}
	b.sent = true
	if b.flow.selector == nil {
		b.flow = b.selector.Begin(false)
		return
	}
	b.flow.Sending(b.Gzip)
}

// Arrived records that the endpoint has stored the chunk, n bytes of the image. Release then makes
// it an observation, if Sending was called.
func (b *Body) Arrived(n int) { b.arrived = n }

// Release returns the body's memory and ends its flow, whether the body was sent or not. It is
// called once, when nothing reads Bytes any more.
func (b *Body) Release() {
	if b.selector != nil {
		if !b.sent { // end the flow without an observation; after an unsent probe the next chunk may probe
			b.Sending()
			b.arrived = 0
		}
		b.flow.End(b.Gzip, b.arrived, b.working)
	}
	if b.buf != nil {
		buffers.Put(b.buf)
	}
	*b = Body{}
}

// Probe returns how many bytes of a chunk of size bytes the caller sends first, in a call of their
// own and encoded by Plain, so that the codec can observe the link; 0: none. rtt is the lowest
// observed round-trip time to the endpoint; 0: unknown.
func (c *Codec) Probe(size int, rtt time.Duration) int {
	if c.selector == nil {
		return 0
	}
	return c.selector.Probe(size, rtt)
}

// Plain returns p as a body without encoding. The body shares p's memory.
func (c *Codec) Plain(p []byte) Body { return Body{Bytes: p, selector: c.selector} }

// Encode returns p encoded for the wire. It may be called before the chunk may be sent. The body
// may share p's memory, so p must not change until Release. Encode waits for a core if all of them
// compress, and up to 50 ms for a probe in flight.
func (c *Codec) Encode(p []byte) Body {
	switch {
	case c.level == 0:
		return Body{Bytes: p}
	case chunker.IsZero(p):
		return Body{Bytes: c.zeroBody(len(p)), Gzip: true}
	case c.selector == nil:
		return compress(p, c.level)
	case !c.selector.Pick():
		return c.Plain(p)
	}
	flow, began := c.selector.Begin(true), time.Now()
	b := Body{Bytes: p}
	encoders <- struct{}{}
	if start := time.Now(); compressible(p) {
		level := c.speed.level(c.selector.gzipGoodput())
		b = compress(p, level)
		c.speed.add(level, len(p), time.Since(start))
	}
	<-encoders
	if len(b.Bytes) > len(p) {
		b.Release()
		b = Body{Bytes: p}
	}
	b.selector, b.flow, b.working = c.selector, flow, time.Since(began)
	return b
}

// zeroBody returns the gzip member of n zeros. It compresses them once for each n; a job has at
// most two chunk lengths.
func (c *Codec) zeroBody(n int) []byte {
	if b, ok := c.zeros.Load(n); ok {
		return b.([]byte)
	}
	var buf bytes.Buffer
	writeMember(&buf, make([]byte, n), c.level)
	b, _ := c.zeros.LoadOrStore(n, buf.Bytes())
	return b.([]byte)
}
