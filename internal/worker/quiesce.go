package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/transferd/transferd/internal/flow"
	"github.com/transferd/transferd/internal/panics"
	"github.com/transferd/transferd/internal/transfer"
)

const (
	// serverPoll is how often a server is looked at that shuts down, or that is to be started.
	serverPoll = time.Second
	// askAgain is how often a server is asked to shut down: its system may have missed it, or
	// another job may have started it again.
	askAgain = 30 * time.Second
	// busyPause and refusedPause are the longest pauses between two tries to start a server: while
	// the endpoint clones its drive, and after another refusal.
	busyPause    = 5 * time.Second
	refusedPause = time.Minute
)

// quiesced calls copy, which has the endpoint clone the source drive. For ModeQuiesce it shuts the
// servers down before that may write to the drive. startServers must follow, also after an error.
func (a *attempt) quiesced(ctx context.Context, copy func(context.Context) error) error {
	if a.spec().Mode == transfer.ModeQuiesce {
		var holders []string
		err := control(ctx, a.snapshots, func(ctx context.Context) (err error) {
			holders, err = a.opener.Writers(ctx, a.session, a.spec().Source)
			return err
		})
		if err != nil {
			return fmt.Errorf("look which servers hold the drive: %w", err)
		}
		if started := a.startedByOthers(holders); len(started) > 0 {
			return a.inUse(a.spec().Source, started, errStarted)
		}
		if err := a.shutDownServers(ctx, holders); err != nil {
			return err
		}
	}
	return copy(ctx)
}

// shutDownServers shuts servers down. None is asked before all may be, and before the plan that says
// so is saved.
func (a *attempt) shutDownServers(ctx context.Context, holders []string) error {
	a.setStep(transfer.StepShuttingDown)
	defer a.setStep("")
	stopped := a.stopped()
	for _, uuid := range holders {
		state, err := a.serverState(ctx, uuid)
		if err == nil {
			err = a.mayStop(uuid, &state)
		}
		if err != nil {
			return err
		}
		stopped = slices.DeleteFunc(stopped, func(s transfer.StoppedServer) bool { return s.UUID == uuid })
		stopped = append(stopped, transfer.StoppedServer{UUID: uuid, Config: state.Config})
	}
	a.setStopped(func([]transfer.StoppedServer) []transfer.StoppedServer { return stopped })
	a.noteInUse(transfer.ModeQuiesce, uuidsOf(stopped))
	if err := a.state.saveUntilDone(ctx); err != nil {
		return err
	}
	g, ctx := panics.WithContext(ctx)
	for i := range stopped {
		g.Go(func() error { return a.shutDown(ctx, stopped[i].UUID) })
	}
	return g.Wait()
}

// startedByOthers returns those of the servers that run which an earlier attempt has shut down and not
// started. They are left alone.
func (a *attempt) startedByOthers(running []string) (uuids []string) {
	for _, s := range a.stopped() {
		if s.Stopped && !s.Started && s.Left == "" && slices.Contains(running, s.UUID) {
			uuids = append(uuids, s.UUID)
		}
	}
	return uuids
}

// mayStop refuses a server that would not be the same after a stop and a start.
func (a *attempt) mayStop(uuid string, state *ServerState) error {
	why, hint := state.NotAgain, "use --mode live, or stop the server yourself"
	if state.NewAddress && !a.spec().AllowNewAddress {
		why, hint = "its address is not static, so it may start with another one", "give --allow-new-address"
	}
	if why == "" {
		return nil
	}
	return transfer.Errorf(transfer.CodeInUse, hint, "server %s is not shut down: %s", uuid, why)
}

// shutDown asks a server to shut down and waits until it has. A worker that stops does not interrupt
// that.
func (a *attempt) shutDown(ctx context.Context, uuid string) error {
	timeout := time.Duration(cmp.Or(a.spec().QuiesceTimeout, transfer.DefaultQuiesceTimeout))
	began := time.Now()
	var asked time.Time
	for {
		state, err := a.serverState(ctx, uuid)
		switch {
		case err != nil:
			return err
		case !state.Running:
			a.updateStopped(uuid, func(s *transfer.StoppedServer) { s.Stopped = !s.Asked.IsZero() })
			return a.state.saveUntilDone(ctx)
		case time.Since(began) >= timeout:
			return a.stopHard(ctx, uuid, timeout)
		case time.Since(asked) >= askAgain:
			asked = time.Now()
			a.updateStopped(uuid, func(s *transfer.StoppedServer) {
				if s.Asked.IsZero() {
					s.Asked = a.now()
				}
			})
			err := a.ownedCallOnce(ctx, func(ctx context.Context) error {
				return a.opener.ShutDown(ctx, a.session, uuid)
			})
			switch transfer.CodeOf(err) {
			case "":
			case transfer.CodeConflict:
				asked = time.Time{} // it is asked again at the next poll
			default:
				return fmt.Errorf("shut server %s down: %w", uuid, err)
			}
		}
		if err := flow.Wait(ctx, nil, serverPoll); err != nil {
			return err
		}
	}
}

