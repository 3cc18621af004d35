// Package partition reads what a partition table says of the disk that it is on.
package partition

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// HeadSize is how many bytes at the start of a disk ReadGPT needs: a GPT's header is in its second
// sector, of 512 or 4096 bytes.
const HeadSize = 4096 + 512

// GPT is a partition table by GUID (UEFI Specification 2.10, 5.3), as its first header describes it.
type GPT struct {
	// End is where the table says that the disk ends, right behind the backup header; bytes.
	End int64
}

// The places in a header (table 5.5).
const (
	gptLength   = 12
	gptSum      = 16
	gptOwnLBA   = 24
	gptBackup   = 32
	gptLeast    = 92 // bytes of a header
	maxDiskSize = 1 << 62
)

// ReadGPT reads the table of a disk that begins with head, HeadSize bytes or all there are; ok is
// false if there is none, or its header is damaged.
func ReadGPT(head []byte) (t GPT, ok bool) {
	for _, sector := range []int{512, 4096} {
		if len(head) < sector+gptLeast {
			break
		}
		if t, ok := readHeader(head[sector:], uint64(sector)); ok {
			return t, true
		}
	}
	return GPT{}, false
}

func readHeader(p []byte, sector uint64) (t GPT, ok bool) {
	length := binary.LittleEndian.Uint32(p[gptLength:])
	if !bytes.HasPrefix(p, []byte("EFI PART")) || length < gptLeast || uint64(length) > min(sector, uint64(len(p))) {
		return t, false
	}
	header := bytes.Clone(p[:length])
	want := binary.LittleEndian.Uint32(header[gptSum:])
	clear(header[gptSum : gptSum+4]) // the sum is that of a header with a sum of zero
	backup := binary.LittleEndian.Uint64(header[gptBackup:])
	if crc32.ChecksumIEEE(header) != want || binary.LittleEndian.Uint64(header[gptOwnLBA:]) != 1 ||
		backup >= maxDiskSize/sector {
		return t, false
	}
	return GPT{End: int64((backup + 1) * sector)}, true
}

// Misplaced says what is wrong with the table on a disk of size bytes, and the command that mends it;
// empty: nothing.
func (t GPT) Misplaced(size int64) string {
	const mend = "on a machine that has the disk, move it there by sgdisk -e DEVICE (or parted DEVICE print, then Fix)"
	switch {
	case t.End < size:
		return fmt.Sprintf("the backup of the partition table (GPT) ends at byte %d, and the disk at %d: %s",
			t.End, size, mend)
	case t.End > size:
		return fmt.Sprintf("the partition table (GPT) is of a disk of %d bytes, and this one has %d: is the image "+
			"truncated? if not, its backup belongs at the end: %s", t.End, size, mend)
	}
	return ""
}
