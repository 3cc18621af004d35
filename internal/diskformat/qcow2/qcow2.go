package qcow2

import (
	"context"
	"fmt"
	"iter"

	"github.com/transferd/transferd/internal/diskformat"
	"github.com/transferd/transferd/internal/transfer"
)

// disk is the content of an image.
type disk struct {
	header
	file    diskformat.File
	table   *diskformat.Table
	backing diskformat.Disk // nil: none
	codec   codec
}

var (
	_ diskformat.Disk   = (*disk)(nil)
	_ diskformat.Warner = (*disk)(nil)
)

// Open reads the header of an image, and opens its backing file by files. CodeInvalid for an image
// that is damaged, was not closed, is encrypted or has its data in another file, and for errors of
// files.
func Open(ctx context.Context, f diskformat.File, files diskformat.Opener) (diskformat.Disk, error) {
	table := diskformat.NewTable(f)
	h, err := readHeader(ctx, f, table)
	if err != nil {
		return nil, err
	}
	d := &disk{header: h, file: f, table: table, codec: newCodec(h)}
	if err := d.checkL1(); err != nil {
		return nil, err
	}
	if h.backing != "" {
		if d.backing, err = files(ctx, h.backing, h.backingFormat); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// checkL1 checks that the L1 table is in the file and has entries for the whole disk.
func (d *disk) checkL1() error {
	need := d.size / d.covered()
	if d.size%d.covered() > 0 {
		need++
	}
	switch {
	case need > int64(d.l1Entries):
		return diskformat.Damaged("its L1 table has %d entries, and the disk needs %d", d.l1Entries, need)
	case need > maxL1/8:
		return diskformat.Damaged("its L1 table has %d entries, and %d is the limit", need, maxL1/8)
	case d.l1Off > d.file.Size()-need*8:
		return diskformat.Damaged("its L1 table, at byte %d, ends after the file", d.l1Off)
	}
	return nil
}

// covered is how many bytes of the disk one entry of the L1 table is for.
func (d *disk) covered() int64 { return d.clusterSize() * d.l2Entries() }

// countTable adds the L2 table of an L1 entry to the number of tables. Each is a cluster of its own,
// so more tables than clusters in the file are the same ones again: without this check, a small file
// could keep a reader busy for years.
func (d *disk) countTable(ctx context.Context, entry int64, tables *int64) error {
	off, err := d.l2Table(ctx, entry)
	if off != 0 {
		*tables++
	}
	if err == nil && *tables > d.file.Size()/d.clusterSize() {
		err = diskformat.Damaged("it has more tables than clusters")
	}
	return err
}

// Size is the size of the disk in bytes.
func (d *disk) Size() int64 { return d.size }

// Warnings says that snapshots in the image are ignored.
func (d *disk) Warnings() []string {
	if d.snapshots == 0 {
		return nil
	}
	return []string{fmt.Sprintf("%s in the image ignored: the disk is copied as it is now",
		transfer.Count(int64(d.snapshots), "snapshot"))}
}

// ReadAt fills p with the bytes of the disk at off.
func (d *disk) ReadAt(ctx context.Context, p []byte, off int64) error {
	for len(p) > 0 {
		r, err := d.find(ctx, off, int64(len(p)))
		if err != nil {
			return err
		}
		n := r.len
		switch r.kind {
		case zeros:
			clear(p[:n])
		case stored:
			err = d.file.ReadAt(ctx, p[:n], r.host)
		case inBacking:
			err = d.readBacking(ctx, p[:n], off)
		case compressed:
			n, err = d.readCompressed(ctx, p, off, r)
		}
		if err != nil {
			return err
		}
		p, off = p[n:], off+n
	}
	return nil
}

// readBacking reads the backing file, which is followed by zeros.
func (d *disk) readBacking(ctx context.Context, p []byte, off int64) error {
	n := max(0, min(int64(len(p)), d.backing.Size()-off))
	clear(p[n:])
	if n == 0 {
		return nil
	}
	return d.backing.ReadAt(ctx, p[:n], off)
}

// Extents yields the clusters that are stored, here or in the backing file, without the holes of the
// file.
func (d *disk) Extents(ctx context.Context) iter.Seq2[transfer.Extent, error] {
	return func(yield func(transfer.Extent, error) bool) {
		j := diskformat.NewJoiner(yield)
		j.End(d.extents(ctx, j))
	}
}

func (d *disk) extents(ctx context.Context, out *diskformat.Joiner) error {
	below := newBackingExtents(ctx, d.backing)
	defer below.stop()
	tables := int64(0)
	for off := int64(0); off < d.size && !out.Stopped(); {
		if off%d.covered() == 0 {
			if err := d.countTable(ctx, off/d.covered(), &tables); err != nil {
				return err
			}
		}
		r, err := d.find(ctx, off, d.size-off)
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		e := transfer.Extent{Off: off, Len: r.len}
		switch r.kind {
		case stored:
			err = out.AddStored(ctx, d.file, e, r.host)
		case compressed:
			out.Add(e)
		case inBacking:
			err = below.within(off, off+r.len, out)
		case zeros:
		}
		if err != nil {
			return err
		}
		off += r.len
	}
	return nil
}
