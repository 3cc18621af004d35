package worker

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/transfertest"
)

func sha256Hex(image []byte) string {
	d := sha256.Sum256(image)
	return hex.EncodeToString(d[:])
}

// sparse returns an image of a little more than 30 chunks with two holes, one of them at its end.
func sparse() (image []byte, data []transfer.Extent) {
	image = make([]byte, 30*chunkSize+5)
	data = []transfer.Extent{{Len: 10 * chunkSize}, {Off: 20*chunkSize + 100, Len: 3 * chunkSize}}
	for _, e := range data {
		copy(image[e.Off:e.Off+e.Len], randomBytes(int(e.Len)))
	}
	return image, data
}

// TestImageDigestCoversHoles: the SHA-256 is that of the whole image, on every kind of target.
func TestImageDigestCoversHoles(t *testing.T) {
	image, data := sparse()
	for name, prepare := range map[string]func(m *memImage) transfer.Sink{
		"blank":    func(m *memImage) transfer.Sink { m.blank, m.data = true, make([]byte, len(image)); return m },
		"dirty":    func(m *memImage) transfer.Sink { return m },
		"in order": func(m *memImage) transfer.Sink { return orderedSink{m} },
	} {
		source, sink := newMemImage(image), newMemImage(nil)
		source.extents = data
		j := newJob(t, source, prepare(sink))
		j.spec.SHA256 = strings.ToUpper(sha256Hex(image))
		p := j.mustRun()
		if checkContent(t, sink, image); p.Digest.Image != sha256Hex(image) || sink.commits != 1 || sink.discards != 0 {
			t.Errorf("%s: got SHA-256 %s, %d commits, %d discards; want %s, 1, 0",
				name, p.Digest.Image, sink.commits, sink.discards, sha256Hex(image))
		}
		if root := transfertest.Manifest(image, chunkSize).ChunksRoot; p.Digest.ChunksRoot != root {
			t.Errorf("%s: got root %s, want %s", name, p.Digest.ChunksRoot, root)
		}
	}
}

// TestResumedDigestReadsTheWholeSource: but only the missing chunks are written.
func TestResumedDigestReadsTheWholeSource(t *testing.T) {
	image := randomBytes(20 * chunkSize)
	sink := newMemImage(nil)
	j := newHalfDone(t, newMemImage(image), sink)
	j.spec.SHA256 = sha256Hex(image)
	p := j.mustRun()
	if checkContent(t, sink, image); p.Chunks.Sent != 20 || p.Chunks.Done != 20 || p.Digest.Image != sha256Hex(image) {
		t.Errorf("got %+v and SHA-256 %s; want 20 chunks sent and done, and %s",
			p.Chunks, p.Digest.Image, sha256Hex(image))
	}
}

// TestWrongImageKeepsAnOldDrive: a drive that existed before the job stays in the plan.
func TestWrongImageKeepsAnOldDrive(t *testing.T) {
	sink := newMemImage(nil)
	j := newJob(t, newMemImage(randomBytes(3*chunkSize)), sink)
	j.store.saved.Plan.Drive = "old"
	j.spec.SHA256 = sha256Hex(nil)
	f := j.mustFail(transfer.CodeMismatch)
	if sink.commits != 0 || j.store.saved.Plan.Drive != "old" || f.Hint == "" {
		t.Errorf("got %d commits, plan %+v, error %+v; want 0, drive \"old\" and a hint",
			sink.commits, j.store.saved.Plan, f)
	}
}

// TestResumableTargetIsKept: after an error that a later attempt may not meet, the stored chunks
// stay.
func TestResumableTargetIsKept(t *testing.T) {
	for _, code := range []transfer.Code{transfer.CodeRefused, transfer.CodeUnauthorized, transfer.CodeNoSpace,
		transfer.CodeFenced} {
		sink := newMemImage(nil)
		j := newHalfDone(t, newMemImage(randomBytes(20*chunkSize)), sink)
		sink.onWrite = times(1, code)
		j.store.saved.Plan.Drive, j.store.saved.Plan.Created = "uuid", time.Now()
		sink.writes = make(map[int64]int)
		j.mustFail(code)
		if sink.discards != 0 || len(j.store.saved.Entries) != 10 || j.store.saved.Plan.Drive != "uuid" {
			t.Errorf("%s: got %d discards, %d entries, plan %+v; want 0, 10 and drive \"uuid\"",
				code, sink.discards, len(j.store.saved.Entries), j.store.saved.Plan)
		}
	}
}