// stopHard stops a server that has not shut down in time, if the user allows that.
func (a *attempt) stopHard(ctx context.Context, uuid string, timeout time.Duration) error {
	if !a.spec().ForceStop {
		return transfer.Errorf(transfer.CodeInUse,
			"give it more time (--quiesce-timeout), or --force-stop, which is like a power cut",
			"server %s has not shut down within %s", uuid, transfer.FormatDuration(timeout))
	}
	err := a.ownedCall(ctx, func(ctx context.Context) error { return a.opener.Stop(ctx, a.session, uuid) })
	if err != nil {
		return fmt.Errorf("stop server %s: %w", uuid, err)
	}
	a.updateStopped(uuid, func(s *transfer.StoppedServer) { s.Stopped = true })
	return a.state.saveUntilDone(ctx)
}

// undoQuiesce is startServers after the job has ended.
func (a *attempt) undoQuiesce(ctx context.Context) error {
	stopped, errs := a.startEach(ctx)
	err := errors.Join(errs...)
	if err == nil || handedOn(ctx, err) != nil {
		return err
	}
	for i := range stopped {
		if errs[i] != nil {
			a.log.Error("server stays stopped", zap.String("server", stopped[i].UUID), zap.Error(errs[i]))
			a.updateStopped(stopped[i].UUID, func(s *transfer.StoppedServer) { s.Left = errs[i].Error() })
		}
	}
	warnings := a.leftServers()
	a.state.update(func(p *transfer.Progress) { p.Warnings = append(p.Warnings, warnings...) })
	return a.saveEnd(ctx)
}

// leftServers names the servers that stay stopped.
func (a *attempt) leftServers() (texts []string) {
	for _, server := range a.stopped() {
		if server.Left != "" {
			texts = append(texts, a.serverLeftText(&server))
		}
	}
	return texts
}

func (a *attempt) serverLeftText(s *transfer.StoppedServer) string {
	return fmt.Sprintf("server %s is still stopped (%s): transferctl servers start %s:%s",
		s.UUID, s.Left, a.spec().Source.Endpoint, s.UUID)
}

// startServers starts the servers again that the job has shut down, and tries until ctx ends. All
// are tried, whatever happens with one of them.
func (a *attempt) startServers(ctx context.Context) error {
	stopped, errs := a.startEach(ctx)
	for i := range errs {
		if errs[i] != nil {
			errs[i] = fmt.Errorf("start server %s again: %w", stopped[i].UUID, errs[i])
		}
	}
	return errors.Join(errs...)
}

// startEach is startServers. It returns the servers, and the error of each; nil: the record says that
// it is done.
func (a *attempt) startEach(ctx context.Context) (stopped []transfer.StoppedServer, errs []error) {
	if stopped = a.stopped(); len(stopped) == 0 {
		return nil, nil
	}
	a.setStep(transfer.StepStarting)
	defer a.setStep("")
	errs = make([]error, len(stopped))
	g := panics.NewGroup()
	for i := range stopped {
		g.Go(func() error {
			errs[i] = panics.Catch(func() error { return a.startServer(ctx, stopped[i]) })
			return nil
		})
	}
	_ = g.Wait()
	return stopped, errs
}

// startServer starts a server again and records that.
func (a *attempt) startServer(ctx context.Context, server transfer.StoppedServer) error {
	err := a.startAgain(ctx, server)
	switch {
	case errors.Is(err, errChanged):
		a.log.Warn("server not started", zap.String("server", server.UUID), zap.Error(err))
		a.updateStopped(server.UUID, func(s *transfer.StoppedServer) { s.Left = err.Error() })
	case err != nil:
		return err
	default:
		a.setStopped(func(servers []transfer.StoppedServer) []transfer.StoppedServer {
			return slices.DeleteFunc(servers, func(s transfer.StoppedServer) bool { return s.UUID == server.UUID })
		})
	}
	return a.state.saveUntilDone(ctx)
}

var (
	errChanged = errors.New("it was changed while it was stopped")
	errStarted = errors.New("the server was started before the drive was cloned")
)

