package qcow2

import (
	"context"
	"encoding/binary"

	"github.com/transferd/transferd/internal/diskformat"
)

// kind says where the bytes of a run are.
type kind int

const (
	zeros      kind = iota
	stored          // in the file as they are
	compressed      // in the file, compressed
	inBacking       // in the backing file
)

// run is a part of the disk whose bytes are in one place. A compressed one does not cross clusters.
type run struct {
	kind kind
	len  int64 // bytes of the disk
	host int64 // in the file, of the first byte of the run or, if it is compressed, of the cluster
	size int64 // in the file, of a compressed cluster, at most
}

const (
	subclusters = 32 // of a cluster, with extended entries

	offsetMask     = 0x00fffffffffffe00 // of L1 and L2 entries
	compressedFlag = 1 << 62
	zeroFlag       = 1

	// entriesAtOnce is how many bytes of an L2 table one call of find looks at. Tables begin at a
	// multiple of it, or of 512.
	entriesAtOnce = 4 << 10
)

func (d *disk) extended() bool { return d.features&extendedL2 != 0 }

func (d *disk) entrySize() int64 {
	if d.extended() {
		return 16
	}
	return 8
}

// l2Entries is the number of entries of an L2 table, which is one cluster.
func (d *disk) l2Entries() int64 { return d.clusterSize() / d.entrySize() }

// find returns a run that begins at off, of at most most bytes.
func (d *disk) find(ctx context.Context, off, most int64) (run, error) {
	cluster, within := off>>d.clusterBits, off&(d.clusterSize()-1)
	l2 := cluster % d.l2Entries()
	l2Off, err := d.l2Table(ctx, cluster/d.l2Entries())
	if err != nil {
		return run{}, err
	}
	if l2Off == 0 {
		n := (d.l2Entries()-l2)<<d.clusterBits - within
		return run{kind: d.unallocated(), len: min(n, most)}, nil
	}
	at := l2Off + l2*d.entrySize()
	n := min((within+most-1)>>d.clusterBits+1, d.l2Entries()-l2, (entriesAtOnce-at%entriesAtOnce)/d.entrySize())
	entries, err := d.table.Read(ctx, at, int(n*d.entrySize()))
	if err != nil {
		return run{}, err
	}
	r, err := d.merge(entries, within)
	if r.len = min(r.len, most); err != nil {
		return run{}, err
	}
	return r, d.checkRun(r)
}

// l2Table is the offset of the L2 table of an L1 entry; 0: there is none.
func (d *disk) l2Table(ctx context.Context, entry int64) (int64, error) {
	p, err := d.table.Read(ctx, d.l1Off+entry*8, 8)
	if err != nil {
		return 0, err
	}
	off := int64(binary.BigEndian.Uint64(p) & offsetMask)
	if off&(d.clusterSize()-1) != 0 {
		return 0, diskformat.Damaged("an L2 table is at byte %d", off)
	}
	return off, nil
}

// checkRun checks that the bytes of a run are in the file.
func (d *disk) checkRun(r run) error {
	n := r.len
	if r.kind == compressed {
		n = 1 // its size is rounded up, and may end after the file
	}
	if (r.kind == stored || r.kind == compressed) && r.host > d.file.Size()-n {
		return diskformat.Damaged("data of the image is at byte %d, and the file ends at byte %d",
			r.host+n-1, d.file.Size())
	}
	return nil
}

func (d *disk) unallocated() kind {
	if d.backing != nil {
		return inBacking
	}
	return zeros
}

// merge returns the longest run that begins at within of the first entry's cluster.
func (d *disk) merge(entries []byte, within int64) (run, error) {
	r, err := d.run(entries, within)
	if err != nil || r.kind == compressed {
		return r, err
	}
	clusters := d.clusterSize()
	for end := within + r.len; end == clusters; clusters += d.clusterSize() {
		if entries = entries[d.entrySize():]; len(entries) == 0 {
			break
		}
		next, err := d.run(entries, 0)
		if err != nil || next.kind != r.kind || r.kind == stored && next.host != r.host+r.len {
			break // the next call of find returns the error
		}
		r.len += next.len
		end += next.len
	}
	return r, nil
}

// run is the run at within of the cluster of an entry. It ends with the cluster at the latest.
func (d *disk) run(entry []byte, within int64) (run, error) {
	e := binary.BigEndian.Uint64(entry)
	r := run{kind: stored, len: d.clusterSize() - within, host: int64(e&offsetMask) + within}
	allocated := e&offsetMask != 0
	switch {
	case e&compressedFlag != 0:
		return d.compressedRun(e, r.len), nil
	case int64(e&offsetMask)&(d.clusterSize()-1) != 0:
		return run{}, diskformat.Damaged("a cluster is at byte %d", e&offsetMask)
	case d.extended():
		return d.subclusterRun(r, binary.BigEndian.Uint64(entry[8:]), within, allocated)
	case e&zeroFlag != 0 && d.version == 3:
		r.kind = zeros
	case !allocated:
		r.kind = d.unallocated()
	}
	return r, nil
}

// compressedRun is the run of a compressed cluster (Cluster mapping, Compressed Clusters
// Descriptor).
func (d *disk) compressedRun(e uint64, n int64) run {
	x := 62 - (d.clusterBits - 8)
	host := int64(e & (1<<x - 1))
	sectors := int64(e&(compressedFlag-1)) >> x
	return run{kind: compressed, len: n, host: host, size: (sectors+1)*512 - host%512}
}

// subclusterRun is the part of a run with extended entries whose subclusters are of one kind.
func (d *disk) subclusterRun(r run, bitmap uint64, within int64, allocated bool) (run, error) {
	size := d.clusterSize() / subclusters
	first := within / size
	kindOf := func(i int64) kind {
		switch {
		case bitmap&(1<<i) != 0:
			return stored
		case bitmap&(1<<(subclusters+i)) != 0:
			return zeros
		}
		return d.unallocated()
	}
	if bitmap&(bitmap>>subclusters) != 0 || bitmap&(1<<subclusters-1) != 0 && !allocated {
		return run{}, diskformat.Damaged("the subclusters of an L2 entry are %#x", bitmap)
	}
	r.kind, r.len = kindOf(first), (first+1)*size-within
	for i := first + 1; i < subclusters && kindOf(i) == r.kind; i++ {
		r.len += size
	}
	return r, nil
}
