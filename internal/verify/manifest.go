package verify

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"

	"github.com/transferd/transferd/internal/transfer"
)

// NewManifest returns the manifest of an image of size bytes. chunks has the digests of the chunks
// that are not all zeros, by index. image is the SHA-256 of the whole image, or empty.
func NewManifest(size int64, chunkSize int, chunks map[int64]transfer.Digest, image string) *transfer.Manifest {
	return &transfer.Manifest{
		Version: transfer.ManifestVersion, Algorithm: Algorithm, Size: size, ChunkSize: chunkSize, Image: image,
		ChunksRoot: Root(size, chunkSize, Ascending(chunks)), Chunks: chunks,
	}
}

// NonZero returns the digests of the chunks in entries that are not all zeros, for an image of size
// bytes. The last entry of a chunk counts. Entries beyond the image do not.
func NonZero(entries []transfer.Entry, size int64, chunkSize int) map[int64]transfer.Digest {
	chunks := make(map[int64]transfer.Digest, len(entries))
	count := transfer.ChunkCount(size, chunkSize)
	for _, e := range entries {
		if e.Index < 0 || e.Index >= count {
			continue
		}
		if chunks[e.Index] = e.Digest; e.Digest == ZeroDigest(transfer.ChunkAt(e.Index, size, chunkSize).Len) {
			delete(chunks, e.Index)
		}
	}
	return chunks
}

// Ascending yields chunks in ascending order of their indexes.
func Ascending(chunks map[int64]transfer.Digest) iter.Seq2[int64, transfer.Digest] {
	return func(yield func(int64, transfer.Digest) bool) {
		for _, i := range slices.Sorted(maps.Keys(chunks)) {
			if !yield(i, chunks[i]) {
				return
			}
		}
	}
}

// maxChunks bounds the work that a damaged manifest can cause: 256 TiB in chunks of 4 MiB.
const maxChunks = 1 << 26

// CheckManifest returns an error with CodeInvalid for a manifest with an unknown version or
// algorithm, chunks outside of the image, or digests whose root is not the manifest's.
func CheckManifest(m *transfer.Manifest) error {
	if m.Version != transfer.ManifestVersion || m.Algorithm != Algorithm {
		return badManifest("version %d with algorithm %q is not supported", m.Version, m.Algorithm)
	}
	if m.Size <= 0 {
		return badManifest("size %d is not positive", m.Size)
	}
	if !transfer.ValidChunkSize(m.ChunkSize) {
		return badManifest("%d is not a chunk size", m.ChunkSize)
	}
	count := transfer.ChunkCount(m.Size, m.ChunkSize)
	if count > maxChunks {
		return badManifest("the image has %d chunks, more than %d", count, maxChunks)
	}
	for i := range m.Chunks {
		if i < 0 || i >= count {
			return badManifest("chunk %d is outside of an image of %s", i, transfer.Count(count, "chunk"))
		}
	}
	if raw, err := hex.DecodeString(m.Image); m.Image != "" && (err != nil || len(raw) != transfer.DigestSize) {
		return badManifest("%q is not a SHA-256", m.Image)
	}
	if root := Root(m.Size, m.ChunkSize, Ascending(m.Chunks)); root != m.ChunksRoot {
		return badManifest("the root of its chunks is %s, not %s", root, m.ChunksRoot)
	}
	return nil
}

func badManifest(format string, args ...any) error {
	return transfer.Errorf(transfer.CodeInvalid,
		"the manifest is damaged or was made by another program: make a new one", "manifest: "+format, args...)
}

// ParseManifest parses a manifest file and checks it. Its errors have CodeInvalid.
func ParseManifest(b []byte) (*transfer.Manifest, error) {
	m := new(transfer.Manifest)
	if err := json.Unmarshal(b, m); err != nil {
		return nil, badManifest("%v", err)
	}
	if err := CheckManifest(m); err != nil {
		return nil, err
	}
	return m, nil
}

// WriteManifest writes a manifest file.
func WriteManifest(w io.Writer, m *transfer.Manifest) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", " ")
	if err := enc.Encode(m); err != nil {
		return fmt.Errorf("encode manifest: %w", err)
	}
	return nil
}
