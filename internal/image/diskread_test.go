package image

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/transferd/transferd/internal/fsx"
	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/transfertest"
	"github.com/transferd/transferd/internal/verify"
)

// TestDiskReaderReadsUnalignedRanges reads unaligned ranges with and without O_DIRECT.
func TestDiskReaderReadsUnalignedRanges(t *testing.T) {
	content := transfertest.Image(3*diskWindow+4096+7, chunk)
	noDirect := fsx.Kernel()
	noDirect.Open = func(string, int, uint32) (int, error) { return -1, unix.EINVAL }
	for name, tc := range map[string]struct {
		sys  *fsx.System
		want transfer.ReadVia
	}{
		"direct": {fsx.Kernel(), transfer.ReadDirect}, "no O_DIRECT": {noDirect, transfer.ReadDropped},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := os.OpenFile(tempFile(t, "x", content), os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			d := newDiskReader(f, tc.sys)
			defer closed(t, d)
			if got := d.via(); got != transfer.ReadCached {
				t.Errorf("before the first read: got %q, want %q", got, transfer.ReadCached)
			}
			if d.direct < 0 && tc.want == transfer.ReadDirect {
				t.Skip("the kernel refuses O_DIRECT on the file system of the tests")
			}
			for _, r := range [][2]int{
				{0, len(content)}, {0, 1}, {1, 2}, {4095, 4097}, {diskWindow - 1, diskWindow + 1},
				{7, 2*diskWindow + 9}, {len(content) - 1, len(content)}, {3 * diskWindow, len(content)},
			} {
				var got bytes.Buffer
				err := d.read(t.Context(), int64(r[0]), int64(r[1]), func(p []byte) error {
					got.Write(p)
					return nil
				})
				if err != nil || !bytes.Equal(got.Bytes(), content[r[0]:r[1]]) {
					t.Errorf("bytes %d to %d: got %d bytes (%v), want %d", r[0], r[1], got.Len(), err, r[1]-r[0])
				}
			}
			if got := d.via(); got != tc.want {
				t.Errorf("after the reads: got %q, want %q", got, tc.want)
			}
			if err := d.read(t.Context(), 0, int64(len(content))+1, func([]byte) error { return nil }); err == nil {
				t.Error("a read beyond the end: got success, want an error")
			}
			in := newInput(d.reader("x"), nil)
			if got, err := in.head(t.Context(), readSize); err != nil || !bytes.Equal(got, content[:readSize]) {
				t.Errorf("in order: got %d bytes (%v), want %d", len(got), err, readSize)
			}
		})
	}
}

// TestDiskBuffersAreAligned: the address of a window is a multiple of the alignment.
func TestDiskBuffersAreAligned(t *testing.T) {
	for _, align := range []int64{512, 4096, 65536} {
		buf := new([2 * diskWindow]byte)
		p := aligned(buf, align)
		at, err := strconv.ParseInt(fmt.Sprintf("%p", p), 0, 64)
		if err != nil || len(p) != diskWindow || at%align != 0 {
			t.Errorf("got %d bytes at %#x (%v), want %d at a multiple of %d", len(p), at, err, diskWindow, align)
		}
	}
}

// TestCompressedFileIsReadFromDisk: with FromDisk, a compressed file is read back from the disk.
func TestCompressedFileIsReadFromDisk(t *testing.T) {
	content := transfertest.Image(64*chunk+5, chunk)
	for _, format := range []transfer.Format{transfer.FormatGzip, transfer.FormatZstd} {
		for fromDisk, want := range map[bool]transfer.ReadVia{false: transfer.ReadCached, true: transfer.ReadDropped} {
			sys := fsx.Kernel()
			sys.Open = func(string, int, uint32) (int, error) { return -1, unix.EINVAL }
			path := tempFile(t, "x", nil) + ".img"
			dst := written(t, path, content, CreateOptions{Format: format, FromDisk: fromDisk, sys: sys})
			if err := dst.Commit(t.Context(), transfertest.Manifest(content, chunk), transfertest.Owned); err != nil {
				t.Fatal(err)
			}
			if got := dst.(transfer.Local).ReadVia(); got != want {
				t.Errorf("%s: got a read via %q, want %q", format, got, want)
			}
			closed(t, dst)
		}
	}
}

// BenchmarkReadBack compares reads from the disk, for --verify full, with reads from the page
// cache.
func BenchmarkReadBack(b *testing.B) {
	const size = 256 << 20
	noDirect := fsx.Kernel()
	noDirect.Open = func(string, int, uint32) (int, error) { return -1, unix.EINVAL }
	f, err := os.OpenFile(tempFile(b, "x", bytes.Repeat([]byte("data"), size/4)), os.O_RDWR, 0)
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	for name, sys := range map[string]*fsx.System{"cached": nil, "direct": fsx.Kernel(), "dropped": noDirect} {
		b.Run(name, func(b *testing.B) {
			s := &offsetSink{dest: &device{f: f}, size: size, disk: newDiskReader(f, fsx.Kernel())}
			read := s.ReadBack
			if sys != nil {
				s.disk = newDiskReader(f, sys)
				read = s.ReadDisk
			}
			cmp := verify.NewComparer()
			b.SetBytes(size)
			for b.Loop() {
				for i := range int64(size / transfer.DefaultChunkSize) {
					cmp.Reset(nil)
					if err := read(b.Context(), transfer.ChunkAt(i, size, transfer.DefaultChunkSize), cmp); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}
