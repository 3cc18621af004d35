package codec

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/transferd/transferd/internal/transfer"
)

// autoCodec returns a codec whose selector picks gzip for all chunks, or plain for all.
func autoCodec(gzip bool) *Codec {
	c := NewCodec(transfer.CompressionAuto)
	c.selector.phase = phaseSettled
	c.selector.onGzip = gzip
	c.selector.plain.rate, c.selector.gzip.rate = mib, mib
	return c
}

func checkFlows(t *testing.T, c *Codec, when string, flows, waiting int) {
	t.Helper()
	if w := &c.selector.wire; w.flows != flows || w.waiting != waiting {
		t.Errorf("%s: %d flows, %d of them waiting; want %d, %d", when, w.flows, w.waiting, flows, waiting)
	}
}

// TestSendingStartsTheWire: before Sending a gzip body has a waiting flow and a plain body has
// none. A body that is never sent leaves the counts balanced.
func TestSendingStartsTheWire(t *testing.T) {
	for name, tc := range map[string]struct {
		gzip           bool // picked
		data           []byte
		flows, waiting int // after Encode
	}{
		"gzip":                 {true, textBytes(maxChunk), 1, 1},
		"plain":                {false, textBytes(maxChunk), 0, 0},
		"gzip, incompressible": {true, randomBytes(maxChunk), 1, 1},
	} {
		for _, sent := range []bool{true, false} {
			c := autoCodec(tc.gzip)
			b := c.Encode(tc.data)
			checkFlows(t, c, name+" encoded", tc.flows, tc.waiting)
			if sent {
				for range 2 { // only the first counts
					b.Sending()
					checkFlows(t, c, name+" sending", 1, 0)
				}
			}
			b.Release()
			checkFlows(t, c, name+" released", 0, 0)
		}
	}
}

// TestZerosAndFixedLevelsHaveNoFlow: they are not observed.
func TestZerosAndFixedLevelsHaveNoFlow(t *testing.T) {
	c := autoCodec(true)
	b := c.Encode(make([]byte, maxChunk))
	b.Sending()
	checkFlows(t, c, "zeros sending", 0, 0)
	b.Release()
	for _, level := range []transfer.Compression{transfer.CompressionNone, 1} {
		b := NewCodec(level).Encode(textBytes(4096))
		b.Sending()
		b.Arrived(4096)
		b.Release()
	}
}

// TestWaitingIsNoWireTime: the goodput of a plain body does not include its wait between Encode and
// Sending, even if it was picked for gzip. A gzip body that waits takes no share of the wire.
func TestWaitingIsNoWireTime(t *testing.T) {
	for name, gzip := range map[string]bool{"plain": false, "gzip, incompressible": true} {
		synctest.Test(t, func(t *testing.T) {
			c := autoCodec(gzip)
			c.selector.plain = goodput{}
			b := c.Encode(randomBytes(maxChunk))
			waiting := c.selector.Begin(true)
			<-time.After(time.Hour)
			b.Sending()
			<-time.After(2 * time.Second)
			b.Arrived(maxChunk)
			b.Release()
			if got, want := c.selector.plain.rate, maxChunk/2.0; got != want {
				t.Errorf("%s: goodput %.0f bytes a second, want %.0f", name, got, want)
			}
			waiting.End(true, 0, 0)
		})
	}
}

// TestCompressingAheadKeepsGoodput: bodies that are compressed ahead and sent one after another
// have the goodput of the wire, however long each waited.
func TestCompressingAheadKeepsGoodput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSelector(doubled)
		flows := make([]Flow, 3)
		for i := range flows {
			flows[i] = s.Begin(true)
		}
		for range 200 { // each second one arrives and another begins
			flows[0].Sending(true)
			<-time.After(time.Second)
			flows[0].End(true, 4*mib, 0)
			flows = append(flows[1:], s.Begin(true))
		}
		if got := s.gzip.rate; got < 3.9*mib || got > 4.1*mib {
			t.Errorf("goodput %.2f MiB/s, want 4", got/mib)
		}
	})
}

// TestUnsentBodyIsNotObserved, even after Arrived.
func TestUnsentBodyIsNotObserved(t *testing.T) {
	for _, gzip := range []bool{true, false} {
		c := autoCodec(gzip)
		before := [2]goodput{c.selector.plain, c.selector.gzip}
		b := c.Encode(textBytes(maxChunk))
		b.Arrived(maxChunk)
		b.Release()
		if got := [2]goodput{c.selector.plain, c.selector.gzip}; got != before {
			t.Errorf("gzip %t: goodputs are %v, want %v as before", gzip, got, before)
		}
	}
}

// TestUnsentProbeIsRepeated by the next chunk.
func TestUnsentProbeIsRepeated(t *testing.T) {
	c := NewCodec(transfer.CompressionAuto)
	p := make([]byte, maxChunk)
	n := c.Probe(len(p), 0)
	b := c.Plain(p[:n])
	if n == 0 || c.Probe(len(p), 0) != 0 {
		t.Errorf("got a probe of %d bytes, or a second one, want exactly one", n)
	}
	b.Release()
	checkFlows(t, c, "released", 0, 0)
	if c.Probe(len(p), 0) == 0 {
		t.Error("after a probe that was not sent: got none, want another")
	}
}

// TestProbeTimeRunsFromSending: while a probe is in flight, its time on the wire is the upper bound
// of plain, not the time since Probe.
func TestProbeTimeRunsFromSending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewCodec(transfer.CompressionAuto)
		p := make([]byte, maxChunk)
		b := c.Plain(p[:c.Probe(len(p), 0)])
		defer b.Release()
		<-time.After(time.Hour)
		if rate, _ := c.selector.gzipGoodput(); rate != 0 {
			t.Errorf("before the probe is sent: got a gzip goodput of %.0f bytes a second, want 0", rate)
		}
		b.Sending()
		<-time.After(time.Second)
		want := tuning.estimateMargin * estimatedRatio * float64(tuning.probeSize)
		if rate, _ := c.selector.gzipGoodput(); rate != want {
			t.Errorf("a second after it is sent: got a gzip goodput of %.0f bytes a second, want %.0f", rate, want)
		}
	})
}
