package transfer

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
)

// TestCompressionIsAutoNoneOrALevel from 1 to 9.
func TestCompressionIsAutoNoneOrALevel(t *testing.T) {
	for in, want := range map[string]Compression{
		"auto": CompressionAuto, "none": CompressionNone, "1": 1, "6": 6, "9": 9,
	} {
		got, err := ParseCompression(in)
		if err != nil || got != want || got.String() != in {
			t.Errorf("ParseCompression(%q) = %v, %v; want %v", in, got, err, want)
		}
	}
	for _, in := range []string{"", "0", "10", "-1", "Auto", "gzip", "1 ", "+1"} {
		if got, err := ParseCompression(in); CodeOf(err) != CodeInvalid {
			t.Errorf("ParseCompression(%q) = %v, %v; want %s", in, got, err, CodeInvalid)
		}
	}
}

var (
	image    = Ref{Path: "/images/disk.img"}
	web      = Ref{Path: "https://user:secret@h/disk.img?token=secret"}
	drive    = Ref{Endpoint: "zrh", Drive: uuidA}
	newDrive = Ref{Endpoint: "zrh"}
)

// TestEachKindHasItsEnds: other sources and targets are invalid, and the error shows no password.
func TestEachKindHasItsEnds(t *testing.T) {
	for _, tc := range []struct {
		kind     Kind
		src, dst Ref
		ok       bool
	}{
		{Upload, image, newDrive, true},
		{Upload, image, drive, true},
		{Upload, web, newDrive, true},
		{Upload, Ref{Path: Std}, newDrive, true},
		{Upload, drive, newDrive, false},
		{Upload, image, image, false},
		{Upload, image, web, false},
		{Download, drive, image, true},
		{Download, drive, Ref{Path: Std}, true},
		{Download, newDrive, image, false},
		{Download, image, image, false},
		{Download, web, image, false},
		{Download, drive, web, false},
		{Download, drive, newDrive, false},
		{Clone, drive, newDrive, true},
		{Clone, drive, Ref{Endpoint: "lvs"}, true},
		{Clone, drive, Ref{Endpoint: "lvs", Drive: uuidB}, false},
		{Clone, newDrive, newDrive, false},
		{Clone, image, newDrive, false},
		{Clone, drive, image, false},
		{Clone, drive, web, false},
		{Verify, image, drive, true},
		{Verify, web, drive, true},
		{Verify, drive, drive, false},
		{Verify, image, newDrive, false},
		{Verify, image, web, false},
		{"", image, newDrive, false},
		{"move", image, newDrive, false},
	} {
		s := NewSpec(tc.kind, tc.src, tc.dst)
		s.Overwrite = true
		err := s.Validate()
		if (err == nil) != tc.ok || (err != nil && CodeOf(err) != CodeInvalid) {
			t.Errorf("%s %s → %s: got %v, want valid %t", tc.kind, tc.src, tc.dst, err, tc.ok)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%s %s → %s: got %v, want no password in it", tc.kind, tc.src, tc.dst, err)
		}
	}
}

// TestUploadToAnExistingDriveNeedsOverwrite, because it destroys the drive's data.
func TestUploadToAnExistingDriveNeedsOverwrite(t *testing.T) {
	s := NewSpec(Upload, image, drive)
	if err := s.Validate(); CodeOf(err) != CodeExists {
		t.Errorf("got %v, want %s", err, CodeExists)
	}
	s.Overwrite = true
	if err := s.Validate(); err != nil {
		t.Errorf("with Overwrite: got %v, want no error", err)
	}
}

// TestActionFollowsFromTheKind, and for a clone from the endpoints.
func TestActionFollowsFromTheKind(t *testing.T) {
	elsewhere := Ref{Endpoint: "lvs"}
	for name, tc := range map[string]struct {
		spec Spec
		want Action
	}{
		"upload": {NewSpec(Upload, image, newDrive), Action{Writes: true, RereadsTarget: true}},
		"download": {
			NewSpec(Download, drive, image), Action{Writes: true, RereadsSource: true, RereadsTarget: true},
		},
		"clone": {
			NewSpec(Clone, drive, elsewhere), Action{Writes: true, RereadsSource: true, RereadsTarget: true},
		},
		"clone in place": {NewSpec(Clone, drive, newDrive), Action{EndpointCopies: true}},
		"verify":         {NewSpec(Verify, image, drive), Action{}},
	} {
		if got := tc.spec.Action(); got != tc.want {
			t.Errorf("%s: got %+v, want %+v", name, got, tc.want)
		}
	}
}

