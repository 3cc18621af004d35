package worker

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/transferd/transferd/internal/transfer"
)

// newMigration is a job that moves server s, which runs and has two drives.
func newMigration(t *testing.T) (*job, *fakeServer) {
	j := newJob(t, nil, nil)
	j.spec = transfer.NewSpec(transfer.Migrate,
		transfer.Ref{Endpoint: "a", Drive: "s"}, transfer.Ref{Endpoint: "b"})
	j.spec.Mode = transfer.ModeQuiesce
	j.opener.snapshots = fakeSnapshots{ready: 2}
	server := &fakeServer{running: true, config: "one", obeys: 3 * time.Second}
	j.opener.power = map[string]*fakeServer{"s": server}
	j.opener.migration.parts = &j.store.parts
	j.store.parts.called = j.opener.opening
	j.store.parts.clones = func(drive string) bool {
		j.opener.mu.Lock()
		defer j.opener.mu.Unlock()
		return j.opener.snapshots.exist[drive]
	}
	return j, server
}

// mustBeMoved checks that there is one new server, with the copies that exist.
func (j *job) mustBeMoved(name string) {
	j.t.Helper()
	servers, copies := j.opener.migration.servers, j.store.parts.copies
	if len(servers) != 1 || len(copies) != 2 {
		j.t.Errorf("%s: got the servers %v and the copies %v, want one server with two", name, servers, copies)
	}
	for _, drives := range servers {
		for _, drive := range copies {
			if !slices.Contains(drives, drive) {
				j.t.Errorf("%s: got a server with %v, want it to have %s", name, drives, drive)
			}
		}
	}
}

// mustLeaveNothing checks that nothing exists at the target, or all copies.
func (j *job) mustLeaveNothing(name string) {
	j.t.Helper()
	plan := j.store.saved.Plan.Migration
	complete := plan != nil && plan.Copied()
	if n := len(j.store.parts.copies); n > 0 && !complete {
		j.t.Errorf("%s: got %d copies that are no server's and not complete, want none", name, n)
	}
	if n := j.store.parts.early; n > 0 {
		j.t.Errorf("%s: got %d copies destroyed while their jobs ran, want none", name, n)
	}
}

// TestServerMoves: all drives are cloned while the server is down, once; it runs before they are
// copied; the new server is made of the copies, and compared.
func TestServerMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, server := newMigration(t)
		j.spec.Start = true
		j.opener.open = func(what string, _ int) error {
			plan, running := j.store.last().Plan, j.opener.isRunning("s")
			switch {
			case what == "shutdown" && len(plan.Stopped) != 1:
				t.Errorf("at the shutdown, got plan %+v, want the server", plan)
			case what == "snapshot" && (running || !plan.Owes()):
				t.Errorf("a drive is cloned while the server runs (%t), or with nothing owed in %+v", running, plan)
			case what == "make server" && (!running || !plan.Migration.Copied()):
				t.Errorf("the server is made with %+v while the old one runs: %t", plan.Migration, running)
			}
			return nil
		}
		p := j.mustRun()
		if server.stops != 1 || server.starts != 1 || j.opener.snapshots.requested != 2 || j.store.parts.gone != 0 {
			t.Errorf("got %d stops, %d starts, %d clones, %d of them gone too early; want 1, 1, 2, 0",
				server.stops, server.starts, j.opener.snapshots.requested, j.store.parts.gone)
		}
		m := p.Migration
		if m.Server != "server-1" || m.Comparison == nil || !m.Started ||
			m.Downtime == nil || m.Downtime.Shutdown < 3 ||
			m.Estimate.Jobs != 3 || !p.Verified || p.Bytes.Total != 2<<20 || len(j.opener.migration.started) != 1 {
			t.Errorf("got %+v, verified %t, %d bytes; want the whole report and 2 MiB", m, p.Verified, p.Bytes.Total)
		}
		j.mustBeMoved("moved")
		j.mustRunAgain("moved")
		for _, job := range j.store.parts.jobs {
			if job.Kind != transfer.Clone || job.Batch != "job" || job.Target != "b:" {
				t.Errorf("got the part %+v, want a clone to b that names its batch", job)
			}
		}
	})
}

// TestMigrationEndsWell: an attempt ends at each of its calls in each way. Then the old server runs,
// no clone is left, and there is one new server, or none and no copy. The same job goes on.
func TestMigrationEndsWell(t *testing.T) {
	calls := []string{
		"plan", "state", "shutdown", "snapshot", "start", "snapshot ready", "part", "parts", "migrated server",
		"make server", "compare", "start migrated", "destroy",
	}
	for _, call := range calls {
		for name, happens := range events {
			if name == "failed" && (call == "start" || call == "destroy") {
				continue // what cannot be undone is named: TestServerThatStaysStoppedIsNamed
			}
			for _, n := range []int{1, 2, 3} {
				synctest.Test(t, func(t *testing.T) { migrateThrough(t, call, name, n, happens) })
			}
		}
	}
}

