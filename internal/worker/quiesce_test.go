package worker

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/transferd/transferd/internal/transfer"
)

// newQuiesce is a job that shuts server s down to read its drive.
func newQuiesce(t *testing.T) (*job, *fakeServer) {
	j := newSnapshotRead(t)
	j.spec.Mode = transfer.ModeQuiesce
	j.opener.snapshots.users = nil
	server := &fakeServer{running: true, config: "one", obeys: 3 * time.Second}
	j.opener.power = map[string]*fakeServer{"s": server}
	return j, server
}

// quiesceClone makes it a job whose endpoint clones the drive.
func (j *job) quiesceClone() {
	image := randomBytes(3 * chunkSize)
	clone := newClone(j.t, image, newMemImage(image))
	clone.opener.power, clone.spec.Mode = j.opener.power, transfer.ModeQuiesce
	*j = *clone
}

// mustRunAgain checks that the server runs, and that nothing is owed.
func (j *job) mustRunAgain(name string) {
	j.t.Helper()
	time.Sleep(time.Minute) // a late shutdown
	if server := j.opener.power["s"]; !j.opener.isRunning("s") {
		j.t.Errorf("%s: got a server that is stopped (%d stops, %d starts), want it running",
			name, server.stops, server.starts)
	}
	j.mustOweNothing(name)
}

// TestQuiescedDriveIsClonedWhileItsServerIsDown: the server is in the record before it is asked to
// shut down, the clone is made while it is down, and it runs again before the clone is read.
func TestQuiescedDriveIsClonedWhileItsServerIsDown(t *testing.T) {
	for _, kind := range []transfer.Kind{transfer.Download, transfer.Clone} {
		synctest.Test(t, func(t *testing.T) {
			j, server := newQuiesce(t)
			if kind == transfer.Clone {
				j.quiesceClone()
			}
			j.opener.open = func(what string, _ int) error {
				plan, running := j.store.last().Plan, j.opener.isRunning("s")
				switch {
				case what == "shutdown" && (len(plan.Stopped) != 1 || plan.Stopped[0].Config != "one"):
					t.Errorf("%s: at the shutdown, got plan %+v, want the server", kind, plan)
				case (what == "snapshot" || what == "provision" && kind == transfer.Clone) && running:
					t.Errorf("%s: the drive is cloned while the server runs", kind)
				case (what == "sink" || what == "snapshot ready" || what == "ready") && !running:
					t.Errorf("%s: the server is down at the call %s", kind, what)
				}
				return nil
			}
			p := j.mustRun()
			want := &transfer.InUse{Mode: transfer.ModeQuiesce, Servers: []string{"s"}}
			if !reflect.DeepEqual(p.InUse, want) || server.stops != 1 || server.starts != 1 || len(p.Warnings) > 0 {
				t.Errorf("%s: got %+v, %d stops, %d starts, warnings %q; want %+v, one each, none",
					kind, p.InUse, server.stops, server.starts, p.Warnings, want)
			}
			j.mustRunAgain(string(kind))
		})
	}
}

// TestServerIsStartedAgainWhateverHappens: an attempt ends at each of its calls in each way. When its
// job has ended, after another attempt if it was killed, the server runs and no clone is left.
func TestServerIsStartedAgainWhateverHappens(t *testing.T) {
	for kind, calls := range map[transfer.Kind][]string{
		transfer.Download: {"state", "shutdown", "stop", "snapshot", "start", "snapshot ready", "sink", "destroy"},
		transfer.Clone:    {"state", "shutdown", "stop", "provision", "start", "ready", "sink"},
	} {
		for _, call := range calls {
			startedAfterEachEvent(t, kind, call)
		}
	}
}

func startedAfterEachEvent(t *testing.T, kind transfer.Kind, call string) {
	for name, happens := range events {
		if name == "failed" && (call == "start" || call == "destroy") {
			continue // TestServerThatStaysStoppedIsNamed
		}
		for _, n := range []int{1, 2} { // the first and the second call
			synctest.Test(t, func(t *testing.T) {
				name := fmt.Sprintf("%s: %s at %s %d", kind, name, call, n)
				j, server := newQuiesce(t)
				if kind == transfer.Clone {
					j.quiesceClone()
				}
				if call == "stop" {
					server.obeys, j.spec.ForceStop, j.spec.QuiesceTimeout = 0, true, transfer.Seconds(5*time.Second)
				}
				ctx, stop := context.WithCancelCause(t.Context())
				defer stop(nil)
				calls := 0
				j.opener.open = func(what string, _ int) error {
					if what != call {
						return nil
					}
					if calls++; calls != n {
						return nil
					}
					return happens(j, stop)
				}
				err := j.run(ctx, nil)
				if transfer.CodeOf(err) == transfer.CodeFenced {
					j.store.onSave = nil
					j.mustRun() // another worker
					if kind == transfer.Download {
						checkContent(t, j.target(), j.opener.snapshots.image.data)
					}
				}
				j.mustRunAgain(name)
			})
		}
	}
}

