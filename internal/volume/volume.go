// Package volume recognises the partition table and the file systems of a disk by its first bytes.
// A job reports them before it overwrites the disk, and warns of a partition table that does not
// fit the disk's size. The package does no I/O.
package volume

import "encoding/binary"

// HeadSize is the number of bytes, from the beginning of a disk or a partition, that ParseTable and
// FileSystem need.
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
	// End is the end of the disk by its GPT, directly after the backup header, in bytes. It is 0
	// for an MBR, and if the GPT's first header is damaged.
	End int64
}

const (
	bootSignature = "\x55\xaa" // at 510
	sector        = 512
)

// ParseTable reads the partition table in the first HeadSize bytes of a disk, or in all of a
// smaller one (UEFI Specification 2.10, chapter 5); ok is false if there is none. If there is a
// protective MBR but the GPT cannot be read, the result is a GPT without partitions.
func ParseTable(head []byte) (t Table, ok bool) {
	for _, size := range sectorSizes {
		if len(head) >= 2*size && string(head[size:size+len(gptSignature)]) == gptSignature {
			return Table{Kind: "GPT", Partitions: gptPartitions(head, size), End: gptEnd(head)}, true
		}
	}
	if len(head) < sector || string(head[510:512]) != bootSignature || bootSector(head) {
		return t, false
	}
	return mbrTable(head)
}

// mbrTable reads the four primary entries; ok is false if they make no table. It does not read the
// logical partitions of an extended one.
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

// signature is a text at a fixed offset that identifies a file system, or other content of a
// partition.
type signature struct {
	name, text string
	at         int
}

// bootSectors are the file systems whose first sector also ends with bootSignature.
var bootSectors = []signature{
	{"NTFS", "NTFS    ", 3}, {"exFAT", "EXFAT   ", 3}, {"FAT", "FAT32   ", 82}, {"FAT", "FAT1", 54},
}

// signatures are those of libblkid (util-linux, libblkid/src/superblocks).
var signatures = append([]signature{
	{"LUKS", "LUKS\xba\xbe", 0}, {"XFS", "XFSB", 0}, {"ext2/3/4", "\x53\xef", 0x438}, {"Btrfs", "_BHRfS_M", 0x10040},
	{"LVM", "LABELONE", 512}, {"swap", "SWAPSPACE2", 4086}, {"ISO 9660", "CD001", 0x8001}, {"SquashFS", "hsqs", 0},
}, bootSectors...)

func (s *signature) matches(head []byte) bool {
	return len(head) >= s.at+len(s.text) && string(head[s.at:s.at+len(s.text)]) == s.text
}

func bootSector(head []byte) bool {
	for i := range bootSectors {
		if bootSectors[i].matches(head) {
			return true
		}
	}
	return false
}

// FileSystem is the name of the file system, or of other content, that begins with head; empty if
// it is unknown.
func FileSystem(head []byte) string {
	for i := range signatures {
		if signatures[i].matches(head) {
			return signatures[i].name
		}
	}
	return ""
}
