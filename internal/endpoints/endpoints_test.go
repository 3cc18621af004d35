package endpoints_test

import (
	"net/http"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/transferd/transferd/internal/jobtest"
	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/worker"
)

// TestImageSurvivesUploadCloneAndDownload: images of all boundary sizes are equal after an upload,
// a clone by the endpoint, a clone through the worker and a download.
func TestImageSurvivesUploadCloneAndDownload(t *testing.T) {
	const c = 64 << 10
	for _, size := range []int64{512, c - 512, c, c + 512, 7*c + 1024} {
		h := newHarness(t)
		img := h.image(size)
		up := h.MustRun(spec(transfer.Upload, jobtest.File(img), newDrive))
		clone := h.MustRun(spec(transfer.Clone, jobtest.Drive(jobtest.Here, up.Drive), newDrive))
		cloned := jobtest.Drive(jobtest.Here, clone.Drive)
		there := h.MustRun(spec(transfer.Clone, cloned, jobtest.Drive(jobtest.There, "")))
		h.MustRun(spec(transfer.Download, jobtest.Drive(jobtest.There, there.Drive), jobtest.File(h.Path("copy.img"))))
		h.expectEqual(h.Path("copy.img"), img)
		for _, against := range []string{img, h.Path("copy.img.manifest.json")} {
			p := h.MustRun(spec(transfer.Verify, jobtest.File(against), jobtest.Drive(jobtest.There, there.Drive)))
			if got, want := p.Digest.ChunksRoot, up.Digest.ChunksRoot; got != want {
				t.Errorf("%d bytes: got chunks root %s, want %s", size, got, want)
			}
		}
	}
}

// TestReadViaIsThatOfTheData: what a download wrote is read back from the page cache, and from the
// disk with --verify full. Samples of the zeros that it left out do not count as either.
func TestReadViaIsThatOfTheData(t *testing.T) {
	h := newHarness(t)
	up := h.MustRun(spec(transfer.Upload, jobtest.File(h.image(1<<20)), newDrive))
	for mode, want := range map[transfer.VerifyMode][]transfer.ReadVia{
		transfer.VerifyWritten: {transfer.ReadCached},
		transfer.VerifyFull:    {transfer.ReadDirect, transfer.ReadDropped}, // as the file system allows
	} {
		down := spec(transfer.Download, jobtest.Drive(jobtest.Here, up.Drive), jobtest.File(h.Path(string(mode))))
		down.Verify = mode
		if got := h.MustRun(down).ReadVia; !slices.Contains(want, got) {
			t.Errorf("--verify %s: got read via %q, want one of %q", mode, got, want)
		}
	}
}

// TestImageSurvivesEveryFault: with all faults at once, each fault occurs, and the image is still
// equal.
func TestImageSurvivesEveryFault(t *testing.T) {
	faults := []string{"409=4%", "504=4%", "500=4%", "reset=4%", "truncate=4%", "corrupt-write=4%", "corrupt-read=4%"}
	h := newHarness(t, faults...)
	img := h.image(24 << 20)
	up := h.MustRun(spec(transfer.Upload, jobtest.File(img), newDrive))
	down := spec(transfer.Download, jobtest.Drive(jobtest.Here, up.Drive), jobtest.File(h.Path("copy.img")))
	down.Verify = transfer.VerifyFull // a download that reads once cannot detect a corrupt read
	h.MustRun(down)
	h.expectEqual(h.Path("copy.img"), img)
	r := up.Retries
	for name, n := range map[string]int64{
		"conflict": r.Conflict, "timeout": r.Timeout, "server": r.Server, "network": r.Network, "mismatch": r.Mismatch,
	} {
		if n == 0 {
			t.Errorf("got no retry of kind %s in %+v, want some", name, r)
		}
	}
	for kind, n := range h.Sandbox.FaultCounts() {
		if n == 0 && slices.ContainsFunc(faults, func(f string) bool { return strings.HasPrefix(f, kind+"=") }) {
			t.Errorf("got no fault %s, want some", kind)
		}
	}
}

