package transfer

// ManifestVersion is the version of the manifest format that this program writes. It reads no
// other.
const ManifestVersion = 1

// Manifest has an image's size and digests. A drive or a file can be verified with it, without the
// source.
type Manifest struct {
	Version    int              `json:"version"`
	Algorithm  string           `json:"algorithm"`              // of the chunks; always "blake3"
	Size       int64            `json:"size"`                   // of the image, bytes
	ChunkSize  int              `json:"chunk_size"`             // bytes
	Image      string           `json:"image_sha256,omitempty"` // of the image as a whole, if it was computed
	InUse      *InUse           `json:"in_use,omitempty"`       // the drive was in use when it was read; else nil
	ChunksRoot string           `json:"chunks_root"`            // BLAKE3 over all chunks' digests in order
	Chunks     map[int64]Digest `json:"chunks"`                 // by index; a chunk without an entry is all zeros
}
