package worker

import (
	"context"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/transferd/transferd/internal/transfer"
)

// newSnapshotRead is a job that reads a clone of a drive that a server holds.
func newSnapshotRead(t *testing.T) *job {
	live := newMemImage(randomBytes(5 * chunkSize))
	live.heldBy = []string{"s"}
	j := newRead(t, live)
	image := newMemImage(randomBytes(4*chunkSize + 7))
	j.opener.snapshots = fakeSnapshots{image: image, ready: 2, users: []string{"s"}}
	return j
}

// target is the content of the job's target.
func (j *job) target() *memImage { return j.opener.sink.(*memImage) }

// mustOweNothing checks that no clone exists, and that the record says so.
func (j *job) mustOweNothing(name string) {
	j.t.Helper()
	plan, step := j.store.saved.Plan, j.store.saved.Progress.Step
	if n := len(j.opener.snapshots.exist); n > 0 || plan.Owes() || step != "" {
		j.t.Errorf("%s: got %d clones, plan %+v, step %q; want none", name, n, plan.Snapshot, step)
	}
}

// TestDriveInUseIsReadFromAClone: by default if a server holds it, and always with the mode clone.
// The clone is destroyed, and the result says how the drive was read.
func TestDriveInUseIsReadFromAClone(t *testing.T) {
	for name, tc := range map[string]struct {
		mode    transfer.Mode
		servers []string
		clones  int
	}{
		"by default, in use":     {"", []string{"s"}, 1},
		"by default, not in use": {"", nil, 0},
		"on request, in use":     {transfer.ModeClone, []string{"s"}, 1},
		"on request, not in use": {transfer.ModeClone, nil, 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			j := newSnapshotRead(t)
			source := j.opener.source.(*memImage)
			j.spec.Mode, source.heldBy, j.opener.snapshots.users = tc.mode, tc.servers, tc.servers
			j.opener.open = func(what string, _ int) error {
				plan := j.store.last().Plan
				if what == "snapshot" && !plan.Owes() {
					t.Errorf("%s: a clone is requested before that is in the record", name)
				}
				return nil
			}
			p := j.mustRun()
			want, inUse := source, (*transfer.InUse)(nil)
			if tc.clones > 0 {
				want = j.opener.snapshots.image
			}
			if tc.servers != nil {
				inUse = &transfer.InUse{Mode: transfer.ModeClone, Servers: tc.servers}
			}
			checkContent(t, j.target(), want.data)
			if j.opener.snapshots.requested != tc.clones || !reflect.DeepEqual(p.InUse, inUse) {
				t.Errorf("%s: got %d clones and %+v, want %d and %+v",
					name, j.opener.snapshots.requested, p.InUse, tc.clones, inUse)
			}
			j.mustOweNothing(name)
		})
	}
}

// event is what happens to an attempt at a call. It returns the error of the call.
type event func(j *job, stop context.CancelCauseFunc) error

// events are the ends of an attempt that can come at any time. After a kill, nothing that the
// attempt does or saves has an effect.
var events = map[string]event{
	"killed": func(j *job, _ context.CancelCauseFunc) error {
		j.store.change(func(s *memoryStore) {
			s.onSave = func(int) error { return failure(transfer.CodeFenced) }
		})
		return failure(transfer.CodeFenced)
	},
	"canceled": func(j *job, stop context.CancelCauseFunc) error {
		j.store.change(func(s *memoryStore) { s.canceled = true })
		stop(failure(transfer.CodeCanceled))
		return nil
	},
	"past its deadline": func(_ *job, stop context.CancelCauseFunc) error {
		stop(failure(transfer.CodeDeadline))
		return nil
	},
	"failed": func(*job, context.CancelCauseFunc) error { return failure(transfer.CodeRefused) },
}

// TestCloneIsDestroyedWhateverHappens: an attempt ends at each of its calls in each way. When its
// job has ended, after another attempt if it was killed, no clone is left.
func TestCloneIsDestroyedWhateverHappens(t *testing.T) {
	for _, call := range []string{"source", "snapshot", "snapshot ready", "sink", "destroy"} {
		for name, happens := range events {
			if call == "destroy" && name == "failed" {
				continue // TestCloneThatStaysIsNamed
			}
			synctest.Test(t, func(t *testing.T) {
				name := name + " at " + call
				j := newSnapshotRead(t)
				ctx, stop := context.WithCancelCause(t.Context())
				defer stop(nil)
				happened := false
				j.opener.open = func(what string, _ int) error {
					if what != call || happened {
						return nil
					}
					happened = true
					return happens(j, stop)
				}
				err := j.run(ctx, nil)
				if !happened {
					t.Fatalf("%s: the call was not made", name)
				}
				code := transfer.CodeOf(err)
				if code == transfer.CodeFenced {
					j.store.onSave = nil
					j.mustRun() // another worker
					checkContent(t, j.target(), j.opener.snapshots.image.data)
				} else if code == "" && call != "destroy" {
					t.Errorf("%s: the job succeeded, want an error", name)
				}
				j.mustOweNothing(name)
			})
		}
	}
}

// TestNextWorkerOnlyDestroysTheCloneOfAnEndedJob: the job was canceled, or its deadline has passed,
// when no worker had it. The next attempt reads nothing.
func TestNextWorkerOnlyDestroysTheCloneOfAnEndedJob(t *testing.T) {
	for _, code := range []transfer.Code{transfer.CodeCanceled, transfer.CodeDeadline} {
		synctest.Test(t, func(t *testing.T) {
			j := newSnapshotRead(t)
			j.opener.open = func(what string, _ int) error {
				if what == "sink" {
					return events["killed"](j, nil)
				}
				return nil
			}
			j.mustFail(transfer.CodeFenced)
			opened := j.opener.opened["source"]
			j.store.onSave, j.store.canceled = nil, code == transfer.CodeCanceled
			ctx, stop := context.WithCancelCause(t.Context())
			stop(failure(code))
			if err := j.run(ctx, nil); transfer.CodeOf(err) != code || j.opener.opened["source"] != opened {
				t.Errorf("got %v and %d more reads, want %s and none", err, j.opener.opened["source"]-opened, code)
			}
			j.mustOweNothing(string(code))
		})
	}
}

