package transfertest

import (
	"bytes"
	"encoding/binary"
)

// Qcow2 is an image of format qcow2 (version 3) with this content, whose clusters of zeros are not
// stored. Unlike one of qemu-img it may have a disk of any size. backing is the name of its backing
// file; empty: none.
func Qcow2(content []byte, backing string) []byte {
	const (
		clusterBits = 12
		cluster     = 1 << clusterBits
		l2Entries   = cluster / 8
		stored      = 1 << 63
	)
	clusters := (len(content) + cluster - 1) / cluster
	tables := (clusters + l2Entries - 1) / l2Entries
	l1Clusters := max(1, (tables*8+cluster-1)/cluster)
	image := make([]byte, (1+l1Clusters+tables)*cluster) // the header, the L1 table, the L2 tables
	put, long := binary.BigEndian.PutUint32, binary.BigEndian.PutUint64
	copy(image, "QFI\xfb")
	put(image[4:], 3)
	if backing != "" {
		copy(image[1024:], backing)
		long(image[8:], 1024)
		put(image[16:], uint32(len(backing)))
	}
	put(image[20:], clusterBits)
	long(image[24:], uint64(len(content)))
	put(image[36:], uint32(tables))
	long(image[40:], cluster)
	put(image[96:], 4)
	put(image[100:], 104)
	for i := range tables {
		long(image[cluster+i*8:], uint64((1+l1Clusters+i)*cluster)|stored)
	}
	for i := range clusters {
		p := make([]byte, cluster)
		copy(p, content[i*cluster:])
		if bytes.Equal(p, make([]byte, cluster)) {
			continue
		}
		long(image[(1+l1Clusters)*cluster+i*8:], uint64(len(image))|stored)
		image = append(image, p...)
	}
	return image
}
