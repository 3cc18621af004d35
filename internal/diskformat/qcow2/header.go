package qcow2

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"strings"

	"github.com/transferd/transferd/internal/diskformat"
)

// header is what an image says about itself (Header).
type header struct {
	version     uint32
	clusterBits uint32
	size        int64 // of the disk, bytes
	crypt       uint32
	l1Off       int64
	l1Entries   uint32
	snapshots   uint32
	features    uint64 // incompatible ones
	compression byte

	backing       string // name of the backing file; empty: none
	backingFormat string // empty: not stated
	dataFile      string // name of the file with the data; empty: not stated
}

const (
	magic     = "QFI\xfb"
	lengthV2  = 72
	lengthV3  = 104
	maxHeader = 112 // bytes that are read: the last field is the compression type

	minClusterBits = 9 // as in QEMU
	maxClusterBits = 21
	maxL1          = 32 << 20 // bytes, as in QEMU
	maxName        = 1023     // bytes of the name of the backing file
)

// The incompatible features.
const (
	dirty uint64 = 1 << iota
	corrupt
	externalData
	compressionType
	extendedL2
	knownFeatures = dirty | corrupt | externalData | compressionType | extendedL2
)

// The types of compression.
const (
	deflate = 0
	zstd    = 1
)

const (
	convert = "make a raw image of it: qemu-img convert -O raw IN OUT"
	mend    = "mend it: qemu-img check -r all IN"
	// decrypt converts an image that is encrypted by method FORMAT.
	decrypt = "decrypt it: qemu-img convert --object secret,id=key,file=FILE-WITH-PASSWORD --image-opts " +
		"driver=qcow2,file.filename=IN,encrypt.format=%s,encrypt.key-secret=key -O raw OUT"
)

// readHeader reads and checks the header, the extensions, and the name of the backing file.
func readHeader(ctx context.Context, f diskformat.File, table *diskformat.Table) (h header, err error) {
	if f.Size() < lengthV2 {
		return h, diskformat.Damaged("the header of the image is cut off")
	}
	p, err := table.Read(ctx, 0, int(min(maxHeader, f.Size())))
	if err != nil {
		return h, err
	}
	field := func(off int) uint32 { return binary.BigEndian.Uint32(p[off:]) }
	long := func(off int) uint64 { return binary.BigEndian.Uint64(p[off:]) }
	h = header{
		version: field(4), clusterBits: field(20), crypt: field(32), l1Entries: field(36), snapshots: field(60),
	}
	if err := h.setSizes(string(p[:4]), long(24), long(40)); err != nil {
		return h, err
	}
	length := uint32(lengthV2)
	if h.version == 3 {
		if len(p) < lengthV3 {
			return h, diskformat.Damaged("the header of the image is cut off")
		}
		h.features, length = long(72), field(100)
		if length < lengthV3 || length%8 != 0 || int64(length) > h.clusterSize() {
			return h, diskformat.Damaged("the header of the image has %d bytes", length)
		}
		if length > lengthV3 && len(p) > lengthV3 {
			h.compression = p[104]
		}
	}
	x := extensions{h: &h, table: table, end: min(h.clusterSize(), f.Size()), nameOff: long(8), nameLen: field(16)}
	if err := x.read(ctx, int64(length)); err != nil {
		return h, err
	}
	return h, h.refuse(x.features)
}

func (h *header) setSizes(start string, size, l1Off uint64) error {
	switch {
	case start != magic:
		return diskformat.Damaged("the image does not begin as qcow2")
	case h.version != 2 && h.version != 3:
		return diskformat.Refused(convert, "it has version %d of the format, and 2 and 3 are read", h.version)
	case h.clusterBits < minClusterBits || h.clusterBits > maxClusterBits:
		return diskformat.Damaged("its clusters have 2^%d bytes", h.clusterBits)
	case size > math.MaxInt64-(1<<maxClusterBits):
		return diskformat.Damaged("its disk has %d bytes", size)
	case l1Off > math.MaxInt64 || l1Off%(1<<h.clusterBits) != 0:
		return diskformat.Damaged("its L1 table is at byte %d", l1Off)
	}
	h.size, h.l1Off = int64(size), int64(l1Off)
	return nil
}

func (h *header) clusterSize() int64 { return 1 << h.clusterBits }

