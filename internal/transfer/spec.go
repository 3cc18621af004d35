package transfer

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Kind is what a job does.
type Kind string

// The four kinds of job.
const (
	Upload   Kind = "upload"   // image → drive
	Download Kind = "download" // drive → image
	Clone    Kind = "clone"    // drive → new drive
	Verify   Kind = "verify"   // drive against an image or a manifest; nothing is written
)

// VerifyMode is how much of what was written is read back.
type VerifyMode string

// The verification modes.
const (
	VerifyWritten VerifyMode = "written" // every chunk written is read back and compared; skipped zeros are sampled
	VerifyFull    VerifyMode = "full"    // everything is read back once more at the end
	VerifyNone    VerifyMode = "none"
)

// Priority orders the jobs of one queue.
type Priority string

// The priorities.
const (
	PriorityLow     Priority = "low"
	PriorityDefault Priority = "default"
	PriorityHigh    Priority = "high"
)

// Compression is how chunks are encoded on the wire: a gzip level 1 to 9, CompressionNone or CompressionAuto.
type Compression int

// The encodings that are not a gzip level.
const (
	CompressionAuto Compression = -1 // chosen per chunk
	CompressionNone Compression = 0
)

// ParseCompression reads auto, none or a level.
func ParseCompression(s string) (Compression, error) {
	switch s {
	case "auto":
		return CompressionAuto, nil
	case "none":
		return CompressionNone, nil
	}
	if len(s) == 1 && s[0] >= '1' && s[0] <= '9' {
		return Compression(s[0] - '0'), nil
	}
	return 0, Errorf(CodeInvalid, "use auto, none or a gzip level from 1 to 9", "%q is not a compression", s)
}

func (c Compression) String() string {
	switch c {
	case CompressionAuto:
		return "auto"
	case CompressionNone:
		return "none"
	}
	return strconv.Itoa(int(c))
}

// MarshalText writes the form that ParseCompression reads.
func (c Compression) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText is ParseCompression.
func (c *Compression) UnmarshalText(text []byte) (err error) {
	*c, err = ParseCompression(string(text))
	return err
}

// Format is how a downloaded image is stored.
type Format string

// The formats of a downloaded image.
const (
	FormatRaw  Format = "raw"
	FormatGzip Format = "gz"
	FormatZstd Format = "zst"
)

// Spec is everything a job was asked for. It travels through the queue in the clear, so it names endpoints and never
// holds their credentials.
type Spec struct {
	Kind   Kind `json:"kind"`
	Source Ref  `json:"source"` // of a verify job: the drive
	Target Ref  `json:"target"` // of a verify job: the image or manifest it is held against

	Name        string      `json:"name,omitempty"`         // of a new drive
	Size        int64       `json:"size,omitempty"`         // of a new drive, bytes; 0: the image's
	Tags        []string    `json:"tags,omitempty"`         // of a new drive
	Readers     []string    `json:"readers,omitempty"`      // of a new drive: UUIDs of accounts that may read it
	SHA256      string      `json:"sha256,omitempty"`       // what the image must have, as sha256sum prints it
	ImageDigest bool        `json:"image_sha256,omitempty"` // also compute the SHA-256 of the image as a whole
	Format      Format      `json:"format,omitempty"`       // of a downloaded image
	Overwrite   bool        `json:"overwrite,omitempty"`    // a download may replace its target
	Verify      VerifyMode  `json:"verify"`
	Compression Compression `json:"compression"`
	Concurrency int         `json:"concurrency,omitempty"` // chunks in flight; 0: chosen
	ChunkSize   int         `json:"chunk_size"`            // bytes
	LimitRate   int64       `json:"limit_rate,omitempty"`  // bytes a second on the wire; 0: none
	Queue       string      `json:"queue"`
	Priority    Priority    `json:"priority"`
	Deadline    Seconds     `json:"deadline,omitempty"` // from when it is enqueued until it has to be done; 0: none
}

// Seconds is a duration that JSON has in whole seconds.
type Seconds time.Duration

// MarshalJSON writes the seconds; what is left of one is dropped.
func (s Seconds) MarshalJSON() ([]byte, error) {
	return strconv.AppendInt(nil, int64(time.Duration(s)/time.Second), 10), nil
}

// UnmarshalJSON reads whole seconds.
func (s *Seconds) UnmarshalJSON(text []byte) error {
	n, err := strconv.ParseInt(string(text), 10, 64)
	*s = Seconds(time.Duration(n) * time.Second)
	return err
}

// Fingerprint is the same for specs that ask for the same, and for no others.
func (s *Spec) Fingerprint() (string, error) {
	text, err := json.Marshal(s)
	if err != nil {
		return "", fmt.Errorf("encode spec: %w", err)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:16]), nil
}

// DefaultQueue is the queue of jobs that name none.
const DefaultQueue = "default"

// MaxConcurrency is the most chunks that one job may have in flight.
const MaxConcurrency = 256

// NewSpec is a spec of the given kind with the defaults that the command line documents.
func NewSpec(kind Kind, source, target Ref) Spec {
	return Spec{
		Kind: kind, Source: source, Target: target, Verify: VerifyWritten, Compression: CompressionAuto,
		ChunkSize: MaxChunkSize, Queue: DefaultQueue, Priority: PriorityDefault,
	}
}

