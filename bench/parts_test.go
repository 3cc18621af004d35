package bench

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/gzip"

	"github.com/transferd/transferd/internal/api"
	"github.com/transferd/transferd/internal/chunker"
	"github.com/transferd/transferd/internal/codec"
	img "github.com/transferd/transferd/internal/image"
	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/verify"
)

func BenchmarkZero(b *testing.B) {
	for _, set := range []string{"sparse", "dense"} {
		b.Run(set, func(b *testing.B) {
			list := chunks(b, set, 1)
			b.SetBytes(chunkSize)
			for b.Loop() {
				chunker.IsZero(list[0])
			}
		})
	}
}

// BenchmarkDigest compares the digest of chunks with SHA-256.
func BenchmarkDigest(b *testing.B) {
	p := chunks(b, "dense", 1)[0]
	for name, sum := range map[string]func([]byte){
		verify.Algorithm: func(p []byte) { verify.Sum(p) },
		"sha256":         func(p []byte) { sha256.Sum256(p) },
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(chunkSize)
			for b.Loop() {
				sum(p)
			}
		})
	}
}

// BenchmarkCompare compares and hashes a chunk that is read back.
func BenchmarkCompare(b *testing.B) {
	p, c := chunks(b, "dense", 1)[0], verify.NewComparer()
	b.SetBytes(chunkSize)
	b.ReportAllocs()
	for b.Loop() {
		c.Reset(p)
		for piece := range pieces(p, 128<<10) {
			_, _ = c.Write(piece)
		}
		c.Digest()
	}
}

func pieces(p []byte, n int) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for ; len(p) > 0; p = p[min(n, len(p)):] {
			if !yield(p[:min(n, len(p))]) {
				return
			}
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	for _, set := range sets {
		for _, level := range []transfer.Compression{transfer.CompressionNone, transfer.CompressionAuto, 1, 6} {
			b.Run(fmt.Sprintf("%s/%s", set, level), func(b *testing.B) {
				list, c := chunks(b, set, 8), codec.NewCodec(level)
				b.SetBytes(chunkSize)
				b.ReportAllocs()
				var in, out int
				for i := 0; b.Loop(); i++ {
					p := list[i%len(list)]
					body := c.Encode(p)
					in, out = in+len(p), out+len(body.Bytes)
					body.Release()
				}
				b.ReportMetric(float64(in)/float64(out), "ratio")
			})
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	body := codec.NewCodec(1).Encode(chunks(b, "dense", 1)[0])
	z := new(gzip.Reader)
	b.SetBytes(chunkSize)
	b.ReportAllocs()
	for b.Loop() {
		if err := z.Reset(bytes.NewReader(body.Bytes)); err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, z); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkPlan plans sparse images with the same extents and different sizes.
func BenchmarkPlan(b *testing.B) {
	for _, size := range []int64{1 << 30, 64 << 30, 1 << 40} {
		b.Run(fmt.Sprintf("%dGiB", size>>30), func(b *testing.B) {
			path := filepath.Join(b.TempDir(), "x.img")
			f, err := os.Create(path)
			if err != nil {
				b.Fatal(err)
			}
			defer f.Close()
			if err := f.Truncate(size); err != nil {
				b.Fatal(err)
			}
			const count = 16
			for i := range int64(count) {
				if _, err := f.WriteAt([]byte("data"), size/count*i); err != nil {
					b.Fatal(err)
				}
			}
			src, err := img.Open(context.Background(), path, img.Options{Roots: img.Roots{"/"}})
			if err != nil {
				b.Fatal(err)
			}
			defer src.Close()
			for b.Loop() {
				n := 0
				extents := src.(transfer.RandomAccess).Extents(context.Background())
				for _, err := range chunker.Chunks(context.Background(), extents, size, chunkSize, false) {
					if n++; err != nil {
						b.Fatal(err)
					}
				}
				if n != count {
					b.Fatalf("got %d chunks, want %d", n, count)
				}
			}
		})
	}
}

// BenchmarkRoot computes the chunks root of an image of 1 TiB of zeros.
func BenchmarkRoot(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		verify.NewManifest(1<<40, chunkSize, nil, "")
	}
}

func BenchmarkText(b *testing.B) {
	var text bytes.Buffer
	for i := range 1000 {
		one, err := api.Encode(api.Object{
			"drive": fmt.Sprint(i), "name": "a name of several words", "size": "1073741824", "status": "active",
		})
		if err != nil {
			b.Fatal(err)
		}
		text.Write(append(one, '\n'))
	}
	b.SetBytes(int64(text.Len()))
	for b.Loop() {
		api.Decode(text.Bytes())
	}
}