// TestCloneIsDestroyedWhenTheEndpointIsBack: however long that takes, and although the job was
// canceled.
func TestCloneIsDestroyedWhenTheEndpointIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newSnapshotRead(t)
		began := time.Now()
		j.opener.open = func(what string, _ int) error {
			if what == "destroy" && time.Since(began) < 3*time.Hour {
				return failure(transfer.CodeServer)
			}
			return nil
		}
		j.mustRun()
		j.mustOweNothing("after three hours")
	})
}

// TestDrainedWorkerLeavesTheCloneToAnother: a worker that stops does not wait for the endpoint.
func TestDrainedWorkerLeavesTheCloneToAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newSnapshotRead(t)
		down, drain := true, make(chan struct{})
		j.opener.open = func(what string, n int) error {
			if what != "destroy" || !down {
				return nil
			}
			if n == 3 {
				close(drain)
			}
			return failure(transfer.CodeServer)
		}
		if err := j.run(t.Context(), drain); transfer.CodeOf(err) != transfer.CodeDrained {
			t.Fatalf("got %v, want %s", err, transfer.CodeDrained)
		}
		commits, opened := j.target().commits, j.opener.opened["source"]
		if plan := j.store.saved.Plan; !plan.Owes() || commits != 1 {
			t.Fatalf("got plan %+v and %d commits, want a clone that is owed and one commit", plan, commits)
		}
		down = false
		j.mustRun()
		if j.target().commits != commits || j.opener.opened["source"] != opened {
			t.Error("the next attempt has copied again, want only the clone destroyed")
		}
		j.mustOweNothing("after another attempt")
	})
}

// TestLostRequestForACloneIsFoundAgain: the endpoint makes the clone and its response is lost, or it
// makes it only when the job has ended.
func TestLostRequestForACloneIsFoundAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newSnapshotRead(t)
		j.opener.open = func(what string, n int) error {
			if what == "snapshot" && n == 1 {
				return failure(transfer.CodeTimeout) // after the fake has made it
			}
			return nil
		}
		j.mustRun()
		if n := j.opener.snapshots.requested; n != 1 {
			t.Errorf("got %d clones, want 1", n)
		}
		j.mustOweNothing("response lost")
	})
	synctest.Test(t, func(t *testing.T) {
		j := newSnapshotRead(t)
		ctx, stop := context.WithCancelCause(t.Context())
		j.opener.snapshots.late = settleTime - time.Second
		j.opener.open = func(what string, _ int) error {
			if what == "snapshot" {
				stop(failure(transfer.CodeCanceled))
				return failure(transfer.CodeTimeout)
			}
			return nil
		}
		if err := j.run(ctx, nil); transfer.CodeOf(err) != transfer.CodeCanceled {
			t.Errorf("got %v, want %s", err, transfer.CodeCanceled)
		}
		time.Sleep(time.Minute)
		j.mustOweNothing("made late")
	})
}

// TestCloneThatStaysIsNamed: the endpoint does not let the job destroy its clone. The job ends all
// the same, and names the clone; a retry reads it, and tries again.
func TestCloneThatStaysIsNamed(t *testing.T) {
	refuse := true
	j := newSnapshotRead(t)
	j.opener.snapshots.ready = 0
	j.opener.open = func(what string, _ int) error {
		if what == "destroy" && refuse {
			return failure(transfer.CodeRefused)
		}
		return nil
	}
	j.opener.snapshots.image.onRead = func(context.Context, transfer.Chunk, int) error {
		return failure(transfer.CodeRefused)
	}
	if f := j.mustFail(transfer.CodeRefused); !strings.Contains(f.Message, "the clone e:clone-1 stays") {
		t.Errorf("got %+v, want the clone", f)
	}
	if plan := j.store.saved.Plan; plan.Owes() {
		t.Errorf("got plan %+v, want nothing owed", plan.Snapshot)
	}
	j.opener.snapshots.image.onRead, refuse = nil, false
	j.mustRun()
	if n := j.opener.snapshots.requested; n != 1 {
		t.Errorf("got %d clones, want 1", n)
	}
	j.mustOweNothing("after a retry")
}

// TestCanceledJobStartsOverWithAnotherClone: what was read from a clone that was destroyed is not
// mixed with another one.
func TestCanceledJobStartsOverWithAnotherClone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newSnapshotRead(t)
		ctx, stop := context.WithCancelCause(t.Context())
		j.opener.snapshots.image.onRead = func(_ context.Context, c transfer.Chunk, _ int) error {
			if c.Index == 3 {
				_ = events["canceled"](j, stop)
			}
			return nil
		}
		if err := j.run(ctx, nil); transfer.CodeOf(err) != transfer.CodeCanceled {
			t.Fatalf("got %v, want %s", err, transfer.CodeCanceled)
		}
		j.store.canceled = false
		j.opener.snapshots.image = newMemImage(make([]byte, 4*chunkSize+7))
		j.opener.snapshots.image.identity = "another clone"
		j.mustRun()
		checkContent(t, j.target(), j.opener.snapshots.image.data)
		j.mustOweNothing("after a retry")
	})
}
