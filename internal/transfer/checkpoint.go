package transfer

// maxImageSize is larger than any image, and small enough that no offset near it overflows.
const maxImageSize = 1 << 56

// TailIndex is added to the index of a tail's chunk to make the index of its Entry. No image has as
// many chunks. A chunk that is half image and half tail has two entries.
const TailIndex = 1 << 48

// Validate rejects a checkpoint that no attempt can have saved: other programs may write where it
// is stored, and disks fail. Its errors have CodeInvalid.
func (c *Checkpoint) Validate() error {
	p := &c.Plan
	switch {
	case p.ChunkSize != 0 && !ValidChunkSize(p.ChunkSize):
		return damaged("chunk size %d is out of range or not a multiple of 4096", p.ChunkSize)
	case p.Size < 0 || p.Size > maxImageSize:
		return damaged("image size %d is out of range", p.Size)
	}
	last := maxImageSize/int64(max(p.ChunkSize, MinChunkSize)) - 1
	for i := range c.Entries {
		n := c.Entries[i].Index
		if n >= TailIndex {
			n -= TailIndex
		}
		if n < 0 || n > last {
			return damaged("chunk index %d is out of range", n)
		}
	}
	return nil
}

// ValidChunkSize reports whether a job can have chunks of n bytes.
func ValidChunkSize(n int) bool { return n >= MinChunkSize && n <= MaxChunkSize && n%MinChunkSize == 0 }

func damaged(format string, args ...any) error {
	return &Error{
		Op: "read checkpoint", Code: CodeInvalid,
		Hint: "the job's record is damaged, or another program has written to it: start a new job",
		Err:  Errorf(CodeInvalid, "", format, args...).Err,
	}
}
