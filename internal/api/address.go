package api

import (
	"regexp"
	"strings"

	"github.com/transferd/transferd/internal/transfer"
)

const (
	// MaxChunk is how many bytes one call may read (manual 7.3) and should write (manual 7.2) at
	// most: 4 MiB.
	MaxChunk = 4 << 20
	// SectorSize divides the size of each drive, in bytes.
	SectorSize = 512
)

// Drives are the addresses of drives: ENDPOINT:UUID, and ENDPOINT: for a new drive.
var Drives = transfer.Scheme{Name: "drive", Parse: parseDrive, Owns: transfer.Ref.IsDrive, Check: checkSpec}

var uuidForm = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// ValidUUID reports whether s has the form of a UUID: lower-case hexadecimal, 8-4-4-4-12.
func ValidUUID(s string) bool { return uuidForm.MatchString(s) }

func parseDrive(text string) (r transfer.Ref, ok bool, err error) {
	name, drive, found := strings.Cut(text, ":")
	if !found || !transfer.ValidEndpointName(name) || strings.ContainsAny(drive, "/") {
		return r, false, nil
	}
	drive = strings.ToLower(drive)
	if drive == "" || ValidUUID(drive) {
		return transfer.Ref{Endpoint: name, Drive: drive}, true, nil
	}
	// A mistyped UUID must not become the name of a file.
	return r, false, transfer.BadAddress(text,
		"what follows the colon is not a drive UUID: transferctl drives list "+name+
			" shows them; for a file of this name write ./"+text)
}

// notUUID is the error for text that must be a drive's UUID and is not.
func notUUID(s string) error {
	return invalid("transferctl drives list shows the UUIDs of drives", "%q is not the UUID of a drive", s)
}

// checkSpec refuses specs that drives of API 1.0 do not support.
func checkSpec(s *transfer.Spec) error {
	for _, r := range []transfer.Ref{s.Source, s.Target} {
		if r.Drive != "" && !ValidUUID(r.Drive) {
			return notUUID(r.Drive)
		}
	}
	if s.Size%SectorSize != 0 {
		return invalid("round --size up to a multiple of 512",
			"a drive of %d bytes is no whole number of %d-byte sectors", s.Size, SectorSize)
	}
	drive := CreateOptions{Name: s.Name, Tags: s.Tags, Readers: s.Readers}
	if err := drive.Check(); err != nil {
		return err
	}
	if s.ChunkSize > MaxChunk {
		return transfer.BadChunkSize(int64(s.ChunkSize), MaxChunk)
	}
	return nil
}

func invalid(hint, format string, args ...any) error {
	return transfer.Errorf(transfer.CodeInvalid, hint, format, args...)
}