// TestFullVerificationRepairsHoles: a hole that does not read as zeros on the target is rewritten,
// and counts as verified.
func TestFullVerificationRepairsHoles(t *testing.T) {
	image, data := sparse()
	source, sink := newMemImage(image), newMemImage(make([]byte, len(image)))
	source.extents, sink.blank = data, true
	sink.data[15*chunkSize+3] = 1
	j := newJob(t, source, sink)
	j.spec.Verify = transfer.VerifyFull
	p := j.mustRun()
	checkContent(t, sink, image)
	if p.Chunks.Verified != p.Chunks.Total || p.Chunks.Sent != 10+4+1 || p.Retries.Mismatch == 0 {
		t.Errorf("got %+v and retries %+v; want all chunks verified, 15 sent, a mismatch", p.Chunks, p.Retries)
	}
}

// TestZerosAreWrittenToAChangedBlankTarget: if the target differs from the ledger, its unwritten
// ranges may not be zeros either.
func TestZerosAreWrittenToAChangedBlankTarget(t *testing.T) {
	image := randomBytes(60 * chunkSize)
	clear(image[50*chunkSize : 51*chunkSize])
	sink := newMemImage(nil)
	sink.blank = true
	j := newHalfDone(t, newMemImage(image), sink)
	sink.data = randomBytes(len(image) + 1)[:len(image)]
	p := j.mustRun()
	checkContent(t, sink, image)
	if p.Chunks.Done != 60 || p.Chunks.Zero != 0 {
		t.Errorf("got %+v, want 60 chunks done and none skipped", p.Chunks)
	}
}

// storedImage is an image that is stored in another form.
type storedImage struct {
	*memImage
	sum string
}

func (s storedImage) StoredSHA256() string { return s.sum }

// TestPublishedSumMayBeOfTheImageOrItsFile: the job succeeds with either, and says which it is and
// from which line; any other sum fails it. A list that cannot be fetched, or has no sum, creates
// nothing.
func TestPublishedSumMayBeOfTheImageOrItsFile(t *testing.T) {
	image := randomBytes(3 * chunkSize)
	file := sha256Hex([]byte("the file"))
	for name, tc := range map[string]struct{ sum, of string }{
		"image": {sha256Hex(image), "image"}, "file": {file, "file"}, "other": {sha256Hex(nil), ""},
	} {
		sink := newMemImage(nil)
		j := newJob(t, storedImage{newMemImage(image), file}, sink)
		j.spec.SHA256URL = "https://h/SHA256SUMS"
		j.opener.sum = transfer.PublishedSum{SHA256: tc.sum, Origin: "line 7 of https://h/SHA256SUMS"}
		if tc.of == "" {
			if f := j.mustFail(transfer.CodeMismatch); !strings.Contains(f.Message, "line 7 of https://h/SHA256SUMS") {
				t.Errorf("%s: got %q, want the line in it", name, f.Message)
			}
			continue
		}
		p := j.mustRun()
		if p.Digest.Expected != tc.of || len(p.Warnings) != 1 || !strings.HasPrefix(p.Warnings[0], "line 7 of ") {
			t.Errorf("%s: got %+v and warnings %q, want %q and the line", name, p.Digest, p.Warnings, tc.of)
		}
	}
	j := newJob(t, newMemImage(image), newMemImage(nil))
	j.spec.SHA256URL = "https://h/SHA256SUMS"
	j.opener.open = func(what string, _ int) error {
		if what != "published sum" {
			t.Errorf("got %s, want nothing after a list that was refused", what)
		}
		return transfer.Errorf(transfer.CodeInvalid, "", "it has no line for disk.img")
	}
	j.mustFail(transfer.CodeInvalid)
}
