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

// maxManifest bounds the size of a manifest, in bytes, and so the memory for it: 1 GiB describes
// over ten million chunks, 40 TiB of data.
const maxManifest = 1 << 30

// OpenImageOrManifest opens the source of a comparison: an image, as Open does, or a manifest,
// which is a transfer.Digests. A file is a manifest if its name ends in .json or its content begins
// like one, unless the options name a format. A damaged manifest is CodeInvalid.
func OpenImageOrManifest(ctx context.Context, path string, opts Options) (transfer.Source, error) {
	if !(transfer.Ref{Path: path}).IsFile() || opts.Format != "" {
		return Open(ctx, path, opts)
	}
	f, err := openSource(path, opts)
	if err != nil {
		return nil, err
	}
	isManifest, err := f.isManifest()
	switch {
	case err != nil:
		return nil, errors.Join(err, f.Close())
	case !isManifest:
		return openStored(ctx, f, opts)
	}
	m, err := f.manifest()
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	return &ManifestSource{m: m}, nil
}

// isManifest reports whether the name or the first bytes of the file are those of a manifest.
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
		return nil, invalid(op, "is it a manifest? to compare an image, give the path of the image",
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

// ManifestSource is the manifest of an image: it has the digests of the chunks, but no bytes. It is
// safe for concurrent use.
type ManifestSource struct {
	m *transfer.Manifest
}

var _ transfer.Digests = (*ManifestSource)(nil)

// Size is the image's length in bytes.
func (s *ManifestSource) Size() int64 { return s.m.Size }

// Identity is the chunks root.
func (s *ManifestSource) Identity() string { return "chunks_root=" + s.m.ChunksRoot }

// ImageDigest is the SHA-256 of the whole image, in hexadecimal; empty if the manifest does not
// have it.
func (s *ManifestSource) ImageDigest() string { return s.m.Image }

// ChunkSize is the size of the chunks of the digests, in bytes.
func (s *ManifestSource) ChunkSize() int { return s.m.ChunkSize }

// ChunkDigest is the digest of a chunk; ok is false if the chunk is zeros.
func (s *ManifestSource) ChunkDigest(index int64) (d transfer.Digest, ok bool) {
	d, ok = s.m.Chunks[index]
	return d, ok
}

// Extents yields the chunks that have a digest, adjacent ones as one extent.
func (s *ManifestSource) Extents(ctx context.Context) iter.Seq2[transfer.Extent, error] {
	return func(yield func(transfer.Extent, error) bool) {
		var run transfer.Extent
		for i := range verify.Ascending(s.m.Chunks) {
			if err := ctx.Err(); err != nil {
				yield(transfer.Extent{}, err)
				return
			}
			c := transfer.ChunkAt(i, s.m.Size, s.m.ChunkSize)
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

// Close does nothing.
func (s *ManifestSource) Close() error { return nil }
