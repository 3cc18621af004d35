package image

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"

	zstdseek "github.com/SaveTheRbtz/zstd-seekable-format-go/pkg"
	"github.com/klauspost/compress/zstd"

	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/transfertest"
)

// TestWrittenZstdIsSeekable: the zstd program and another implementation of the seekable format, by
// offset, read what Create wrote, whether a chunk was prepared before or not.
func TestWrittenZstdIsSeekable(t *testing.T) {
	transfertest.RequireProgram(t, "zstd", debian["zstd"])
	for _, size := range []int{1, chunk - 1, chunk, chunk + 1, 5*chunk + 7} {
		content := compressible(size)
		path := filepath.Join(tempDir(t), "disk.img.zst")
		dst := create(t, path, CreateOptions{Format: transfer.FormatZstd, Size: int64(size), Roots: anywhere})
		prepareAndWrite(t, dst, content)
		if err := dst.Commit(t.Context(), transfertest.Manifest(content, chunk), transfertest.Owned); err != nil {
			t.Fatal(err)
		}
		closed(t, dst)

		out, err := exec.CommandContext(t.Context(), "zstd", "-dc", path).Output()
		if err != nil || !bytes.Equal(out, content) {
			t.Errorf("%d bytes: zstd -dc: got %d bytes, %v; want the image", size, len(out), err)
		}
		readByOffset(t, path, content)
	}
}

// prepareAndWrite prepares all chunks but the first one, from the last to the first, and then
// writes them in order.
func prepareAndWrite(t *testing.T, dst transfer.Sink, content []byte) {
	t.Helper()
	writeChunks(t, dst, content, 0)
	var prepared []transfer.Prepared
	for i := transfer.ChunkCount(int64(len(content)), chunk) - 1; i > 0; i-- {
		c := transfer.ChunkAt(i, int64(len(content)), chunk)
		prepared = append(prepared, dst.(transfer.Preparer).Prepare(c, content[c.Off:c.Off+int64(c.Len)]))
	}
	for _, p := range slices.Backward(prepared) {
		if err := p.Write(t.Context()); err != nil {
			t.Fatal(err)
		}
		p.Release()
	}
}

// readByOffset reads a seekable file with the library, from the last byte to the first.
func readByOffset(t *testing.T, path string, content []byte) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer closed(t, f)
	dec, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer dec.Close()
	r, err := zstdseek.NewReader(f, dec)
	if err != nil {
		t.Fatalf("%d bytes: %v", len(content), err)
	}
	defer closed(t, r)
	for off := (len(content) - 1) / 1000 * 1000; off >= 0; off -= 1000 {
		want := content[off:min(off+1000, len(content))]
		got := make([]byte, len(want))
		if _, err := r.ReadAt(got, int64(off)); err != nil && !errors.Is(err, io.EOF) || !bytes.Equal(got, want) {
			t.Fatalf("%d bytes at %d of %d: got other bytes, %v", len(want), off, len(content), err)
		}
	}
}

// compressible is content that compresses by about a half.
func compressible(n int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	p := make([]byte, 0, n+64)
	for len(p) < n {
		for range 32 {
			p = append(p, byte(r.Uint32()))
		}
		p = append(p, "a line that returns in each block"...)
	}
	return p[:n]
}

// BenchmarkZstd encodes an image in chunks of 4 MiB, as one stream and as frames that all cores
// encode at once.
func BenchmarkZstd(b *testing.B) {
	const chunks, size = 32, 4 << 20
	content := corpus(b, chunks*size)
	report := func(b *testing.B, stored int) {
		b.ReportMetric(float64(len(content))/float64(stored), "ratio")
	}
	b.Run("stream", func(b *testing.B) {
		b.SetBytes(int64(len(content)))
		for b.Loop() {
			var out counter
			w, err := zstd.NewWriter(&out)
			if err != nil {
				b.Fatal(err)
			}
			for off := 0; off < len(content); off += size {
				if _, err := w.Write(content[off : off+size]); err != nil {
					b.Fatal(err)
				}
			}
			closed(b, w)
			report(b, out.n)
		}
	})
	b.Run("frames", func(b *testing.B) {
		b.SetBytes(int64(len(content)))
		for b.Loop() {
			var out counter
			z, err := newZstdWriter(&out)
			if err != nil {
				b.Fatal(err)
			}
			encodeParallel(b, z, content, size)
			closed(b, z)
			report(b, out.n)
		}
	})
}

// encodeParallel encodes chunks in as many goroutines as there are cores, and appends them in
// order.
func encodeParallel(b *testing.B, z *zstdWriter, content []byte, size int) {
	frames := make([]chan *encodedFrame, len(content)/size)
	for i := range frames {
		frames[i] = make(chan *encodedFrame, 1)
	}
	var wg sync.WaitGroup
	for first := range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for i := first; i < len(frames); i += runtime.GOMAXPROCS(0) {
				frames[i] <- z.compress(content[i*size : (i+1)*size])
			}
		})
	}
	for _, c := range frames {
		f := <-c
		if err := z.append(f); err != nil {
			b.Error(err)
		}
		f.release()
	}
	wg.Wait()
}

// corpus is n bytes like those of a disk: this program, again and again.
func corpus(b *testing.B, n int) []byte {
	path, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	program, err := os.ReadFile(path)
	if err != nil {
		b.Fatal(err)
	}
	return bytes.Repeat(program, n/len(program)+1)[:n]
}

// counter counts the bytes that are written to it.
type counter struct{ n int }

func (c *counter) Write(p []byte) (int, error) {
	c.n += len(p)
	return len(p), nil
}
