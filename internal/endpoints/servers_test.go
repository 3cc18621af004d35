package endpoints_test

import (
	"testing"

	"github.com/transferd/transferd/internal/api"
	"github.com/transferd/transferd/internal/jobtest"
	"github.com/transferd/transferd/internal/sandbox"
	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/worker"
)

// stateOf is the ServerState of a server.
func (h *harness) stateOf(s *worker.Session, server string) worker.ServerState {
	h.t.Helper()
	state, err := h.Opener.ServerState(h.t.Context(), s, server)
	if err != nil {
		h.t.Fatal(err)
	}
	return state
}

func (h *harness) setServer(server string, keys api.Object) {
	h.t.Helper()
	if _, err := h.client().SetServer(h.t.Context(), server, keys); err != nil {
		h.t.Fatal(err)
	}
}

// TestConfigOfAServerIsThatOfItsUser: a stop and a start change neither the configuration nor, with a
// static address, the address. A user's change does.
func TestConfigOfAServerIsThatOfItsUser(t *testing.T) {
	h, s := snapshotHarness(t)
	drive := s.Spec.Source.Drive
	servers, err := h.client().ListServers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	server := servers[0]
	running := h.stateOf(s, server)
	if !running.Running || running.NotAgain != "" || running.NewAddress {
		t.Errorf("got %+v, want a running server that would be the same again", running)
	}
	if err := h.Opener.Stop(t.Context(), s, server); err != nil {
		t.Fatal(err)
	}
	if stopped := h.stateOf(s, server); stopped.Running || stopped.Config != running.Config {
		t.Errorf("stopped: got %+v, want the configuration %s", stopped, running.Config)
	}
	h.setServer(server, api.Object{"nic:0:dhcp": "auto"})
	for range 2 {
		if err := h.Opener.Start(t.Context(), s, server); err != nil {
			t.Fatal(err)
		}
	}
	again := h.stateOf(s, server)
	if !again.Running || !again.NewAddress {
		t.Errorf("started with a dynamic address: got %+v, want one that may change", again)
	}
	if err := h.Opener.Stop(t.Context(), s, server); err != nil {
		t.Fatal(err)
	}
	ip, err := h.client().CreateIP().Do(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	h.setServer(server, api.Object{"nic:0:dhcp": ip.Address})
	if err := h.Opener.Start(t.Context(), s, server); err != nil {
		t.Fatal(err)
	}
	if static := h.stateOf(s, server); static.NewAddress {
		t.Errorf("started with a static address: got %+v, want none that may change", static)
	}
	h.setServer(server, api.Object{"persistent": "false"})
	if state := h.stateOf(s, server); state.NotAgain == "" {
		t.Errorf("not persistent: got %+v, want why it would not be the same again", state)
	}
	if err := h.Opener.Stop(t.Context(), s, server); err != nil {
		t.Fatal(err)
	}
	before := h.stateOf(s, server)
	h.setServer(server, api.Object{"ide:0:0": "", "ide:0:1": drive})
	if after := h.stateOf(s, server); after.Config == before.Config {
		t.Error("after another device: got the same configuration, want another one")
	}
}

// TestStartWithoutMoneyIsNoSpace: which the engine retries, because an account may get money.
func TestStartWithoutMoneyIsNoSpace(t *testing.T) {
	h := newHarnessWith(t, sandbox.Config{Quotas: []sandbox.Quota{mustQuota(t, "cpu=1500")}})
	drive := jobtest.Drive(jobtest.Here, h.upload(64<<10))
	first := h.startServer(drive.Drive)
	s := &worker.Session{Job: worker.Job{ID: "job", Spec: spec(transfer.Download, drive, jobtest.File(h.Path("x")))}}
	if err := h.Opener.Stop(t.Context(), s, first.UUID); err != nil {
		t.Fatal(err)
	}
	h.startServer(h.upload(64 << 10))
	if err := h.Opener.Start(t.Context(), s, first.UUID); transfer.CodeOf(err) != transfer.CodeNoSpace {
		t.Errorf("got %v, want %s", err, transfer.CodeNoSpace)
	}
}
