package worker

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/transferd/transferd/internal/flow"
	"github.com/transferd/transferd/internal/transfer"
)

// migrate moves a server to another endpoint: it has the endpoint clone the server's drives at one
// point in time, has a job for each copy its clone, and makes a server of the copies. Each step does
// nothing if an earlier attempt has done it.
func (a *attempt) migrate(ctx context.Context) error {
	if a.parts == nil {
		return transfer.Errorf(transfer.CodeInvalid, "leave --local out", "a migration needs a queue")
	}
	a.retrier.reached = a.state.Plan().Migration != nil
	if err := a.claimServer(ctx); err != nil {
		return err
	}
	if err := a.dropDestroyed(ctx); err != nil {
		return err
	}
	if plan := a.state.Plan(); plan.Migration == nil || !plan.Owes() && !plan.Migration.Copied() {
		if moved, err := a.planMigration(ctx); moved || err != nil {
			return err
		}
	}
	for _, step := range []func(context.Context) error{
		a.cloneDrives, a.awaitClones, a.copyClones, a.makeServer, a.compareServers, a.startNewServer,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// claimServer claims the server, so that no job that calls its endpoint by another name moves it too.
// It does not wait for one that does.
func (a *attempt) claimServer(ctx context.Context) error {
	if a.claimer == nil {
		return nil
	}
	server := a.spec().Source
	claim := a.opener.Claim(server.Endpoint, server.Drive)
	claim.Mark = rand.Text()
	var conflict error
	err := a.storeCall(ctx, a.source, func(ctx context.Context) error {
		_, err := a.claimer.Claim(ctx, claim)
		if conflict = nil; transfer.CodeOf(err) == transfer.CodeConflict {
			conflict, err = err, nil
		}
		return err
	})
	if conflict != nil {
		err = transfer.Errorf(transfer.CodeConflict, "wait for it, or cancel it with transferctl jobs cancel",
			"another job moves server %s: %w", server, conflict)
	}
	return err
}

// dropDestroyed takes out of the plan what a user has destroyed since the migration ended without
// success: the new server, which is made again, or copies of drives. Then all drives are copied again.
func (a *attempt) dropDestroyed(ctx context.Context) error {
	plan := a.state.Plan()
	if plan.Migration == nil || plan.Owes() || !plan.Migration.Copied() {
		return nil
	}
	var copies, server bool
	err := control(ctx, a.target, func(ctx context.Context) (err error) {
		copies, server, err = a.opener.StillMade(ctx, a.session, plan.Migration)
		return err
	})
	switch {
	case err != nil:
		return fmt.Errorf("look what the migration has made: %w", err)
	case !copies:
		a.state.updatePlan(func(p *transfer.Plan) { p.Migration = nil })
	case !server && plan.Migration.Server != "":
		a.updateMigration(func(p *transfer.MigrationPlan) { p.Server, p.Requested = "", time.Time{} })
		a.report(func(m *transfer.Migration) { m.Server, m.Comparison = "", nil })
	default:
		return nil
	}
	a.log.Warn("destroyed since, making it again", zap.Bool("copies", !copies))
	return a.state.saveUntilDone(ctx)
}

// planMigration makes the plan of the migration and saves it. moved says that there is nothing to do.
func (a *attempt) planMigration(ctx context.Context) (moved bool, err error) {
	var report *transfer.Migration
	var plan *transfer.MigrationPlan
	err = control(ctx, a.source, func(ctx context.Context) (err error) {
		report, plan, err = a.opener.PlanMigration(ctx, a.session)
		return err
	})
	if err != nil {
		return false, fmt.Errorf("plan the migration: %w", err)
	}
	a.retrier.reached = true
	if report.Estimate, err = a.parts.Estimate(ctx, report); err != nil {
		a.log.Warn("migration not estimated", zap.Error(err))
	}
	a.state.update(func(p *transfer.Progress) { p.Migration, p.Size = report, report.Size() })
	if err := report.Err(); report.Moved || err != nil {
		return report.Moved, err
	}
	a.state.updatePlan(func(p *transfer.Plan) { p.Migration = plan })
	return false, a.state.saveUntilDone(ctx)
}

// migration is the plan of the migration. It is not changed, but replaced.
func (a *attempt) migration() *transfer.MigrationPlan { return a.state.Plan().Migration }

func (a *attempt) updateMigration(change func(p *transfer.MigrationPlan)) {
	a.state.updatePlan(func(p *transfer.Plan) {
		p.Migration = p.Migration.Clone()
		change(p.Migration)
	})
}

// report changes what users see of the migration.
func (a *attempt) report(change func(m *transfer.Migration)) {
	a.state.update(func(p *transfer.Progress) {
		next := new(transfer.Migration)
		if p.Migration != nil {
			next = p.Migration.Clone()
		}
		change(next)
		p.Migration = next
	})
}

// clonesOfServer is one clone for each drive of the server.
func (a *attempt) clonesOfServer() (clones []*sourceClone) {
	plan := a.migration()
	if plan == nil {
		return nil
	}
	for i := range plan.Drives {
		session := *a.session
		session.Part = plan.Drives[i].Device
		session.Spec.Source.Drive = plan.Drives[i].Drive
		clones = append(clones, &sourceClone{&session, func(p *transfer.Plan) *transfer.Snapshot {
			return &p.Migration.Drives[i].Snapshot
		}})
	}
	return clones
}

// cloneDrives has the endpoint clone all drives while the server is down, and starts the server
// again. Clones of an earlier attempt that had not made all of them may be of another time, so they
// are made again.
func (a *attempt) cloneDrives(ctx context.Context) error {
	defer a.setStep("")
	plan := a.migration()
	if plan.Copied() || plan.Cloned() {
		return a.startServers(ctx)
	}
	for _, c := range a.clones() {
		if s := a.snapshot(c); !s.Owed() {
			continue
		}
		if err := a.destroySnapshots(ctx, c); err != nil {
			return fmt.Errorf("destroy a clone of an interrupted attempt: %w", err)
		}
		a.updateSnapshot(c, func(s *transfer.Snapshot) { *s = transfer.Snapshot{} })
	}
	down, err := a.shutDownSource(ctx)
	if err != nil {
		return err
	}
	for _, c := range a.clones() {
		if err := a.takeSnapshot(ctx, c); err != nil {
			return fmt.Errorf("drive %s: %w", c.session.Spec.Source.Drive, err)
		}
	}
	if err := a.mustBeDown(ctx); err != nil {
		return err
	}
	stopped := a.stopped()
	if err := a.startServers(ctx); err != nil {
		return err
	}
	a.noteDowntime(stopped, down)
	return nil
}

// shutDownSource shuts the server down if it runs. It returns when it was down (store's clock).
func (a *attempt) shutDownSource(ctx context.Context) (down time.Time, err error) {
	server := a.spec().Source.Drive
	state, err := a.serverState(ctx, server)
	if err != nil {
		return down, err
	}
	var running []string
	if state.Running {
		running = []string{server}
	}
	if len(a.startedByOthers(running)) > 0 {
		return down, a.startedTooEarly()
	}
	err = a.shutDownServers(ctx, running)
	return a.now(), err
}

// startedTooEarly is the error of a server that was started before all of its drives were cloned.
func (a *attempt) startedTooEarly() error {
	return &transfer.Error{
		Op: "clone the drives", Code: transfer.CodeSourceChanged, Hint: "run the migration again",
		Err: fmt.Errorf("server %s: %w: %w", a.spec().Source, errStarted, errMixed),
	}
}

// mustBeDown fails if the server has been started while its drives were cloned.
func (a *attempt) mustBeDown(ctx context.Context) error {
	state, err := a.serverState(ctx, a.spec().Source.Drive)
	if err == nil && state.Running {
		err = a.startedTooEarly()
	}
	if err == nil {
		a.updateMigration(func(p *transfer.MigrationPlan) { p.Config = state.Config })
		err = a.state.saveUntilDone(ctx)
	}
	return err
}

// noteDowntime reports how long the server was down, if this attempt has shut it down.
func (a *attempt) noteDowntime(stopped []transfer.StoppedServer, down time.Time) {
	if len(stopped) == 0 || stopped[0].Asked.IsZero() {
		return
	}
	d := transfer.Downtime{
		Shutdown: down.Sub(stopped[0].Asked).Seconds(), Clone: a.now().Sub(down).Seconds(),
	}
	a.report(func(m *transfer.Migration) { m.Downtime = &d })
}

// awaitClones waits until the endpoint has completed the clones.
func (a *attempt) awaitClones(ctx context.Context) error {
	if a.migration().Copied() {
		return nil
	}
	a.setStep(transfer.StepCloning)
	defer a.setStep("")
	for _, c := range a.clones() {
		if err := a.pollCopy(ctx, a.snapshots, a.snapshot(c).Drive, a.opener.SnapshotReady); err != nil {
			return fmt.Errorf("wait for the clone of drive %s: %w", c.session.Spec.Source.Drive, err)
		}
	}
	return nil
}

// makeServer makes the new server, or finds the one that an earlier request made.
func (a *attempt) makeServer(ctx context.Context) error {
	if a.migration().Server != "" {
		return nil
	}
	a.setStep(transfer.StepMaking)
	defer a.setStep("")
	uuid, err := a.requestServer(ctx)
	if err != nil {
		return fmt.Errorf("make the new server: %w", err)
	}
	a.updateMigration(func(p *transfer.MigrationPlan) { p.Server = uuid })
	a.report(func(m *transfer.Migration) { m.Server = uuid })
	return a.state.saveUntilDone(ctx)
}

// maxDoubts is how many requests for the new server in a row may have no response.
const maxDoubts = 10

// requestServer requests the new server. It repeats a request without a response only when the
// request can have no effect any more and no server has appeared.
func (a *attempt) requestServer(ctx context.Context) (string, error) {
	var doubt error
	for range maxDoubts {
		uuid, err := a.findServer(ctx)
		if uuid != "" || err != nil {
			return uuid, err
		}
		doubt = nil
		err = control(ctx, a.target, func(ctx context.Context) (err error) {
			a.updateMigration(func(p *transfer.MigrationPlan) { p.Requested = a.now() })
			if err := a.state.saveUntilDone(ctx); err != nil {
				return err
			}
			uuid, err = a.opener.MakeServer(ctx, a.session, a.migration())
			if transfer.MayBeCarriedOut(err) {
				doubt, err = err, nil
			}
			return err
		})
		if err != nil || doubt == nil {
			return uuid, err
		}
		a.log.Warn("request for the new server without a response", zap.Error(doubt))
	}
	return "", doubt
}

// findServer finds a server that has a copy of one of the drives. After a request whose response is
// not known, it waits until the request can have no effect any more.
func (a *attempt) findServer(ctx context.Context) (uuid string, err error) {
	for {
		err = control(ctx, a.target, func(ctx context.Context) (err error) {
			uuid, err = a.opener.MigratedServer(ctx, a.session, a.migration())
			return err
		})
		left := settleTime - time.Since(a.localTime(a.migration().Requested))
		if uuid != "" || err != nil || left <= 0 {
			return uuid, err
		}
		if err := flow.Wait(ctx, a.drain, min(left, undoPause)); err != nil {
			return "", err
		}
	}
}

// compareServers compares the new server with the old one, and warns of differences that should not
// be.
func (a *attempt) compareServers(ctx context.Context) error {
	a.setStep(transfer.StepMaking)
	defer a.setStep("")
	var found *transfer.Comparison
	err := control(ctx, a.source, func(ctx context.Context) (err error) {
		found, err = a.opener.CompareServers(ctx, a.session, a.migration())
		return err
	})
	if err != nil {
		return fmt.Errorf("compare the servers: %w", err)
	}
	a.report(func(m *transfer.Migration) { m.Comparison = found })
	if fields := found.Unexpected(); len(fields) > 0 {
		a.warn("the new server differs from the old one in %s", strings.Join(fields, ", "))
	}
	return nil
}

// startNewServer starts the new server, if the user has asked for that.
func (a *attempt) startNewServer(ctx context.Context) error {
	if !a.spec().Start {
		return nil
	}
	server := a.migration().Server
	err := control(ctx, a.target, func(ctx context.Context) error {
		return a.opener.StartMigrated(ctx, a.session, server)
	})
	if err != nil {
		target := transfer.Ref{Endpoint: a.spec().Target.Endpoint, Drive: server}
		failed := &transfer.Error{
			Code: transfer.CodeOf(err), Err: fmt.Errorf("start the new server %s: %w", target, err),
			Hint: "the server is complete; transferctl servers start " + target.String() + " starts it",
		}
		var cause *transfer.Error
		if errors.As(err, &cause) && cause.Hint != "" {
			failed.Hint = cause.Hint + "; " + failed.Hint
		}
		return failed
	}
	a.report(func(m *transfer.Migration) { m.Started = true })
	return nil
}