// TestServerIsNotShutDownForNothing: what would not be the same afterwards is refused before
// anything is done.
func TestServerIsNotShutDownForNothing(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(s *fakeServer, spec *transfer.Spec)
		hint   string // empty: it is shut down
	}{
		"not persistent": {func(s *fakeServer, _ *transfer.Spec) { s.notAgain = "not persistent" }, "--mode live"},
		"new address":    {func(s *fakeServer, _ *transfer.Spec) { s.newAddress = true }, "--allow-new-address"},
		"allowed": {func(s *fakeServer, spec *transfer.Spec) {
			s.newAddress, spec.AllowNewAddress = true, true
		}, ""},
	} {
		synctest.Test(t, func(t *testing.T) {
			j, server := newQuiesce(t)
			tc.change(server, &j.spec)
			if tc.hint == "" {
				j.mustRun()
				return
			}
			f := j.mustFail(transfer.CodeInUse)
			if !strings.Contains(f.Message, "server s") || !strings.Contains(f.Hint, tc.hint) || server.stops > 0 ||
				j.opener.opened["shutdown"] > 0 {
				t.Errorf("%s: got %+v and %d stops, want the hint %s and none", name, f, server.stops, tc.hint)
			}
			j.mustRunAgain(name)
		})
	}
}

// TestServerThatOnlyReadsIsNotShutDown: a server that may not write to the drive, such as a CD, goes on
// running while the drive is cloned, and its address and persistence do not matter.
func TestServerThatOnlyReadsIsNotShutDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, server := newQuiesce(t)
		j.opener.cdrom, server.notAgain, server.newAddress = true, "not persistent", true
		p := j.mustRun()
		if server.stops > 0 || j.opener.opened["shutdown"] > 0 || j.opener.opened["snapshot"] != 1 || p.InUse != nil {
			t.Errorf("got %d stops, calls %v, in use %+v; want a clone and nothing else",
				server.stops, j.opener.opened, p.InUse)
		}
		j.mustOweNothing("CD")
	})
}

// TestServerThatDoesNotShutDown: it is stopped hard only on request. One that obeys late is started
// again all the same.
func TestServerThatDoesNotShutDown(t *testing.T) {
	for name, tc := range map[string]struct {
		obeys time.Duration
		force bool
		stops int
	}{
		"never":          {0, false, 0},
		"never, forced":  {0, true, 1},
		"after the wait": {90 * time.Second, false, 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			j, server := newQuiesce(t)
			server.obeys, j.spec.ForceStop, j.spec.QuiesceTimeout = tc.obeys, tc.force, transfer.Seconds(time.Minute)
			if tc.force {
				j.mustRun()
			} else if f := j.mustFail(transfer.CodeInUse); !strings.Contains(f.Hint, "--force-stop") {
				t.Errorf("%s: got %+v, want the hint", name, f)
			}
			if server.stops < tc.stops {
				t.Errorf("%s: got %d stops, want %d", name, server.stops, tc.stops)
			}
			j.mustRunAgain(name)
		})
	}
}

// TestBusyServerIsShutDownLater: the endpoint is busy when the server is asked to shut down, when it is
// stopped or when it is started, which says nothing about the server.
func TestBusyServerIsShutDownLater(t *testing.T) {
	for _, call := range []string{"shutdown", "stop", "start", "state"} {
		synctest.Test(t, func(t *testing.T) {
			j, server := newQuiesce(t)
			j.spec.ForceStop, j.spec.QuiesceTimeout = true, transfer.Seconds(time.Minute)
			if call == "stop" {
				server.obeys = 0
			}
			j.opener.open = func(what string, n int) error {
				if what == call && n == 1 {
					return failure(transfer.CodeConflict)
				}
				return nil
			}
			if j.mustRun(); server.stops != 1 || j.opener.opened[call] < 2 {
				t.Errorf("%s: got %d stops and %d calls, want 1 and more", call, server.stops, j.opener.opened[call])
			}
			j.mustRunAgain(call)
		})
	}
}