// WantsImageDigest reports whether the SHA-256 of the whole image is to be computed.
func (s *Spec) WantsImageDigest() bool { return s.ImageDigest || s.SHA256 != "" }

// Validate checks that the spec can be carried out as far as that can be known without touching anything. Its errors
// have CodeInvalid.
func (s *Spec) Validate() error {
	for _, check := range []func() error{s.validateEnds, s.validateDrive, s.validateTransfer} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func invalid(hint, format string, args ...any) error {
	return Errorf(CodeInvalid, hint, format, args...)
}

func (s *Spec) validateEnds() error {
	src, dst := s.Source, s.Target
	switch s.Kind {
	case Upload:
		if src.IsDrive() {
			return invalid("to copy a drive to a drive use clone", "upload takes an image, and %s is a drive", src)
		}
		if !dst.IsDrive() {
			return invalid("write ENDPOINT: for a new drive, or ENDPOINT:UUID", "upload needs a drive to write to, and %s is none", dst.Redacted())
		}
	case Download:
		if err := existing(src); err != nil {
			return err
		}
		if dst.IsDrive() || dst.IsURL() {
			return invalid("write a file's path; to copy a drive to a drive use clone", "download writes a file, and %s is none", dst.Redacted())
		}
	case Clone:
		if err := existing(src); err != nil {
			return err
		}
		if !dst.IsDrive() || dst.Drive != "" {
			return invalid("write ENDPOINT: (or nothing, for the drive's own endpoint)", "clone makes a new drive, and %s is none", dst.Redacted())
		}
	case Verify:
		if err := existing(src); err != nil {
			return err
		}
		if dst.IsDrive() {
			return invalid("give the image's or the manifest's path", "verify compares with a file, and %s is a drive", dst)
		}
	default:
		return invalid("use upload, download, clone or verify", "%q is not a kind of job", s.Kind)
	}
	return nil
}

func existing(r Ref) error {
	if !r.IsDrive() || r.Drive == "" {
		return invalid("write ENDPOINT:UUID; `transferctl drives list` shows them", "%s is not an existing drive", r.Redacted())
	}
	return nil
}

func (s *Spec) validateDrive() error {
	makesDrive := s.Target.IsDrive() && s.Target.Drive == ""
	if !makesDrive && (s.Name != "" || s.Size != 0 || len(s.Tags) > 0 || len(s.Readers) > 0) {
		return invalid("leave --name, --size, --tag and --readers out, or write ENDPOINT: as the target", "only a new drive takes a name, size, tags or readers")
	}
	if s.Size < 0 || s.Size%512 != 0 {
		return invalid("round --size up to a multiple of 512", "a drive of %d bytes is no whole number of 512-byte sectors", s.Size)
	}
	if strings.ContainsAny(s.Name, "\r\n") || len(s.Name) > 255 {
		return invalid("use at most 255 bytes on one line", "%q cannot be a drive's name", s.Name)
	}
	for _, t := range s.Tags {
		if t == "" || strings.ContainsAny(t, " \t\r\n") {
			return invalid("give --tag once for each tag, without blanks", "%q cannot be a tag", t)
		}
	}
	for _, r := range s.Readers {
		if !ValidDriveUUID(r) {
			return invalid("give account UUIDs, separated by commas", "%q is not a UUID", r)
		}
	}
	return nil
}

func (s *Spec) validateTransfer() error {
	switch s.Verify {
	case VerifyWritten, VerifyFull, VerifyNone:
	default:
		return invalid("use written, full or none", "%q is not a way to verify", s.Verify)
	}
	switch s.Priority {
	case PriorityLow, PriorityDefault, PriorityHigh:
	default:
		return invalid("use low, default or high", "%q is not a priority", s.Priority)
	}
	switch s.Format {
	case "", FormatRaw, FormatGzip, FormatZstd:
	default:
		return invalid("use raw, gz or zst", "%q is not a format", s.Format)
	}
	if s.ChunkSize < MinChunkSize || s.ChunkSize > MaxChunkSize || s.ChunkSize%MinChunkSize != 0 {
		return invalid("use a multiple of 4k, at most 4M", "%s is not a chunk size", FormatSize(int64(s.ChunkSize)))
	}
	if s.Concurrency < 0 || s.Concurrency > MaxConcurrency {
		return invalid(fmt.Sprintf("use auto, or 1 to %d", MaxConcurrency), "%d chunks in flight cannot be", s.Concurrency)
	}
	if s.Deadline < 0 || s.Deadline%Seconds(time.Second) != 0 {
		return invalid("use whole seconds, minutes or hours, such as 90m", "%s cannot be a deadline", time.Duration(s.Deadline))
	}
	if s.LimitRate < 0 {
		return invalid("use a size such as 20M", "a rate cannot be negative")
	}
	if !ValidEndpointName(s.Queue) {
		return invalid("use letters, digits, dot, dash and underscore", "%q cannot be a queue's name", s.Queue)
	}
	if raw, err := hex.DecodeString(s.SHA256); s.SHA256 != "" && (err != nil || len(raw) != DigestSize) {
		return invalid("give the 64 hexadecimal digits that sha256sum prints", "%q is not a SHA-256", s.SHA256)
	}
	return nil
}
