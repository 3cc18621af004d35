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

// sparse makes a file of size bytes with data at some places.
func sparse(t testing.TB, size int64, places ...int64) string {
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
	for _, off := range places {
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

// TestMisreportedHolesAreRead: all of a file is read if its file system reports data as holes, wherever
// the data is.
func TestMisreportedHolesAreRead(t *testing.T) {
	const size = 1 << 30
	places := map[string][]int64{
		"the beginning": {0}, "the partition table": {512}, "the end": {size - 512}, "a file": nil, "nothing": nil,
	}
	for off := int64(100 << 20); off < 120<<20; off += 4096 {
		places["a file"] = append(places["a file"], off)
	}
	for name, data := range places {
		t.Run(name, func(t *testing.T) {
			s, err := openFile(everywhere, sparse(t, size, data...))
			if err != nil {
				t.Fatal(err)
			}
			defer closed(t, s)
			s.seekHoles = func(int64, int) (int64, error) { return 0, unix.ENXIO }
			got, warned := extents(t, s), s.Warnings(nil)
			if name == "nothing" {
				if len(got) > 0 || len(warned) > 0 {
					t.Errorf("of a file of zeros %v is read, %q", got, warned)
				}
				return
			}
			if len(got) != 1 || got[0].Len != size || len(warned) != 1 {
				t.Errorf("%v is read, %q", got, warned)
			}
		})
	}
}

// TestHolesAreLeftOut: holes are not read if the probes find only zeros, whether all holes are
// probed or, of many, a sample.
func TestHolesAreLeftOut(t *testing.T) {
	for _, count := range []int64{1, 3000} {
		var places []int64
		for i := range count {
			places = append(places, i*(1<<20)+512<<10)
		}
		s, err := openFile(everywhere, sparse(t, count<<20, places...))
		if err != nil {
			t.Fatal(err)
		}
		got := extents(t, s)
		if int64(len(got)) != count || len(s.Warnings(nil)) > 0 {
			t.Errorf("%d extents of %d, %q", len(got), count, s.Warnings(nil))
		}
		closed(t, s)
	}
}

// TestSamplesLieWithinTheHole: probes are within the hole, whatever its size.
func TestSamplesLieWithinTheHole(t *testing.T) {
	for range 1000 {
		size := 1 + rand.Int64N(rand.Int64N(1<<40)+1)
		count := min(probesPerHole, (size+holeProbe-1)/holeProbe)
		for i := range count {
			off := probeAt(i, count, size)
			if off < 0 || off+min(holeProbe, size) > size || i == count-1 && off+holeProbe < size {
				t.Fatalf("probe %d of %d in %d bytes is at %d", i, count, size, off)
			}
		}
	}
}

// BenchmarkExtents finds the data of sparse images, holes probed.
func BenchmarkExtents(b *testing.B) {
	for _, count := range []int64{1, 1000} {
		b.Run(fmt.Sprint(count), func(b *testing.B) {
			var places []int64
			for i := range count {
				places = append(places, i*(4<<20))
			}
			path := sparse(b, 4<<30, places...)
			for b.Loop() {
				s, err := openFile(everywhere, path)
				if err != nil {
					b.Fatal(err)
				}
				extents(b, s)
				closed(b, s)
			}
		})
	}
}
