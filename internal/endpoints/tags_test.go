package endpoints_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/worker"
)

// tags are the tags of a drive on an endpoint.
func (b *bench) tags(endpoint, uuid string) []string {
	b.t.Helper()
	c, err := b.opener.Client(b.t.Context(), endpoint)
	if err != nil {
		b.t.Fatal(err)
	}
	info, err := c.Info(b.t.Context(), uuid)
	if err != nil {
		b.t.Fatal(err)
	}
	return info.Tags
}

// TestNewDriveIsTaggedIncomplete: a drive that a job makes has the tag until the job has succeeded, and keeps
// the user's tags.
func TestNewDriveIsTaggedIncomplete(t *testing.T) {
	b := newBench(t)
	s := spec(transfer.Upload, file(b.image(1<<20)), drive("here", ""))
	s.Tags = []string{"mine"}
	session := &worker.Session{Job: worker.Job{ID: "job", Spec: s}}
	uuid, err := b.opener.Provision(t.Context(), session, 1<<20, false)
	if err != nil {
		t.Fatal(err)
	}
	if got := b.tags("here", uuid); !slices.Equal(got, []string{"mine", "transferd:job", "transferd:incomplete"}) {
		t.Errorf("while it is written: %q", got)
	}
	for range 2 { // the second time as after a lost response
		if err := b.opener.Complete(t.Context(), session, uuid); err != nil {
			t.Fatal(err)
		}
		if got := b.tags("here", uuid); !slices.Equal(got, []string{"mine", "transferd:job"}) {
			t.Errorf("when it is complete: %q", got)
		}
	}
	up := b.mustRun(s)
	for _, where := range []string{"here", "there"} {
		clone := b.mustRun(spec(transfer.Clone, drive("here", up.Drive), drive(where, "")))
		got := b.tags(where, clone.Drive)
		incomplete := slices.Contains(got, transfer.IncompleteTag)
		if transfer.MakerOf(got) == "" || incomplete || !slices.Contains(got, "mine") {
			t.Errorf("a clone %s: %q", where, got)
		}
	}
}

// TestDriveInUseIsNotWritten: a drive is not written while a server uses it, and UsedBy names the server.
func TestDriveInUseIsNotWritten(t *testing.T) {
	b := newBench(t)
	s := spec(transfer.Upload, file(b.image(1<<20)), drive("here", ""))
	s.Target.Drive = b.mustRun(s).Drive
	s.Overwrite = true
	b.intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, s.Target.Drive+"/info") {
			return false
		}
		const info = "drive %s\nname x\nsize %d\nstatus active\nclaimed server-1:exclusive\n"
		_, _ = fmt.Fprintf(w, info, s.Target.Drive, 1<<20)
		return true
	})
	session := &worker.Session{Job: worker.Job{ID: "job", Spec: s}}
	_, err := b.opener.Sink(t.Context(), session, worker.SinkRequest{Drive: s.Target.Drive, Size: 1 << 20})
	if transfer.CodeOf(err) != transfer.CodeConflict || !strings.Contains(err.Error(), "in use by server-1:exclusive") {
		t.Error(err)
	}
	users, err := b.opener.UsedBy(t.Context(), session, s.Target)
	if err != nil || !slices.Equal(users, []string{"server-1:exclusive"}) {
		t.Errorf("%q, %v", users, err)
	}
}

// TestOverwrittenDriveIsTagged from before the first write until it is complete; the user's tags stay,
// and it says which job was the last to overwrite it.
func TestOverwrittenDriveIsTagged(t *testing.T) {
	b := newBench(t)
	first := spec(transfer.Upload, file(b.image(1<<20)), drive("here", ""))
	first.Tags = []string{"mine"}
	s := spec(transfer.Upload, first.Source, drive("here", b.mustRun(first).Drive))
	s.Overwrite = true
	var whileWritten []string
	var once sync.Once
	b.intercept(func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.URL.Path, "/write/") {
			once.Do(func() { whileWritten = b.tags("here", s.Target.Drive) })
		}
		return false
	})
	session := &worker.Session{Job: worker.Job{ID: "job", Spec: s}}
	for range 2 {
		mark, err := b.opener.MarkOpen(t.Context(), session, s.Target.Drive)
		if err != nil || !mark.Open || mark.Job {
			t.Errorf("marked as open: %+v, %v", mark, err)
		}
	}
	b.mustRun(s)
	if n := len(whileWritten); n == 0 || !strings.HasPrefix(whileWritten[n-1], "transferd:overwriting:") {
		t.Errorf("while it is written: %q", whileWritten)
	}
	if err := b.opener.Complete(t.Context(), session, s.Target.Drive); err != nil {
		t.Fatal(err)
	}
	if got := b.tags("here", s.Target.Drive); !slices.Equal(got, []string{"mine", "transferd:job"}) {
		t.Errorf("when it is complete: %q", got)
	}
	mark, err := b.opener.Mark(t.Context(), session, s.Target.Drive)
	if err != nil || mark.Open || !mark.Job {
		t.Errorf("when it is complete: %+v, %v", mark, err)
	}
}
