package api

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/transferd/transferd/internal/transfer"
)

const (
	uuidA = "0a1b2c3d-0a1b-0a1b-0a1b-0a1b2c3d4e5f"
	uuidB = "ffffffff-ffff-ffff-ffff-ffffffffffff"
)

func TestValidUUIDAcceptsLowerCaseOnly(t *testing.T) {
	for id, want := range map[string]bool{
		uuidA: true, uuidB: true, "": false, strings.ToUpper(uuidA): false, uuidA + "\n": false,
		"../" + uuidA[3:]: false,
	} {
		if got := ValidUUID(id); got != want {
			t.Errorf("%q: got %t, want %t", id, got, want)
		}
	}
}

// TestSpecsBeyondTheLimitsOfDrivesAreRefused: the limits are those of API 1.0.
func TestSpecsBeyondTheLimitsOfDrivesAreRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(s *transfer.Spec)
		ok     bool
	}{
		"defaults": {func(*transfer.Spec) {}, true},
		"all of a new drive": {func(s *transfer.Spec) {
			s.Name, s.Size, s.Tags, s.Readers = "n", 512, []string{"a:b"}, []string{uuidB}
		}, true},
		"size 511":               {func(s *transfer.Spec) { s.Size = 511 }, false},
		"size 513":               {func(s *transfer.Spec) { s.Size = 513 }, false},
		"name of 255":            {func(s *transfer.Spec) { s.Name = strings.Repeat("n", 255) }, true},
		"name of 256":            {func(s *transfer.Spec) { s.Name = strings.Repeat("n", 256) }, false},
		"name on two lines":      {func(s *transfer.Spec) { s.Name = "a\nsize 1" }, false},
		"name that rings":        {func(s *transfer.Spec) { s.Name = "a\x07" }, false},
		"name with tab":          {func(s *transfer.Spec) { s.Name = "a\tb" }, false},
		"name with color":        {func(s *transfer.Spec) { s.Name = "\x1b[31mred" }, false},
		"name that turns":        {func(s *transfer.Spec) { s.Name = "a\u202egpj" }, false},
		"name of two paragraphs": {func(s *transfer.Spec) { s.Name = "a\u2029b" }, false},
		"blank name":             {func(s *transfer.Spec) { s.Name = " " }, false},
		"name with blanks":       {func(s *transfer.Spec) { s.Name = "web server\u00a01" }, true},
		"name in Persian":        {func(s *transfer.Spec) { s.Name = "می\u200cخواهم" }, true},
		"empty tag":              {func(s *transfer.Spec) { s.Tags = []string{"a", ""} }, false},
		"tag with blank":         {func(s *transfer.Spec) { s.Tags = []string{"a b"} }, false},
		"tag with another space": {func(s *transfer.Spec) { s.Tags = []string{"a\u00a0b"} }, false},
		"tag with control":       {func(s *transfer.Spec) { s.Tags = []string{"a\x00"} }, false},
		"tag with line end":      {func(s *transfer.Spec) { s.Tags = []string{"a\n"} }, false},
		"reader":                 {func(s *transfer.Spec) { s.Readers = []string{"me"} }, false},
		"second reader":          {func(s *transfer.Spec) { s.Readers = []string{uuidB, uuidA[1:]} }, false},
		"chunk 4M":               {func(s *transfer.Spec) { s.ChunkSize = MaxChunk }, true},
		"chunk 4M+4k":            {func(s *transfer.Spec) { s.ChunkSize = MaxChunk + transfer.MinChunkSize }, false},
	} {
		t.Run(name, func(t *testing.T) {
			source, target := transfer.Ref{Path: "/images/disk.img"}, transfer.Ref{Endpoint: "zrh"}
			s := transfer.NewSpec(transfer.Upload, source, target)
			tc.change(&s)
			err := transfer.Schemes{Drives, transfer.Files}.Check(&s)
			if (err == nil) != tc.ok || (err != nil && transfer.CodeOf(err) != transfer.CodeInvalid) {
				t.Errorf("got %v, want an error: %t", err, !tc.ok)
			}
			var e *transfer.Error
			if err != nil && (!errors.As(err, &e) || e.Hint == "") {
				t.Errorf("got %v without a hint, want one", err)
			}
		})
	}
}

// TestReadersAreReadAsUsersWriteThem: in either case, and all for everyone.
func TestReadersAreReadAsUsersWriteThem(t *testing.T) {
	got := ParseReaders([]string{strings.ToUpper(uuidA), " " + uuidA, "all", "me"})
	if want := []string{uuidA, uuidA, uuidB, "me"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if err := (CreateOptions{Readers: got[:3]}).Check(); err != nil {
		t.Errorf("got %v, want no error", err)
	}
}

// TestNameOfADriveFromAnyText: whatever the text, the name passes Check.
func TestNameOfADriveFromAnyText(t *testing.T) {
	for text, want := range map[string]string{
		"web": "web", "a\nb\tc": "a_b_c", "a\u202eb": "a_b", " ": "", " x ": "x", "\x1b[1m": "_[1m", "": "",
	} {
		got := DriveName(text)
		if got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
		if err := (CreateOptions{Name: got}).Check(); err != nil {
			t.Errorf("%q: got %v, want no error", text, err)
		}
	}
}
