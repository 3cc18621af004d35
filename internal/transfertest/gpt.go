package transfertest

import (
	"encoding/binary"
	"hash/crc32"
)

// GPT is the first two sectors, of the given size, of a disk of size bytes whose GUID partition
// table has no partitions (UEFI Specification 2.10, table 5.5).
func GPT(sector int, size int64) []byte {
	const length = 92
	head := make([]byte, 2*sector)
	p := head[sector:]
	copy(p, "EFI PART\x00\x00\x01\x00")
	binary.LittleEndian.PutUint32(p[12:], length)
	binary.LittleEndian.PutUint64(p[24:], 1)
	binary.LittleEndian.PutUint64(p[32:], uint64(size/int64(sector)-1))
	binary.LittleEndian.PutUint32(p[16:], crc32.ChecksumIEEE(p[:length]))
	return head
}
