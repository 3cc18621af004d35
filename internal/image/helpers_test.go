package image

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/transferd/transferd/internal/transfer"
)

// tempDir is a folder whose path has no links in it.
func tempDir(t testing.TB) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func writeFile(t testing.TB, path string, content []byte) string {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func tempFile(t testing.TB, name string, content []byte) string {
	t.Helper()
	return writeFile(t, filepath.Join(tempDir(t), name), content)
}

// gzipped packs content as one member.
func gzipped(t testing.TB, content []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write(content)
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// zstded packs content as one frame.
func zstded(t testing.TB, content []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := zstd.NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.Write(content)
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// anywhere allows all paths.
var anywhere = Roots{"/"}

func open(t testing.TB, path string, opts Options) transfer.Source {
	t.Helper()
	opts.Roots = anywhere
	src, err := Open(t.Context(), path, opts)
	if err != nil {
		t.Fatal(err)
	}
	return src
}

// drain reads a source to its end.
func drain(t testing.TB, src transfer.Source) ([]byte, error) {
	t.Helper()
	if r, ok := src.(transfer.RandomAccess); ok {
		p := make([]byte, r.Size())
		return p, r.ReadChunk(t.Context(), transfer.Chunk{Len: len(p)}, p)
	}
	var all []byte
	p := make([]byte, 64<<10)
	for {
		n, err := src.(transfer.Stream).Next(t.Context(), p)
		all = append(all, p[:n]...)
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return all, err
		}
	}
}

// writeChunks writes the chunks of content with these indexes.
func writeChunks(t testing.TB, dst transfer.Sink, content []byte, indexes ...int64) {
	t.Helper()
	for _, i := range indexes {
		c := transfer.ChunkAt(i, int64(len(content)), chunk)
		if err := dst.WriteChunk(t.Context(), c, content[c.Off:c.Off+int64(c.Len)]); err != nil {
			t.Fatal(err)
		}
	}
}

// closed closes c, which must succeed.
func closed(t testing.TB, c interface{ Close() error }) {
	t.Helper()
	if err := c.Close(); err != nil {
		t.Errorf("Close: got %v, want success", err)
	}
}

// expect checks that an error is for users: it has the code, an operation, and each of the words in
// its text or hint.
func expect(t testing.TB, err error, code transfer.Code, words ...string) {
	t.Helper()
	var e *transfer.Error
	if !errors.As(err, &e) || e.Code != code || e.Op == "" {
		t.Fatalf("got %v (%q), want %q and an operation", err, transfer.CodeOf(err), code)
	}
	for _, w := range words {
		if !strings.Contains(err.Error()+"\n"+e.Hint, w) {
			t.Errorf("got %q with hint %q, want %q in it", err, e.Hint, w)
		}
	}
	if strings.Contains(err.Error(), "/proc/self") {
		t.Errorf("got %q, want no path that only this process has", err)
	}
}

// expectAt is expect for an error with an offset in the image.
func expectAt(t testing.TB, err error, code transfer.Code, off int64) {
	t.Helper()
	expect(t, err, code)
	if f := transfer.FailureOf(err); f.Offset == nil || *f.Offset != off {
		t.Errorf("%v: got offset %v, want %d", err, f.Offset, off)
	}
}

func exists(t testing.TB, path string) bool {
	t.Helper()
	_, err := os.Lstat(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return err == nil
}

func sha256Of(p []byte) string {
	sum := sha256.Sum256(p)
	return hex.EncodeToString(sum[:])
}

func readFile(t testing.TB, path string) []byte {
	t.Helper()
	p, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return p
}