// migrateThrough runs a migration to which something happens at the n-th call of one kind.
func migrateThrough(t *testing.T, call, name string, n int, happens event) {
	j, _ := newMigration(t)
	j.spec.Start = true
	name += " at " + call
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
	if err != nil && transfer.CodeOf(err) != transfer.CodeFenced {
		j.mustRunAgain(name)
		j.mustLeaveNothing(name)
	}
	j.store.change(func(s *memoryStore) { s.onSave, s.canceled = nil, false })
	j.opener.open = nil
	if p := j.mustRun(); p.Migration.Server == "" { // another worker, or the same command again
		t.Errorf("%s: got %+v, want a server", name, p.Migration)
	}
	j.mustBeMoved(name)
	j.mustRunAgain(name)
	if j.store.parts.gone > 0 {
		t.Errorf("%s: got %d clones that were destroyed while a job copied them, want none", name, j.store.parts.gone)
	}
}

// TestMigrationSurvivesAKillAtEachSave: the worker is killed at each of its saves. The next one goes
// on: there is one server, and each drive was cloned for it at one time.
func TestMigrationSurvivesAKillAtEachSave(t *testing.T) {
	killed := true
	for n := 1; killed; n++ {
		synctest.Test(t, func(t *testing.T) {
			name := "killed at save " + strconv.Itoa(n)
			j, server := newMigration(t)
			j.store.onSave = func(save int) error {
				if save < n {
					return nil
				}
				return failure(transfer.CodeFenced)
			}
			if killed = j.run(t.Context(), nil) != nil; !killed {
				return
			}
			time.Sleep(time.Minute)
			j.store.onSave = nil
			j.opener.open = func(what string, _ int) error {
				j.opener.mu.Lock()
				defer j.opener.mu.Unlock()
				if clones := len(j.opener.snapshots.exist); what == "make server" && clones != 2 {
					t.Errorf("%s: got %d clones, want 2: those of an interrupted attempt are destroyed", name, clones)
				}
				return nil
			}
			j.mustRun()
			j.mustBeMoved(name)
			j.mustRunAgain(name)
			if server.stops > 2 || j.store.parts.gone > 0 {
				t.Errorf("%s: got %d stops and %d clones gone too early, want 2 at most and none",
					name, server.stops, j.store.parts.gone)
			}
		})
		if n > 200 {
			t.Fatal("the migration makes no end")
		}
	}
}

// TestDrainedMigrationGoesOn: the worker stops at each call. The old server runs before it ends if it
// can, and the next worker goes on.
func TestDrainedMigrationGoesOn(t *testing.T) {
	calls := []string{"shutdown", "snapshot", "snapshot ready", "parts", "migrated server", "make server", "compare"}
	for _, call := range calls {
		synctest.Test(t, func(t *testing.T) {
			j, _ := newMigration(t)
			drain := make(chan struct{})
			j.opener.open = func(what string, n int) error {
				if what == call && n == 1 {
					close(drain)
				}
				return nil
			}
			if err := j.run(t.Context(), drain); err != nil && transfer.CodeOf(err) != transfer.CodeDrained {
				t.Errorf("drained at %s: got %v, want no other error", call, err)
			}
			if !j.opener.isRunning("s") {
				t.Errorf("drained at %s: got a server that is stopped, want it running", call)
			}
			j.mustRun()
			j.mustBeMoved("drained at " + call)
			j.mustRunAgain("drained at " + call)
		})
	}
}

// TestDeletedPartIsNotRepeated: a user deletes the record of a job that has ended, while another runs.
func TestDeletedPartIsNotRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, _ := newMigration(t)
		deleted := false
		j.store.onSave = func(int) error {
			plan := j.store.saved.Plan.Migration // Save has the lock
			if !deleted && plan != nil && plan.Drives[0].Copy != "" {
				deleted = true
				j.store.parts.forget(plan.Drives[0].Job)
			}
			return nil
		}
		j.mustRun()
		if !deleted || len(j.store.parts.jobs) != 1 {
			t.Errorf("got deleted %t and the jobs %v, want the deleted one not enqueued again",
				deleted, j.store.parts.jobs)
		}
		j.mustBeMoved("deleted part")
	})
}

// TestServerThatIsStartedTooEarlyEndsAMigration: a user starts it while the drives are cloned, so that
// they are of different times.
func TestServerThatIsStartedTooEarlyEndsAMigration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, _ := newMigration(t)
		j.opener.open = func(what string, n int) error {
			if what == "snapshot" && n == 2 {
				return j.opener.setRunning("s", true)
			}
			return nil
		}
		j.mustFail(transfer.CodeSourceChanged)
		j.mustRunAgain("started too early")
		j.mustLeaveNothing("started too early")
	})
}

