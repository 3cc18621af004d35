package verify

import (
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
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

func readManifest(path string) (*transfer.Manifest, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return ParseManifest(b)
}

func TestManifestFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a*b.img.manifest.json")
	for _, size := range sizes[1:] {
		m := testManifest(size)
		if err := WriteManifest(path, m, true); err != nil {
			t.Fatal(err)
		}
		if got, err := readManifest(path); err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("%d bytes: %+v, %v; want %+v", size, got, err, m)
		}
	}
	onlyFile(t, path)
}

// TestManifestStays where it may not be replaced, and leaves nothing of the other behind.
func TestManifestStays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m")
	first, second := testManifest(1), testManifest(2)
	if err := WriteManifest(path, first, false); err != nil {
		t.Fatal(err)
	}
	if err := WriteManifest(path, second, false); !errors.Is(err, fs.ErrExist) {
		t.Errorf("it was written over: %v", err)
	}
	if got, err := readManifest(path); err != nil || !reflect.DeepEqual(got, first) {
		t.Errorf("%+v, %v", got, err)
	}
	onlyFile(t, path)
}

// TestManifestMode is what the user's umask leaves, as that of the image.
func TestManifestMode(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m")
	old := unix.Umask(0o077)
	err := WriteManifest(path, testManifest(1), false)
	unix.Umask(old)
	info, statErr := os.Stat(path)
	if err = errors.Join(err, statErr); err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("%v", info.Mode())
	}
}

func onlyFile(t *testing.T, path string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != filepath.Base(path) {
			t.Errorf("%s was left behind", e.Name())
		}
	}
}

// TestManifestIsWhole: who opens the path while manifests are written finds one of them, complete.
func TestManifestIsWhole(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m")
	small, large := testManifest(1), testManifest(40*c)
	if err := WriteManifest(path, small, true); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		var err error
		for i := 0; i < 20 && err == nil; i++ {
			err = WriteManifest(path, []*transfer.Manifest{large, small}[i%2], true)
		}
		done <- err
	}()
	for {
		if m, err := readManifest(path); err != nil || (m.Size != small.Size && m.Size != large.Size) {
			t.Fatal(m, err)
		}
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			onlyFile(t, path)
			return
		default:
		}
	}
}

func TestManifestFailures(t *testing.T) {
	dir := t.TempDir()
	if err := WriteManifest(filepath.Join(dir, "none", "m"), testManifest(1), true); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a folder that is not there: %v", err)
	}
	// A folder in the manifest's place keeps it from appearing, and nothing stays behind.
	path := filepath.Join(dir, "m")
	if err := os.Mkdir(path, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := WriteManifest(path, testManifest(1), true); err == nil {
		t.Error("a folder was replaced")
	}
	onlyFile(t, path)
	if err := SyncDir(filepath.Join(dir, "none")); err == nil {
		t.Error("a folder that is not there was synced")
	}
}

func TestCheckManifest(t *testing.T) {
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
			t.Errorf("%s: %v", name, err)
		}
	}
	m := testManifest(7*c + 5)
	m.Image = ""
	if err := CheckManifest(m); err != nil {
		t.Errorf("without the image's digest: %v", err)
	}
}

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
		var claims transfer.Manifest
		if json.Unmarshal(b, &claims) == nil && claims.ChunkSize > 0 && transfer.ChunkCount(claims.Size, claims.ChunkSize) > 1<<16 {
			return // allowed, but seconds of hashing zeros
		}
		m, err := ParseManifest(b)
		if err != nil {
			if transfer.CodeOf(err) != transfer.CodeInvalid {
				t.Fatal(err)
			}
			return
		}
		again, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := ParseManifest(again); err != nil || !reflect.DeepEqual(back, m) {
			t.Fatalf("%s became %s, %v", b, again, err)
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
