package transfer

import "context"

// Inspector looks at files and URLs on the host that will read or write them. It changes nothing,
// and opens only files within that host's roots.
type Inspector interface {
	// Inspect returns a report for each query, in their order. The error is of the inspection as a
	// whole: CodeUnreachable if no worker serves the queue.
	Inspect(ctx context.Context, queries []FileQuery) ([]FileReport, error)
}

// MaxNames is how many names a FileQuery with a pattern may match.
const MaxNames = 10_000

// FileQuery asks about a file, a URL or the files that match a pattern. One of the fields Pattern,
// Source and Target is set.
type FileQuery struct {
	Pattern string `json:"pattern,omitempty"` // of filepath.Match, absolute: what are the names of the files?
	Source  string `json:"source,omitempty"`  // a path or URL: which image is it?
	Target  string `json:"target,omitempty"`  // a path: can a file be made there?

	Format       Format `json:"format,omitempty"`        // of Source, as in a spec
	AllowMounted bool   `json:"allow_mounted,omitempty"` // as in a spec
	// Known is the image that Source had, or that a job wrote to Target; nil: nothing is compared.
	Known *KnownImage `json:"known,omitempty"`
	// Stored is chunks of Known, which are compared in place of the whole image at Target, if that
	// can be read by offset.
	Stored []Entry `json:"stored,omitempty"`
	// Sample asks for the digests of so many chunks of Source that are not zeros.
	Sample int `json:"sample,omitempty"`
}

// KnownImage is what a finished job knows of the image that it copied.
type KnownImage struct {
	Identity   string `json:"identity,omitempty"` // of the source
	Size       int64  `json:"size"`               // bytes
	ChunkSize  int    `json:"chunk_size"`         // bytes
	ChunksRoot string `json:"chunks_root,omitempty"`
}

// FileReport is the answer to a FileQuery.
type FileReport struct {
	Names  []string `json:"names,omitempty"`  // that match Pattern, sorted
	Size   int64    `json:"size,omitempty"`   // of the image, bytes; -1: not known without unpacking it
	Format string   `json:"format,omitempty"` // of the image, such as raw or gz
	// Unchanged says that the image is the one that is known.
	Unchanged bool    `json:"unchanged,omitempty"`
	Sample    []Entry `json:"sample,omitempty"` // of chunks of DefaultChunkSize

	Exists bool     `json:"exists,omitempty"` // there is a file at Target
	Free   int64    `json:"free,omitempty"`   // bytes on the file system of Target
	Disk   string   `json:"disk,omitempty"`   // identifies that file system on its host
	Error  *Failure `json:"error,omitempty"`  // why Source cannot be read, or Target not be made
}
