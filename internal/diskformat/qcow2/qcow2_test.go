package qcow2

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/transferd/transferd/internal/diskformat"
	"github.com/transferd/transferd/internal/diskformat/disktest"
	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/transfertest"
)

// handMade is an image with data at both ends of its disk.
func handMade() []byte {
	return transfertest.Qcow2(bytes.Join([][]byte{[]byte("begin"), make([]byte, 50_000), []byte("end")}, nil), "")
}

// put is image with a big-endian number of 1, 4 or 8 bytes at off.
func put[T uint8 | uint32 | uint64](image []byte, off int, v T) []byte {
	var b bytes.Buffer
	if err := binary.Write(&b, binary.BigEndian, v); err != nil {
		panic(err)
	}
	image = bytes.Clone(image)
	copy(image[off:], b.Bytes())
	return image
}

func open(t testing.TB, image []byte) (diskformat.Disk, error) {
	return Open(t.Context(), disktest.Bytes(image), noFiles)
}

// TestWhatIsNotReadIsRefused: each image that is not read is refused when it is opened, with the
// command that mends or converts it.
func TestWhatIsNotReadIsRefused(t *testing.T) {
	image := handMade()
	if _, err := open(t, image); err != nil {
		t.Fatal(err)
	}
	const incompatible, damaged = 72, "damaged or incomplete"
	named := put(put(image, incompatible, uint64(1<<5)), 104, uint32(extensionFeatures)) // the extension is at 104
	named = put(named, 108, uint32(featureSize))
	copy(named[112:], "\x00\x05time travel")
	external := put(put(image, incompatible, externalData), 104, uint32(extensionDataFile))
	external = put(external, 108, uint32(len("../disk")))
	copy(external[112:], "../disk")
	for name, tc := range map[string]struct {
		image      []byte
		word, hint string
	}{
		"version 1":          {put(image, 4, uint32(1)), "version 1", "qemu-img convert -O raw IN OUT"},
		"version 4":          {put(image, 4, uint32(4)), "version 4", "qemu-img convert -O raw IN OUT"},
		"AES":                {put(image, 32, uint32(1)), "encrypted", "encrypt.format=aes"},
		"LUKS":               {put(image, 32, uint32(2)), "encrypted", "encrypt.format=luks"},
		"dirty":              {put(image, incompatible, dirty), "dirty", "qemu-img check -r all IN"},
		"corrupt":            {put(image, incompatible, corrupt|dirty), "corrupt", "qemu-img check -r all IN"},
		"external data":      {external, `another file, "../disk"`, "if you trust the image"},
		"an unknown feature": {put(image, incompatible, uint64(1<<5)), "feature 5", "qemu-img convert"},
		"a named feature":    {named, `feature "time travel"`, "qemu-img convert"},
		"another compression": {
			put(put(put(image, 100, uint32(112)), 104, uint8(2)), incompatible, compressionType), "method 2", "convert",
		},
		"small clusters":      {put(image, 20, uint32(8)), "2^8", damaged},
		"large clusters":      {put(image, 20, uint32(22)), "2^22", damaged},
		"too many bits":       {put(image, 20, uint32(1<<31)), "2^", damaged},
		"a huge disk":         {put(image, 24, uint64(1<<63)), "disk has", damaged},
		"a disk beyond L1":    {put(image, 24, uint64(1<<40)), "the disk needs", damaged},
		"an odd L1":           {put(image, 40, uint64(1)), "L1 table is at byte 1", damaged},
		"L1 outside":          {put(image, 40, uint64(1<<40)), "ends after the file", damaged},
		"a negative L1":       {put(image, 40, uint64(1<<63)), "L1 table is at", damaged},
		"a long header":       {put(image, 100, uint32(1<<31)), "header", damaged},
		"a short header":      {put(image, 100, uint32(96)), "header", damaged},
		"cut off":             {image[:100], "cut off", damaged},
		"cut off in version2": {image[:71], "cut off", damaged},
		"a long name":         {put(put(image, 8, uint64(512)), 16, uint32(1024)), "1024 bytes", damaged},
		"a name outside":      {put(put(image, 8, uint64(1<<63)), 16, uint32(9)), "9 bytes", damaged},
		"a long extension":    {put(put(image, 104, uint32(1)), 108, uint32(1<<31)), "extension", damaged},
		"small subclusters":   {put(image, incompatible, extendedL2), "subclusters of 128", damaged},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := open(t, tc.image)
			disktest.Refused(t, err, tc.word, tc.hint)
		})
	}
}