// TestRefusedStartIsTriedAgain: the account has no money for an hour, or its password is not the
// configured one. The job shows that, and why, and starts the server then.
func TestRefusedStartIsTriedAgain(t *testing.T) {
	for _, code := range []transfer.Code{transfer.CodeNoSpace, transfer.CodeUnauthorized, transfer.CodeServer} {
		synctest.Test(t, func(t *testing.T) {
			j, _ := newQuiesce(t)
			began, shown := time.Now(), false
			j.opener.open = func(what string, _ int) error {
				if what == "start" && time.Since(began) < time.Hour {
					now := j.store.last().Progress
					shown = shown || now.Step == transfer.StepNotStarted && now.Waiting != nil &&
						now.Waiting.Code == code && strings.Contains(now.Waiting.Cause, "server s is not started")
					return failure(code)
				}
				return nil
			}
			if j.mustRun(); !shown {
				t.Errorf("%s: the job does not show that its server is not started, and why", code)
			}
			if w := j.store.last().Progress.Waiting; w != nil {
				t.Errorf("%s: got the wait %+v after the start, want none", code, w)
			}
			j.mustRunAgain(string(code))
		})
	}
}

// TestServerThatStaysStoppedIsNamed: the endpoint refuses for good to start it. A retry tries again.
func TestServerThatStaysStoppedIsNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, server := newQuiesce(t)
		j.opener.open = func(what string, _ int) error {
			if what == "start" {
				return failure(transfer.CodeRefused)
			}
			return nil
		}
		if f := j.mustFail(transfer.CodeRefused); !strings.Contains(f.Message, "server s is still stopped") {
			t.Errorf("got %+v, want the server", f)
		}
		if plan := j.store.saved.Plan; plan.Owes() || server.running {
			t.Errorf("got plan %+v, running %t; want nothing owed, and false", plan, server.running)
		}
		j.opener.open = nil
		j.mustRun()
		j.mustRunAgain("after a retry")
	})
}

// TestServerOfAUserIsLeftAlone: while it is down, a user changes, starts or destroys it.
func TestServerOfAUserIsLeftAlone(t *testing.T) {
	for name, change := range map[string]func(j *job, s *fakeServer){
		"changed":   func(_ *job, s *fakeServer) { s.config = "two" },
		"started":   func(_ *job, s *fakeServer) { s.running = true },
		"destroyed": func(j *job, _ *fakeServer) { delete(j.opener.power, "s") },
	} {
		synctest.Test(t, func(t *testing.T) {
			j, server := newQuiesce(t)
			j.opener.open = func(what string, _ int) error {
				if what == "snapshot" {
					j.opener.mu.Lock()
					defer j.opener.mu.Unlock()
					change(j, server)
				}
				return nil
			}
			p := j.mustRun()
			if server.starts > 0 || (name == "changed") != (len(p.Warnings) > 0) {
				t.Errorf("%s: got %d starts and warnings %q, want none, and a warning if it was changed",
					name, server.starts, p.Warnings)
			}
			j.mustOweNothing(name)
		})
	}
}

// TestWorkerThatStopsStartsTheServer: it is told to stop while the server is down, because the
// endpoint does not answer, or still clones the drive. No other worker may be there.
func TestWorkerThatStopsStartsTheServer(t *testing.T) {
	for call, code := range map[string]transfer.Code{"snapshot": transfer.CodeServer, "start": transfer.CodeConflict} {
		for _, kind := range []transfer.Kind{transfer.Download, transfer.Clone} {
			synctest.Test(t, func(t *testing.T) {
				j, server := newQuiesce(t)
				if kind == transfer.Clone {
					j.quiesceClone()
				}
				at, drain := call, make(chan struct{})
				if at == "snapshot" && kind == transfer.Clone {
					at = "provision"
				}
				j.opener.open = func(what string, n int) error {
					if what != at || n > 3 {
						return nil
					}
					if n == 1 {
						close(drain)
					}
					return failure(code)
				}
				if err := j.run(t.Context(), drain); err != nil && transfer.CodeOf(err) != transfer.CodeDrained {
					t.Errorf("%s at %s: got %v, want none or %s", kind, at, err, transfer.CodeDrained)
				}
				time.Sleep(time.Minute)
				if !j.opener.isRunning("s") || server.stops != 1 {
					t.Errorf("%s at %s: got a server that is stopped (%d stops, %d starts), want it running",
						kind, at, server.stops, server.starts)
				}
				j.opener.open = nil
				j.mustRun()
				j.mustRunAgain(string(kind) + " at " + at)
			})
		}
	}
}

