package image

import (
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"strings"

	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/verify"
)

// maxManifest bounds the memory that a manifest takes: 1 GiB describes over ten million chunks, 40
// TiB of data.
const maxManifest = 1 << 30

// OpenReference opens what a drive is to be compared with: an image, as Open does, or a manifest,
// which makes a transfer.Digests. A file is a manifest if its name ends in .json or it begins as
// one, unless the options name a format. A damaged manifest is CodeInvalid.
func OpenReference(ctx context.Context, path string, opts Options) (transfer.Source, error) {
	if !(transfer.Ref{Path: path}).IsFile() || opts.Format != "" {
		return Open(ctx, path, opts)
	}
	f, err := openSource(path, opts)
	if err != nil {
		return nil, err
	}
	is, err := f.isManifest()
	switch {
	case err != nil:
		return nil, errors.Join(err, f.Close())
	case !is:
		return openStored(ctx, f, opts)
	}
	m, err := f.manifest()
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	return &Reference{m: m}, nil
}

// isManifest looks at the name and the beginning.
func (s *File) isManifest() (bool, error) {
	if strings.HasSuffix(strings.ToLower(s.path), ".json") {
		return true, nil
	}
	head := make([]byte, min(512, s.size))
	if _, err := s.f.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return false, fileError("read "+s.path, err)
	}
	head = bytes.TrimLeft(head, " \t\r\n")
	return bytes.HasPrefix(head, []byte("{")) && bytes.Contains(head, []byte(`"chunk_size"`)), nil
}

func (s *File) manifest() (*transfer.Manifest, error) {
	op := "read manifest " + s.path
	if s.size > maxManifest {
		return nil, invalid(op, "is it a manifest? an image is compared by its own path",
			"it has %d bytes, too many for a manifest", s.size)
	}
	b, err := io.ReadAll(io.NewSectionReader(s.f, 0, s.size))
	if err != nil {
		return nil, fileError(op, err)
	}
	m, err := verify.ParseManifest(b)
	if err != nil {
		return nil, &transfer.Error{
			Op: op, Code: transfer.CodeOf(err), Err: err,
			Hint: "the manifest is damaged or was made by another program",
		}
	}
	return m, nil
}

// Reference is the manifest of an image, which has the digests of its chunks and no bytes. It is
// safe for concurrent use.
type Reference struct {
	m *transfer.Manifest
}

var _ transfer.Digests = (*Reference)(nil)

// Size is the image's length in bytes.
func (r *Reference) Size() int64 { return r.m.Size }

// Identity is the digest over all chunks.
func (r *Reference) Identity() string { return "chunks_root=" + r.m.ChunksRoot }

// ImageDigest is the SHA-256 of the image as a whole, in hexadecimal; empty if the manifest does
// not have it.
func (r *Reference) ImageDigest() string { return r.m.Image }

// ChunkSize is the size in bytes of the chunks that the digests are of.
func (r *Reference) ChunkSize() int { return r.m.ChunkSize }

// ChunkDigest is the digest of a chunk; ok is false if the chunk is zeros.
func (r *Reference) ChunkDigest(index int64) (d transfer.Digest, ok bool) {
	d, ok = r.m.Chunks[index]
	return d, ok
}

// Extents yields the chunks that have a digest, neighbours as one.
func (r *Reference) Extents(ctx context.Context) iter.Seq2[transfer.Extent, error] {
	return func(yield func(transfer.Extent, error) bool) {
		var run transfer.Extent
		for i := range verify.Ascending(r.m.Chunks) {
			if err := ctx.Err(); err != nil {
				yield(transfer.Extent{}, err)
				return
			}
			c := transfer.ChunkAt(i, r.m.Size, r.m.ChunkSize)
			if run.Off+run.Len != c.Off && run.Len > 0 {
				if !yield(run, nil) {
					return
				}
				run.Len = 0
			}
			if run.Len == 0 {
				run.Off = c.Off
			}
			run.Len += int64(c.Len)
		}
		if run.Len > 0 {
			yield(run, nil)
		}
	}
}

// Close has nothing to release.
func (r *Reference) Close() error { return nil }
