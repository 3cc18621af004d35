package endpoints_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/transferd/transferd/internal/jobtest"
	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/worker"
)

// tags are the tags of a drive on an endpoint.
func (h *harness) tags(endpoint, uuid string) []string {
	h.t.Helper()
	c, err := h.Opener.Client(h.t.Context(), endpoint)
	if err != nil {
		h.t.Fatal(err)
	}
	info, err := c.Drive(h.t.Context(), uuid)
	if err != nil {
		h.t.Fatal(err)
	}
	return info.Tags
}

// TestNewDriveIsTaggedIncomplete: a drive that a job makes has the tag until the job has succeeded.
// The user's tags stay.
func TestNewDriveIsTaggedIncomplete(t *testing.T) {
	h := newHarness(t)
	s := spec(transfer.Upload, jobtest.File(h.image(1<<20)), newDrive)
	s.Tags = []string{"mine"}
	session := &worker.Session{Job: worker.Job{ID: "job", Spec: s}}
	made, err := h.Opener.Provision(t.Context(), session, 1<<20, false)
	if err != nil {
		t.Fatal(err)
	}
	got, want := h.tags(jobtest.Here, made.UUID), []string{"mine", "transferd:job", "transferd:incomplete"}
	if !slices.Equal(got, want) {
		t.Errorf("before it is complete: got %q, want %q", got, want)
	}
	for range 2 { // the second call as after a lost response
		if err := h.Opener.TagComplete(t.Context(), session, made.UUID); err != nil {
			t.Fatal(err)
		}
		got, want := h.tags(jobtest.Here, made.UUID), []string{"mine", "transferd:job"}
		if !slices.Equal(got, want) {
			t.Errorf("when it is complete: got %q, want %q", got, want)
		}
	}
	up := h.MustRun(s)
	for _, where := range []string{jobtest.Here, jobtest.There} {
		clone := h.MustRun(spec(transfer.Clone, jobtest.Drive(jobtest.Here, up.Drive), jobtest.Drive(where, "")))
		got := h.tags(where, clone.Drive)
		incomplete := slices.Contains(got, transfer.IncompleteTag)
		if transfer.MakerOf(got) == "" || incomplete || !slices.Contains(got, "mine") {
			t.Errorf("a clone %s: got %q, want mine and the tag of its job, complete", where, got)
		}
	}
}

// TestDriveInUseIsNotWritten: a drive is not written while something uses it, HeldBy names the servers
// among that, and Writers those that may write to it.
func TestDriveInUseIsNotWritten(t *testing.T) {
	h := newHarness(t)
	s := spec(transfer.Upload, jobtest.File(h.image(1<<20)), newDrive)
	s.Target.Drive = h.MustRun(s).Drive
	s.Overwrite = true
	var media atomic.Value
	media.Store("disk")
	h.setIntercept(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, s.Target.Drive+"/info") {
			return false
		}
		const info = "drive %s\nname x\nsize %d\nstatus active\ntype %s\n" +
			"claimed host-1:lock:x host-1:guest:" + uuidA + ":ide:0:0\n"
		_, _ = fmt.Fprintf(w, info, s.Target.Drive, 1<<20, media.Load())
		return true
	})
	session := &worker.Session{Job: worker.Job{ID: "job", Spec: s}}
	_, err := h.Opener.Sink(t.Context(), session, worker.SinkRequest{Drive: s.Target.Drive, Size: 1 << 20})
	const claims = "in use by host-1:lock:x, host-1:guest:" + uuidA + ":ide:0:0"
	if transfer.CodeOf(err) != transfer.CodeConflict || !strings.Contains(err.Error(), claims) {
		t.Errorf("got %v, want %s with the server", err, transfer.CodeConflict)
	}
	servers, err := h.Opener.HeldBy(t.Context(), session, s.Target)
	if err != nil || !slices.Equal(servers, []string{uuidA}) {
		t.Errorf("HeldBy: got %q, %v; want the server", servers, err)
	}
	for _, tc := range []struct {
		media string
		want  []string
	}{{"disk", []string{uuidA}}, {"cdrom", nil}} {
		media.Store(tc.media)
		servers, err := h.Opener.Writers(t.Context(), session, s.Target)
		if err != nil || !slices.Equal(servers, tc.want) {
			t.Errorf("Writers of a %s: got %q, %v; want %q", tc.media, servers, err, tc.want)
		}
	}
}

// TestOverwrittenDriveIsTagged: an overwritten drive has a tag from before the first write until it
// is complete. The user's tags stay, and the tag of the last job that has overwritten it is added.
func TestOverwrittenDriveIsTagged(t *testing.T) {
	h := newHarness(t)
	first := spec(transfer.Upload, jobtest.File(h.image(1<<20)), newDrive)
	first.Tags = []string{"mine"}
	s := spec(transfer.Upload, first.Source, jobtest.Drive(jobtest.Here, h.MustRun(first).Drive))
	s.Overwrite = true
	var whileWritten []string
	var once sync.Once
	h.setIntercept(func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.URL.Path, "/write/") {
			once.Do(func() { whileWritten = h.tags(jobtest.Here, s.Target.Drive) })
		}
		return false
	})
	session := &worker.Session{Job: worker.Job{ID: "job", Spec: s}}
	for range 2 {
		tags, err := h.Opener.TagIncomplete(t.Context(), session, s.Target.Drive)
		if err != nil || !tags.Incomplete || tags.Job {
			t.Errorf("TagIncomplete: got %+v, %v; want incomplete, not of the job", tags, err)
		}
	}
	h.MustRun(s)
	if n := len(whileWritten); n == 0 || !strings.HasPrefix(whileWritten[n-1], "transferd:overwriting:") {
		t.Errorf("while it is written: got %q, want the tag transferd:overwriting last", whileWritten)
	}
	if err := h.Opener.TagComplete(t.Context(), session, s.Target.Drive); err != nil {
		t.Fatal(err)
	}
	got, want := h.tags(jobtest.Here, s.Target.Drive), []string{"mine", "transferd:job"}
	if !slices.Equal(got, want) {
		t.Errorf("when it is complete: got %q, want %q", got, want)
	}
	tags, err := h.Opener.TargetTags(t.Context(), session, s.Target.Drive)
	if err != nil || tags.Incomplete || !tags.Job {
		t.Errorf("when it is complete: got %+v, %v; want of the job, complete", tags, err)
	}
}