// TestWorkerThatStopsLeavesARefusedServerToAnother: it does not wait for money, and not long for the
// store or the end of a clone.
func TestWorkerThatStopsLeavesARefusedServerToAnother(t *testing.T) {
	for name, r := range map[string]refusedStart{
		"refused":           {transfer.CodeNoSpace, false, false, 5 * time.Second},
		"refused, canceled": {transfer.CodeNoSpace, true, false, 5 * time.Second},
		"busy, canceled":    {transfer.CodeConflict, true, false, undoDraining + time.Second},
		"store away":        {transfer.CodeConflict, true, true, undoDraining + 2*stopTimeout},
	} {
		synctest.Test(t, func(t *testing.T) {
			j, _ := newQuiesce(t)
			if took, err := r.drain(j); transfer.CodeOf(err) != transfer.CodeDrained || took > r.limit {
				t.Errorf("%s: got %v after %s, want %s within %s", name, err, took, transfer.CodeDrained, r.limit)
			}
			j.store.onSave, j.opener.open = nil, nil
			if plan := j.store.saved.Plan; len(plan.Stopped) != 1 || plan.Stopped[0].Left != "" {
				t.Errorf("%s: got %+v, want a server to start", name, plan.Stopped)
			}
			if err := j.run(t.Context(), nil); r.canceled != (transfer.CodeOf(err) == transfer.CodeCanceled) {
				t.Errorf("%s: got %v from the next worker", name, err)
			}
			j.mustRunAgain(name)
		})
	}
}

// refusedStart is an endpoint that does not start a server, and what happens meanwhile: the job is
// canceled, or the store is away when the worker is told to stop.
type refusedStart struct {
	refusal        transfer.Code
	canceled, away bool
	limit          time.Duration // for the worker to stop
}

// drain tells the worker to stop at the third start. It returns the outcome of the attempt, and how
// long it took after that.
func (r *refusedStart) drain(j *job) (took time.Duration, outcome error) {
	ctx, stop := context.WithCancelCause(j.t.Context())
	drain := make(chan struct{})
	var drained time.Time
	j.opener.open = func(what string, n int) error {
		if what != "start" {
			return nil
		}
		if n == 1 && r.canceled {
			_ = events["canceled"](j, stop)
		}
		if n == 3 {
			drained = time.Now()
			close(drain)
			if r.away {
				j.store.change(func(s *memoryStore) {
					s.onSave = func(int) error { return failure(transfer.CodeUnreachable) }
				})
			}
		}
		return failure(r.refusal)
	}
	outcome = j.run(ctx, drain)
	return time.Since(drained), outcome
}

// TestServerThatAUserHasStartedEndsTheJob: its worker was killed while it was down. The next worker
// does not shut it down again.
func TestServerThatAUserHasStartedEndsTheJob(t *testing.T) {
	for _, ours := range []bool{false, true} { // this job has started it
		synctest.Test(t, func(t *testing.T) {
			j, server := newQuiesce(t)
			at := map[bool]string{false: "snapshot", true: "start"}[ours]
			j.opener.open = func(what string, _ int) error {
				if ours && what == "snapshot" {
					return failure(transfer.CodeRefused)
				}
				if what == at {
					return events["killed"](j, nil)
				}
				return nil
			}
			if err := j.run(t.Context(), nil); transfer.CodeOf(err) != transfer.CodeFenced {
				t.Fatalf("got %v, want %s", err, transfer.CodeFenced)
			}
			j.opener.snapshots.exist, j.store.onSave, j.opener.open = nil, nil, nil
			_ = j.opener.setRunning("s", true)
			stops := server.stops
			if ours {
				j.mustRun()
			} else if f := j.mustFail(transfer.CodeInUse); server.stops != stops || !strings.Contains(f.Hint, "retry") {
				t.Errorf("got %+v and %d more stops, want a hint and none", f, server.stops-stops)
			}
			j.mustRunAgain("started")
			j.mustRun() // a retry
			j.mustRunAgain("after a retry")
		})
	}
}

// TestServersDoNotWaitForEachOther: they are shut down at the same time, and one that is not started
// for now holds no other up.
func TestServersDoNotWaitForEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, first := newQuiesce(t)
		second := &fakeServer{running: true, config: "two", obeys: 3 * time.Second}
		j.opener.power["t"] = second
		began := time.Now()
		var cloned time.Duration
		j.opener.open = func(what string, n int) error {
			switch {
			case what == "snapshot":
				cloned = time.Since(began)
			case what == "start" && n == 1:
				return failure(transfer.CodeNoSpace)
			case what == "start" && n == 3 && first.starts+second.starts != 1:
				t.Errorf("got %d and %d starts, want one", first.starts, second.starts)
			}
			return nil
		}
		j.mustRun()
		if cloned > 5*time.Second || first.stops != 1 || second.stops != 1 {
			t.Errorf("got %d and %d stops, a clone after %s; want one each, and 5s at most",
				first.stops, second.stops, cloned)
		}
		if !j.opener.isRunning("t") {
			t.Error("got a second server that is stopped")
		}
		j.mustRunAgain("both")
	})
}