// TestInvalidFieldsHaveAHint: each field of a spec has its range.
func TestInvalidFieldsHaveAHint(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(s *Spec)
		ok     bool
	}{
		"defaults": {func(*Spec) {}, true},
		"all of a new drive": {func(s *Spec) {
			s.Name, s.Size, s.Tags, s.Readers = "n", 512, []string{"a:b"}, []string{uuidB}
		}, true},
		"name of old drive":    {func(s *Spec) { s.Target, s.Name = drive, "n" }, false},
		"size of old drive":    {func(s *Spec) { s.Target, s.Size = drive, 512 }, false},
		"tags of old drive":    {func(s *Spec) { s.Target, s.Tags = drive, []string{"t"} }, false},
		"readers of old drive": {func(s *Spec) { s.Target, s.Readers = drive, []string{uuidB} }, false},
		"size -512":            {func(s *Spec) { s.Size = -512 }, false},
		"verify":               {func(s *Spec) { s.Verify = "" }, false},
		"verify none":          {func(s *Spec) { s.Verify = VerifyNone }, true},
		"priority":             {func(s *Spec) { s.Priority = "urgent" }, false},
		"format":               {func(s *Spec) { s.Format = "xz" }, false},
		"format zst":           {func(s *Spec) { s.Format = FormatZstd }, true},
		"format of a verify":   {func(s *Spec) { s.Kind, s.Target, s.Format = Verify, drive, FormatRaw }, true},
		"format of a clone":    {func(s *Spec) { s.Kind, s.Source, s.Format = Clone, drive, FormatRaw }, false},
		"short":                {func(s *Spec) { s.Size, s.AllowShort = 512, true }, true},
		"a spool":              {func(s *Spec) { s.Spool = "/spool" }, true},
		"a relative spool":     {func(s *Spec) { s.Spool = "spool" }, false},
		"a spool of no UTF-8":  {func(s *Spec) { s.Spool = "/\xff" }, false},
		"a spool of a clone":   {func(s *Spec) { s.Kind, s.Source, s.Spool = Clone, drive, "/spool" }, false},
		"short of no size":     {func(s *Spec) { s.AllowShort = true }, false},
		"short clone": {
			func(s *Spec) { s.Kind, s.Source, s.Size, s.AllowShort = Clone, drive, 512, true }, false,
		},
		"follow":             {func(s *Spec) { s.Follow = true }, true},
		"follow of a verify": {func(s *Spec) { s.Kind, s.Target, s.Follow = Verify, drive, true }, true},
		"follow of a clone":  {func(s *Spec) { s.Kind, s.Source, s.Follow = Clone, drive, true }, false},
		"chunk 0":            {func(s *Spec) { s.ChunkSize = 0 }, false},
		"chunk negative":     {func(s *Spec) { s.ChunkSize = -MinChunkSize }, false},
		"chunk 4k":           {func(s *Spec) { s.ChunkSize = MinChunkSize }, true},
		"chunk 4k+1":         {func(s *Spec) { s.ChunkSize = MinChunkSize + 1 }, false},
		"chunk 6k":           {func(s *Spec) { s.ChunkSize = 6 << 10 }, false},
		"chunk max":          {func(s *Spec) { s.ChunkSize = MaxChunkSize }, true},
		"chunk max+4k":       {func(s *Spec) { s.ChunkSize = MaxChunkSize + MinChunkSize }, false},
		"concurrency -1":     {func(s *Spec) { s.Concurrency = -1 }, false},
		"concurrency max":    {func(s *Spec) { s.Concurrency = MaxConcurrency }, true},
		"concurrency max+1":  {func(s *Spec) { s.Concurrency = MaxConcurrency + 1 }, false},
		"rate":               {func(s *Spec) { s.LimitRate = -1 }, false},
		"queue":              {func(s *Spec) { s.Queue = "" }, false},
		"queue with colon":   {func(s *Spec) { s.Queue = "a:b" }, false},
		"sha256":             {func(s *Spec) { s.SHA256 = strings.Repeat("aB", 32) }, true},
		"sha256 of 63":       {func(s *Spec) { s.SHA256 = strings.Repeat("a", 63) }, false},
		"sha256 of 66":       {func(s *Spec) { s.SHA256 = strings.Repeat("a", 66) }, false},
		"sha256 no hex":      {func(s *Spec) { s.SHA256 = strings.Repeat("g", 64) }, false},
	} {
		s := NewSpec(Upload, image, newDrive)
		tc.change(&s)
		if err := s.Validate(); (err == nil) != tc.ok || (err != nil && CodeOf(err) != CodeInvalid) {
			t.Errorf("%s: got %v, want valid %t", name, err, tc.ok)
		}
		var e *Error
		if err := s.Validate(); err != nil && (!errors.As(err, &e) || e.Hint == "") {
			t.Errorf("%s: got %v without a hint, want one", name, err)
		}
	}
}

