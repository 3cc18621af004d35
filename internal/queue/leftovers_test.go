package queue

import (
	"context"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/transfertest"
)

// failWithDrive makes a job that failed and left a drive.
func failWithDrive(t *testing.T, c *Client) string {
	t.Helper()
	a := attempt(t, c)
	at := transfer.Checkpoint{
		Plan:    transfer.Plan{DriveRequested: true, Drive: "made", Created: time.Now(), Size: 12, ChunkSize: 4},
		Entries: entries(0, 2),
	}
	at.Progress.Drive, at.Progress.Chunks.Done = "made", 2
	if err := a.Save(t.Context(), &at); err != nil {
		t.Fatal(err)
	}
	writeOutcome(t, a, transfer.Errorf(transfer.CodeFailed, "", "it is bad"))
	return a.Job.ID
}

// TestLeftoverIsNamedUntilDestroyed: a job that left a drive names it until the drive is disowned.
// The queue keeps the ID of a pruned job that left a drive until the drive is destroyed.
func TestLeftoverIsNamedUntilDestroyed(t *testing.T) {
	eachQueue(t, func(t *testing.T, o Options) {
		c, ctx := dial(t, o), t.Context()
		id := failWithDrive(t, c)
		job, err := c.Job(ctx, id)
		if err != nil || !job.DriveLeft || !strings.HasSuffix(job.Error.Message, "made stays, incomplete") {
			t.Errorf("got %+v with the error %+v (%v), want one that names the drive", job, job.Error, err)
		}
		if done, err := c.Disown(ctx, id); !done || err != nil {
			t.Errorf("disown a failed job: got %v, %v; want true", done, err)
		}
		job, at, err := c.Ledger(ctx, id)
		kept := job.DriveLeft || job.Drive != "" || job.Chunks.Done != 0
		if err != nil || kept || !reflect.DeepEqual(at.Plan, transfer.Plan{}) || len(at.Entries) != 0 {
			t.Errorf("got %+v, %+v (%v); want a job without a drive and a checkpoint", job, at, err)
		}
		for state, reach := range map[transfer.State]func(id string){
			transfer.Queued:    func(string) {},
			transfer.Running:   func(id string) { acquire(t, c, id, quick) },
			transfer.Succeeded: func(id string) { writeOutcome(t, acquire(t, c, id, quick), nil) },
		} {
			id := enqueue(t, c)
			reach(id)
			if done, err := c.Disown(ctx, id); done || err != nil {
				t.Errorf("disown a %s job: got %v, %v; want false", state, done, err)
			}
		}
		id = failWithDrive(t, c)
		var left []string
		note := func(j transfer.Job) { left = append(left, j.ID+" "+j.Drive) }
		if _, err := c.Prune(ctx, PruneOptions{Left: note}); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(left, []string{id + " made"}) {
			t.Errorf("got the leftovers %q, want the drive of job %s", left, id)
		}
		for _, want := range []bool{true, false} { // the second time after it was destroyed
			if got, err := c.WasPruned(ctx, id); got != want || err != nil {
				t.Errorf("was pruned: got %v (%v), want %v", got, err, want)
			}
			if err := c.Destroyed(ctx, id); err != nil {
				t.Errorf("destroyed: got %v, want no error", err)
			}
		}
	})
}

// TestUsersOfADriveHaveNotEnded: UsersOf returns the jobs that have not ended, by any name of the
// drive's endpoint.
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
		t.Errorf("got %+v (%v), want the jobs %v", users, err, want)
	}
	if users, err := c.UsersOf(ctx, []string{"zrh"}, "e"); err != nil || len(users) != 0 {
		t.Errorf("another drive: got %+v (%v), want none", users, err)
	}
}

// TestRetryWaitsForTheJobToStop: a retry waits until a job that is being canceled has stopped.
func TestRetryWaitsForTheJobToStop(t *testing.T) {
	eachQueue(t, func(t *testing.T, o Options) {
		c, ctx := dial(t, o), t.Context()
		stop := make(chan struct{})
		mayStop := sync.OnceFunc(func() { close(stop) })
		runs := make(chan struct{}, 2)
		serve(t, c, "one", func(ctx context.Context, _ <-chan struct{}, _ *Attempt) error {
			runs <- struct{}{}
			<-ctx.Done()
			<-stop
			return context.Cause(ctx)
		})
		t.Cleanup(mayStop) // also before the server stops
		id := enqueue(t, c)
		transfertest.Receive(t, runs, "start of the job")
		if job, err := c.Cancel(ctx, id); err != nil || !job.Stopping || job.State != transfer.Running {
			t.Errorf("got %+v (%v), want a running job that is stopping", job, err)
		}
		retried := make(chan error, 1)
		go func() {
			_, err := c.Retry(ctx, id)
			retried <- err
		}()
		select {
		case err := <-retried:
			t.Errorf("the retry returned (%v) before the job has stopped", err)
		default:
		}
		mayStop()
		if err := transfertest.Receive(t, retried, "end of the retry"); err != nil {
			t.Fatal(err)
		}
		transfertest.Receive(t, runs, "second start of the job")
		if _, err := c.Cancel(ctx, id); err != nil {
			t.Errorf("cancel: got %v, want no error", err)
		}
		await(t, c, id, transfer.Canceled)
	})
}

// TestOutlookCountsJobsBefore: Outlook counts the queued jobs before one, and returns an endpoint
// that all workers lack.
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
			t.Errorf("without a transferd: got %+v (%v), want 2 jobs before", got, err)
		}
		// The trigger of the canceled job is still in the list, and its retry uses it.
		if _, err := c.Retry(ctx, jobs[1].ID); err != nil {
			t.Fatal(err)
		}
		if got, err := c.Outlook(ctx, &jobs[1], nil); err != nil || got.Before != 1 {
			t.Errorf("a retried job: got %+v (%v), want 1 job before", got, err)
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
			t.Errorf("%s: got %v, %q; want %v, %q", name, served, lacking, tc.served, tc.lacking)
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
			t.Errorf("limit %d: got %d jobs, cut %v (%v); want %+v", limit, len(jobs), cut, err, want)
		}
	}
}

// TestLocalHoldersAreOutsideTheQueue: LocalHolders returns jobs that run with --local, and no job
// of the queue.
func TestLocalHoldersAreOutsideTheQueue(t *testing.T) {
	eachQueue(t, func(t *testing.T, o Options) {
		c, ctx := dial(t, o), t.Context()
		written, read := driveOf("m", "zrh"), driveOf("", "zrh")
		queued := attempt(t, c)
		if _, err := queued.Claim(ctx, written); err != nil {
			t.Fatal(err)
		}
		if ids, err := c.LocalHolders(ctx, written); err != nil || len(ids) != 0 {
			t.Errorf("a claim of a job of the queue: got %q (%v), want none", ids, err)
		}
		queued.freeClaims(ctx, 0)
		for _, claim := range []transfer.Claim{read, written} {
			local := c.Claims("local-1")
			if _, err := local.Claim(ctx, claim); err != nil {
				t.Fatal(err)
			}
			if ids, err := c.LocalHolders(ctx, claim); err != nil || !slices.Equal(ids, []string{"local-1"}) {
				t.Errorf("a claim of a local job: got %q (%v), want local-1", ids, err)
			}
			local.Free(ctx)
		}
	})
}
