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
	cmd := exec.Command("redis-server", "--port", "0", "--unixsocket", socket, "--dir", filepath.Dir(socket), "--save", "")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
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

// TestQueueAwayFromLocalJobs has the queue be away when a local job begins, and be back later: the
// job goes on, which is said once, claims the drive when the queue is back, and ends if it is
// another job's by then.
func TestQueueAwayFromLocalJobs(t *testing.T) {
	c := dialRedis(t)
	drive := transfer.Claim{Endpoint: "account", Drive: "d", Mark: "local"}
	other := c.Claims("other")
	var said []string
	dialed := errors.New("injected")
	q := &queueClaims{job: "local", warn: func(err error) { said = append(said, err.Error()) }}
	q.dial = func(context.Context) (*queue.Client, error) {
		if dialed != nil {
			return nil, dialed
		}
		return c, nil
	}
	renew := func(code transfer.Code) {
		t.Helper()
		q.pause = time.Time{} // as if it were over
		if err := q.renew(t.Context()); transfer.CodeOf(err) != code {
			t.Errorf("got %v, want %q", err, code)
		}
	}
	if _, known, err := q.claim(t.Context(), drive); known || err != nil {
		t.Errorf("with the queue away: %t, %v", known, err)
	}
	renew("")
	if len(said) != 1 || !strings.Contains(said[0], "going on without the queue") || !strings.Contains(said[0], "injected") {
		t.Errorf("said: %q", said)
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
	if len(said) != 2 || !strings.Contains(said[1], "answers again") {
		t.Errorf("said: %q", said)
	}
	_, err := other.Claim(t.Context(), theirs)
	if transfer.CodeOf(err) != transfer.CodeConflict {
		t.Errorf("the drive is not claimed: %v", err)
	}
	q.claims.Free(t.Context())
	if _, err := other.Claim(t.Context(), theirs); err != nil {
		t.Errorf("the drive is not given up: %v", err)
	}
}

// TestLocalJobsWithoutAQueue are told nothing of queues, and by a queue that begins later are kept
// from its jobs' drives.
func TestLocalJobsWithoutAQueue(t *testing.T) {
	c := dialRedis(t)
	var there *queue.Client
	q := &queueClaims{
		job: "local", dial: func(context.Context) (*queue.Client, error) { return there, nil },
		warn: func(err error) { t.Errorf("said: %v", err) },
	}
	drive := transfer.Claim{Endpoint: "account", Drive: "d", Mark: "local"}
	if mark, known, err := q.claim(t.Context(), drive); mark != "" || !known || err != nil {
		t.Errorf("%q, %t, %v", mark, known, err)
	}
	if err := q.renew(t.Context()); err != nil {
		t.Error(err)
	}
	there, q.pause = c, time.Time{}
	if err := q.renew(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := c.Claims("other").Claim(t.Context(), drive); transfer.CodeOf(err) != transfer.CodeConflict {
		t.Errorf("the drive is not claimed: %v", err)
	}
	q.close()
}