// TestTablesThatLie: an offset outside of the file, or one that no writer makes, is damage, when the
// extents are read and when data is.
func TestTablesThatLie(t *testing.T) {
	image := handMade()
	const l1, l2 = 4096, 8192
	for name, lie := range map[string][]byte{
		"an L2 table outside":   put(image, l1, uint64(1<<40)),
		"an L2 table cut off":   put(image, l1, uint64(len(image)/4096*4096)),
		"an odd L2 table":       put(image, l1, uint64(512)),
		"a cluster outside":     put(image, l2, uint64(1<<40)),
		"a cluster cut off":     image[:len(image)-4096],
		"an odd cluster":        put(image, l2, uint64(512)),
		"a compressed cluster":  put(image, l2, uint64(compressedFlag|1<<40)),
		"a cluster at the end":  put(image, l2, uint64(compressedFlag|len(image))),
		"the highest of offset": put(image, l2, uint64(offsetMask&^4095)),
	} {
		t.Run(name, func(t *testing.T) {
			d, err := open(t, lie)
			if err != nil {
				t.Fatal(err)
			}
			var last error
			for _, err := range d.Extents(t.Context()) {
				last = err
			}
			disktest.Refused(t, last)
			disktest.Refused(t, d.ReadAt(t.Context(), make([]byte, d.Size()), 0))
		})
	}
	d, err := open(t, put(image, l2, uint64(compressedFlag|8192))) // no deflate stream is there
	if err != nil {
		t.Fatal(err)
	}
	err = d.ReadAt(t.Context(), make([]byte, 512), 0)
	if disktest.Refused(t, err); err != nil && !strings.Contains(err.Error(), "does not unpack") {
		t.Errorf("got %v, want that it does not unpack", err)
	}
}

// TestTablesInACircle: L1 entries that all name one L2 table are damage, however many there are.
func TestTablesInACircle(t *testing.T) {
	const cluster, entries = 512, 4 << 20
	image := put(handMade(), 20, uint32(9))
	image = put(put(image, 24, uint64(entries*cluster*cluster/8)), 36, uint32(entries))
	image = put(image[:1024], 40, uint64(512))
	table := bytes.Repeat([]byte{0, 0, 0, 0, 0, 0, 2, 0}, entries) // each at 512: the L1 table itself
	d, err := open(t, append(image[:512:512], table...))
	if err != nil {
		t.Fatal(err)
	}
	var last error
	for _, err := range d.Extents(t.Context()) {
		last = err
	}
	disktest.Refused(t, last)
}

// TestSnapshotsAreIgnored: an image with snapshots is its current state, and a warning says so.
func TestSnapshotsAreIgnored(t *testing.T) {
	requireQemu(t)
	dir := t.TempDir()
	disktest.Raw(t, dir+"/disk.img", 3<<20, 2)
	for _, args := range [][]string{
		{"convert", "-O", "qcow2", "disk.img", "x.qcow2"},
		{"snapshot", "-c", "a", "x.qcow2"}, {"snapshot", "-c", "b", "x.qcow2"},
	} {
		disktest.Run(t, dir, "qemu-img", args...)
	}
	d := openImage(t, dir, "x.qcow2")
	disktest.Equal(t, d, disktest.Open(t, dir+"/disk.img"), 1<<20)
	got := d.(diskformat.Warner).Warnings()
	if len(got) != 1 || !strings.Contains(got[0], "2 snapshots in the image ignored") {
		t.Errorf("got warnings %q, want one about 2 snapshots", got)
	}
	without, err := open(t, handMade())
	if err != nil {
		t.Fatal(err)
	}
	if got := without.(diskformat.Warner).Warnings(); len(got) > 0 {
		t.Errorf("without snapshots: got warnings %q, want none", got)
	}
}

// TestChangedImagesOverABackingFile: images that were written after they were made, in parts of
// clusters, and over a backing file of another size, read as qemu-img reads them.
func TestChangedImagesOverABackingFile(t *testing.T) {
	requireQemu(t)
	transfertest.RequireProgram(t, "qemu-io", "qemu-utils")
	dir := t.TempDir()
	disktest.Raw(t, dir+"/base.img", 2<<20+512, 3)
	disktest.Run(t, dir, "qemu-img", "convert", "-O", "qcow2", "-o", "cluster_size=4k", "base.img", "base.qcow2")
	for name, tc := range map[string]struct{ options, backing, format, size string }{
		"of qcow2":        {"", "base.qcow2", "qcow2", "3M"},
		"of raw":          {"", "base.img", "raw", "3M"},
		"shorter":         {"", "base.qcow2", "qcow2", "1M"},
		"subclusters":     {"extended_l2=on", "base.qcow2", "qcow2", "3M"},
		"subclusters, 2M": {"extended_l2=on,cluster_size=2M", "base.img", "raw", "3M"},
		"version 2":       {"compat=0.10", "base.qcow2", "qcow2", "3M"},
		"small":           {"cluster_size=512", "base.qcow2", "qcow2", "3M"},
		"no backing file": {"extended_l2=on", "", "", "3M"},
	} {
		t.Run(name, func(t *testing.T) {
			args := []string{"create", "-q", "-f", "qcow2"}
			if tc.backing != "" {
				args = append(args, "-b", tc.backing, "-F", tc.format)
			}
			if tc.options != "" {
				args = append(args, "-o", tc.options)
			}
			disktest.Run(t, dir, "qemu-img", append(args, "top.qcow2", tc.size)...)
			disktest.Run(t, dir, "qemu-io", "-c", "write -P 7 2048 900k", "-c", "write -z 100k 33k",
				"-c", "write -z 512k 256k", "-c", "discard 768k 64k", "-c", "write -P 9 300k 512",
				"-c", "write -P 1 700k 1k", "-c", "write -P 2 731k 70k", "top.qcow2")
			if tc.options != "compat=0.10" {
				disktest.Run(t, dir, "qemu-io", "-c", "write -z -u 200k 40k", "top.qcow2")
			}
			disktest.Run(t, dir, "qemu-img", "convert", "-O", "raw", "top.qcow2", "want.img")
			for _, step := range []int{1 << 20, 10_007} {
				disktest.Equal(t, openImage(t, dir, "top.qcow2"), disktest.Open(t, dir+"/want.img"), step)
			}
		})
	}
}

