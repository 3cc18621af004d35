package transfer

import (
	"context"
	"errors"
	"io"
	"iter"
	"slices"
	"strings"
	"time"
)

// Source is an image to copy or to compare with. It is one of RandomAccess, Stream and Digests, which
// say how its content is read.
type Source interface {
	// Size is the image's length in bytes; of a Stream that has not ended, -1.
	Size() int64
	// Identity changes whenever the image may have changed: a file's size and time of change, an ETag. Two attempts
	// of a job copy the same image only if it is equal in both. Empty: unknown.
	Identity() string
	// Close releases what the source holds. No other method is called after it.
	Close() error
}

// Mapper is a Source that tells where its data lies.
type Mapper interface {
	// Extents yields what may hold data, ascending and without overlap; holes and known zeros are left out. It yields
	// an error at most once, last. It may be called again.
	Extents(ctx context.Context) iter.Seq2[Extent, error]
}

// ErrInOrder is in the chain of an error of a RandomAccess that cannot be read by offset any more.
// Opened once more with that known, it is a Stream.
var ErrInOrder = errors.New("it can only be read in order")

// Resembler is a Source that can tell whether it may be another one, though the two differ in
// identity.
type Resembler interface {
	// Resembles reports whether only the bytes can tell if the image is the one that had this
	// identity.
	Resembles(identity string) bool
}

// RandomAccess is a Source that is read by offset, by many goroutines at once.
type RandomAccess interface {
	Source
	Mapper
	// ReadChunk fills p, whose length is c.Len, with the bytes of c. It may be called again for the same chunk.
	ReadChunk(ctx context.Context, c Chunk, p []byte) error
}

// Stream is a Source that can only be read in order, once, and may not know its size before its end.
type Stream interface {
	Source
	// Next fills p with the bytes that follow. n is less than len(p) only at the end of the image or with an error;
	// at the end the error is io.EOF, with n = 0 if nothing was left. It is called by one goroutine at a time.
	Next(ctx context.Context, p []byte) (n int, err error)
}

// Digests is a Source that has the digests of an image's chunks and not their bytes, such as a
// manifest. A target can be compared with it.
type Digests interface {
	Source
	Mapper
	// ChunkSize is the size of the chunks that the digests are of, in bytes.
	ChunkSize() int
	// ChunkDigest is the digest of a chunk; ok is false for a chunk of zeros.
	ChunkDigest(index int64) (d Digest, ok bool)
	// ImageDigest is the SHA-256 of the whole image in hexadecimal; empty if it is not known.
	ImageDigest() string
}

// ErrTouched is in the chain of an error of a ChangeDetector whose image may have changed, or only
// what describes it, such as the permissions of a file. Reading it once more decides.
var ErrTouched = errors.New("it was touched, and its content may have changed")

// Unwatched is a Source whose image others may change without a trace while it is read.
type Unwatched interface {
	// Unseen says, for users, which changes Unchanged cannot find out; empty: none that is known
	// of.
	Unseen() string
	// DropCache has the image be read from where it is stored from now on, not from a cache.
	DropCache() error
}

// ChangeDetector is a Source that can tell whether its image has changed since it was opened.
type ChangeDetector interface {
	// Unchanged returns an error with CodeSourceChanged if the image is not the one that was
	// opened. One with ErrTouched is returned once for each time that the image was touched.
	Unchanged(ctx context.Context) error
}

// Warner is a Source with something to tell that keeps no job from succeeding.
type Warner interface {
	// Warnings is what users should know of the image and how it was read, a sentence each. It is
	// called when all of the image, which m describes, has been read.
	Warnings(m *Manifest) []string
}

// StoredDigester is a Source whose image is stored in another form than it is read, a compressed
// one.
type StoredDigester interface {
	// StoredSHA256 is the SHA-256 in hexadecimal of the image as it is stored, as sha256sum prints
	// it, when all of it has been read; empty before, and if it was not asked for.
	StoredSHA256() string
}

// Remote is a Source or a Sink at the other end of a network.
type Remote interface {
	// MaxInFlight is how many calls the other end takes at once, from all jobs together.
	MaxInFlight() int
	// RTT is the lowest observed round-trip time; 0 until there was one.
	RTT() time.Duration
}

