package image

import (
	"context"
	"io"
	"os"

	"github.com/transferd/transferd/internal/transfer"
)

// place is where the bytes of a target land: PATH.partial, a block device or standard output.
// Whether they are the image itself or its compressed form is the matter of the sink above it.
type place interface {
	// name names the place in messages.
	name() string
	// publish makes durable what was written and gives it its final name, together with its
	// manifest. It is called once, when everything is written, and asks owned right before the
	// first step that others can see.
	publish(ctx context.Context, m *transfer.Manifest, owned ownership) error
	// remove removes what the job made and did not publish. What was there before the job stays.
	remove() error
	// Close releases the place; what was written stays.
	Close() error
}

// ownership is the proof that a job is still this worker's, as transfer.Sink's Commit has it.
type ownership func(ctx context.Context) error

// seekable is a place that is written and read by offset.
type seekable interface {
	place
	file() *os.File
	// sync makes the written data durable. Its errors wrap transfer.ErrLost.
	sync() error
}

// appendable is a place that is written in order.
type appendable interface {
	place
	io.Writer
	// during calls write, which writes to the place, and returns what it returns, or ctx's error
	// when that ends: what takes the bytes may never do so.
	during(ctx context.Context, write func() error) error
	// stop makes writes fail, also those that wait.
	stop()
	// stored is the file with the written data; nil if the place can be neither read back nor
	// synced.
	stored() *os.File
	// sync makes the written data durable. Its errors wrap transfer.ErrLost.
	sync() error
}
