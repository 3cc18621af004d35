package diskformat

import (
	"context"

	"github.com/transferd/transferd/internal/transfer"
)

// Sparse is a File that knows where its data is: what a disk stores may be a hole of its file, as
// in images of a fixed size.
type Sparse interface {
	// Data is the first range within the n bytes at off that may hold data; its length is 0 if
	// there is none. All bytes outside of such ranges are zeros.
	Data(ctx context.Context, off, n int64) (transfer.Extent, error)
}

// minHole is how many bytes a run must have to be searched for holes: the search costs as much as
// reading some of them.
const minHole = 256 << 10

// Joiner yields extents that are added in order, adjacent ones as one.
type Joiner struct {
	yield   func(transfer.Extent, error) bool
	pending transfer.Extent // not yet yielded; empty: none
	stopped bool            // yield returned false, and is not called again
}

// NewJoiner makes a Joiner for an implementation of Disk.Extents.
func NewJoiner(yield func(transfer.Extent, error) bool) *Joiner { return &Joiner{yield: yield} }

// Stopped reports that no more extents are wanted.
func (j *Joiner) Stopped() bool { return j.stopped }

// Add adds an extent, which may be empty.
func (j *Joiner) Add(e transfer.Extent) {
	switch {
	case e.Len == 0:
	case j.pending.Len > 0 && j.pending.Off+j.pending.Len == e.Off:
		j.pending.Len += e.Len
	default:
		j.flush()
		j.pending = e
	}
}

// AddStored adds an extent whose bytes are at off of a file, without the holes of that file.
func (j *Joiner) AddStored(ctx context.Context, f File, e transfer.Extent, off int64) error {
	sparse, ok := f.(Sparse)
	if !ok || e.Len < minHole {
		j.Add(e)
		return nil
	}
	for end := off + e.Len; off < end && !j.stopped; {
		data, err := sparse.Data(ctx, off, end-off)
		if err != nil || data.Len == 0 {
			return err
		}
		skipped := data.Off - off
		j.Add(transfer.Extent{Off: e.Off + skipped, Len: data.Len})
		e.Off, off = e.Off+skipped+data.Len, data.Off+data.Len
	}
	return nil
}

// End yields what is left, and then the error, if it is not nil.
func (j *Joiner) End(err error) {
	j.flush()
	if err != nil && !j.stopped {
		j.yield(transfer.Extent{}, err)
	}
}

func (j *Joiner) flush() {
	if j.pending.Len > 0 && !j.stopped {
		j.stopped = !j.yield(j.pending, nil)
	}
	j.pending = transfer.Extent{}
}
