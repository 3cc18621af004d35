package transfer

// maxImageSize is larger than any image, and small enough that no offset near it overflows.
const maxImageSize = 1 << 56

// TailIndex is where the indexes of a tail's chunks begin among Entries: it is added to the index
// that the chunk has in the target. No image has as many chunks, and a chunk that is half image and
// half tail is two.
const TailIndex = 1 << 48

// Validate refuses a checkpoint that no attempt can have saved: where it is kept, others may write,
// and disks err. Its errors have CodeInvalid.
func (c *Checkpoint) Validate() error {
	p := &c.Plan
	switch {
	case p.ChunkSize != 0 && !validChunkSize(p.ChunkSize):
		return damaged("chunks of %d bytes cannot be", p.ChunkSize)
	case p.Size < 0 || p.Size > maxImageSize:
		return damaged("an image of %d bytes cannot be", p.Size)
	}
	last := maxImageSize/int64(max(p.ChunkSize, MinChunkSize)) - 1
	for i := range c.Entries {
		n := c.Entries[i].Index
		if n >= TailIndex {
			n -= TailIndex
		}
		if n < 0 || n > last {
			return damaged("there is no chunk %d", n)
		}
	}
	return nil
}

// validChunkSize reports whether a job can have chunks of n bytes.
func validChunkSize(n int) bool { return n >= MinChunkSize && n <= MaxChunkSize && n%MinChunkSize == 0 }

func damaged(format string, args ...any) error {
	return &Error{
		Op: "read what the job has done so far", Code: CodeInvalid,
		Hint: "it is damaged, or something else has written to it: start a new job",
		Err:  Errorf(CodeInvalid, "", format, args...).Err,
	}
}