// Sink takes the bytes of an image by offset. Many goroutines write it at once, each chunk by one of them.
type Sink interface {
	// Traits says how the sink is to be written. It always returns the same.
	Traits() Traits
	// WriteChunk stores p at c.Off. It must not keep p.
	WriteChunk(ctx context.Context, c Chunk, p []byte) error
	// Commit is called once, after the last chunk: when it returns nil the target is complete and durable. Right before a
	// step that others can see, such as a rename, it calls owned, and ends with its error: then another worker has the job.
	Commit(ctx context.Context, m *Manifest, owned func(context.Context) error) error
	// Close releases what the sink holds. Without a Commit before it, what was stored stays for a later attempt.
	Close() error
}

// Traits is what a kind of sink demands and allows.
type Traits struct {
	// Rewritable says that chunks may be written in any order, and again, and that a later attempt finds what an earlier
	// one stored. Otherwise each chunk is written once, from the first to the last, zeros included.
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

// The ways of zeros, each of which includes those before it.
const (
	ZerosWritten Zeros = iota // like any other chunk
	ZerosSkipped              // left out, if the sink is a BlankChecker and reports that it is blank
	ZerosCleared              // elsewhere cleared by range, without their bytes: the sink is a Clearer
)

// Geometry is which chunks a kind of place takes, in bytes.
type Geometry struct {
	MaxChunk   int // the largest; 0: any
	FixedChunk int // the only size, but for the last chunk; 0: free
	Align      int // offsets, and all sizes but the last one, are multiples of it; 0: any
}

// ReadBacker is a Sink that can return what it stored.
type ReadBacker interface {
	// ReadBack writes the c.Len bytes stored at c.Off to w, in pieces of any size, in order.
	ReadBack(ctx context.Context, c Chunk, w io.Writer) error
}

// DiskReader is a ReadBacker on this host, whose memory holds what was written to the disk.
type DiskReader interface {
	ReadBacker
	// ReadDisk is ReadBack from the disk, whatever the host's memory holds. What was not flushed
	// before may be missing.
	ReadDisk(ctx context.Context, c Chunk, w io.Writer) error
}

// Local is a Sink on this host.
type Local interface {
	// ReadVia says how what is stored has been read back so far, by all means of the sink.
	ReadVia() ReadVia
}

// ReadVia is the way by which a host reads what it stored; it is part of a job's JSON.
type ReadVia string

// The ways of reading back. Of a target that was read in two ways, Direct or Dropped is the way of
// what must be read from the disk: all of it with full verification, what earlier attempts stored
// without.
const (
	ReadCached  ReadVia = "cached"  // from the host's memory, where that has it
	ReadDirect  ReadVia = "direct"  // from the disk (O_DIRECT of open(2))
	ReadDropped ReadVia = "dropped" // after the memory was given up (POSIX_FADV_DONTNEED), where there is no O_DIRECT
)

// WriteBacker is a ReadBacker that does both at once, piece by piece, while the piece is in the processor's cache.
type WriteBacker interface {
	ReadBacker
	// WriteBack is WriteChunk, and then ReadBack, for each piece of the chunk.
	WriteBack(ctx context.Context, c Chunk, p []byte, w io.Writer) error
}

// Preparer is a Sink for which a chunk can be made ready, compressed for one, before it is its turn to
// be written.
type Preparer interface {
	// Prepare makes p ready to be written as c. p must not change until the result is released.
	Prepare(c Chunk, p []byte) Prepared
}

// Prepared is a chunk that is ready to be written. Its methods are called by one goroutine at a time.
type Prepared interface {
	// Write is WriteChunk of the chunk; it may be called again after an error.
	Write(ctx context.Context) error
	// Release returns its memory. It is called once.
	Release()
}

// BlankChecker is a Sink whose unwritten places may be known to read as zeros.
type BlankChecker interface {
	// Blank reports whether zeros need not be written. False is always safe. It is asked once, before the first write
	// of the first attempt.
	Blank(ctx context.Context) (bool, error)
}

// Clearer is a Sink that stores zeros without being sent them.
type Clearer interface {
	// ClearChunk makes the c.Len bytes at c.Off zeros.
	ClearChunk(ctx context.Context, c Chunk) error
}

// Flusher is a Sink that stores writes only with the next flush: the ledger has chunks when they
// were flushed. It may be flushed while it is written.
type Flusher interface {
	// Flush makes what was written before it durable. After ErrLost nothing that was written
	// counts, whatever a later Flush returns.
	Flush(ctx context.Context) error
}

// Discarder is a Sink that can remove what this job created, for a failure after which nothing can be resumed. It
// leaves alone whatever was there before the job.
type Discarder interface {
	Discard(ctx context.Context) error
}

// Meter counts the bytes of one job as they pass. All methods are safe for concurrent use, and on a nil Meter.
type Meter interface {
	AddWireOut(n int64)
	AddWireIn(n int64)
	// AddChunk counts a write that an endpoint took, by its encoding.
	AddChunk(gzip bool)
}

// Store is what a running job remembers beyond its process, and how it hears of orders from outside.
type Store interface {
	// Load returns all that earlier attempts saved.
	Load(ctx context.Context) (Checkpoint, error)
	// Save adds c to what is kept, durably. An error with CodeCanceled, CodeFenced or CodeNotFound ends the attempt;
	// after any other the same checkpoint is saved again later.
	Save(ctx context.Context, c *Checkpoint) error
}

// Claimer is a Store that keeps jobs out of each other's way: many may read a drive at once, or one may write it.
type Claimer interface {
	// Claim makes the drive this job's for as long as the attempt runs; again is harmless. It returns the mark of the last
	// claim for writing before this one; "" if none is known. CodeConflict: another job has the drive.
	Claim(ctx context.Context, c Claim) (last string, err error)
}

// Clock is a Store whose times are not by this host's clock: attempts on other hosts, whose clocks
// may differ, compare them.
type Clock interface {
	// Now is the time by the store's clock. It makes no call, and may be called often.
	Now() time.Time
}

// Claim is what a job does with a drive.
type Claim struct {
	// Endpoint is where the drive is: the same for all names of one endpoint. It holds no colon.
	Endpoint string
	// Names is what this host's config calls the endpoint. Versions before this one claimed drives
	// by it.
	Names []string
	Drive string
	// Mark is new with each attempt that writes the drive, by which later ones, and jobs that read
	// it, see whether another job has. Empty: the drive is only read, perhaps by others too.
	Mark string
}

// Writes reports whether the drive is claimed for writing: no other job may read or write it.
func (c Claim) Writes() bool { return c.Mark != "" }

// Keys is what the claim is known by: where the drive is, and then each name of the endpoint.
// Whoever claims a drive claims it by all of them: a job of a version that knew no more than the
// name may still run, or wait to go on.
func (c Claim) Keys() []string {
	keys := []string{c.Endpoint + ":" + c.Drive}
	for _, name := range c.Names {
		keys = append(keys, name+":"+c.Drive)
	}
	return keys
}

// JoinMarks is the mark of a drive that has several: the one that all of them agree on, not
// counting those that are unknown; else one that no single drive has.
func JoinMarks(marks ...string) string {
	var known []string
	for _, mark := range marks {
		if mark != "" && !slices.Contains(known, mark) {
			known = append(known, mark)
		}
	}
	return strings.Join(known, " ")
}

// Checkpoint is the state of a copy between attempts.
type Checkpoint struct {
	Plan     Plan     // as settled when the copy began
	Progress Progress // counts so far
	Reset    bool     // Save only: forget the entries saved before these
	// Soon says, to Save only, that another one follows within a second: observers need not
	// see this one, and it must outlast the process, not the host.
	Soon    bool
	Entries []Entry // Load: all chunks done; Save: those done since the last Save
}

// Plan is what the first attempt of a job settled and later ones must keep.
type Plan struct {
	Asked     bool      `json:"asked,omitempty"`      // an endpoint was asked for a new drive, and may have made it
	Drive     string    `json:"drive,omitempty"`      // the target drive
	Created   time.Time `json:"created,omitzero"`     // when the job made it, by the store's clock; zero: it did not
	Tagged    bool      `json:"tagged,omitempty"`     // the drive had the tag of one that is not complete
	Finished  bool      `json:"finished,omitempty"`   // the target was completed, or taken into use, before: it is not written
	Blank     bool      `json:"blank,omitempty"`      // zeros need not be written
	Source    string    `json:"source,omitempty"`     // the source's identity
	InOrder   bool      `json:"in_order,omitempty"`   // the source cannot be read by offset any more
	Recheck   bool      `json:"recheck,omitempty"`    // the source may have changed: what was read is compared with it
	Size      int64     `json:"size,omitempty"`       // of the image, bytes; 0: not known yet
	ChunkSize int       `json:"chunk_size,omitempty"` // bytes; 0: nothing settled yet
	ReadMark  string    `json:"read_mark,omitempty"`  // of who wrote the source drive last before the job began
	WriteMark string    `json:"write_mark,omitempty"` // of the job's last claim of the target drive
	Doubted   bool      `json:"doubted,omitempty"`    // others may have written the target: what the ledger has is read back
}