// TestSpecSurvivesJSON with each compression.
func TestSpecSurvivesJSON(t *testing.T) {
	s := NewSpec(Upload, web, newDrive)
	s.Name, s.Size, s.Tags, s.Readers, s.SHA256 = "n", 1024, []string{"t"}, []string{uuidB}, strings.Repeat("ab", 32)
	s.Concurrency, s.LimitRate, s.Format = 4, 1<<20, FormatGzip
	s.ImageDigest, s.Overwrite, s.AllowShort, s.Follow = true, true, true, true
	for _, c := range []Compression{CompressionAuto, CompressionNone, 1, 9} {
		s.Compression = c
		b, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		var back Spec
		if err := json.Unmarshal(b, &back); err != nil || !reflect.DeepEqual(back, s) {
			t.Errorf("%s:\ngot  %+v, %v\nwant %+v", b, back, err, s)
		}
	}
	if err := json.Unmarshal([]byte(`{"compression":"11"}`), new(Spec)); CodeOf(err) != CodeInvalid {
		t.Errorf("level 11: got %v, want %s", err, CodeInvalid)
	}
}

// TestSHA256NeedsTheImageDigest, and so does ImageDigest.
func TestSHA256NeedsTheImageDigest(t *testing.T) {
	for _, tc := range []struct {
		requested bool
		sha       string
		want      bool
	}{{}, {requested: true, want: true}, {sha: "ab", want: true}} {
		if s := (Spec{ImageDigest: tc.requested, SHA256: tc.sha}); s.WantsImageDigest() != tc.want {
			t.Errorf("%+v: got %t, want %t", tc, !tc.want, tc.want)
		}
	}
}

// TestTextMustBeUTF8, because JSON would change other bytes. The error shows no password.
func TestTextMustBeUTF8(t *testing.T) {
	for name, change := range map[string]func(s *Spec){
		"source":   func(s *Spec) { s.Source.Path = "/a\xff.img" },
		"URL":      func(s *Spec) { s.Source.Path = "https://u:s3cret@h/\xff?s3cret" },
		"name":     func(s *Spec) { s.Name = "a\xff" },
		"tag":      func(s *Spec) { s.Tags = []string{"a", "\xc3"} },
		"reader":   func(s *Spec) { s.Readers = []string{"\xff"} },
		"endpoint": func(s *Spec) { s.Target.Endpoint = "z\xff" },
	} {
		s := NewSpec(Upload, Ref{Path: "/a.img"}, Ref{Endpoint: "zrh"})
		s.Name = "a"
		change(&s)
		err := s.Validate()
		if CodeOf(err) != CodeInvalid || !strings.Contains(err.Error(), "UTF-8") {
			t.Errorf("%s: got %v, want %s about UTF-8", name, err, CodeInvalid)
		} else if strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: got %v, want no password in it", name, err)
		}
	}
}
