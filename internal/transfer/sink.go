package transfer

import (
	"context"
	"io"
)

// Sink takes the bytes of an image by offset. Many goroutines write it at once, each chunk by one
// of them.
type Sink interface {
	// Traits says how to write the sink. It returns the same value each time.
	Traits() Traits
	// WriteChunk stores p at c.Off. It does not retain p.
	WriteChunk(ctx context.Context, c Chunk, p []byte) error
	// Commit is called once, after the last chunk. When it returns nil, the target is complete and
	// durable. Right before a step that others can see, such as a rename, it calls requireOwner and
	// returns its error if that fails: then another worker has the job.
	Commit(ctx context.Context, m *Manifest, requireOwner func(context.Context) error) error
	// Close releases what the sink holds. Without a Commit before it, the stored chunks stay for a
	// later attempt.
	Close() error
}

// Traits is what a kind of sink demands and allows.
type Traits struct {
	// Rewritable says that chunks may be written in any order and more than once, and that a later
	// attempt finds the chunks that an earlier one stored. Otherwise each chunk is written once,
	// from the first to the last, zeros included.
	Rewritable bool
	ReadBack   ReadBackTime
	Zeros      Zeros
	Geometry   Geometry
	// MaxInFlight is how many calls the sink takes at once; 0: it sets no limit.
	MaxInFlight int
	// Capacity is how many bytes the target holds; 0: it grows.
	Capacity int64
}

// ReadBackTime is when a sink can return what it stored.
type ReadBackTime int

// The times of reading back. All but the last two need a ReadBacker.
const (
	ReadBackAtOnce      ReadBackTime = iota // a chunk, as soon as it is written
	ReadBackAfterFlush                      // all chunks, after a Flush: the sink is a Flusher
	ReadBackAfterCommit                     // all chunks, when the target is complete
	ReadBackInCommit                        // Commit itself compares what is stored with the manifest
	ReadBackNever
)

// Zeros is how chunks of zeros reach a sink.
type Zeros int

// The treatments of zeros, each of which includes those before it.
const (
	ZerosWritten Zeros = iota // like any other chunk
	ZerosSkipped              // left out, if the sink is a BlankChecker and reports that it is blank
	ZerosCleared              // elsewhere cleared by range, without their bytes: the sink is a Clearer
)

// Geometry is which chunks a sink takes, in bytes.
type Geometry struct {
	MaxChunk   int // the largest; 0: any
	FixedChunk int // the only size, except for the last chunk; 0: any
	Align      int // all offsets, and all sizes except the last, are multiples of it; 0: any
}

// ReadBacker is a Sink that can return what it stored.
type ReadBacker interface {
	// ReadBack writes the c.Len bytes stored at c.Off to w, in order, in writes of any length.
	ReadBack(ctx context.Context, c Chunk, w io.Writer) error
}

// DiskReader is a ReadBacker on this host, whose page cache holds what was written to the disk.
type DiskReader interface {
	ReadBacker
	// ReadDisk is ReadBack from the disk, whatever the page cache holds. Writes that were not
	// flushed before may be missing.
	ReadDisk(ctx context.Context, c Chunk, w io.Writer) error
}

// Local is a Sink on this host.
type Local interface {
	// ReadVia says how the stored bytes have been read back so far, by all methods of the sink.
	ReadVia() ReadVia
}

// ReadVia is how a host reads back what it stored. It is part of a job's JSON.
type ReadVia string

// The values of ReadVia. If a target was read in two ways, the value describes the bytes that must
// come from the disk: all of them with full verification, otherwise those of earlier attempts.
const (
	ReadCached  ReadVia = "cached"  // from the page cache, where that has it
	ReadDirect  ReadVia = "direct"  // from the disk (O_DIRECT of open(2))
	ReadDropped ReadVia = "dropped" // after POSIX_FADV_DONTNEED, where O_DIRECT does not work
)

// WriteBacker is a ReadBacker that writes and reads back in one pass, so that each block is
// compared while it is in the processor's cache.
type WriteBacker interface {
	ReadBacker
	// WriteBack is WriteChunk followed by ReadBack, block by block.
	WriteBack(ctx context.Context, c Chunk, p []byte, w io.Writer) error
}

// Preparer is a Sink that can prepare a chunk, such as compress it, before the write may begin.
type Preparer interface {
	// Prepare makes p ready to be written as c. p must not change until the result is released.
	Prepare(c Chunk, p []byte) Prepared
}

// Prepared is a chunk that is ready to be written. One goroutine at a time calls its methods.
type Prepared interface {
	// Write is WriteChunk of the chunk. It may be called again after an error.
	Write(ctx context.Context) error
	// Release returns the chunk's memory. It is called once.
	Release()
}

// BlankChecker is a Sink whose unwritten ranges may be known to read as zeros.
type BlankChecker interface {
	// Blank reports whether zeros need not be written. False is always safe. It is called once,
	// before the first write of the first attempt.
	Blank(ctx context.Context) (bool, error)
}

// Clearer is a Sink that can store zeros without receiving them.
type Clearer interface {
	// ClearChunk sets the c.Len bytes at c.Off to zero.
	ClearChunk(ctx context.Context, c Chunk) error
}

// Flusher is a Sink whose writes become durable only with a flush: the ledger has a chunk only
// after the flush that covers it. It may be flushed while it is written.
type Flusher interface {
	// Flush makes all earlier writes durable. After ErrLost no earlier write counts, whatever a
	// later Flush returns.
	Flush(ctx context.Context) error
}

// Discarder is a Sink that can remove what this job created, for a failure after which no attempt
// can resume. It leaves alone what existed before the job.
type Discarder interface {
	Discard(ctx context.Context) error
}
