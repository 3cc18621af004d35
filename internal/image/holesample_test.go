package image

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/transferd/transferd/internal/transfer"
)

// sparse makes a file of size bytes with data at some offsets.
func sparse(t testing.TB, size int64, offsets ...int64) string {
	t.Helper()
	path := filepath.Join(tempDir(t), "sparse.img")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	for _, off := range offsets {
		if _, err := f.WriteAt([]byte("data"), off); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

func extents(t testing.TB, s *File) (list []transfer.Extent) {
	t.Helper()
	for e, err := range s.Extents(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, e)
	}
	return list
}

// TestMisreportedHolesAreRead: if a file system reports data as holes, all of the file is read,
// wherever the data is.
func TestMisreportedHolesAreRead(t *testing.T) {
	const size = 1 << 30
	offsets := map[string][]int64{
		"the beginning": {0}, "the partition table": {512}, "the end": {size - 512}, "a file": nil, "nothing": nil,
	}
	for off := int64(100 << 20); off < 120<<20; off += 4096 {
		offsets["a file"] = append(offsets["a file"], off)
	}
	for name, data := range offsets {
		t.Run(name, func(t *testing.T) {
			s, err := openFile(anywhere, sparse(t, size, data...))
			if err != nil {
				t.Fatal(err)
			}
			defer closed(t, s)
			s.seekHoles = func(int64, int) (int64, error) { return 0, unix.ENXIO }
			got, warned := extents(t, s), s.Warnings(nil)
			if name == "nothing" {
				if len(got) > 0 || len(warned) > 0 {
					t.Errorf("a file of zeros: got extents %v, warnings %q; want none", got, warned)
				}
				return
			}
			if len(got) != 1 || got[0].Len != size || len(warned) != 1 {
				t.Errorf("got extents %v, warnings %q; want one of %d bytes, and one warning", got, warned, size)
			}
		})
	}
}

// TestHolesAreLeftOut: holes are not read if all samples are zeros, whether samples come from all
// holes or, if there are many, from some.
func TestHolesAreLeftOut(t *testing.T) {
	for _, count := range []int64{1, 3000} {
		var offsets []int64
		for i := range count {
			offsets = append(offsets, i*(1<<20)+512<<10)
		}
		s, err := openFile(anywhere, sparse(t, count<<20, offsets...))
		if err != nil {
			t.Fatal(err)
		}
		got := extents(t, s)
		if int64(len(got)) != count || len(s.Warnings(nil)) > 0 {
			t.Errorf("got %d extents, warnings %q; want %d and none", len(got), s.Warnings(nil), count)
		}
		closed(t, s)
	}
}

// TestSamplesLieWithinTheHole: samples are within the hole, whatever its size.
func TestSamplesLieWithinTheHole(t *testing.T) {
	for range 1000 {
		size := 1 + rand.Int64N(rand.Int64N(1<<40)+1)
		count := min(samplesPerHole, (size+holeSampleSize-1)/holeSampleSize)
		for i := range count {
			off := holeSampleAt(i, count, size)
			if off < 0 || off+min(holeSampleSize, size) > size || i == count-1 && off+holeSampleSize < size {
				t.Fatalf("sample %d of %d: got offset %d, want one within %d bytes", i, count, off, size)
			}
		}
	}
}

// BenchmarkExtents finds the data of sparse images, with samples of the holes.
func BenchmarkExtents(b *testing.B) {
	for _, count := range []int64{1, 1000} {
		b.Run(fmt.Sprint(count), func(b *testing.B) {
			var offsets []int64
			for i := range count {
				offsets = append(offsets, i*(4<<20))
			}
			path := sparse(b, 4<<30, offsets...)
			for b.Loop() {
				s, err := openFile(anywhere, path)
				if err != nil {
					b.Fatal(err)
				}
				extents(b, s)
				closed(b, s)
			}
		})
	}
}
