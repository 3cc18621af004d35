package queue

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/transferd/transferd/internal/transfer"
)

// leave makes a job that failed and left a drive.
func leave(t *testing.T, c *Client) string {
	t.Helper()
	id := enqueue(t, c)
	a, err := c.acquire(t.Context(), id, "w", quick, nil)
	if err != nil {
		t.Fatal(err)
	}
	at := transfer.Checkpoint{
		Plan:    transfer.Plan{DriveRequested: true, Drive: "made", Created: time.Now(), Size: 12, ChunkSize: 4},
		Entries: entries(0, 2),
	}
	at.Progress.Drive, at.Progress.Chunks.Done = "made", 2
	if err := a.Save(t.Context(), &at); err != nil {
		t.Fatal(err)
	}
	if err := a.writeOutcome(t.Context(), transfer.Errorf(transfer.CodeFailed, "", "it is bad")); err != nil {
		t.Fatal(err)
	}
	return id
}

// TestLeftoverIsNamedUntilDestroyed: the job that left a drive has its name, also after the job is
// pruned, until the drive is destroyed.
func TestLeftoverIsNamedUntilDestroyed(t *testing.T) {
	eachQueue(t, func(t *testing.T, o Options) {
		c, ctx := dial(t, o), t.Context()
		id := leave(t, c)
		job, err := c.Job(ctx, id)
		if err != nil || !job.DriveLeft || !strings.HasSuffix(job.Error.Message, "made stays, incomplete") {
			t.Errorf("the job is %+v, %v, %v", job, job.Error, err)
		}
		if owned, err := c.Disown(ctx, id); !owned || err != nil {
			t.Errorf("disown: %v, %v", owned, err)
		}
		job, at, err := c.Ledger(ctx, id)
		kept := job.DriveLeft || job.Drive != "" || job.Chunks.Done != 0
		if err != nil || kept || at.Plan != (transfer.Plan{}) || len(at.Entries) != 0 {
			t.Errorf("without its drive the job is %+v, %+v, %v", job, at, err)
		}
		for state, reach := range map[transfer.State]func(id string){
			transfer.Queued:  func(string) {},
			transfer.Running: func(id string) { _, _ = c.acquire(ctx, id, "w", quick, nil) },
			transfer.Succeeded: func(id string) {
				a, _ := c.acquire(ctx, id, "w", quick, nil)
				_ = a.writeOutcome(ctx, nil)
			},
		} {
			id := enqueue(t, c)
			reach(id)
			if owned, err := c.Disown(ctx, id); owned || err != nil {
				t.Errorf("disown a %s job: %v, %v", state, owned, err)
			}
		}
		id = leave(t, c)
		var left []string
		note := func(j transfer.Job) { left = append(left, j.ID+" "+j.Drive) }
		if _, err := c.Prune(ctx, PruneOptions{Left: note}); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(left, []string{id + " made"}) {
			t.Errorf("prune says that these stay: %q", left)
		}
		for _, known := range []bool{true, false} {
			if was, err := c.WasPruned(ctx, id); was != known || err != nil {
				t.Errorf("was pruned: %v, %v", was, err)
			}
			if err := c.Destroyed(ctx, id); err != nil {
				t.Error(err)
			}
		}
	})
}

// TestUsersOfADriveHaveNotEnded: the users of a drive are the jobs that have not ended, by any name
// of its endpoint.
func TestUsersOfADriveHaveNotEnded(t *testing.T) {
	c, ctx := dial(t, startRedis(t).options), t.Context()
	from, to := newSpec(), newSpec()
	from.Kind = transfer.Download
	from.Source, from.Target = transfer.Ref{Endpoint: "alias", Drive: "d"}, transfer.Ref{Path: "/a"}
	to.Target, to.Overwrite = transfer.Ref{Endpoint: "zrh", Drive: "d"}, true
	want := make(map[string]bool)
	for _, s := range []transfer.Spec{from, to} {
		job, err := c.Enqueue(ctx, s)
		if err != nil {
			t.Fatal(err)
		}
		want[job.ID] = true
	}
	job, err := c.Enqueue(ctx, to)
	if err == nil {
		_, err = c.Cancel(ctx, job.ID)
	}
	if err != nil {
		t.Fatal(err)
	}
	enqueue(t, c)
	users, err := c.UsersOf(ctx, []string{"zrh", "alias"}, "d")
	if err != nil || len(users) != 2 || !want[users[0].ID] || !want[users[1].ID] {
		t.Errorf("%+v, %v", users, err)
	}
	if users, err := c.UsersOf(ctx, []string{"zrh"}, "e"); err != nil || len(users) != 0 {
		t.Errorf("%+v, %v", users, err)
	}
}

