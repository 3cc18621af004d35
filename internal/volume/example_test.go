package volume_test

import (
	"fmt"

	"github.com/transferd/transferd/internal/volume"
)

// The first sector of a disk with a Linux partition of 2 MiB, which begins at 1 MiB.
func ExampleParseTable() {
	head := make([]byte, volume.HeadSize)
	copy(head[510:], "\x55\xaa")                         // the signature of a boot sector
	copy(head[446:], "\x80\x00\x00\x00\x83\x00\x00\x00"+ // bootable, of type 0x83
		"\x00\x08\x00\x00\x00\x10\x00\x00") // first sector and count, little endian

	table, ok := volume.ParseTable(head)
	fmt.Println(table.Kind, ok)
	for _, p := range table.Partitions {
		fmt.Printf("partition %d: %d bytes at %d\n", p.Number, p.Len, p.Off)
	}
	copy(head, "XFSB") // the first bytes of a partition
	fmt.Println(volume.FileSystem(head))
	// Output:
	// MBR true
	// partition 1: 2097152 bytes at 1048576
	// XFS
}
