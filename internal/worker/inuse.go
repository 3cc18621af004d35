package worker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/transferd/transferd/internal/transfer"
)

// heldByTimeout bounds the query for the servers that hold a drive.
const heldByTimeout = 10 * time.Second

// heldBy queries the servers that hold a drive, once. It returns none for what is no drive, or if
// the endpoint does not answer: what a job does with a drive in use, it does well enough without.
func (a *attempt) heldBy(ctx context.Context, drive transfer.Ref) []string {
	if drive.Drive == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, heldByTimeout)
	defer cancel()
	servers, err := a.opener.HeldBy(ctx, a.session, drive)
	if err != nil {
		return nil
	}
	return servers
}

// sourceHeld is the heldFunc of calls to the source. To open an image, the opener may look at the
// drive that the image is for.
func (a *attempt) sourceHeld(ctx context.Context, refusal error) error {
	switch drive := a.spec().Source; {
	case !drive.IsDrive():
		return a.targetHeld(ctx, refusal)
	case a.readsWhileHeld():
		return nil
	default:
		return a.refuseHeld(ctx, drive, refusal)
	}
}

// readsWhileHeld reports whether the source may be read although a server holds the drive: a clone of
// it is read, the user has asked for that, it is only compared, or no server may write to it. Nor is a
// drive held against the query that opens it. What is busy then is so for another reason, and not for
// long.
func (a *attempt) readsWhileHeld() bool {
	readOnly := a.ends.holdable != nil && !a.ends.holdable.Writable()
	return a.ends.source == nil || a.session.Snapshot != "" || a.spec().Mode == transfer.ModeLive ||
		a.action.EndpointCopies || readOnly
}

// targetHeld is the heldFunc of calls to the target. Before the endpoint has made its copy, the
// drive that may be held is the source.
func (a *attempt) targetHeld(ctx context.Context, refusal error) error {
	drive := targetOf(a.spec(), a.state.Plan().Drive)
	if a.action.EndpointCopies && drive.Drive == "" {
		drive = a.spec().Source
	}
	return a.refuseHeld(ctx, drive, refusal)
}

func (a *attempt) refuseHeld(ctx context.Context, drive transfer.Ref, refusal error) error {
	servers := a.heldBy(ctx, drive)
	if len(servers) == 0 {
		return nil
	}
	return a.inUse(drive, servers, refusal)
}

// inUse is the error of a drive that servers hold.
func (a *attempt) inUse(drive transfer.Ref, servers []string, cause error) error {
	hint := "stop the server; after that, transferctl jobs retry continues the job"
	switch {
	case drive != a.spec().Source:
	case a.spec().Mode == transfer.ModeQuiesce:
		hint = "a user or another job has started the server: transferctl jobs retry shuts it down again"
	default:
		hint = "--mode live reads the drive while the server may write to it, --mode quiesce shuts the server down " +
			"until the drive is cloned; or " + hint
	}
	return &transfer.Error{
		Code: transfer.CodeInUse, Hint: hint,
		Err: fmt.Errorf("drive %s is in use by %s: %w", drive.Drive, serversText(servers), cause),
	}
}

var errMixed = errors.New("what is read may be of different times")

// openUnheld opens the source. If running servers hold it, a clone is opened in its place, unless
// the user has asked to read it as it is. What the endpoint copies by itself is compared as it is.
func (a *attempt) openUnheld(ctx context.Context) error {
	if a.readsSnapshot() {
		return a.openSnapshot(ctx)
	}
	if err := a.tryOpenSource(ctx); err != nil {
		return err
	}
	if !a.ends.heldMatters() || a.action.EndpointCopies {
		return nil
	}
	servers := a.ends.holdable.HeldBy()
	if len(servers) == 0 || a.spec().Mode == transfer.ModeLive {
		a.noteInUse(transfer.ModeLive, servers)
		return nil
	}
	if err := a.ends.source.Close(); err != nil {
		return err
	}
	return a.openSnapshot(ctx)
}

// recheckHeld looks once more, after the source was read, which servers hold it.
func (a *attempt) recheckHeld(ctx context.Context) error {
	if !a.ends.heldMatters() || a.action.EndpointCopies || a.session.Snapshot != "" {
		return nil
	}
	servers := a.heldBy(ctx, a.spec().Source)
	if len(servers) > 0 && a.spec().Mode != transfer.ModeLive {
		return &transfer.Error{
			Op: "read the source", Code: transfer.CodeSourceChanged,
			Hint: "run the job again; --mode live reads the drive while the server may write to it",
			Err: fmt.Errorf("%s started with drive %s while it was read: %w",
				serversText(servers), a.spec().Source.Drive, errMixed),
		}
	}
	a.noteInUse(transfer.ModeLive, servers)
	return nil
}

func (a *attempt) noteInUse(mode transfer.Mode, servers []string) {
	a.state.update(func(p *transfer.Progress) { p.NoteInUse(mode, servers) })
}

// inUseWarning says what users should know of an image that was read while servers held the drive;
// empty: none did.
func inUseWarning(u *transfer.InUse) string {
	switch {
	case u == nil:
		return ""
	case u.Mode == transfer.ModeQuiesce:
		return ""
	case u.Mode == transfer.ModeClone:
		return fmt.Sprintf("the drive was in use by %s when it was cloned, so the image is as after a power cut",
			serversText(u.Servers))
	}
	return fmt.Sprintf("the drive was in use by %s while it was read, so the image may mix what the drive held at "+
		"different times", serversText(u.Servers))
}

// serversText names servers.
func serversText(uuids []string) string {
	if len(uuids) == 1 {
		return "server " + uuids[0]
	}
	return "servers " + strings.Join(uuids, ", ")
}

// explainInUse wraps a mismatch on a drive that a server holds, and may write. It queries the
// endpoint once, since the job has failed in any case.
func (a *attempt) explainInUse(ctx context.Context, err error) error {
	if transfer.CodeOf(err) != transfer.CodeMismatch {
		return err
	}
	for _, drive := range []transfer.Ref{a.spec().Source, targetOf(a.spec(), a.state.Plan().Drive)} {
		servers := a.heldBy(ctx, drive)
		if len(servers) == 0 {
			continue
		}
		used := &transfer.Error{
			Code: transfer.CodeMismatch,
			Hint: "stop the server, or compare a clone: transferctl clone --mode clone, or --mode quiesce",
			Err:  fmt.Errorf("drive %s is in use by %s: %w", drive.Drive, serversText(servers), err),
		}
		var cause *transfer.Error
		if errors.As(err, &cause) {
			used.Offset = cause.Offset
		}
		return used
	}
	return err
}

// targetOf is the target of a spec; of a spec for a new drive, the drive that was made for it.
func targetOf(spec *transfer.Spec, made string) transfer.Ref {
	target := spec.Target
	if target.IsDrive() && target.Drive == "" {
		target.Drive = made
	}
	return target
}
