package worker

import (
	"context"
	"fmt"

	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/verify"
)

// comparisonsInUse is how often a chunk of a drive in use is read before it counts as changed.
const comparisonsInUse = 3

// compareCopy compares a chunk of the source drive with the copy that the endpoint made of it. The
// drive may have changed since: then the difference says nothing about the copy, and is counted.
func (c *copier) compareCopy(ctx context.Context, w work, p []byte, l *lane) (transfer.Digest, error) {
	inUse, n := c.wasInUse(), maxComparisons
	if inUse {
		n = comparisonsInUse
	}
	d, err := c.compareTimes(ctx, w, p, l, n)
	if transfer.CodeOf(err) != transfer.CodeMismatch {
		return d, err
	}
	if !inUse {
		changed, readErr := c.hasChanged(ctx, w, l)
		if readErr != nil {
			return d, readErr
		}
		if !changed {
			return d, err
		}
	}
	c.state.update(func(n *transfer.Progress) {
		if n.Changed == nil {
			n.Changed = new(transfer.Changed)
		}
		changed := *n.Changed // snapshots share the old value
		changed.Chunks, changed.Bytes = changed.Chunks+1, changed.Bytes+int64(w.Len)
		n.Changed = &changed
		n.Chunks.Verified-- // recordDone counts it
	})
	return d, nil
}

// wasInUse reports whether a server held the source drive when it was copied or opened.
func (c *copier) wasInUse() bool {
	return c.state.snapshot().InUse != nil || c.ends.heldMatters() && len(c.ends.holdable.HeldBy()) > 0
}

// hasChanged reports whether a chunk of the source drive changes, or may have: a server has started
// with the drive, or what two reads agree on is soon something else.
func (c *copier) hasChanged(ctx context.Context, w work, l *lane) (bool, error) {
	if len(c.heldBy(ctx, c.spec.Source)) > 0 {
		return true, nil
	}
	if c.ends.random == nil {
		return false, nil
	}
	var agreed [2]transfer.Digest
	for i := range agreed {
		if err := sleep(ctx, maxPause); err != nil {
			return false, err
		}
		p, err := c.read(ctx, w, l)
		if err != nil {
			return false, err
		}
		agreed[i], err = c.readUntilTwoAgree(ctx, w, l, verify.Sum(p))
		if transfer.CodeOf(err) == transfer.CodeMismatch {
			return true, nil // each read gives something else
		}
		if err != nil {
			return false, err
		}
	}
	return agreed[0] != agreed[1], nil
}

// changedWarning says where the source drive differs from its copy; empty: nowhere.
func changedWarning(n *transfer.Changed) string {
	if n == nil {
		return ""
	}
	return fmt.Sprintf("%s (%s) of the drive changed after it was cloned, so the clone cannot be compared there; all "+
		"others are equal", transfer.Count(n.Chunks, "chunk"), transfer.Count(n.Bytes, "byte"))
}