// TestLostResponseMakesOneServer: the response to the request for the new server is lost, and the
// server appears at once or later.
func TestLostResponseMakesOneServer(t *testing.T) {
	for _, late := range []time.Duration{0, 20 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			j, _ := newMigration(t)
			j.opener.migration.late = late
			j.opener.open = func(what string, n int) error {
				if what == "make server" && n == 1 {
					return failure(transfer.CodeTimeout)
				}
				return nil
			}
			j.mustRun()
			time.Sleep(time.Minute)
			j.mustBeMoved("late " + late.String())
		})
	}
}

// TestFailedCopyEndsAMigration: the other copies are canceled and destroyed, and the next attempt
// clones all drives again.
func TestFailedCopyEndsAMigration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, server := newMigration(t)
		j.store.parts.failed = true
		f := j.mustFail(transfer.CodeMismatch)
		if !strings.Contains(f.Message, "copy drive two") {
			t.Errorf("got %+v, want the drive and its job", f)
		}
		j.mustRunAgain("failed copy")
		j.mustLeaveNothing("failed copy")
		j.store.parts.failed = false
		j.mustRun()
		j.mustBeMoved("after a failed copy")
		if server.stops != 2 || j.opener.snapshots.requested != 4 || j.opener.opened["plan"] != 2 {
			t.Errorf("got %d stops, %d clones and %d plans, want 2, 4 and 2",
				server.stops, j.opener.snapshots.requested, j.opener.opened["plan"])
		}
	})
}

// TestDestroyedResultIsMadeAgain: a migration fails after its copies are complete, or with its new
// server, and a user destroys those. The same job makes again what is not there.
func TestDestroyedResultIsMadeAgain(t *testing.T) {
	for _, tc := range []struct {
		name    string
		fails   string // the call
		destroy func(m *fakeMigration)
		stops   int // of the old server, in all
	}{
		{"nothing", "make server", func(*fakeMigration) {}, 1},
		{"the copies", "make server", func(m *fakeMigration) { clear(m.parts.copies) }, 2},
		{"the server", "start migrated", func(m *fakeMigration) { clear(m.servers) }, 1},
		{"both", "start migrated", func(m *fakeMigration) { clear(m.servers); clear(m.parts.copies) }, 2},
	} {
		synctest.Test(t, func(t *testing.T) {
			j, server := newMigration(t)
			j.spec.Start = true
			j.opener.open = func(what string, _ int) error {
				if what == tc.fails {
					return transfer.NotCarriedOut(failure(transfer.CodeNoSpace))
				}
				return nil
			}
			j.mustFail(transfer.CodeNoSpace)
			tc.destroy(&j.opener.migration)
			j.opener.open = nil
			if p := j.mustRun(); j.opener.migration.servers[p.Migration.Server] == nil || !p.Migration.Started {
				t.Errorf("%s: got %+v, want a server that runs", tc.name, p.Migration)
			}
			j.mustBeMoved(tc.name)
			if server.stops != tc.stops {
				t.Errorf("%s: the old server was shut down %d times, want %d", tc.name, server.stops, tc.stops)
			}
		})
	}
}

// TestMigrationIsRefusedBeforeAnything: a finding that is an error ends the job before the server is
// asked to shut down.
func TestMigrationIsRefusedBeforeAnything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, server := newMigration(t)
		j.opener.migration.findings = []transfer.Finding{
			{Severity: transfer.SeverityWarning, Item: "w"},
			{Severity: transfer.SeverityError, Code: transfer.CodeNoSpace, Item: "b:", Cause: "is full", Remedy: "do"},
		}
		if f := j.mustFail(transfer.CodeNoSpace); f.Hint != "do" || server.stops > 0 {
			t.Errorf("got %+v and %d stops, want the finding and none", f, server.stops)
		}
		j.mustRunAgain("refused")
	})
}

// TestMovedServerIsNotMovedAgain: and differences that should not be are a warning.
func TestMovedServerIsNotMovedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, server := newMigration(t)
		j.opener.migration.differ = []transfer.Difference{{Field: "cpu"}, {Field: "name", Why: "--name"}}
		p := j.mustRun()
		if len(p.Warnings) != 1 || !strings.Contains(p.Warnings[0], "in cpu") {
			t.Errorf("got the warnings %q, want one of cpu", p.Warnings)
		}
		j.store.change(func(s *memoryStore) { s.saved = transfer.Checkpoint{} }) // another job
		if p = j.mustRun(); !p.Migration.Moved || p.Migration.Server != "server-1" || server.stops != 1 {
			t.Errorf("got %+v and %d stops, want the server of the first job and 1", p.Migration, server.stops)
		}
		j.mustBeMoved("again")
	})
}
