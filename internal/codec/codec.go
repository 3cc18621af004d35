package codec

import (
	"bytes"
	"runtime"
	"sync"
	"time"

	"github.com/transferd/transferd/internal/chunker"
	"github.com/transferd/transferd/internal/transfer"
)

// Codec encodes the chunks of one job. It is safe for concurrent use: chunks are compressed at the
// same time, each by one goroutine, which scales with the cores where splitting one chunk does not.
type Codec struct {
	level    int       // gzip's, 0: plain
	selector *Selector // nil: always level
	speed    speed
	zeros    sync.Map // int → []byte, the gzip member of that many zeros
}

// estimatedRatio is how much a file system's data shrinks, until it is observed. Measured: two to
// seven times.
const estimatedRatio = 2

// encoders bounds how many chunks are compressed at once, in all jobs: more than there are cores only
// take turns.
var encoders = make(chan struct{}, runtime.GOMAXPROCS(0))

// NewCodec makes a codec for one job. With CompressionAuto it selects an encoding for each chunk;
// otherwise all go plain or with the level of gzip that c is.
func NewCodec(c transfer.Compression) *Codec {
	codec := &Codec{level: int(c), speed: speed{rate: fastSpeed}}
	if c == transfer.CompressionAuto {
		codec.level = fastLevel
		codec.selector = NewSelector(func(plain float64) float64 {
			return min(codec.speed.allCores(), estimatedRatio*plain)
		})
	}
	return codec
}

// Body is a chunk encoded for the wire, from Encode or Plain. Whoever sends it calls Sending as its
// first byte goes to the wire, Arrived if the endpoint has taken it, and Release in any case. Its
// methods are called by one goroutine at a time.
type Body struct {
	Bytes []byte // valid until Release; read only
	Gzip  bool   // Bytes is one gzip member; else it is the chunk itself

	buf      *bytes.Buffer // of Bytes, to be reused; nil: they are not ours
	selector *Selector     // that the body is observed for; nil: none
	flow     Flow          // of selector; zero until it begins
	sent     bool          // Sending was called
	arrived  int           // bytes of the image
	working  time.Duration // spent on compressing, and on waiting for a core to do so
}

// Sending says that the body's bytes start to go to the wire. Until then a gzip body takes no share
// of the wire and a plain one takes no time, however long it waits for its turn. Only the first call
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

// Arrived says that the endpoint has the chunk, n bytes of the image: Release then counts it as an
// observation, if it was sent.
func (b *Body) Arrived(n int) { b.arrived = n }

// Release returns the body's memory and ends its flow, whether it was sent or not. It is called once,
// when nothing reads Bytes any more.
func (b *Body) Release() {
	if b.selector != nil {
		if !b.sent { // a flow that nothing is observed of; if it was the probe, the next chunk may probe
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

// Probe is how many bytes of a chunk of size bytes the caller is to send first and by themselves,
// encoded by Plain, for the codec to observe the link; 0: none. rtt is the lowest observed round-trip
// time to the endpoint, 0 if unknown.
func (c *Codec) Probe(size int, rtt time.Duration) int {
	if c.selector == nil {
		return 0
	}
	return c.selector.Probe(size, rtt)
}

// Plain returns p to be sent as it is. The body shares p's memory.
func (c *Codec) Plain(p []byte) Body { return Body{Bytes: p, selector: c.selector} }

// Encode returns p as it is to be sent. It may be called before it is the chunk's turn to be sent. The
// body may share p's memory, so p stays as it is until Release. Encode waits for a core if all of
// them compress, and up to 50 ms for a probe in flight.
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

// zeroBody makes the gzip member of n zeros once for each n; a job has at most two lengths of chunk.
func (c *Codec) zeroBody(n int) []byte {
	if b, ok := c.zeros.Load(n); ok {
		return b.([]byte)
	}
	var buf bytes.Buffer
	writeMember(&buf, make([]byte, n), c.level)
	b, _ := c.zeros.LoadOrStore(n, buf.Bytes())
	return b.([]byte)
}
