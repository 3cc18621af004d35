package worker

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/transferd/transferd/internal/flow"
	"github.com/transferd/transferd/internal/transfer"
)

// TestSilentEndpointIsShown: in the progress, and once in the log, with its end.
func TestSilentEndpointIsShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zap.InfoLevel)
		sink, silent := newMemImage(nil), true
		sink.onWrite = func(context.Context, transfer.Chunk, int) error {
			if silent {
				silent = false
				time.Sleep(time.Minute)
			}
			return nil
		}
		j := newJob(t, newMemImage(randomBytes(chunkSize)), sink)
		j.log = zap.New(core)
		var seen waitsSeen
		began := time.Now()
		if err := j.runObserved(t.Context(), nil, &seen); err != nil {
			t.Fatal(err)
		}
		if len(seen.seen) != 1 || seen.seen[0].Word() != "silent" ||
			!strings.Contains(seen.seen[0].Cause, "no byte moves to or from e") {
			t.Fatalf("got waits %+v, want one for a silent endpoint", seen.seen)
		}
		if since := seen.seen[0].Since.Sub(began); since < -time.Millisecond || since > time.Second {
			t.Errorf("silent since %s after the beginning, want less than 1s", since)
		}
		if n, m := logs.FilterMessage("job waiting").Len(), logs.FilterMessage("job wait ended").Len(); n != 1 ||
			m != 1 {
			t.Errorf("got %d lines for the wait and %d for its end, want 1 and 1", n, m)
		}
		if w := j.store.saved.Progress.Waiting; w != nil {
			t.Errorf("at the end got wait %+v, want none", w)
		}
	})
}

// TestBusyDriveIsLogged: with the beginning of the wait and the end of the retries.
func TestBusyDriveIsLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zap.InfoLevel)
		sink := newMemImage(nil)
		free := time.Now().Add(2 * time.Minute)
		sink.onWrite = func(context.Context, transfer.Chunk, int) error {
			if time.Now().Before(free) {
				return failure(transfer.CodeConflict)
			}
			return nil
		}
		j := newJob(t, newMemImage(randomBytes(chunkSize)), sink)
		j.log = zap.New(core)
		j.mustRun()
		all := logs.FilterMessage("job waiting").All()
		if len(all) != 1 {
			t.Fatalf("got %d lines, want 1", len(all))
		}
		fields := all[0].ContextMap()
		since, _ := fields["since"].(time.Time)
		end, _ := fields["gives_up"].(time.Time)
		if fields["for"] != "busy" || end.Sub(since) != flow.DefaultPolicy.Busy {
			t.Errorf("got fields %v, want busy until the policy's limit", fields)
		}
	})
}
