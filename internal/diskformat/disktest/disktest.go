// Package disktest checks readers of virtual disks: against the same disk as a raw file, and with
// files that lie.
package disktest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/transferd/transferd/internal/diskformat"
	"github.com/transferd/transferd/internal/transfer"
)

// File is a diskformat.File of known content, which counts its reads. It is a raw disk, too.
type File struct {
	R     io.ReaderAt
	N     int64 // bytes
	Reads atomic.Int64
	Bytes atomic.Int64 // read, in total
}

var _ diskformat.Disk = (*File)(nil)

// Bytes is a file of these bytes.
func Bytes(content []byte) *File { return &File{R: bytes.NewReader(content), N: int64(len(content))} }

// Open opens the file at path until the test ends.
func Open(t testing.TB, path string) *File {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	return &File{R: f, N: info.Size()}
}

// Size is the number of stored bytes.
func (f *File) Size() int64 { return f.N }

// ReadAt fills p with the bytes at off.
func (f *File) ReadAt(ctx context.Context, p []byte, off int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	f.Reads.Add(1)
	f.Bytes.Add(int64(len(p)))
	if n, err := f.R.ReadAt(p, off); n < len(p) {
		return err
	}
	return nil
}

// Extents yields one extent, all of the file.
func (f *File) Extents(context.Context) iter.Seq2[transfer.Extent, error] {
	return func(yield func(transfer.Extent, error) bool) {
		if f.N > 0 {
			yield(transfer.Extent{Off: 0, Len: f.N}, nil)
		}
	}
}

// Equal checks that a disk has the content of a raw file, that its extents ascend without overlap,
// and that all else is zeros. It reads the disk in pieces of step bytes; the last one may be
// shorter.
func Equal(t testing.TB, disk diskformat.Disk, raw diskformat.File, step int) {
	t.Helper()
	if disk.Size() != raw.Size() {
		t.Fatalf("got a disk of %d bytes, want %d", disk.Size(), raw.Size())
	}
	extents := Extents(t, disk)
	got, want, zeros := make([]byte, step), make([]byte, step), make([]byte, step)
	for off := int64(0); off < raw.Size(); off += int64(step) {
		n := min(int64(step), raw.Size()-off)
		got, want := got[:n], want[:n]
		if err := raw.ReadAt(t.Context(), want, off); err != nil {
			t.Fatal(err)
		}
		for len(extents) > 0 && extents[0].Off+extents[0].Len <= off {
			extents = extents[1:]
		}
		if len(extents) == 0 || extents[0].Off >= off+n {
			if !bytes.Equal(want, zeros[:n]) {
				t.Fatalf("at %d: got no extent for %d bytes with data", off, n)
			}
			continue
		}
		if err := disk.ReadAt(t.Context(), got, off); err != nil {
			t.Fatalf("at %d: got %v, want %d bytes", off, err, n)
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("at %d: got other bytes than the raw file has within %d", off, n)
		}
	}
}

// Extents are the extents of a disk, which must be in order and inside of it.
func Extents(t testing.TB, disk diskformat.Disk) (all []transfer.Extent) {
	t.Helper()
	end := int64(0)
	for e, err := range disk.Extents(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Off < end || e.Len <= 0 || e.Len > disk.Size()-e.Off {
			t.Fatalf("got extent %+v after %d, on a disk of %d bytes", e, end, disk.Size())
		}
		end = e.Off + e.Len
		all = append(all, e)
	}
	return all
}

// Refused checks that an error is for users: the image is not read, and a hint says what to do. The
// words are in the error or in the hint.
func Refused(t testing.TB, err error, words ...string) {
	t.Helper()
	var e *transfer.Error
	if !errors.As(err, &e) || e.Code != transfer.CodeInvalid || e.Hint == "" {
		t.Errorf("got %v, want an error with code %q and a hint", err, transfer.CodeInvalid)
		return
	}
	for _, w := range words {
		if !strings.Contains(e.Error()+"; "+e.Hint, w) {
			t.Errorf("got %q with hint %q, want %q", e, e.Hint, w)
		}
	}
}

const (
	maxExtents = 1000    // that Survives looks at
	maxRead    = 1 << 20 // bytes of each that Survives reads
)

// Survives reads what a reader made of a file with any content: each failure is for users, and
// extents are in order.
func Survives(t testing.TB, disk diskformat.Disk, err error) {
	t.Helper()
	if err != nil {
		Refused(t, err)
		return
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	end, count := int64(0), 0
	for e, err := range disk.Extents(ctx) {
		if err != nil {
			Refused(t, err)
			break
		}
		if e.Off < end || e.Len <= 0 || e.Len > disk.Size()-e.Off {
			t.Fatalf("got extent %+v after %d, on a disk of %d bytes", e, end, disk.Size())
		}
		end = e.Off + e.Len
		if err := disk.ReadAt(ctx, make([]byte, min(e.Len, maxRead)), e.Off); err != nil {
			Refused(t, err)
		}
		if count++; count == maxExtents {
			break
		}
	}
}

// Heap is how many bytes of memory what build returns occupies.
func Heap(build func() any) int64 {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	kept := build()
	runtime.GC()
	runtime.ReadMemStats(&after)
	runtime.KeepAlive(kept)
	return int64(after.HeapAlloc) - int64(before.HeapAlloc)
}
