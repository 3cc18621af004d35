package endpoints_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/transferd/transferd/internal/api"
	"github.com/transferd/transferd/internal/jobtest"
	"github.com/transferd/transferd/internal/sandbox"
	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/transfertest"
	"github.com/transferd/transferd/internal/worker"
)

// snapshotHarness is a harness with a drive that a running server holds, and a session that reads it.
func snapshotHarness(t *testing.T, faults ...string) (*harness, *worker.Session) {
	t.Helper()
	h := newHarnessWith(t, sandbox.Config{CloneInUse: true}, faults...)
	drive := jobtest.Drive(jobtest.Here, h.upload(256<<10))
	h.startServer(drive.Drive)
	s := spec(transfer.Download, drive, jobtest.File(h.Path("copy.img")))
	return h, &worker.Session{Job: worker.Job{ID: "job", Spec: s}}
}

// uuids is the UUIDs of the drives at the endpoint.
func (h *harness) uuids() []string {
	h.t.Helper()
	uuids, err := h.client().ListDrives(h.t.Context())
	if err != nil {
		h.t.Fatal(err)
	}
	return uuids
}

// awaitReady waits until a drive is complete.
func (h *harness) awaitReady(s *worker.Session, drive string) {
	h.t.Helper()
	transfertest.Until(h.t, "the drive is complete", func() bool {
		ready, err := h.Opener.SnapshotReady(h.t.Context(), s, drive)
		return ready && err == nil
	})
}

// TestClonesAreFoundByTheirTag: after a lost response the clone is found again, and all clones that
// a job has requested are destroyed.
func TestClonesAreFoundByTheirTag(t *testing.T) {
	h, s := snapshotHarness(t)
	first, err := h.Opener.Snapshot(t.Context(), s, false)
	if err != nil || !first.Tagged || len(first.Servers) != 1 {
		t.Fatalf("got %+v, %v; want a clone with a tag, and the server", first, err)
	}
	if again, err := h.Opener.Snapshot(t.Context(), s, true); err != nil || again.Drive != first.Drive {
		t.Errorf("found: got %+v, %v; want %s", again, err, first.Drive)
	}
	if other, err := h.Opener.Snapshot(t.Context(), s, false); err != nil || other.Drive == first.Drive {
		t.Errorf("requested again: got %+v, %v; want another clone", other, err)
	}
	other := *s
	other.ID = "other"
	kept, err := h.Opener.Snapshot(t.Context(), &other, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, drive := range h.uuids() {
		h.awaitReady(s, drive)
	}
	for _, want := range []int{2, 0} {
		if n, err := h.Opener.DestroySnapshots(t.Context(), s, first.Drive, true); err != nil || n != want {
			t.Errorf("got %d destroyed, %v; want %d", n, err, want)
		}
	}
	if left := h.uuids(); !slices.Equal(left, []string{s.Spec.Source.Drive, kept.Drive}) {
		t.Errorf("got drives %q, want the source and the other job's clone", left)
	}
}

// TestCloneWithoutATagIsDestroyedByItsUUID: on an endpoint without tags.
func TestCloneWithoutATagIsDestroyedByItsUUID(t *testing.T) {
	h, s := snapshotHarness(t)
	made, err := h.client().CloneDrive(t.Context(), s.Spec.Source.Drive, api.CloneOptions{Name: "x"})
	if err != nil {
		t.Fatal(err)
	}
	h.awaitReady(s, made.UUID)
	if _, err := h.Opener.DestroySnapshots(t.Context(), s, made.UUID, true); err != nil || len(h.uuids()) != 2 {
		t.Errorf("a user has removed its tag: got %v and drives %q, want it to stay", err, h.uuids())
	}
	n, err := h.Opener.DestroySnapshots(t.Context(), s, made.UUID, false)
	if err != nil || n != 1 || len(h.uuids()) != 1 {
		t.Errorf("it had no tag: got %d, %v and drives %q, want it destroyed", n, err, h.uuids())
	}
}

// TestCloneThatAServerHoldsStays: a user has taken it into use.
func TestCloneThatAServerHoldsStays(t *testing.T) {
	h, s := snapshotHarness(t)
	made, err := h.Opener.Snapshot(t.Context(), s, false)
	if err != nil {
		t.Fatal(err)
	}
	h.awaitReady(s, made.Drive)
	h.startServer(made.Drive)
	_, err = h.Opener.DestroySnapshots(t.Context(), s, made.Drive, true)
	if transfer.CodeOf(err) != transfer.CodeInUse || len(h.uuids()) != 2 {
		t.Errorf("got %v and drives %q, want %s and both", err, h.uuids(), transfer.CodeInUse)
	}
}

// TestCloneThatIsNotCompleteIsDestroyedWhenItIs: a drive that is being made cannot be destroyed, and
// that a server holds its source is no reason to give up.
func TestCloneThatIsNotCompleteIsDestroyedWhenItIs(t *testing.T) {
	h, s := snapshotHarness(t, "imaging=1s")
	failed := false
	h.setIntercept(func(w http.ResponseWriter, r *http.Request) bool {
		path := r.URL.Path
		if failed || !strings.HasSuffix(path, "/info") || path == "/drives/info" ||
			strings.Contains(path, s.Spec.Source.Drive) || !strings.HasPrefix(path, "/drives/") {
			return false
		}
		failed = true // the first look at the clone
		w.WriteHeader(http.StatusForbidden)
		return true
	})
	if _, err := h.Run(s.Spec); transfer.CodeOf(err) != transfer.CodeRefused || !failed {
		t.Errorf("got %v, want %s", err, transfer.CodeRefused)
	}
	if left := h.uuids(); len(left) != 1 {
		t.Errorf("got drives %q, want only the source", left)
	}
}

// TestNoSpaceForACloneIsSaidBeforeIt: a clone needs space, too.
func TestNoSpaceForACloneIsSaidBeforeIt(t *testing.T) {
	h := newHarnessWith(t, sandbox.Config{CloneInUse: true, Quotas: []sandbox.Quota{mustQuota(t, "disk=300k")}})
	drive := jobtest.Drive(jobtest.Here, h.upload(256<<10))
	s := spec(transfer.Download, drive, jobtest.File(h.Path("copy.img")))
	s.Mode = transfer.ModeClone
	_, err := h.Run(s)
	if transfer.CodeOf(err) != transfer.CodeNoSpace || !strings.Contains(err.Error(), "needs 262144 bytes") {
		t.Errorf("got %v, want %s with what is needed", err, transfer.CodeNoSpace)
	}
}

func mustQuota(t *testing.T, text string) sandbox.Quota {
	t.Helper()
	q, err := sandbox.ParseQuota(text)
	if err != nil {
		t.Fatal(err)
	}
	return q
}
