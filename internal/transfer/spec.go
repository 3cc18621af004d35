package transfer

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Kind is what a job does.
type Kind string

// The kinds of job.
const (
	Upload   Kind = "upload"   // image → drive
	Download Kind = "download" // drive → image
	Clone    Kind = "clone"    // drive → new drive
	Verify   Kind = "verify"   // image or manifest = drive; nothing is written
	Migrate  Kind = "migrate"  // server → new server on another endpoint; the source's Drive is the server's UUID
)

// VerifyMode is how much of the target is read back and compared.
type VerifyMode string

// The verification modes.
const (
	VerifyWritten VerifyMode = "written" // every written chunk is read back and compared; skipped zeros are sampled
	VerifyFull    VerifyMode = "full"    // likewise, and all of it once more at the end
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

// Compression is how chunks are encoded on the wire: a gzip level from 1 to 9, CompressionNone or
// CompressionAuto.
type Compression int

// The encodings that are not a gzip level.
const (
	CompressionAuto Compression = -1 // chosen per chunk
	CompressionNone Compression = 0
)

// ParseCompression parses auto, none or a level. Its errors have CodeInvalid.
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

// MarshalText returns String, which ParseCompression reads.
func (c Compression) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText is ParseCompression.
func (c *Compression) UnmarshalText(text []byte) (err error) {
	*c, err = ParseCompression(string(text))
	return err
}

// Format is how an image is stored.
type Format string

// The formats that a job can request.
const (
	FormatRaw   Format = "raw"
	FormatGzip  Format = "gz"
	FormatZstd  Format = "zst"
	FormatQcow2 Format = "qcow2"
)

// Spec is what the user requested of a job. It is stored in the queue in plain text, so it names
// endpoints and never holds their credentials.
type Spec struct {
	Kind   Kind `json:"kind"`
	Source Ref  `json:"source"` // what is read
	Target Ref  `json:"target"` // what is written, or compared with the source

	Name        string   `json:"name,omitempty"`         // of a new drive or server
	Size        int64    `json:"size,omitempty"`         // of a new drive, bytes; 0: the image's
	Tags        []string `json:"tags,omitempty"`         // of a new drive
	Readers     []string `json:"readers,omitempty"`      // of a new drive: UUIDs of accounts that may read it
	SHA256      string   `json:"sha256,omitempty"`       // that the image must have, as sha256sum prints it
	SHA256URL   string   `json:"sha256_url,omitempty"`   // of a list, such as SHA256SUMS, that has the sum of Source
	ImageDigest bool     `json:"image_sha256,omitempty"` // also compute the SHA-256 of the image as a whole
	Format      Format   `json:"format,omitempty"`       // of the image; empty: detected (of a target: raw)
	AllowShort  bool     `json:"allow_short,omitempty"`  // a stream may end before Size
	Overwrite   bool     `json:"overwrite,omitempty"`    // an existing target is replaced
	KeepTail    bool     `json:"keep_tail,omitempty"`    // the bytes behind the image are left as they are
	NoHoles     bool     `json:"no_holes,omitempty"`     // the holes of the source are read, too
	// AllowMounted reads a source even while a file system on it is mounted read-write.
	AllowMounted bool `json:"allow_mounted,omitempty"`
	// Follow reads the files that the image names, too.
	Follow bool `json:"follow,omitempty"`
	// Spool is the folder to unpack the image to; empty: the worker's own.
	Spool string `json:"spool,omitempty"`
	// QuiesceTimeout is how long servers may take to shut down for ModeQuiesce; 0: the default.
	QuiesceTimeout Seconds `json:"quiesce_timeout,omitempty"`
	// ForceStop stops a server that does not shut down in time. It is like a power cut.
	ForceStop bool `json:"force_stop,omitempty"`
	// AllowNewAddress shuts a server down although it may have another address afterwards.
	AllowNewAddress bool `json:"allow_new_address,omitempty"`
	// VLANs maps the UUIDs of a server's VLANs to those at the target of a migration.
	VLANs       map[string]string `json:"vlans,omitempty"`
	Start       bool              `json:"start,omitempty"` // the new server of a migration is started
	Batch       string            `json:"batch,omitempty"` // the batch, or job, that this one is a part of
	Mode        Mode              `json:"mode,omitempty"`  // of reading a drive; empty: by whether a server holds it
	Verify      VerifyMode        `json:"verify"`
	Compression Compression       `json:"compression"`
	Concurrency int               `json:"concurrency,omitempty"` // chunks in flight; 0: found by the worker
	ChunkSize   int               `json:"chunk_size"`            // bytes
	LimitRate   int64             `json:"limit_rate,omitempty"`  // bytes a second on the wire; 0: none
	Queue       string            `json:"queue"`
	Priority    Priority          `json:"priority"`
	Deadline    Seconds           `json:"deadline,omitempty"` // from enqueueing until the job must have ended; 0: none
	// Labels are the user's, to select jobs by.
	Labels map[string]string `json:"labels,omitempty"`
}

// Seconds is a duration that is whole seconds in JSON.
type Seconds time.Duration

// MarshalJSON writes whole seconds, rounded down.
func (s Seconds) MarshalJSON() ([]byte, error) {
	return strconv.AppendInt(nil, int64(time.Duration(s)/time.Second), 10), nil
}

// UnmarshalJSON reads whole seconds.
func (s *Seconds) UnmarshalJSON(text []byte) error {
	n, err := strconv.ParseInt(string(text), 10, 64)
	*s = Seconds(time.Duration(n) * time.Second)
	return err
}

// Fingerprint returns a hash of what the spec requests: equal specs, and only those, have the same
// one. Labels do not count, because they change nothing that the job does.
func (s *Spec) Fingerprint() (string, error) {
	requested := *s
	requested.Labels = nil
	text, err := json.Marshal(&requested)
	if err != nil {
		return "", fmt.Errorf("encode spec: %w", err)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:16]), nil
}