// startAgain starts a server if it is still stopped by this job, and unchanged. A server that was
// asked to shut down, and runs, may still obey: it is watched for a while. A worker that stops does
// not interrupt that, nor the wait for a drive that is cloned; undo and the queue bound it.
func (a *attempt) startAgain(ctx context.Context, server transfer.StoppedServer) error {
	refused := startRefusal{uuid: server.UUID, pause: serverPoll}
	defer a.state.endWait(refused.uuid)
	for {
		var drain <-chan struct{}
		pause := refused.pause
		state, err := a.serverState(ctx, server.UUID)
		switch {
		case transfer.CodeOf(err) == transfer.CodeNotFound:
			return nil // a user has destroyed it
		case err != nil && !mayPass(err):
			return err
		case err != nil:
			pause, drain = a.noteRefused(ctx, &refused, err)
		case state.Running && (server.Stopped || !a.mayObey(&server)):
			return nil
		case state.Running:
		case server.Asked.IsZero():
			return nil // a user has stopped it
		case state.Config != server.Config:
			return errChanged
		default:
			server.Stopped = true
			a.updateStopped(server.UUID, func(s *transfer.StoppedServer) { s.Stopped, s.Started = true, true })
			err = a.ownedCallOnce(ctx, func(ctx context.Context) error {
				return a.opener.Start(ctx, a.session, server.UUID)
			})
			if err == nil || !mayPass(err) {
				return err
			}
			pause, drain = a.noteRefused(ctx, &refused, err)
		}
		switch ended := flow.Wait(ctx, drain, pause); {
		case ended != nil && err != nil && ctx.Err() != nil:
			return err // the refusal
		case ended != nil:
			return ended
		}
	}
}

// startRefusal is a server that cannot be started for now.
type startRefusal struct {
	uuid  string
	since time.Time     // of the first refusal; zero: none
	pause time.Duration // the last one
}

// noteRefused shows that a server cannot be started for now, and why; for a busy drive only if that
// takes long. It returns the pause until the next try, and what interrupts it.
func (a *attempt) noteRefused(
	ctx context.Context, s *startRefusal, err error,
) (pause time.Duration, drain <-chan struct{}) {
	if s.since.IsZero() {
		s.since = time.Now()
	}
	busy := transfer.CodeOf(err) == transfer.CodeConflict
	if busy {
		s.pause = min(2*s.pause, busyPause)
	} else {
		a.log.Warn("server not started, trying again", zap.String("server", s.uuid), zap.Error(err))
		s.pause, drain = min(2*s.pause, refusedPause), a.drain
		a.setStep(transfer.StepNotStarted)
	}
	wait := transfer.Waiting{
		Code: transfer.CodeOf(err), Cause: fmt.Sprintf("server %s is not started: %v", s.uuid, err),
		Since: jsonTime(s.since), Until: jsonTime(time.Now().Add(s.pause)),
	}
	if due, bounded := ctx.Deadline(); bounded {
		wait.GivesUp = jsonTime(due)
	}
	if !busy || wait.Until.Sub(wait.Since) >= flow.LongWait {
		a.state.beginWait(s.uuid, wait)
	}
	return s.pause, drain
}

// mayObey reports whether a server that was asked to shut down, and still runs, may do so later.
func (a *attempt) mayObey(server *transfer.StoppedServer) bool {
	timeout := time.Duration(cmp.Or(a.spec().QuiesceTimeout, transfer.DefaultQuiesceTimeout))
	return !server.Asked.IsZero() && a.now().Sub(server.Asked) < 2*timeout
}

func (a *attempt) serverState(ctx context.Context, uuid string) (state ServerState, err error) {
	err = control(ctx, a.snapshots, func(ctx context.Context) (err error) {
		state, err = a.opener.ServerState(ctx, a.session, uuid)
		return err
	})
	return state, err
}

// ownedCall makes a call that changes a server, with a fresh proof of the lease.
func (a *attempt) ownedCall(ctx context.Context, run func(ctx context.Context) error) error {
	return control(ctx, a.snapshots, func(ctx context.Context) error {
		if err := a.state.saveUntilDone(ctx); err != nil {
			return err
		}
		return run(ctx)
	})
}

// ownedCallOnce is ownedCall, but does not retry what is refused because something is busy.
func (a *attempt) ownedCallOnce(ctx context.Context, run func(ctx context.Context) error) error {
	var busy error
	err := a.ownedCall(ctx, func(ctx context.Context) error {
		err := run(ctx)
		if busy = nil; transfer.CodeOf(err) == transfer.CodeConflict {
			busy, err = err, nil
		}
		return err
	})
	return cmp.Or(err, busy)
}

// stopped is a copy of the servers that the job has to start again.
func (a *attempt) stopped() []transfer.StoppedServer { return slices.Clone(a.state.Plan().Stopped) }

// setStopped replaces what the plan says of the servers; change gets a copy.
func (a *attempt) setStopped(change func(servers []transfer.StoppedServer) []transfer.StoppedServer) {
	a.state.updatePlan(func(p *transfer.Plan) {
		if p.Stopped = change(slices.Clone(p.Stopped)); len(p.Stopped) == 0 {
			p.Stopped = nil
		}
	})
}

// updateStopped changes what the plan says of a server.
func (a *attempt) updateStopped(uuid string, change func(s *transfer.StoppedServer)) {
	a.setStopped(func(servers []transfer.StoppedServer) []transfer.StoppedServer {
		for i := range servers {
			if servers[i].UUID == uuid {
				change(&servers[i])
			}
		}
		return servers
	})
}

func uuidsOf(servers []transfer.StoppedServer) (uuids []string) {
	for i := range servers {
		uuids = append(uuids, servers[i].UUID)
	}
	return uuids
}
