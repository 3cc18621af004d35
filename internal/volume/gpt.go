package volume

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

const gptSignature = "EFI PART"

// sectorSizes are the sector sizes of disks, in bytes. The header of a GPT is in the second sector.
var sectorSizes = []int{512, 4096}

// Offsets of fields in the header of a GPT, and limits (UEFI Specification 2.10, table 5.5).
const (
	gptLength      = 12
	gptSum         = 16
	gptOwnLBA      = 24
	gptBackup      = 32
	gptEntries     = 72
	gptEntryCount  = 80
	gptEntryLength = 84
	gptMinHeader   = 92 // bytes of a header
	gptMinEntry    = 128
	maxDiskSize    = 1 << 62
)

// gptPartitions reads the entries of a GPT that are within head. size is the size of the disk's
// sectors, in bytes.
func gptPartitions(head []byte, size int) (list []Partition) {
	header := head[size:]
	first := binary.LittleEndian.Uint64(header[gptEntries:])
	count := int(binary.LittleEndian.Uint32(header[gptEntryCount:]))
	length := int(binary.LittleEndian.Uint32(header[gptEntryLength:]))
	if length < gptMinEntry || first > HeadSize/sector {
		return nil
	}
	for i := range min(count, HeadSize/length) {
		at := int(first)*size + i*length
		if at+length > len(head) {
			break
		}
		entry := head[at : at+length]
		begin, end := binary.LittleEndian.Uint64(entry[32:]), binary.LittleEndian.Uint64(entry[40:])
		if bytes.Equal(entry[:16], make([]byte, 16)) || end < begin || end >= 1<<54 {
			continue
		}
		list = append(list, Partition{i + 1, int64(begin) * int64(size), int64(end-begin+1) * int64(size)})
	}
	return list
}

// gptEnd is Table.End of a disk that begins with head.
func gptEnd(head []byte) int64 {
	for _, size := range sectorSizes {
		if len(head) < size+gptMinHeader {
			break
		}
		if end := headerEnd(head[size:], uint64(size)); end > 0 {
			return end
		}
	}
	return 0
}

// headerEnd is the offset directly after the backup header, which the header p locates; 0 if p is
// damaged.
func headerEnd(p []byte, sector uint64) int64 {
	length := binary.LittleEndian.Uint32(p[gptLength:])
	longest := min(sector, uint64(len(p)))
	if !bytes.HasPrefix(p, []byte(gptSignature)) || length < gptMinHeader || uint64(length) > longest {
		return 0
	}
	header := bytes.Clone(p[:length])
	want := binary.LittleEndian.Uint32(header[gptSum:])
	clear(header[gptSum : gptSum+4]) // the checksum is computed over a header whose checksum field is zero
	backup := binary.LittleEndian.Uint64(header[gptBackup:])
	if crc32.ChecksumIEEE(header) != want || binary.LittleEndian.Uint64(header[gptOwnLBA:]) != 1 ||
		backup >= maxDiskSize/sector {
		return 0
	}
	return int64((backup + 1) * sector)
}

// BackupWarning is a warning if the backup of a GPT is not at the end of a disk of size bytes, with
// the command that moves it there. It is empty if the backup is at the end, or if End is 0.
func (t Table) BackupWarning(size int64) string {
	const remedy = "on a machine that has the disk, move it there by sgdisk -e DEVICE " +
		"(or parted DEVICE print, then Fix)"
	switch {
	case t.End == 0:
		return ""
	case t.End < size:
		return fmt.Sprintf("the backup of the partition table (GPT) ends at byte %d, and the disk at %d: %s",
			t.End, size, remedy)
	case t.End > size:
		return fmt.Sprintf("the partition table (GPT) is of a disk of %d bytes, and this one has %d: is the image "+
			"truncated? if not, its backup belongs at the end: %s", t.End, size, remedy)
	}
	return ""
}

// EndsWithGPT reports whether the last bytes of a disk hold the backup of a GPT's header.
func EndsWithGPT(tail []byte) bool {
	for _, size := range sectorSizes {
		if n := len(tail) - size; n >= 0 && bytes.HasPrefix(tail[n:], []byte(gptSignature)) {
			return true
		}
	}
	return false
}