// DefaultQueue is the queue of jobs that do not name one.
const DefaultQueue = "default"

// MaxConcurrency is the most chunks that one job may have in flight.
const MaxConcurrency = 256

// NewSpec returns a spec of the given kind with the defaults of the command line.
func NewSpec(kind Kind, source, target Ref) Spec {
	return Spec{
		Kind: kind, Source: source, Target: target, Verify: VerifyWritten, Compression: CompressionAuto,
		ChunkSize: DefaultChunkSize, Queue: DefaultQueue, Priority: PriorityDefault,
	}
}

// WantsImageDigest reports whether the job computes the SHA-256 of the whole image.
func (s *Spec) WantsImageDigest() bool { return s.ImageDigest || s.ExpectsDigest() }

// ExpectsDigest reports whether the image, or the file that it is stored in, must have a certain
// SHA-256.
func (s *Spec) ExpectsDigest() bool { return s.SHA256 != "" || s.SHA256URL != "" }

// Validate checks the spec without any I/O. Its errors have CodeInvalid, or CodeExists for a target
// that needs Overwrite.
func (s *Spec) Validate() error {
	for _, check := range []func() error{
		s.validateText, s.validateEnds, s.validateDrive, s.validateTransfer, s.validateOverwrite,
		s.validateMode, s.validateMigration,
	} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// validateText rejects text that is not UTF-8. JSON would replace the invalid bytes, so two
// different paths could become one.
func (s *Spec) validateText() error {
	for _, r := range []Ref{s.Source, s.Target} {
		if !utf8.ValidString(r.Path) {
			return invalid("rename the file or its folder, or make a link to it that has another name",
				"%q is not valid UTF-8", r.Redacted())
		}
	}
	named := []string{s.Name, s.SHA256, s.SHA256URL, s.Spool, s.Source.Endpoint, s.Target.Endpoint}
	for _, text := range slices.Concat(named, s.Tags, s.Readers) {
		if !utf8.ValidString(text) {
			return invalid("use text in UTF-8", "%q is not valid UTF-8", text)
		}
	}
	for key, value := range s.Labels {
		if !ValidEndpointName(key) || !utf8.ValidString(value) || strings.ContainsAny(value, "\r\n") {
			return invalid("write KEY=VALUE, with letters, digits, dot, dash and underscore in KEY",
				"%q is not a label", key+"="+value)
		}
	}
	return nil
}

func invalid(hint, format string, args ...any) error {
	return Errorf(CodeInvalid, hint, format, args...)
}

// validateMigration checks what only a migration has, or does not have.
func (s *Spec) validateMigration() error {
	switch {
	case s.Kind != Migrate && (len(s.VLANs) > 0 || s.Start):
		return invalid("leave them out", "only a migration maps VLANs and starts a server")
	case s.Kind != Migrate:
		return nil
	case s.Source.Endpoint == s.Target.Endpoint:
		return invalid("write another endpoint: transferctl migrate "+s.Source.Endpoint+":SERVER ENDPOINT2:",
			"a server moves to another endpoint, and both are %s", s.Target.Endpoint)
	case s.Size != 0 || len(s.Tags) > 0 || len(s.Readers) > 0 || s.Format != "" || s.SHA256 != "":
		return invalid("leave them out", "the new drives of a migration are like the old ones")
	}
	return nil
}

func (s *Spec) validateDrive() error {
	makesDrive := s.Target.IsDrive() && s.Target.Drive == ""
	if s.Kind == Migrate {
		return nil // validateMigration
	}
	if !makesDrive && (s.Name != "" || s.Size != 0 || len(s.Tags) > 0 || len(s.Readers) > 0) {
		return invalid("leave --name, --size, --tag and --readers out, or write ENDPOINT: as the target",
			"only a new drive takes a name, size, tags or readers")
	}
	if s.Size < 0 {
		return invalid("use a size such as 10G", "a drive cannot have %d bytes", s.Size)
	}
	return nil
}

// BadChunkSize returns the error for a chunk size of n bytes where most is the largest.
func BadChunkSize(n int64, most int) error {
	return invalid("use a multiple of 4k, at most "+FormatSize(int64(most)),
		"--chunk-size: %s is not a chunk size", FormatSize(n))
}

func (s *Spec) validateTransfer() error {
	switch s.Verify {
	case VerifyWritten, VerifyFull, VerifyNone:
	default:
		return invalid("use written, full or none", "--verify: %q is not a way to verify", s.Verify)
	}
	switch s.Priority {
	case PriorityLow, PriorityDefault, PriorityHigh:
	default:
		return invalid("use low, default or high", "--priority: %q is not a priority", s.Priority)
	}
	switch s.Format {
	case "", FormatRaw, FormatGzip, FormatZstd, FormatQcow2:
	default:
		return invalid("use raw, gz, zst or qcow2", "--format: %q is not a format", s.Format)
	}
	if s.Kind == Clone && s.Format != "" {
		return invalid("leave --format out", "drives are raw")
	}
	if s.Follow && s.Kind != Upload && s.Kind != Verify {
		return invalid("leave --follow out", "--follow is for an image that is read")
	}
	if s.Spool != "" && (s.Kind != Upload && s.Kind != Verify || !filepath.IsAbs(s.Spool)) {
		return invalid("give the absolute path of a folder on the worker's host, or leave --spool out",
			"--spool is a folder for an image that is read")
	}
	if s.AllowShort && (s.Kind != Upload || s.Size == 0) {
		return invalid("leave --allow-short out, or give the new drive's --size",
			"only an upload to a drive of a given size may end early")
	}
	if !ValidChunkSize(s.ChunkSize) {
		return invalid("use a multiple of 4k, such as 1M or 4M",
			"--chunk-size: %s is not a chunk size", FormatSize(int64(s.ChunkSize)))
	}
	if s.Concurrency < 0 || s.Concurrency > MaxConcurrency {
		return invalid(fmt.Sprintf("use auto, or 1 to %d", MaxConcurrency),
			"--concurrency %d is out of range 1-%d", s.Concurrency, MaxConcurrency)
	}
	if s.Deadline < 0 || s.Deadline%Seconds(time.Second) != 0 {
		return invalid("use whole seconds, minutes or hours, such as 90m",
			"--deadline: %s is not a deadline", time.Duration(s.Deadline))
	}
	if s.LimitRate < 0 {
		return invalid("use a size such as 20M", "--limit-rate: %d is negative", s.LimitRate)
	}
	if !ValidEndpointName(s.Queue) {
		return invalid("use letters, digits, dot, dash and underscore", "--queue: %q is not a queue name", s.Queue)
	}
	return s.validateDigest()
}

// validateDigest checks what the image must be.
func (s *Spec) validateDigest() error {
	list := Ref{Path: s.SHA256URL}
	switch raw, err := hex.DecodeString(s.SHA256); {
	case s.SHA256 != "" && (err != nil || len(raw) != DigestSize):
		return invalid("give the 64 hexadecimal digits that sha256sum prints",
			"--sha256: %q is not a SHA-256", s.SHA256)
	case s.SHA256URL == "":
		return nil
	case s.SHA256 != "":
		return invalid("leave one of them out", "--sha256 and --sha256-url both say what the image must be")
	case s.Kind != Upload:
		return invalid("leave --sha256-url out", "--sha256-url is for an image that is uploaded")
	case !list.IsURL() || readURL(s.SHA256URL) == nil:
		return invalid("give the http(s) URL of the list, such as https://HOST/PATH/SHA256SUMS",
			"--sha256-url: %q is not a URL", list.Redacted())
	}
	return nil
}

// PublishedSum is a SHA-256 from a list of sums.
type PublishedSum struct {
	SHA256 string // in hexadecimal
	// Origin is the line and the list, for messages; without secrets.
	Origin string
}
