package image

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/transferd/transferd/internal/transfer"
)

// TestWhatIsNoImageIsRefused: what is no image is refused without a wait, as a pipe would cause.
func TestWhatIsNoImageIsRefused(t *testing.T) {
	dir := tempDir(t)
	at := func(name string) string { return filepath.Join(dir, name) }
	data := bytes.Repeat([]byte("some data that is no zeros "), 1000)
	compressed, framed := gzipped(t, data), zstded(t, data)
	for name, content := range map[string][]byte{
		"empty.img": {}, "empty.img.gz": gzipped(t, nil),
		"disk.qed": []byte("QED\x00 and more of it"), "disk.qcow2": []byte("QFI\xfb and more of it"),
		"disk.xz": []byte("\xfd7zXZ\x00 and more"), "disk.lz": []byte("LZIP\x01 and more"),
		"torn.gz": compressed[:len(compressed)/2], "torn.zst": framed[:len(framed)/2],
		"trailing.gz":  append(bytes.Clone(compressed), bytes.Repeat([]byte("garbage"), maxTrailing)...),
		"trailing.zst": append(bytes.Clone(framed), "garbage"...), "page.img.gz": []byte("<html>not found</html>"),
		"torn-header.gz": append(bytes.Clone(compressed), compressed[:5]...), "flipped.gz": flipped(compressed),
		"torn-name.gz": append(bytes.Clone(compressed), "\x1f\x8b\x08\x08\x00\x00\x00\x00\x00\x03disk"...),
	} {
		writeFile(t, at(name), content)
	}
	for _, err := range []error{
		os.Mkdir(at("folder"), 0o700), unix.Mkfifo(at("pipe"), 0o600), os.Symlink(at("nowhere"), at("dangling")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]struct {
		code transfer.Code
		word string
	}{
		"none.img":            {transfer.CodeNotFound, "check the path"},
		"none/none.img":       {transfer.CodeNotFound, ""},
		"empty.img/none":      {transfer.CodeNotFound, ""},
		"dangling":            {transfer.CodeNotFound, ""},
		"folder":              {transfer.CodeInvalid, "folder"},
		"pipe":                {transfer.CodeInvalid, "--local"},
		"empty.img":           {transfer.CodeInvalid, "empty"},
		"empty.img.gz":        {transfer.CodeInvalid, "empty"},
		"disk.qed":            {transfer.CodeInvalid, "qemu-img convert"},
		"disk.qcow2":          {transfer.CodeInvalid, "a qcow2 image): the header of the image is cut off"},
		"disk.xz":             {transfer.CodeInvalid, "damaged"},
		"disk.lz":             {transfer.CodeInvalid, "lzip -d"},
		"torn.gz":             {transfer.CodeInvalid, "truncated"},
		"torn-header.gz":      {transfer.CodeInvalid, "truncated"},
		"torn-name.gz":        {transfer.CodeInvalid, "truncated"},
		"trailing.gz":         {transfer.CodeInvalid, fmt.Sprintf("head -c %d IN", len(compressed))},
		"trailing.zst":        {transfer.CodeInvalid, fmt.Sprintf("head -c %d IN", len(framed))},
		"flipped.gz":          {transfer.CodeInvalid, "damaged"},
		"torn.zst":            {transfer.CodeInvalid, "truncated"},
		"page.img.gz":         {transfer.CodeInvalid, ".gz"},
		"../../dev/null":      {transfer.CodeNotFound, ""},
		"/dev/null":           {transfer.CodeInvalid, "character device"},
		"name\x00with a zero": {transfer.CodeInvalid, ""},
	} {
		t.Run(name, func(t *testing.T) {
			path := name
			if !filepath.IsAbs(path) {
				path = at(name)
			}
			src, err := Open(t.Context(), path, Options{Roots: anywhere, Measure: true})
			if err == nil {
				closed(t, src)
			}
			expect(t, err, want.code, want.word)
		})
	}
}

func flipped(b []byte) []byte {
	b = bytes.Clone(b)
	b[len(b)-6] ^= 1 // in the checksum
	return b
}

// TestAllMembersAreRead: several streams in one file, as gzip and zstd make them, are one image.
func TestAllMembersAreRead(t *testing.T) {
	a, b := bytes.Repeat([]byte("a"), 100_000), bytes.Repeat([]byte("b"), 7)
	for name, pack := range map[string]func(testing.TB, []byte) []byte{"gz": gzipped, "zst": zstded} {
		src := open(t, tempFile(t, "x.img."+name, append(pack(t, a), pack(t, b)...)), Options{Measure: true})
		if src.Size() != int64(len(a)+len(b)) {
			t.Errorf("%s: got size %d, want %d", name, src.Size(), len(a)+len(b))
		}
		buf := make([]byte, len(a)+len(b)+1)
		n, err := src.(transfer.Stream).Next(t.Context(), buf)
		if !errors.Is(err, io.EOF) || !bytes.Equal(buf[:n], append(bytes.Clone(a), b...)) {
			t.Errorf("%s: got %d bytes, %v; want %d, io.EOF", name, n, err, len(a)+len(b))
		}
		closed(t, src)
	}
}

// TestBombStopsAtMaxSize: a small file that unpacks to a large image is unpacked up to MaxSize
// only.
func TestBombStopsAtMaxSize(t *testing.T) {
	path := tempFile(t, "bomb.gz", gzipped(t, make([]byte, 64<<20)))
	_, err := Open(t.Context(), path, Options{Roots: anywhere, Measure: true, MaxSize: 1 << 20})
	expect(t, err, transfer.CodeInvalid, "larger than 1048576")
}

// TestChangedFileIsReported: Unchanged reports each kind of change to an open file.
func TestChangedFileIsReported(t *testing.T) {
	content := bytes.Repeat([]byte("x"), 10_000)
	replace := func(path string) error {
		other := path + ".other"
		return errors.Join(os.WriteFile(other, content, 0o600), os.Rename(other, path))
	}
	for name, change := range map[string]func(path string) error{
		"grown":    func(path string) error { return os.Truncate(path, 20_000) },
		"shrunk":   func(path string) error { return os.Truncate(path, 5_000) },
		"written":  func(path string) error { return os.WriteFile(path, bytes.ToUpper(content), 0o600) },
		"removed":  os.Remove,
		"replaced": replace,
		"a folder": func(path string) error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o700)) },
	} {
		t.Run(name, func(t *testing.T) {
			path := tempFile(t, "disk.img", content)
			src := open(t, path, Options{}).(*File)
			defer closed(t, src)
			if err := src.Unchanged(t.Context()); err != nil {
				t.Fatalf("before the change: got %v, want nil", err)
			}
			if err := change(path); err != nil {
				t.Fatal(err)
			}
			expect(t, src.Unchanged(t.Context()), transfer.CodeSourceChanged)
		})
	}
	t.Run("shrunk while it is read", func(t *testing.T) {
		path := tempFile(t, "disk.img", content)
		src := open(t, path, Options{})
		defer closed(t, src)
		if err := os.Truncate(path, 6_000); err != nil {
			t.Fatal(err)
		}
		c := transfer.Chunk{Off: 4096, Len: 4096}
		err := src.(transfer.RandomAccess).ReadChunk(t.Context(), c, make([]byte, c.Len))
		expectAt(t, err, transfer.CodeSourceChanged, 6_000)
	})
}