// TestOneJobMakesOneDrive: an attempt finds the drive that an earlier attempt made and did not
// record.
func TestOneJobMakesOneDrive(t *testing.T) {
	h := newHarness(t)
	s := spec(transfer.Upload, jobtest.File(h.image(1<<20)), newDrive)
	session := &worker.Session{Job: worker.Job{ID: "job", Spec: s}}
	first, err := h.Opener.Provision(t.Context(), session, 1<<20, false)
	if err != nil {
		t.Fatal(err)
	}
	second, err := h.Opener.Provision(t.Context(), session, 1<<20, true)
	if err != nil || first.UUID != second.UUID {
		t.Errorf("the second call: got drive %s (%v), want %s", second.UUID, err, first.UUID)
	}
}

// failOnce makes the next call whose path ends with suffix fail with a status.
func (h *harness) failOnce(suffix string, status int) {
	var done atomic.Bool
	h.setIntercept(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, suffix) || done.Swap(true) {
			return false
		}
		w.WriteHeader(status)
		return true
	})
}

// TestEachJobMakesItsOwnDrive: the same spec makes a new drive each time, also if the call is
// repeated.
func TestEachJobMakesItsOwnDrive(t *testing.T) {
	h := newHarness(t)
	s := spec(transfer.Upload, jobtest.File(h.image(1<<20)), newDrive)
	first := h.MustRun(s)
	h.failOnce("drives/create", http.StatusGatewayTimeout)
	if second := h.MustRun(s); second.Drive == first.Drive {
		t.Errorf("the second job: got the first one's drive %s, want another", first.Drive)
	}
}

// TestNewDriveMayBeUnknownAtFirst: a part of the endpoint may respond with 404 for a drive that
// another part has just made.
func TestNewDriveMayBeUnknownAtFirst(t *testing.T) {
	// To Here, the endpoint clones; to There, the worker copies.
	for _, to := range []string{jobtest.Here, jobtest.There} {
		h := newHarness(t)
		origin := h.upload(1 << 20)
		var unknown atomic.Int64
		h.setIntercept(func(w http.ResponseWriter, r *http.Request) bool {
			if strings.Contains(r.URL.Path, origin) || !strings.HasSuffix(r.URL.Path, "/info") || unknown.Add(1) > 3 {
				return false
			}
			w.WriteHeader(http.StatusNotFound)
			return true
		})
		h.MustRun(spec(transfer.Clone, jobtest.Drive(jobtest.Here, origin), jobtest.Drive(to, "")))
		if n := unknown.Load(); n < 4 {
			t.Errorf("%s: got %d requests for the drive, want at least 4", to, n)
		}
	}
}

// TestNothingIsMadeForBadInput: after each refusal the endpoint has no drive.
func TestNothingIsMadeForBadInput(t *testing.T) {
	h := newHarness(t)
	img := h.image(1 << 20)
	write := func(name string, data []byte) string {
		if err := os.WriteFile(h.Path(name), data, 0o600); err != nil {
			t.Fatal(err)
		}
		return h.Path(name)
	}
	upload := func(path string) transfer.Spec { return spec(transfer.Upload, jobtest.File(path), newDrive) }
	nowhere := spec(transfer.Upload, jobtest.File(img), jobtest.Drive("nowhere", ""))
	small := upload(img)
	small.Size = 512 << 10
	for name, tc := range map[string]struct {
		spec transfer.Spec
		code transfer.Code
	}{
		"missing":          {upload(h.Path("none")), transfer.CodeNotFound},
		"a folder":         {upload(h.Dir), transfer.CodeInvalid},
		"empty":            {upload(write("empty", nil)), transfer.CodeInvalid},
		"no whole sectors": {upload(write("odd", make([]byte, 1000))), transfer.CodeInvalid},
		"damaged gzip":     {upload(write("torn.gz", []byte("\x1f\x8b\x08\x00torn"))), transfer.CodeInvalid},
		"larger than size": {small, transfer.CodeInvalid},
		"outside of roots": {upload("/etc/passwd"), transfer.CodeForbidden},
		"no endpoint":      {nowhere, transfer.CodeInvalid},
	} {
		_, err := h.Run(tc.spec)
		if transfer.CodeOf(err) != tc.code {
			t.Errorf("%s: got %v (%s), want %s", name, err, transfer.CodeOf(err), tc.code)
		}
	}
	c, err := h.Opener.Client(t.Context(), "here")
	if err != nil {
		t.Fatal(err)
	}
	if drives, err := c.Drives(t.Context()); err != nil || len(drives) != 0 {
		t.Errorf("got %d drives, %v; want none", len(drives), err)
	}
}
