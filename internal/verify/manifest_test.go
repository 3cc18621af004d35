package verify

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"math"
	"os"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/transferd/transferd/internal/transfer"
)

func testManifest(size int) *transfer.Manifest {
	_, chunks := sparseImage(size)
	return NewManifest(int64(size), c, chunks, strings.Repeat("ab", 32))
}

// TestManifestSurvivesItsFile, and a full device is an error.
func TestManifestSurvivesItsFile(t *testing.T) {
	for _, size := range sizes[1:] {
		m := testManifest(size)
		var b bytes.Buffer
		if err := WriteManifest(&b, m); err != nil {
			t.Fatal(err)
		}
		if got, err := ParseManifest(b.Bytes()); err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("%d bytes: got %+v, %v; want %+v", size, got, err, m)
		}
	}
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	if err := WriteManifest(full, testManifest(1)); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("to a full device: got %v, want ENOSPC", err)
	}
}

// TestDamagedManifestIsInvalid, whichever field is damaged.
func TestDamagedManifestIsInvalid(t *testing.T) {
	if err := CheckManifest(testManifest(7*c + 5)); err != nil {
		t.Fatal(err)
	}
	rooted := func(m *transfer.Manifest) {
		m.ChunksRoot = Root(m.Size, m.ChunkSize, Ascending(m.Chunks))
	}
	for name, damage := range map[string]func(m *transfer.Manifest){
		"version 0":       func(m *transfer.Manifest) { m.Version = 0 },
		"version 2":       func(m *transfer.Manifest) { m.Version = 2 },
		"algorithm":       func(m *transfer.Manifest) { m.Algorithm = "md5" },
		"size 0":          func(m *transfer.Manifest) { m.Size, m.Chunks = 0, nil; rooted(m) },
		"size -1":         func(m *transfer.Manifest) { m.Size, m.Chunks = -1, nil; rooted(m) },
		"too many chunks": func(m *transfer.Manifest) { m.Size, m.Chunks = (maxChunks+1)*c, nil },
		"largest size": func(m *transfer.Manifest) {
			m.Size, m.Chunks, m.ChunksRoot = math.MaxInt64, nil, Root(0, c, Ascending(nil))
		},
		"chunk size 0":    func(m *transfer.Manifest) { m.ChunkSize = 0 },
		"chunk size 4k+1": func(m *transfer.Manifest) { m.ChunkSize++ },
		"chunk size 128M": func(m *transfer.Manifest) { m.ChunkSize = 2 * transfer.MaxChunkSize },
		"chunk -1":        func(m *transfer.Manifest) { m.Chunks[-1] = transfer.Digest{} },
		"chunk too far":   func(m *transfer.Manifest) { m.Chunks[8] = transfer.Digest{} },
		"digest":          func(m *transfer.Manifest) { m.Chunks[0] = transfer.Digest{1} },
		"chunks lost":     func(m *transfer.Manifest) { m.Chunks = map[int64]transfer.Digest{} },
		"short image":     func(m *transfer.Manifest) { m.Image = "abcd" },
		"image no hex":    func(m *transfer.Manifest) { m.Image = strings.Repeat("x", 64) },
		"root":            func(m *transfer.Manifest) { m.ChunksRoot = "" },
	} {
		m := testManifest(7*c + 5)
		m.Chunks = maps.Clone(m.Chunks)
		damage(m)
		if err := CheckManifest(m); transfer.CodeOf(err) != transfer.CodeInvalid {
			t.Errorf("%s: got %v, want %s", name, err, transfer.CodeInvalid)
		}
	}
	m := testManifest(7*c + 5)
	m.Image = ""
	if err := CheckManifest(m); err != nil {
		t.Errorf("without the image's digest: got %v, want no error", err)
	}
}

// FuzzManifest parses any bytes, and each valid manifest again from its own JSON.
func FuzzManifest(f *testing.F) {
	for _, size := range []int{1, c, 7*c + 5} {
		b, err := json.Marshal(testManifest(size))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
		f.Add(b[:len(b)/2])
	}
	f.Add([]byte(`null`))
	f.Add([]byte(`{"version":1,"algorithm":"blake3","size":9223372036854775807,"chunk_size":4096}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var raw transfer.Manifest
		if json.Unmarshal(b, &raw) == nil && raw.ChunkSize > 0 && transfer.ChunkCount(raw.Size, raw.ChunkSize) > 1<<16 {
			return // valid, but takes seconds to hash the zeros
		}
		m, err := ParseManifest(b)
		if err != nil {
			if transfer.CodeOf(err) != transfer.CodeInvalid {
				t.Fatalf("got %v, want %s", err, transfer.CodeInvalid)
			}
			return
		}
		again, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := ParseManifest(again); err != nil || !reflect.DeepEqual(back, m) {
			t.Fatalf("%s, written as %s: got %+v, %v; want %+v", b, again, back, err, m)
		}
	})
}

func BenchmarkParseManifest(b *testing.B) {
	data, err := json.Marshal(testManifest(1000 * c))
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, err := ParseManifest(data); err != nil {
			b.Fatal(err)
		}
	}
}
