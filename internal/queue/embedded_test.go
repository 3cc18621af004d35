package queue

import (
	"context"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/transferd/transferd/internal/transfer"
)

// TestMemorySurvives restarts the queue in memory in the middle of everything: a job that waits, one that runs, and one
// that ended after its first worker had died.
func TestMemorySurvives(t *testing.T) {
	dir := t.TempDir()
	e := embed(t, dir, "")
	c := dial(t, optionsOf(e))
	waits, runs, ended, gone := enqueue(t, c), enqueue(t, c), enqueue(t, c), enqueue(t, c)
	take := func(id string, lease time.Duration) *Attempt {
		t.Helper()
		timing := quick
		timing.lease = lease
		for {
			a, err := c.acquire(t.Context(), id, "w", timing, nil)
			if err != nil {
				t.Fatal(err)
			}
			if a != nil {
				return a
			}
		}
	}
	save := func(a *Attempt, list []transfer.Entry) {
		t.Helper()
		if err := a.Save(t.Context(), &transfer.Checkpoint{Plan: transfer.Plan{Drive: "d"}, Entries: list}); err != nil {
			t.Fatal(err)
		}
	}
	save(take(runs, time.Hour), entries(0, 3))
	take(ended, time.Millisecond) // and dies
	second := take(ended, time.Hour)
	save(second, entries(0, 2))
	if err := second.writeOutcome(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Cancel(t.Context(), gone); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Prune(t.Context(), PruneOptions{States: []transfer.State{transfer.Canceled}}); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	for range 2 { // the second time from a journal that was rewritten
		closeEmbedded(t, e)
		e = embed(t, dir, "")
		c = dial(t, optionsOf(e))
		for id, state := range map[string]transfer.State{waits: transfer.Queued, runs: transfer.Running, ended: transfer.Succeeded} {
			if job, err := c.Job(t.Context(), id); err != nil || job.State != state {
				t.Errorf("the job is %s, not %s (%v)", job.State, state, err)
			}
		}
		for id, n := range map[string]int64{runs: 3, ended: 2} {
			if _, at, err := c.Ledger(t.Context(), id); err != nil || !slices.Equal(at.Entries, entries(0, n)) || at.Plan.Drive != "d" {
				t.Errorf("the ledger has %d entries, not %d (%v)", len(at.Entries), n, err)
			}
		}
		if jobs, err := c.Jobs(t.Context(), Filter{}); err != nil || len(jobs) != 3 {
			t.Errorf("%d jobs are listed, %v", len(jobs), err)
		}
	}
	t.Cleanup(func() { closeEmbedded(t, e) })
	serve(t, c, "one", func(context.Context, <-chan struct{}, *Attempt) error { return nil })
	await(t, c, waits, transfer.Succeeded)
	await(t, c, runs, transfer.Succeeded)
}

// TestJournalKnowsLeases replays what came after a lease had lapsed and was renewed.
func TestJournalKnowsLeases(t *testing.T) {
	dir := t.TempDir()
	e := embed(t, dir, "")
	c := dial(t, optionsOf(e))
	long := quick
	long.lease = time.Hour
	a, err := c.acquire(t.Context(), enqueue(t, c), "w", long, nil)
	if err != nil || a == nil {
		t.Fatal(a, err)
	}
	if err := c.rdb.Del(t.Context(), leaseKey(a.Job.ID)).Err(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.move(t.Context(), expireMove, a.Job.ID, moveArgs{}); err != nil { // it is not due, but the journal has it that there was no lease
		t.Fatal(err)
	}
	if err := a.renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	if other, err := c.acquire(t.Context(), a.Job.ID, "other", quick, nil); other != nil || err != nil {
		t.Fatal(other, err)
	}
	if err := a.Save(t.Context(), &transfer.Checkpoint{Entries: entries(0, 2)}); err != nil {
		t.Fatal(err)
	}
	closeEmbedded(t, e)
	e = embed(t, dir, "")
	defer closeEmbedded(t, e)
	if _, at, err := dial(t, optionsOf(e)).Ledger(t.Context(), a.Job.ID); err != nil || !slices.Equal(at.Entries, entries(0, 2)) {
		t.Errorf("there are %d entries, %v", len(at.Entries), err)
	}
}

// serverPID is the process of the Redis that c reaches; 0 while it is away.
func serverPID(t *testing.T, c *Client) int {
	t.Helper()
	info, _ := c.rdb.InfoMap(t.Context(), "server").Result()
	n, _ := strconv.Atoi(info["Server"]["process_id"])
	return n
}

// TestChildDies kills the embedded redis-server, which is started again with all that it held.
func TestChildDies(t *testing.T) {
	e := embed(t, t.TempDir(), redisServer(t))
	t.Cleanup(func() { closeEmbedded(t, e) })
	c := dial(t, optionsOf(e))
	id := enqueue(t, c)
	pid := func() int { return serverPID(t, c) }
	first := pid()
	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for began := time.Now(); ; {
		if now := pid(); now != 0 && now != first {
			break
		}
		if time.Since(began) > time.Minute {
			t.Fatal("redis-server was not started again")
		}
	}
	serve(t, c, "one", func(context.Context, <-chan struct{}, *Attempt) error { return nil })
	await(t, c, id, transfer.Succeeded)
}
