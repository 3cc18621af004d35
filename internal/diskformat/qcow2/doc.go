// Package qcow2 reads images of QEMU's format qcow2, versions 2 and 3 (docs/interop/qcow2.txt of
// QEMU; the numbers in comments are its sections).
//
// A disk is divided into clusters. The L1 table has the offsets of L2 tables, which have an entry
// for each cluster: where it is stored, whether it is compressed, or that it reads as zeros. A
// cluster without an entry is that of the backing file or, without one, zeros. With extended L2
// entries, this holds for each of 32 subclusters.
//
// Only the tables of the current state are read. Snapshots within the image, and the counts of
// references, are not.
package qcow2
