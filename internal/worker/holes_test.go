package worker

import (
	"testing"

	"github.com/transferd/transferd/internal/transfer"
)

// TestHolesAreReadWhereTheyAreNotTrusted: a source claims to be one hole. Comparisons, full
// verification and NoHoles read it all the same.
func TestHolesAreReadWhereTheyAreNotTrusted(t *testing.T) {
	image := randomBytes(20 * chunkSize)
	hidden := func() *memImage {
		s := newMemImage(image)
		s.extents = []transfer.Extent{}
		return s
	}
	for name, change := range map[string]func(s *transfer.Spec){
		"full":     func(s *transfer.Spec) { s.Verify = transfer.VerifyFull },
		"no holes": func(s *transfer.Spec) { s.NoHoles = true },
		"neither":  func(*transfer.Spec) {},
	} {
		for _, blank := range []bool{true, false} {
			sink := newMemImage(make([]byte, len(image)))
			sink.blank = blank
			j := newJob(t, hidden(), sink)
			change(&j.spec)
			p := j.mustRun()
			if name == "neither" {
				checkContent(t, sink, make([]byte, len(image)))
			} else {
				checkContent(t, sink, image)
			}
			if p.Chunks.Done != 20 || p.Chunks.Zero+p.Chunks.Sent != 20 && blank {
				t.Errorf("%s, blank %t: got %+v, want all 20 chunks done", name, blank, p.Chunks)
			}
		}
	}
	zeros := newMemImage(make([]byte, len(image)))
	j := newJob(t, hidden(), zeros)
	j.spec.Kind, j.spec.Target.Drive = transfer.Verify, "old"
	j.mustFail(transfer.CodeMismatch)
	j = newJob(t, hidden(), newMemImage(image))
	j.spec.Kind, j.spec.Target.Drive = transfer.Verify, "old"
	j.mustRun()
}