// TestUnallocatedIsNotRead: of a sparse image only its tables and its data are read.
func TestUnallocatedIsNotRead(t *testing.T) {
	content := make([]byte, 10<<20)
	copy(content[5<<20:], "data")
	f := disktest.Bytes(transfertest.Qcow2(content, ""))
	d, err := Open(t.Context(), f, noFiles)
	if err != nil {
		t.Fatal(err)
	}
	if got := disktest.Extents(t, d); len(got) != 1 || got[0] != (transfer.Extent{Off: 5 << 20, Len: 4096}) {
		t.Errorf("got extents %v, want one cluster", got)
	}
	before := f.Reads.Load()
	if err := d.ReadAt(t.Context(), make([]byte, len(content)), 0); err != nil {
		t.Error(err)
	}
	if n := f.Reads.Load() - before; n != 1 {
		t.Errorf("got %d reads, want one of the cluster", n)
	}
}

// TestBackingFileIsOpenedByTheCaller: the name and the format are as in the image; without them no
// file is opened.
func TestBackingFileIsOpenedByTheCaller(t *testing.T) {
	refused := errors.New("refused")
	image := transfertest.Qcow2(make([]byte, 8192), "/etc/passwd")
	image = put(image, 104, uint32(extensionBackingFormat))
	image = put(image, 108, uint32(3))
	copy(image[112:], "raw")
	opener := func(_ context.Context, name, format string) (diskformat.Disk, error) {
		if name != "/etc/passwd" || format != diskformat.Raw {
			t.Errorf("got %q, %q, want the name and format of the image", name, format)
		}
		return nil, refused
	}
	_, err := Open(t.Context(), disktest.Bytes(image), opener)
	if !errors.Is(err, refused) {
		t.Errorf("got %v, want the error of the opener", err)
	}
}

// bomb is a file that begins as an image and continues as zeros.
type bomb struct {
	head []byte
	io.ReaderAt
}

func (b bomb) ReadAt(p []byte, off int64) (int, error) {
	clear(p)
	if off < int64(len(b.head)) {
		copy(p, b.head[off:])
	}
	return len(p), nil
}

// TestMemoryIsBounded: an image of the largest disk takes little memory, whatever its tables say.
func TestMemoryIsBounded(t *testing.T) {
	const entries = maxL1 / 8
	head := put(put(put(handMade()[:104], 20, uint32(21)), 36, uint32(entries)), 40, uint64(2<<20))
	head = put(head, 24, uint64(entries)<<(21+18))
	f := &disktest.File{R: bomb{head: head}, N: 1 << 60}
	used := disktest.Heap(func() any {
		d, err := Open(t.Context(), f, noFiles)
		if err != nil {
			t.Fatal(err)
		}
		for _, err := range d.Extents(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := d.ReadAt(t.Context(), make([]byte, 1<<20), d.Size()-1<<20); err != nil {
			t.Error(err)
		}
		return d
	})
	if used > 6<<20 {
		t.Errorf("got %d bytes of memory, want at most 6 MiB", used)
	}
}

// FuzzOpen: whatever a file says, its reader fails with an error for users, or returns extents and
// data.
func FuzzOpen(f *testing.F) {
	for _, image := range [][]byte{
		handMade(), transfertest.Qcow2(nil, ""), transfertest.Qcow2(bytes.Repeat([]byte("x"), 9000), "base"),
		put(handMade(), 4, uint32(2)), put(handMade(), 8192, uint64(compressedFlag|8192)),
		put(put(handMade(), 20, uint32(14)), 72, extendedL2),
	} {
		f.Add(image)
	}
	backing := disktest.Bytes(handMade())
	opener := func(ctx context.Context, _, _ string) (diskformat.Disk, error) { return Open(ctx, backing, noFiles) }
	f.Fuzz(func(t *testing.T, image []byte) {
		d, err := Open(t.Context(), disktest.Bytes(image), opener)
		disktest.Survives(t, d, err)
	})
}
