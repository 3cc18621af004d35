package queue

import (
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/transfertest"
)

// TestQueueInMemorySurvivesARestart restarts the queue in memory with a queued job, a running one,
// one that has succeeded after its first worker had died, and one that was pruned.
func TestQueueInMemorySurvivesARestart(t *testing.T) {
	dir := t.TempDir()
	e := embed(t, dir, "")
	c := dial(t, optionsOf(e))
	queued, running, ended, pruned := enqueue(t, c), enqueue(t, c), enqueue(t, c), enqueue(t, c)
	save := func(a *Attempt, list []transfer.Entry) {
		t.Helper()
		at := transfer.Checkpoint{Plan: transfer.Plan{Drive: "d"}, Entries: list}
		if err := a.Save(t.Context(), &at); err != nil {
			t.Fatal(err)
		}
	}
	save(acquire(t, c, running, withLease(time.Hour)), entries(0, 3))
	acquire(t, c, ended, withLease(time.Millisecond)) // dies
	second := acquire(t, c, ended, quick)
	save(second, entries(0, 2))
	if err := awaitLate(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	writeOutcome(t, second, nil)
	if _, err := c.Cancel(t.Context(), pruned); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Prune(t.Context(), PruneOptions{States: []transfer.State{transfer.Canceled}}); n != 1 || err != nil {
		t.Fatalf("got %d pruned jobs (%v), want 1", n, err)
	}
	for range 2 { // the second time from a rewritten journal
		closeEmbedded(t, e)
		e = embed(t, dir, "")
		c = dial(t, optionsOf(e))
		for id, want := range map[string]transfer.State{
			queued: transfer.Queued, running: transfer.Running, ended: transfer.Succeeded,
		} {
			if job, err := c.Job(t.Context(), id); err != nil || job.State != want {
				t.Errorf("got state %s (%v), want %s", job.State, err, want)
			}
		}
		for id, n := range map[string]int64{running: 3, ended: 2} {
			_, at, err := c.Ledger(t.Context(), id)
			if err != nil || !slices.Equal(at.Entries, entries(0, n)) || at.Plan.Drive != "d" {
				t.Errorf("got %d entries and drive %q (%v), want %d and d", len(at.Entries), at.Plan.Drive, err, n)
			}
		}
		if jobs, err := c.Jobs(t.Context(), Filter{}); err != nil || len(jobs) != 3 {
			t.Errorf("got %d jobs (%v), want 3", len(jobs), err)
		}
	}
	t.Cleanup(func() { closeEmbedded(t, e) })
	serve(t, c, "one", succeed)
	await(t, c, queued, transfer.Succeeded)
	await(t, c, running, transfer.Succeeded)
}

// TestReplayRestoresLeases: the journal records that a script ran while the lease had lapsed, so a
// replay does not undo the renewal and the save that followed.
func TestReplayRestoresLeases(t *testing.T) {
	dir := t.TempDir()
	e := embed(t, dir, "")
	c := dial(t, optionsOf(e))
	a := acquire(t, c, enqueue(t, c), withLease(time.Hour))
	if err := c.rdb.Del(t.Context(), leaseKey(a.Job.ID)).Err(); err != nil {
		t.Fatal(err)
	}
	// The job is not due. The move only makes the journal record that there was no lease.
	if _, _, err := c.move(t.Context(), expireMove, a.Job.ID, moveArgs{}); err != nil {
		t.Fatal(err)
	}
	if err := a.renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	if other, err := c.acquire(t.Context(), a.Job.ID, anyEpoch, "other", quick, nil); other != nil || err != nil {
		t.Fatalf("got attempt %+v (%v), want none while the job has a lease", other, err)
	}
	if err := a.Save(t.Context(), &transfer.Checkpoint{Entries: entries(0, 2)}); err != nil {
		t.Fatal(err)
	}
	closeEmbedded(t, e)
	e = embed(t, dir, "")
	defer closeEmbedded(t, e)
	_, at, err := dial(t, optionsOf(e)).Ledger(t.Context(), a.Job.ID)
	if err != nil || !slices.Equal(at.Entries, entries(0, 2)) {
		t.Errorf("got %d entries (%v), want 2", len(at.Entries), err)
	}
}

// serverPID is the process ID of the Redis that c reaches; 0 while it is away.
func serverPID(t *testing.T, c *Client) int {
	t.Helper()
	info, _ := c.rdb.InfoMap(t.Context(), "server").Result()
	n, _ := strconv.Atoi(info["Server"]["process_id"])
	return n
}

// TestKilledRedisServerIsRestarted: an embedded redis-server that was killed is started again with
// all its jobs.
func TestKilledRedisServerIsRestarted(t *testing.T) {
	e := embed(t, t.TempDir(), redisServer(t))
	t.Cleanup(func() { closeEmbedded(t, e) })
	c := dial(t, optionsOf(e))
	id := enqueue(t, c)
	first := serverPID(t, c)
	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	transfertest.Until(t, "another redis-server answers", func() bool {
		now := serverPID(t, c)
		return now != 0 && now != first
	})
	serve(t, c, "one", succeed)
	await(t, c, id, transfer.Succeeded)
}
