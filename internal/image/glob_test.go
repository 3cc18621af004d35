package image

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/transferd/transferd/internal/transfer"
)

// TestGlobFindsImagesWithinTheRoots: as a shell does, but no folders, manifests or partial files,
// and nothing behind a link that leads out of the roots.
func TestGlobFindsImagesWithinTheRoots(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	for _, name := range []string{
		"a.img", "b.img", ".hidden.img", "c.img.partial", "d.img.manifest.json", "sub/e.img",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(outside, "o.img"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, to := range map[string]string{
		"in.img": "a.img", "out.img": filepath.Join(outside, "o.img"), "nothing.img": "none", "link": outside,
	} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	for pattern, want := range map[string][]string{
		"*.img":     {"a.img", "b.img", "in.img"},
		"[ab].img":  {"a.img", "b.img"},
		".*.img":    {".hidden.img"},
		"*":         {"a.img", "b.img", "in.img"},
		"*/*.img":   {"sub/e.img"},
		"link/*":    nil,
		"none/*":    nil,
		"*.iso":     nil,
		"sub/?.img": {"sub/e.img"},
	} {
		got, err := Roots{dir}.Glob(filepath.Join(dir, pattern), 3)
		if pattern == "link/*" {
			if transfer.CodeOf(err) != transfer.CodeForbidden {
				t.Errorf("%s: got %v, %v; want it forbidden", pattern, got, err)
			}
			continue
		}
		for i := range want {
			want[i] = filepath.Join(dir, want[i])
		}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: got %v, %v; want %v", pattern, got, err, want)
		}
	}
	for _, c := range []struct {
		roots   Roots
		pattern string
		limit   int
		want    transfer.Code
	}{
		{Roots{dir}, filepath.Join(dir, "*.img"), 2, transfer.CodeInvalid},
		{Roots{dir}, filepath.Join(dir, "[a"), 9, transfer.CodeInvalid},
		{Roots{dir}, filepath.Join(outside, "*"), 9, transfer.CodeForbidden},
		{nil, filepath.Join(dir, "*"), 9, transfer.CodeForbidden},
	} {
		if got, err := c.roots.Glob(c.pattern, c.limit); transfer.CodeOf(err) != c.want {
			t.Errorf("%s: got %v, %v; want %s", c.pattern, got, err, c.want)
		}
	}
}

// TestRoomMakesNothing: it says whether a file can be made, and how much fits.
func TestRoomMakesNothing(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "there")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]transfer.Code{
		file: "", filepath.Join(dir, "new"): "", dir: transfer.CodeInvalid,
		filepath.Join(dir, "none", "new"): transfer.CodeNotFound, "/elsewhere": transfer.CodeForbidden,
	} {
		room, err := Roots{dir}.Room(path)
		known := room.Free > 0 && room.Disk != ""
		if transfer.CodeOf(err) != want || room.Exists != (path == file) || err == nil && !known {
			t.Errorf("%s: got %+v, %v; want %q", path, room, err, want)
		}
	}
	if entries, err := os.ReadDir(dir); len(entries) != 1 || err != nil {
		t.Errorf("got %d files (%v), want the one that was there", len(entries), err)
	}
}
