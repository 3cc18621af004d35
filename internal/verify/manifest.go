package verify

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/transferd/transferd/internal/transfer"
)

// NewManifest describes an image of size bytes whose chunks, those of zeros left out, are chunks. image is the SHA-256
// of the whole, or empty.
func NewManifest(size int64, chunkSize int, chunks map[int64]transfer.Digest, image string) *transfer.Manifest {
	return &transfer.Manifest{
		Version: transfer.ManifestVersion, Algorithm: Algorithm, Size: size, ChunkSize: chunkSize, Image: image,
		ChunksRoot: Root(size, chunkSize, Ascending(chunks)), Chunks: chunks,
	}
}

// NonZero is the digests of the chunks in entries that are not all zeros, for an image of size bytes. Of several entries
// of a chunk the last counts; those beyond the image do not.
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

// Ascending yields chunks in the order of their indexes.
func Ascending(chunks map[int64]transfer.Digest) iter.Seq2[int64, transfer.Digest] {
	return func(yield func(int64, transfer.Digest) bool) {
		for _, i := range slices.Sorted(maps.Keys(chunks)) {
			if !yield(i, chunks[i]) {
				return
			}
		}
	}
}

// maxChunks bounds the work that a damaged manifest can ask for: 256 TiB in chunks of 4 MiB.
const maxChunks = 1 << 26

// CheckManifest reports with CodeInvalid what is wrong with a manifest: an unknown version or algorithm, chunks outside
// the image, or digests that do not add up to its root.
func CheckManifest(m *transfer.Manifest) error {
	if m.Version != transfer.ManifestVersion || m.Algorithm != Algorithm {
		return badManifest("version %d with %q is not one that this program reads", m.Version, m.Algorithm)
	}
	if m.Size <= 0 || m.ChunkSize < transfer.MinChunkSize || m.ChunkSize > transfer.MaxChunkSize || m.ChunkSize%transfer.MinChunkSize != 0 {
		return badManifest("%d bytes in chunks of %d cannot be", m.Size, m.ChunkSize)
	}
	count := transfer.ChunkCount(m.Size, m.ChunkSize)
	if count > maxChunks {
		return badManifest("%d chunks are more than this program handles", count)
	}
	for i := range m.Chunks {
		if i < 0 || i >= count {
			return badManifest("chunk %d is outside of an image of %d chunks", i, count)
		}
	}
	if raw, err := hex.DecodeString(m.Image); m.Image != "" && (err != nil || len(raw) != transfer.DigestSize) {
		return badManifest("%q is not a SHA-256", m.Image)
	}
	if root := Root(m.Size, m.ChunkSize, Ascending(m.Chunks)); root != m.ChunksRoot {
		return badManifest("its chunks add up to %s, not to its root %s", root, m.ChunksRoot)
	}
	return nil
}

func badManifest(format string, args ...any) error {
	return transfer.Errorf(transfer.CodeInvalid, "the manifest is damaged or was made by another program", "manifest: "+format, args...)
}

// ParseManifest reads a manifest and checks it.
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

// WriteManifest writes a manifest file, which appears as a whole or not at all and is durable when it returns. Unless it
// may replace what is there under that name, that stays, and the error is fs.ErrExist.
func WriteManifest(path string, m *transfer.Manifest, replace bool) (err error) {
	b, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		return fmt.Errorf("encode manifest: %w", err)
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("open folder: %w", err)
	}
	defer dir.Close()
	temporary := filepath.Base(path) + "." + rand.Text() + ".tmp"
	if err := createFile(filepath.Join(dir.Name(), temporary), append(b, '\n')); err != nil {
		return err
	}
	if err := Rename(dir, temporary, filepath.Base(path), replace); err != nil {
		return errors.Join(fmt.Errorf("put manifest in place: %w", err), unix.Unlinkat(int(dir.Fd()), temporary, 0))
	}
	return SyncDir(dir.Name())
}

// createFile makes a durable file, or none.
func createFile(path string, content []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666) //nolint:gosec // the user's umask decides, as with cp
	if err != nil {
		return fmt.Errorf("create manifest: %w", err)
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(fmt.Errorf("write manifest: %w", err), os.Remove(path))
	}
	return nil
}

// Rename gives a file in the folder another name there. It takes nobody else's, unless it may replace what has it: then
// the error is fs.ErrExist.
func Rename(dir *os.File, from, to string, replace bool) error {
	at := int(dir.Fd())
	if replace {
		return unix.Renameat(at, from, at, to)
	}
	err := unix.Renameat2(at, from, at, to, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		// Not every file system knows it, NFS for one; a second name is made by all that matter.
		if err = unix.Linkat(at, from, at, to, 0); err == nil {
			err = unix.Unlinkat(at, from, 0)
		}
	}
	return err
}

// SyncDir makes the names in a folder durable.
func SyncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("open folder: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("sync folder: %w", err)
	}
	return nil
}
