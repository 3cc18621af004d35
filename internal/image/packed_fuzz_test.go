package image

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"

	"github.com/transferd/transferd/internal/transfer"
)

// FuzzPacked: any content of a compressed file or archive is decoded, or refused with a reason, and
// a limit of the image's size is kept.
func FuzzPacked(f *testing.F) {
	disk := []byte("data of a disk\x00")
	for _, content := range [][]byte{disk, tarOf(f, tarFile{"vm.mf", []byte("SHA1(a)= 00")}, tarFile{"a", disk})} {
		for _, stored := range packings(f, content) {
			f.Add(stored)
			f.Add(joined(stored, stored))
		}
	}
	f.Fuzz(func(t *testing.T, stored []byte) {
		src := bytes.NewReader(stored)
		m := &stdin{in: newInput(func(_ context.Context, p []byte) (int, error) { return src.Read(p) }, nil)}
		r, err := detect(t.Context(), m, "")
		if err != nil || r.format.decode == nil {
			return
		}
		const most = 1 << 20
		image, err := decodeMedium(t.Context(), m, r, Options{MaxSize: most})
		var n int
		if err == nil {
			defer closed(t, image)
			n, err = image.next(t.Context(), make([]byte, most+1))
		}
		if err == nil || n > most && transfer.CodeOf(err) != transfer.CodeInvalid {
			t.Errorf("got %d bytes, %v; want the end or a refusal", n, err)
		}
		if !errors.Is(err, io.EOF) {
			expect(t, err, transfer.CodeInvalid)
		}
	})
}

// FuzzArchive: in any archive, an image is found within it, or it is refused with a reason.
func FuzzArchive(f *testing.F) {
	f.Add(tarOf(f, tarFile{"vm.ovf", []byte(descriptor)}, tarFile{"vm.mf", []byte("SHA1(a)= 00")},
		tarFile{"vm.raw", bytes.Repeat([]byte("data"), 200)}))
	f.Add(tarOf(f, tarFile{"a", []byte("a\x00")}, tarFile{"b", []byte("b\x00")}))
	path := tempFile(f, "x", nil) // of this process
	f.Fuzz(func(t *testing.T, stored []byte) {
		writeFile(t, path, append(stored, 0))
		file, err := openFile(anywhere, path)
		if err != nil {
			t.Fatal(err)
		}
		defer closed(t, file)
		p, err := findPart(t.Context(), file)
		if err != nil {
			expect(t, err, transfer.CodeInvalid)
			return
		}
		if p.bytes == nil {
			return // a sparse file
		}
		buf := make([]byte, p.Size())
		if err := p.ReadChunk(t.Context(), transfer.Chunk{Len: len(buf)}, buf); err != nil {
			t.Errorf("got %v, want the %d bytes of the image", err, p.Size())
		}
	})
}