// TestNothingOutsideTheRootsIsOpened tries each kind of path that leads out of the only root.
func TestNothingOutsideTheRootsIsOpened(t *testing.T) {
	dir := tempDir(t)
	inside, outside := filepath.Join(dir, "inside"), filepath.Join(dir, "outside")
	for _, err := range []error{
		os.Mkdir(inside, 0o700), os.Mkdir(outside, 0o700), os.Mkdir(inside+"2", 0o700),
		os.Symlink(outside, filepath.Join(inside, "link")), os.Symlink(inside, filepath.Join(outside, "back")),
		os.Symlink(filepath.Join(outside, "disk.img"), filepath.Join(inside, "disk-link.img")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, folder := range []string{inside, outside, inside + "2"} {
		writeFile(t, filepath.Join(folder, "disk.img"), []byte("data"))
	}
	roots := Roots{filepath.Join(dir, "none"), inside}
	for path, ok := range map[string]bool{
		inside + "/disk.img": true, outside + "/back/disk.img": true, inside + "/../inside/disk.img": true,
		inside + "/new/../disk.img": true, inside + "/new.img": true, inside: true,
		inside + "2/disk.img": false, outside + "/disk.img": false, inside + "/../outside/disk.img": false,
		inside + "/link/disk.img": false, inside + "/disk-link.img": false, inside + "/link/new.img": false,
		"/etc/passwd": false, dir: false,
	} {
		_, err := roots.Check(path)
		switch {
		case ok && err != nil:
			t.Errorf("%s: got %v, want success", path, err)
		case !ok:
			expect(t, err, transfer.CodeForbidden, "roots")
		}
	}
	_, err := Roots(nil).Check(inside + "/disk.img")
	expect(t, err, transfer.CodeForbidden, "no folder is allowed")
	// A link that appears in the path after the check is found when the file is open.
	resolved, err := roots.Check(inside + "/disk.img")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Rename(inside, inside+".old"), os.Symlink(outside, inside)); err != nil {
		t.Fatal(err)
	}
	f, err := Roots{inside + ".old"}.open(resolved, os.O_RDONLY)
	if err == nil {
		closed(t, f)
	}
	expect(t, err, transfer.CodeForbidden)
}

// TestDamagedManifestIsRefused: a damaged manifest is refused, and an image is no manifest.
func TestDamagedManifestIsRefused(t *testing.T) {
	for name, tc := range map[string]struct{ content, word string }{
		"empty.json":    {"{}", "manifest"},
		"torn.json":     {`{"version": 1, "chunk_size": 409`, "manifest"},
		"disguised":     {`{"version": 1, "chunk_size": 4096}`, "manifest"},
		"text.json":     {"hello", "manifest"},
		"negative.json": {`{"version":1,"algorithm":"blake3","size":-5,"chunk_size":4096}`, "manifest"},
	} {
		_, err := OpenImageOrManifest(t.Context(), tempFile(t, name, []byte(tc.content)), Options{Roots: anywhere})
		expect(t, err, transfer.CodeInvalid, tc.word)
	}
	src, err := OpenImageOrManifest(t.Context(), tempFile(t, "disk.img", []byte("an image")), Options{Roots: anywhere})
	if err != nil {
		t.Fatal(err)
	}
	defer closed(t, src)
	if _, isManifest := src.(transfer.Digests); isManifest || src.Size() != 8 {
		t.Errorf("an image: got a %T of %d bytes, want a source of 8 bytes", src, src.Size())
	}
}
