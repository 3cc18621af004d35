package image

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"

	"github.com/transferd/transferd/internal/transfer"
)

// maxWindow bounds the memory of a Zstandard stream. The zstd program accepts 128 MiB by default
// (RFC 8878, 3.1.1.1.2 demands at least 8 MiB).
const maxWindow = 128 << 20

// The magic numbers of frames, little endian (RFC 8878, 3.1.1 and 3.1.2). Skippable frames have 16
// of them.
const (
	zstdFrame     = 0xfd2fb528
	zstdSkippable = 0x184d2a50
	skippableMask = 0xfffffff0
)

// zstdFrames passes a Zstandard stream on, and follows its frames and blocks by their lengths. The
// library takes any bytes after a frame for a damaged frame; zstdFrames finds the end of the
// stream. It refuses a frame that needs too much memory, or a dictionary, with an error that says
// so.
type zstdFrames struct {
	in   *input
	left int64 // bytes to pass on before the next step
	step func() error
	// checksum says that the frame ends with a checksum.
	checksum bool
	passed   bool // a frame with data was passed on; other formats may begin with skippable ones
}

// Read implements io.Reader.
func (z *zstdFrames) Read(p []byte) (int, error) {
	for z.left == 0 {
		if z.step == nil {
			z.step = z.frame
		}
		if err := z.step(); err != nil {
			return 0, err
		}
	}
	n, err := z.in.Read(p[:min(int64(len(p)), z.left)])
	z.left -= int64(n)
	return n, err
}

// passAll passes everything on: the decoder reports the error.
func (z *zstdFrames) passAll() { z.left = math.MaxInt64 }

// frame reads the magic number of a frame.
func (z *zstdFrames) frame() error {
	head, err := z.in.Peek(4)
	if len(head) == 0 {
		return err
	}
	var whole [4]byte
	n := copy(whole[:], head)
	got, seen := binary.LittleEndian.Uint32(whole[:]), uint32(1)<<(8*n)-1
	switch {
	case got == zstdFrame&seen:
		return z.header()
	case got&skippableMask == zstdSkippable&seen&skippableMask:
		return z.skippable()
	case z.passed:
		return errTrailing("Zstandard", z.in.offset())
	}
	z.passAll()
	return nil
}

func (z *zstdFrames) skippable() error {
	head, err := z.in.Peek(8)
	if err != nil {
		z.passAll()
		return nil
	}
	z.left = 8 + int64(binary.LittleEndian.Uint32(head[4:]))
	return nil
}

// header reads the header of a frame.
func (z *zstdFrames) header() error {
	const most = 4 + 1 + 1 + 4 + 8
	head, _ := z.in.Peek(most)
	h, ok := parseZstdHeader(head)
	if !ok {
		z.passAll()
		return nil
	}
	if err := h.check(); err != nil {
		return err
	}
	z.left, z.step, z.checksum, z.passed = int64(h.length), z.block, h.checksum, true
	return nil
}

// zstdHeader is the header of a frame.
type zstdHeader struct {
	length     int    // with the magic number, bytes
	window     uint64 // bytes
	dictionary uint64 // 0: none
	checksum   bool
}

// parseZstdHeader reads a header (RFC 8878, 3.1.1.1); ok is false for one that is cut off.
func parseZstdHeader(p []byte) (h zstdHeader, ok bool) {
	if len(p) < 5 {
		return h, false
	}
	flags := p[4]
	single := flags&0x20 != 0 // all of the content is the window
	windowLen, sizeLen, idLen := 1, []int{0, 2, 4, 8}[flags>>6], []int{0, 1, 2, 4}[flags&3]
	if single {
		windowLen, sizeLen = 0, max(sizeLen, 1)
	}
	h.length, h.checksum = 5+windowLen+idLen+sizeLen, flags&4 != 0
	if len(p) < h.length {
		return h, false
	}
	window, id, size := p[5:5+windowLen], p[5+windowLen:5+windowLen+idLen], p[h.length-sizeLen:h.length]
	h.dictionary = littleEndian(id)
	if single {
		h.window = littleEndian(size)
		return h, true
	}
	base := uint64(1) << (10 + window[0]>>3)
	h.window = base + base/8*uint64(window[0]&7)
	return h, true
}

func littleEndian(p []byte) (v uint64) {
	for i, c := range p {
		v |= uint64(c) << (8 * i)
	}
	return v
}

// check refuses what the zstd program refuses by default.
func (h zstdHeader) check() error {
	switch {
	case h.dictionary != 0:
		return transfer.Errorf(transfer.CodeInvalid, "unpack it first: zstd -dc -D DICTIONARY IN >OUT, and give OUT",
			"it was compressed with dictionary %d, and cannot be unpacked without it", h.dictionary)
	case h.window > maxWindow:
		return transfer.Errorf(transfer.CodeInvalid, "unpack it first: zstd -dc --long=31 IN >OUT, and give OUT",
			"it needs a window of %s, and the limit is %s", mib(h.window), mib(maxWindow))
	}
	return nil
}

func mib(n uint64) string { return fmt.Sprintf("%d MiB", (n+1<<20-1)>>20) }

// block reads a block's header (RFC 8878, 3.1.1.2).
func (z *zstdFrames) block() error {
	head, err := z.in.Peek(3)
	if err != nil {
		z.passAll()
		return nil
	}
	const rle = 1
	v := littleEndian(head)
	last, kind, size := v&1 != 0, v>>1&3, int64(v>>3)
	if kind == rle {
		size = 1
	}
	z.left = 3 + size
	if last {
		z.step = z.frame
		if z.checksum {
			z.left += 4
		}
	}
	return nil
}

var _ io.Reader = (*zstdFrames)(nil)
