package main

import (
	"context"
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/transferd/transferd/internal/queue"
	"github.com/transferd/transferd/internal/transfer"
)

// dialRedis runs a redis-server and connects to it.
func dialRedis(t *testing.T) *queue.Client {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	cmd := exec.Command("redis-server", "--port", "0", "--unixsocket", socket,
		"--dir", filepath.Dir(socket), "--save", "")
	if err := cmd.Start(); err != nil {
		t.Fatalf("start redis-server (Debian's package is redis-server): %v", err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	for began := time.Now(); ; {
		c, err := queue.Dial(t.Context(), queue.Options{URL: "unix://" + socket})
		if err == nil {
			t.Cleanup(func() { _ = c.Close() })
			return c
		}
		if time.Since(began) > 30*time.Second {
			t.Fatal(err)
		}
	}
}

// TestLocalJobRunsWhileTheQueueIsAway: a local job runs without its queue and warns once. It claims
// the drive once the queue is reachable, and ends if another job has claimed the drive by then.
func TestLocalJobRunsWhileTheQueueIsAway(t *testing.T) {
	c := dialRedis(t)
	drive := transfer.Claim{Endpoint: "account", Drive: "d", Mark: "local"}
	other := c.Claims("other")
	var warnings []string
	dialed := errors.New("injected")
	q := &queueClaims{job: "local", warn: func(err error) { warnings = append(warnings, err.Error()) }}
	q.dial = func(context.Context) (*queue.Client, error) {
		if dialed != nil {
			return nil, dialed
		}
		return c, nil
	}
	renew := func(code transfer.Code) {
		t.Helper()
		q.failedAt = time.Time{} // skip the pause
		if err := q.renew(t.Context()); transfer.CodeOf(err) != code {
			t.Errorf("got %v, want %q", err, code)
		}
	}
	if _, known, err := q.claim(t.Context(), drive); known || err != nil {
		t.Errorf("claim without the queue: known %t and %v, want false and no error", known, err)
	}
	renew("")
	if len(warnings) != 1 || !strings.Contains(warnings[0], "continuing without the queue") ||
		!strings.Contains(warnings[0], "injected") {
		t.Errorf("got warnings %q, want one of the injected error", warnings)
	}
	theirs := drive
	theirs.Mark = "other"
	if _, err := other.Claim(t.Context(), theirs); err != nil {
		t.Fatal(err)
	}
	dialed = nil
	renew(transfer.CodeFenced)
	other.Free(t.Context())
	renew("")
	if len(warnings) != 2 || !strings.Contains(warnings[1], "reachable again") {
		t.Errorf("got warnings %q, want a second one that the queue is reachable again", warnings)
	}
	_, err := other.Claim(t.Context(), theirs)
	if transfer.CodeOf(err) != transfer.CodeConflict {
		t.Errorf("claim of another job: got %v, want %s", err, transfer.CodeConflict)
	}
	q.claims.Free(t.Context())
	if _, err := other.Claim(t.Context(), theirs); err != nil {
		t.Errorf("claim of another job after Free: got %v, want no error", err)
	}
}

// TestLocalJobWithoutAQueueDoesNotWarn: a local job on a host without a queue does not warn, and
// claims its drive in a queue that starts later.
func TestLocalJobWithoutAQueueDoesNotWarn(t *testing.T) {
	c := dialRedis(t)
	var started *queue.Client // nil: the queue has not started
	q := &queueClaims{
		job: "local", dial: func(context.Context) (*queue.Client, error) { return started, nil },
		warn: func(err error) { t.Errorf("unexpected warning: %v", err) },
	}
	drive := transfer.Claim{Endpoint: "account", Drive: "d", Mark: "local"}
	if mark, known, err := q.claim(t.Context(), drive); mark != "" || !known || err != nil {
		t.Errorf("claim: got mark %q, known %t and %v, want none, true and no error", mark, known, err)
	}
	if err := q.renew(t.Context()); err != nil {
		t.Errorf("renew without a queue: got %v, want no error", err)
	}
	started, q.failedAt = c, time.Time{}
	if err := q.renew(t.Context()); err != nil {
		t.Errorf("renew: got %v, want no error", err)
	}
	if _, err := c.Claims("other").Claim(t.Context(), drive); transfer.CodeOf(err) != transfer.CodeConflict {
		t.Errorf("claim of another job: got %v, want %s", err, transfer.CodeConflict)
	}
	q.close()
}
