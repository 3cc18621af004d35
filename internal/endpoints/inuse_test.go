package endpoints_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/transferd/transferd/internal/api"
	"github.com/transferd/transferd/internal/jobtest"
	"github.com/transferd/transferd/internal/sandbox"
	"github.com/transferd/transferd/internal/transfer"
)

// startServer makes a server that runs with a drive, and returns it.
func (h *harness) startServer(drive string) api.Server {
	h.t.Helper()
	server, err := h.client().CreateServer(api.ServerOptions{
		Name: "web", CPU: 1000, Mem: 512, Devices: []api.Device{{Name: "ide:0:0", Drive: drive}}, Start: true,
	}).Do(h.t.Context())
	if err != nil {
		h.t.Fatal(err)
	}
	return server
}

// client is the client of the endpoint Here.
func (h *harness) client() *api.Client {
	h.t.Helper()
	c, err := h.Opener.Client(h.t.Context(), jobtest.Here)
	if err != nil {
		h.t.Fatal(err)
	}
	return c
}

// TestDriveInUseEndsAJobAtOnce: a drive that a running server holds is neither written nor cloned.
// The job ends without a retry, and names the server. After the server has stopped, it succeeds.
func TestDriveInUseEndsAJobAtOnce(t *testing.T) {
	h := newHarness(t)
	drive := jobtest.Drive(jobtest.Here, h.upload(256<<10))
	image := h.image(256 << 10)
	compressed := image + ".gz"
	if out, err := exec.Command("gzip", "-k", image).CombinedOutput(); err != nil {
		t.Fatalf("gzip: %v: %s", err, out)
	}
	overwrite := func(path string) transfer.Spec {
		s := spec(transfer.Upload, jobtest.File(path), drive)
		s.Overwrite = true
		return s
	}
	server := h.startServer(drive.Drive)
	specs := map[string]transfer.Spec{
		"upload": overwrite(image), "upload of a compressed image": overwrite(compressed),
		"clone": spec(transfer.Clone, drive, newDrive),
	}
	for name, s := range specs {
		p, err := h.Run(s)
		f := transfer.FailureOf(err)
		if f == nil || f.Code != transfer.CodeInUse || !strings.Contains(f.Message, "in use by server "+server.UUID) {
			t.Errorf("%s: got %+v, want %s with server %s", name, f, transfer.CodeInUse, server.UUID)
		}
		if p.Retries.Sum() != 0 {
			t.Errorf("%s: got retries %+v, want none", name, p.Retries)
		}
	}
	if err := h.client().StopServer(t.Context(), server.UUID); err != nil {
		t.Fatal(err)
	}
	for _, s := range specs {
		h.MustRun(s)
	}
}

// TestCompressedImageIsNotReadForADriveInUse: before an image is unpacked to find its size, the
// drive is looked at.
func TestCompressedImageIsNotReadForADriveInUse(t *testing.T) {
	h := newHarness(t)
	drive := jobtest.Drive(jobtest.Here, h.upload(256<<10))
	damaged := h.Path("damaged.gz")
	if err := os.WriteFile(damaged, []byte("\x1f\x8b\x08\x00torn"), 0o600); err != nil {
		t.Fatal(err)
	}
	h.startServer(drive.Drive)
	s := spec(transfer.Upload, jobtest.File(damaged), drive)
	s.Overwrite = true
	if _, err := h.Run(s); transfer.CodeOf(err) != transfer.CodeInUse {
		t.Errorf("got %v, want %s", err, transfer.CodeInUse)
	}
}

// TestDriveInUseIsClonedWhereThatIsAllowed: some endpoints clone what a running server holds.
func TestDriveInUseIsClonedWhereThatIsAllowed(t *testing.T) {
	h := newHarnessWith(t, sandbox.Config{CloneInUse: true})
	drive := jobtest.Drive(jobtest.Here, h.upload(256<<10))
	h.startServer(drive.Drive)
	h.MustRun(spec(transfer.Clone, drive, newDrive))
}
