package codec

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/transferd/transferd/internal/transfer"
)

const maxChunk = transfer.DefaultChunkSize

func randomBytes(n int) []byte {
	p := make([]byte, n)
	rng := rand.NewChaCha8([32]byte{1})
	_, _ = rng.Read(p)
	return p
}

var text = sync.OnceValue(func() []byte {
	rng := rand.New(rand.NewPCG(2, 2))
	words := make([][]byte, 2000)
	for i := range words {
		words[i] = fmt.Appendf(nil, "%x ", rng.Uint64()>>rng.IntN(48))
	}
	p := make([]byte, 0, maxChunk+20)
	for len(p) < maxChunk {
		p = append(p, words[rng.IntN(len(words))]...)
	}
	return p
})

// textBytes returns n bytes that compress to about a third.
func textBytes(n int) []byte { return bytes.Clone(text()[:n]) }

var kinds = map[string]func(n int) []byte{
	"zeros": func(n int) []byte { return make([]byte, n) }, "random": randomBytes, "text": textBytes,
}

// decode decodes a body like an endpoint, with the standard library's gzip.
func decode(t testing.TB, b Body) []byte {
	t.Helper()
	if !b.Gzip {
		return b.Bytes
	}
	z, err := gzip.NewReader(bytes.NewReader(b.Bytes))
	if err != nil {
		t.Fatal(err)
	}
	z.Multistream(false)
	p, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestBodiesDecodeToTheirChunks at each level, and a body keeps no memory after its release.
func TestBodiesDecodeToTheirChunks(t *testing.T) {
	levels := []transfer.Compression{transfer.CompressionAuto, transfer.CompressionNone, 1, 2, 3, 4, 5, 6, 7, 8, 9}
	for _, level := range levels {
		c := NewCodec(level)
		for name, fill := range kinds {
			for _, n := range []int{0, 1, 4095, 4096, 4097, 64<<10 - 1, 64 << 10, 64<<10 + 1} {
				p := fill(n)
				keep := bytes.Clone(p)
				for range 2 {
					b := c.Encode(p)
					if !bytes.Equal(decode(t, b), keep) || !bytes.Equal(p, keep) {
						t.Errorf("%s: %d bytes of %s differ after decoding", level, n, name)
					}
					if level == transfer.CompressionNone && b.Gzip {
						t.Errorf("none: %d bytes of %s are gzip, want plain", n, name)
					}
					if level > 0 && !b.Gzip {
						t.Errorf("%s: %d bytes of %s are plain, want gzip", level, n, name)
					}
					b.Release()
					if b.Bytes != nil {
						t.Errorf("%s: a released body has %d bytes, want none", level, len(b.Bytes))
					}
				}
			}
		}
	}
}

// TestAutoLeavesIncompressibleChunksPlain, without a copy, and never makes a chunk longer.
func TestAutoLeavesIncompressibleChunksPlain(t *testing.T) {
	c := NewCodec(transfer.CompressionAuto)
	for _, n := range []int{4096, 64 << 10, 64<<10 + 1, maxChunk} {
		for name, gzipped := range map[string]bool{"zeros": true, "random": false, "text": true} {
			p := kinds[name](n)
			b := c.Encode(p)
			if b.Gzip != gzipped {
				t.Errorf("%d bytes of %s: got gzip %t, want %t", n, name, b.Gzip, gzipped)
			}
			if len(b.Bytes) > len(p) {
				t.Errorf("%d bytes of %s: got a body of %d bytes, want at most %d", n, name, len(b.Bytes), n)
			}
			if !b.Gzip && &b.Bytes[0] != &p[0] {
				t.Errorf("%d plain bytes of %s were copied, want shared memory", n, name)
			}
			b.Release()
		}
	}
	// Samples that mislead, of text with random bytes exactly where it is sampled, cost only speed.
	p := textBytes(maxChunk)
	stride := (len(p) - sampleSize) / (sampleCount - 1)
	for i := range sampleCount {
		copy(p[i*stride:], randomBytes(sampleSize))
	}
	b := c.Encode(p)
	defer b.Release()
	if !bytes.Equal(decode(t, b), p) {
		t.Error("a chunk with misleading samples differs after decoding")
	}
}

// TestZeroBodyIsMadeOnce for each length, and outlives the release of a body that shares it.
func TestZeroBodyIsMadeOnce(t *testing.T) {
	c := NewCodec(1)
	a, b := c.Encode(make([]byte, maxChunk)), c.Encode(make([]byte, maxChunk))
	if &a.Bytes[0] != &b.Bytes[0] || len(a.Bytes) > 8<<10 {
		t.Errorf("got bodies of %d and %d bytes, want one of at most 8 KiB that both share", len(a.Bytes), len(b.Bytes))
	}
	a.Release()
	if !bytes.Equal(decode(t, b), make([]byte, maxChunk)) {
		t.Error("the second body differs after the first was released")
	}
}

// TestBodyIsStableUntilItsRelease, while other goroutines encode.
func TestBodyIsStableUntilItsRelease(t *testing.T) {
	for _, level := range []transfer.Compression{transfer.CompressionAuto, 1, 6} {
		c := NewCodec(level)
		var wg sync.WaitGroup
		for g := range 6 {
			wg.Go(func() {
				var held []Body
				var want [][]byte
				for i := range 12 {
					p := textBytes(20_000 + 1000*g + i)
					p[0] = byte(g)
					p[1] = byte(i)
					if i%4 == 3 {
						clear(p)
					}
					held, want = append(held, c.Encode(p)), append(want, p)
					if i%3 != 0 {
						continue
					}
					for j := range held {
						if !bytes.Equal(decode(t, held[j]), want[j]) {
							t.Errorf("%s: goroutine %d, chunk %d changed before its release", level, g, i)
						}
						held[j].Release()
					}
					held, want = nil, nil
				}
				for j := range held {
					held[j].Release()
				}
			})
		}
		wg.Wait()
	}
}

func BenchmarkEncode(b *testing.B) {
	for _, level := range []transfer.Compression{transfer.CompressionNone, transfer.CompressionAuto, 1, 3, 6, 9} {
		for _, name := range []string{"zeros", "random", "text"} {
			p := kinds[name](maxChunk)
			b.Run(fmt.Sprintf("%s/%s", level, name), func(b *testing.B) {
				c := NewCodec(level)
				b.SetBytes(int64(len(p)))
				b.ReportAllocs()
				var sent int
				for b.Loop() {
					body := c.Encode(p)
					sent = len(body.Bytes)
					body.Release()
				}
				b.ReportMetric(float64(len(p))/float64(max(sent, 1)), "ratio")
			})
		}
	}
}

// BenchmarkEncodeParallel encodes several chunks at once, as jobs do.
func BenchmarkEncodeParallel(b *testing.B) {
	p := textBytes(maxChunk)
	c := NewCodec(1)
	b.SetBytes(int64(len(p)))
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			body := c.Encode(p)
			body.Release()
		}
	})
}
