// Package volume recognises what a disk holds by its first bytes, its partition table and the file systems, so that
// who is about to overwrite it can be told. It reads no more of them than that, and nothing by itself.
package volume

import (
	"bytes"
	"encoding/binary"
)

// HeadSize is how many bytes from the beginning of a disk or a partition show what it holds.
const HeadSize = 128 << 10

// Partition is a part of a disk, in bytes.
type Partition struct {
	Number   int // from 1, as the table counts
	Off, Len int64
}

// Table is a partition table.
type Table struct {
	Kind       string // "GPT" or "MBR"
	Partitions []Partition
}

const (
	bootSignature = "\x55\xaa" // at 510
	gptSignature  = "EFI PART"
	sector        = 512
)

// ParseTable reads the partition table in the first bytes of a disk (UEFI 2.10, chapter 5); ok is false if there is none.
// A table that a protective MBR announces and that cannot be read is a GPT without partitions.
func ParseTable(head []byte) (t Table, ok bool) {
	for _, size := range []int{sector, 4096} {
		if len(head) >= 2*size && string(head[size:size+len(gptSignature)]) == gptSignature {
			return Table{Kind: "GPT", Partitions: gptPartitions(head, size)}, true
		}
	}
	if len(head) < sector || string(head[510:512]) != bootSignature || bootSector(head) {
		return t, false
	}
	return mbrTable(head)
}

// gptPartitions reads the entries of a GPT that lie in head. size is that of the disk's sectors, bytes.
func gptPartitions(head []byte, size int) (list []Partition) {
	header := head[size:]
	first := binary.LittleEndian.Uint64(header[72:])
	count, length := int(binary.LittleEndian.Uint32(header[80:])), int(binary.LittleEndian.Uint32(header[84:]))
	if length < 128 || first > HeadSize/sector {
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

// mbrTable reads the four primary entries; ok is false if they make no table. Of an extended partition only the whole
// is known.
func mbrTable(head []byte) (t Table, ok bool) {
	const entries, length, protective = 446, 16, 0xee
	t.Kind = "MBR"
	for i := range 4 {
		e := head[entries+i*length:][:length]
		if e[0] != 0 && e[0] != 0x80 {
			return Table{}, false
		}
		if e[4] == protective {
			return Table{Kind: "GPT"}, true
		}
		off, n := binary.LittleEndian.Uint32(e[8:]), binary.LittleEndian.Uint32(e[12:])
		if e[4] != 0 && n > 0 {
			t.Partitions = append(t.Partitions, Partition{i + 1, int64(off) * sector, int64(n) * sector})
		}
	}
	if len(t.Partitions) == 0 {
		return Table{}, false
	}
	return t, true
}

// EndsWithGPT reports whether the last bytes of a disk hold the backup of a GPT's header.
func EndsWithGPT(tail []byte) bool {
	for _, size := range []int{sector, 4096} {
		if n := len(tail) - size; n >= 0 && bytes.HasPrefix(tail[n:], []byte(gptSignature)) {
			return true
		}
	}
	return false
}

// signature is a text by which a file system, or what lies in its place, is known.
type signature struct {
	name, text string
	at         int
}

// bootSectors also end as an MBR does.
var bootSectors = []signature{
	{"NTFS", "NTFS    ", 3}, {"exFAT", "EXFAT   ", 3}, {"FAT", "FAT32   ", 82}, {"FAT", "FAT1", 54},
}

// signatures is as libblkid has them.
var signatures = append([]signature{
	{"LUKS", "LUKS\xba\xbe", 0}, {"XFS", "XFSB", 0}, {"ext2/3/4", "\x53\xef", 0x438}, {"Btrfs", "_BHRfS_M", 0x10040},
	{"LVM", "LABELONE", 512}, {"swap", "SWAPSPACE2", 4086}, {"ISO 9660", "CD001", 0x8001}, {"SquashFS", "hsqs", 0},
}, bootSectors...)

func (s *signature) in(head []byte) bool {
	return len(head) >= s.at+len(s.text) && string(head[s.at:s.at+len(s.text)]) == s.text
}

func bootSector(head []byte) bool {
	for i := range bootSectors {
		if bootSectors[i].in(head) {
			return true
		}
	}
	return false
}

// FileSystem names what begins with head; "" if it is not known.
func FileSystem(head []byte) string {
	for i := range signatures {
		if signatures[i].in(head) {
			return signatures[i].name
		}
	}
	return ""
}