// TestRetryWaitsForTheJobToStop: a retry waits for a canceled job to stop.
func TestRetryWaitsForTheJobToStop(t *testing.T) {
	eachQueue(t, func(t *testing.T, o Options) {
		c, ctx := dial(t, o), t.Context()
		stop := make(chan struct{})
		runs := make(chan struct{}, 2)
		serve(t, c, "one", func(ctx context.Context, _ <-chan struct{}, _ *Attempt) error {
			runs <- struct{}{}
			<-ctx.Done()
			<-stop
			return context.Cause(ctx)
		})
		id := enqueue(t, c)
		<-runs
		if job, err := c.Cancel(ctx, id); err != nil || !job.Stopping || job.State != transfer.Running {
			t.Errorf("a canceled job is %+v, %v", job, err)
		}
		retried := make(chan error, 1)
		go func() {
			_, err := c.Retry(ctx, id)
			retried <- err
		}()
		select {
		case err := <-retried:
			t.Errorf("retried before it has stopped: %v", err)
		default:
		}
		close(stop)
		if err := <-retried; err != nil {
			t.Fatal(err)
		}
		<-runs
		_, err := c.Cancel(ctx, id)
		if err != nil {
			t.Error(err)
		}
		await(t, c, id, transfer.Canceled)
	})
}

// TestOutlookCountsJobsBefore: it counts the queued jobs before one, and has the endpoint that all
// workers lack.
func TestOutlookCountsJobsBefore(t *testing.T) {
	eachQueue(t, func(t *testing.T, o Options) {
		c, ctx := dial(t, o), t.Context()
		var jobs []transfer.Job
		for range 4 {
			job, err := c.Job(ctx, enqueue(t, c))
			if err != nil {
				t.Fatal(err)
			}
			jobs = append(jobs, job)
		}
		if _, err := c.Cancel(ctx, jobs[1].ID); err != nil {
			t.Fatal(err)
		}
		last := &jobs[3]
		got, err := c.Outlook(ctx, last, []string{"zrh"})
		if err != nil || got != (Outlook{Before: 2}) {
			t.Errorf("with no transferd: %+v, %v", got, err)
		}
		// The trigger of the canceled job is still in the list, and serves its retry.
		if _, err := c.Retry(ctx, jobs[1].ID); err != nil {
			t.Fatal(err)
		}
		if got, err := c.Outlook(ctx, &jobs[1], nil); err != nil || got.Before != 1 {
			t.Errorf("a retried job: %+v, %v", got, err)
		}
	})
	for name, tc := range map[string]struct {
		workers []Worker
		served  bool
		lacking string
	}{
		"another queue": {
			workers: []Worker{{Queues: []string{"b"}, Endpoints: []string{"zrh"}}},
		},
		"no endpoint": {
			workers: []Worker{{Queues: []string{"a"}, Endpoints: []string{"fra"}}},
			served:  true,
			lacking: "zrh",
		},
		"one of two": {
			workers: []Worker{{Queues: []string{"a"}}, {Queues: []string{"a"}, Endpoints: []string{"zrh"}}},
			served:  true,
		},
	} {
		if served, lacking := serving(tc.workers, "a", []string{"zrh"}); served != tc.served || lacking != tc.lacking {
			t.Errorf("%s: %v, %q", name, served, lacking)
		}
	}
}

// TestNewestIsCutAtTheLimit: cut is true if there are more jobs than the limit.
func TestNewestIsCutAtTheLimit(t *testing.T) {
	c := dial(t, startRedis(t).options)
	for range 3 {
		enqueue(t, c)
	}
	for limit, want := range map[int]struct {
		n   int
		cut bool
	}{0: {3, false}, 1: {1, true}, 2: {2, true}, 3: {3, false}, 4: {3, false}} {
		jobs, cut, err := c.Newest(t.Context(), Filter{Limit: limit})
		if err != nil || len(jobs) != want.n || cut != want.cut {
			t.Errorf("limit %d: %d jobs, cut %v, %v", limit, len(jobs), cut, err)
		}
	}
}

// TestLocalHoldersAreOutsideTheQueue: the holders are the IDs of jobs that run with --local, and of
// no job of the queue.
func TestLocalHoldersAreOutsideTheQueue(t *testing.T) {
	eachQueue(t, func(t *testing.T, o Options) {
		c, ctx := dial(t, o), t.Context()
		written, read := driveOf("m", "zrh"), driveOf("", "zrh")
		queued := attempt(t, c)
		if _, err := queued.Claim(ctx, written); err != nil {
			t.Fatal(err)
		}
		if ids, err := c.LocalHolders(ctx, written); err != nil || len(ids) != 0 {
			t.Errorf("of a job of the queue: %q, %v", ids, err)
		}
		queued.freeClaims(ctx, 0)
		for _, claim := range []transfer.Claim{read, written} {
			local := c.Claims("local-1")
			if _, err := local.Claim(ctx, claim); err != nil {
				t.Fatal(err)
			}
			if ids, err := c.LocalHolders(ctx, claim); err != nil || !slices.Equal(ids, []string{"local-1"}) {
				t.Errorf("of a local job: %q, %v", ids, err)
			}
			local.Free(ctx)
		}
	})
}
