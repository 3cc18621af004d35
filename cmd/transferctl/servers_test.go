package main

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/spf13/cobra"

	"github.com/transferd/transferd/internal/api"
	"github.com/transferd/transferd/internal/transfer"
)

// runningServer is an app whose endpoint zrh has one server, which always runs. act handles the
// calls that change it.
func runningServer(t *testing.T, act http.HandlerFunc) *app {
	t.Helper()
	a, _, _ := newTestApp(t, func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, "/info") {
			act(w, r)
			return
		}
		_, _ = w.Write([]byte("server " + someUUID + "\nname web\ncpu 1000\nmem 512\nstatus active\n"))
	})
	return a
}

func execute(ctx context.Context, cmd *cobra.Command, args ...string) error {
	cmd.SetArgs(args)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	return cmd.ExecuteContext(ctx)
}

// TestResetWithoutAResponseIsNotRepeated: it may have been carried out, and another one would
// restart the server again.
func TestResetWithoutAResponseIsNotRepeated(t *testing.T) {
	var resets atomic.Int32
	a := runningServer(t, func(w http.ResponseWriter, _ *http.Request) {
		resets.Add(1)
		w.WriteHeader(http.StatusGatewayTimeout)
	})
	err := execute(t.Context(), a.serversReset(), "zrh:web")
	if n := resets.Load(); n != 1 || transfer.CodeOf(err) != transfer.CodeTimeout ||
		!strings.Contains(hintOf(err), "may be restarting all the same") {
		t.Errorf("got %d resets, %v and the hint %q; want 1, a timeout and what may have happened", n, err, hintOf(err))
	}
}

// TestInterruptedWaitSaysWhatTheServerDoes: the wait ends, and not the shutdown.
func TestInterruptedWaitSaysWhatTheServerDoes(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	a := runningServer(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	infos := a.stderr.(*bytes.Buffer)
	cmd := a.powerCommand(&cobra.Command{Use: "shutdown"}, powerAction{
		done: func(*api.Server) bool { cancel(); return false },
		run:  func(ctx context.Context, c *api.Client, uuid string) error { return c.ShutDownServer(ctx, uuid) },
	})
	err := execute(ctx, cmd, "zrh:web", "--wait")
	if transfer.CodeOf(err) != transfer.CodeCanceled || !strings.Contains(err.Error(), "is still active") ||
		errors.Is(err, context.Canceled) || infos.Len() > 0 {
		t.Errorf("got %v and %q, want that the server is still active", err, infos)
	}
}
