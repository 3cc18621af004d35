package image

import (
	"context"
	"io"
	"os"

	"github.com/transferd/transferd/internal/transfer"
)

// destination stores the bytes of a target: PATH.partial, a block device or standard output. The
// sink over it decides whether the bytes are the image itself or its compressed form.
type destination interface {
	// name names the destination in messages.
	name() string
	// publish makes the written data durable, writes the manifest and gives the target its final
	// name. It is called once, after the last write. It calls owned directly before the first step
	// that others can see.
	publish(ctx context.Context, m *transfer.Manifest, owned ownership) error
	// remove removes what the job made and did not publish. What existed before the job stays.
	remove() error
	// Close closes the destination; written data stays.
	Close() error
}

// ownership checks that this worker still owns the job, as transfer.Sink's Commit describes it.
type ownership func(ctx context.Context) error

// seekable is a destination that is written and read by offset.
type seekable interface {
	destination
	file() *os.File
	// sync makes the written data durable. Its errors wrap transfer.ErrLost.
	sync() error
}

// appendable is a destination that is written in order.
type appendable interface {
	destination
	io.Writer
	// writeUntil calls write, which writes to the destination, and returns its error. When ctx
	// ends, it returns ctx's error instead, because a write to a pipe may block without end.
	writeUntil(ctx context.Context, write func() error) error
	// stop makes all writes fail, also those in progress.
	stop()
	// stored is the file with the written data; nil if the destination can be neither read back nor
	// synced.
	stored() *os.File
	// sync makes the written data durable. Its errors wrap transfer.ErrLost.
	sync() error
}