// refuse refuses what is not read, with the command that mends or converts it. names has those of
// features.
func (h *header) refuse(names map[uint]string) error {
	switch {
	case h.crypt != 0:
		method := map[uint32]string{1: "aes", 2: "luks"}[h.crypt]
		return diskformat.Refused(fmt.Sprintf(decrypt, method), "it is encrypted (method %d)", h.crypt)
	case h.features&corrupt != 0:
		return diskformat.Refused(mend, "it is marked as corrupt: QEMU has found errors in its tables")
	case h.features&dirty != 0:
		return diskformat.Refused(mend, "it is marked as dirty: the program that wrote it did not close it")
	case h.features&externalData != 0:
		return diskformat.Refused("if you trust the image, "+convert, "its data is in another file, %q", h.dataFile)
	case h.features&^knownFeatures != 0:
		return diskformat.Refused(convert, "it needs %s, which is not known here", h.unknown(names))
	case h.features&compressionType == 0 && h.compression != deflate, h.compression > zstd:
		return diskformat.Refused(convert, "its clusters are compressed by method %d", h.compression)
	case h.features&extendedL2 != 0 && h.clusterBits < 14:
		return diskformat.Damaged("it has subclusters of %d bytes", h.clusterSize()/subclusters)
	}
	return nil
}

// unknown lists the features that are not known here.
func (h *header) unknown(names map[uint]string) string {
	var list []string
	for bit := range uint(64) {
		if h.features&^knownFeatures&(1<<bit) == 0 {
			continue
		}
		if name := names[bit]; name != "" {
			list = append(list, fmt.Sprintf("feature %q", name))
		} else {
			list = append(list, fmt.Sprintf("feature %d", bit))
		}
	}
	return strings.Join(list, ", ")
}

// The types of header extensions that are read.
const (
	extensionEnd           = 0
	extensionBackingFormat = 0xe2792aca
	extensionFeatures      = 0x6803f857
	extensionDataFile      = 0x44415441
)

// extensions reads what follows the header, in the first cluster (Header extensions).
type extensions struct {
	h       *header
	table   *diskformat.Table
	end     int64  // of the bytes that may belong to the header
	nameOff uint64 // of the backing file's name; 0: none
	nameLen uint32

	features map[uint]string // the names of incompatible ones, by their bit
}

const (
	maxExtension  = 64 << 10 // bytes of one that is read
	maxExtensions = 1000
	featureSize   = 48 // bytes: type, bit, name
)

func (x *extensions) read(ctx context.Context, off int64) error {
	if x.nameOff != 0 && x.nameLen != 0 {
		if x.nameLen > maxName || x.nameOff > uint64(x.end) || x.nameOff+uint64(x.nameLen) > uint64(x.end) {
			return diskformat.Damaged("the name of the backing file has %d bytes at byte %d", x.nameLen, x.nameOff)
		}
		name, err := x.table.Read(ctx, int64(x.nameOff), int(x.nameLen))
		if err != nil {
			return err
		}
		x.h.backing, x.end = string(name), int64(x.nameOff)
	}
	for range maxExtensions {
		if off+8 > x.end {
			return nil
		}
		head, err := x.table.Read(ctx, off, 8)
		if err != nil {
			return err
		}
		kind, n := binary.BigEndian.Uint32(head), int64(binary.BigEndian.Uint32(head[4:]))
		if kind == extensionEnd {
			return nil
		}
		if off += 8; n > x.end-off {
			return diskformat.Damaged("an extension of the header has %d bytes at byte %d", n, off)
		}
		if err := x.extension(ctx, kind, off, n); err != nil {
			return err
		}
		off += (n + 7) &^ 7
	}
	return diskformat.Damaged("the header has more than %d extensions", maxExtensions)
}

func (x *extensions) extension(ctx context.Context, kind uint32, off, n int64) error {
	if n == 0 {
		return nil
	}
	p, err := x.table.Read(ctx, off, int(min(n, maxExtension)))
	if err != nil {
		return err
	}
	switch kind {
	case extensionBackingFormat:
		x.h.backingFormat = string(p)
	case extensionDataFile:
		x.h.dataFile = string(p)
	case extensionFeatures:
		x.features = incompatibleNames(p)
	}
	return nil
}

// incompatibleNames are the names of incompatible features by their bit, from the table in an
// extension.
func incompatibleNames(table []byte) map[uint]string {
	names := map[uint]string{}
	for ; len(table) >= featureSize; table = table[featureSize:] {
		const incompatible = 0
		if table[0] == incompatible {
			names[uint(table[1])] = strings.TrimRight(string(table[2:featureSize]), "\x00")
		}
	}
	return names
}
