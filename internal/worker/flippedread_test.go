package worker

import (
	"testing"

	"github.com/transferd/transferd/internal/transfer"
)

// TestFlippedReadIsFoundByASecondRead: the first read of each chunk of the source has a flipped
// bit, which only a second read shows.
func TestFlippedReadIsFoundByASecondRead(t *testing.T) {
	image := randomBytes(5*chunkSize + 7)
	for name, tc := range map[string]struct {
		kind    transfer.Kind
		verify  transfer.VerifyMode
		ordered bool
		drive   string // the target, made by the job
	}{
		"download":          {transfer.Download, transfer.VerifyFull, false, ""},
		"download in order": {transfer.Download, transfer.VerifyFull, true, ""},
		"clone":             {transfer.Clone, transfer.VerifyFull, false, "uuid"},
		"verify":            {transfer.Verify, transfer.VerifyWritten, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			source, sink := newMemImage(image), newMemImage(make([]byte, len(image)))
			if tc.kind == transfer.Verify {
				copy(sink.data, image)
			}
			source.corruptRead = func(_ transfer.Chunk, n int, p []byte) {
				if n == 1 {
					p[len(p)/2] ^= 4
				}
			}
			j := newJob(t, source, sink)
			if tc.ordered {
				j = newJob(t, source, orderedSink{sink})
			}
			j.spec.Kind, j.spec.Verify, j.opener.drive = tc.kind, tc.verify, tc.drive
			if p := j.mustRun(); p.Retries.Mismatch == 0 {
				t.Error("got no mismatch in the retries, want some")
			}
			checkContent(t, sink, image)
		})
	}
}

// TestWrongReadsDoNotFailAnIntactDrive: even if both ends are read wrong several times in a row.
func TestWrongReadsDoNotFailAnIntactDrive(t *testing.T) {
	image := randomBytes(5 * chunkSize)
	source, sink := newMemImage(image), newMemImage(append([]byte(nil), image...))
	source.corruptRead = flip(maxComparisons - 1)
	j := newJob(t, source, sink)
	j.spec.Kind = transfer.Verify
	if p := j.mustRun(); !p.Verified || p.Retries.Mismatch == 0 {
		t.Errorf("got verified %v and retries %+v, want true and mismatches", p.Verified, p.Retries)
	}
	sink.data[2*chunkSize] ^= 1
	j = newJob(t, newMemImage(image), sink)
	j.spec.Kind = transfer.Verify
	j.mustFail(transfer.CodeMismatch)
}
