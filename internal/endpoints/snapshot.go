package endpoints

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/transferd/transferd/internal/api"
	"github.com/transferd/transferd/internal/panics"
	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/worker"
)

// Snapshot implements worker.Snapshotter. A clone that the account has no space for is not requested.
func (o *Opener) Snapshot(ctx context.Context, s *worker.Session, find bool) (worker.Snapshot, error) {
	c, err := o.session(ctx, s, s.Spec.Source.Endpoint)
	if err != nil {
		return worker.Snapshot{}, err
	}
	var origin api.DriveInfo
	var made []api.DriveInfo
	var account account
	g, reading := panics.WithContext(ctx)
	g.Go(func() (err error) { origin, err = c.Drive(reading, s.Spec.Source.Drive); return err })
	g.Go(func() (err error) { account, err = readAccount(reading, c); return err })
	if find {
		g.Go(func() (err error) { made, err = snapshotsOf(reading, c, s); return err })
	}
	if err := g.Wait(); err != nil {
		return worker.Snapshot{}, transfer.NotCarriedOut(err)
	}
	if len(made) > 0 {
		return snapshotOf(s, &made[0], &origin), nil
	}
	allowed := account.allowance(time.Now())
	if err := allowed.check(s.Spec.Source.Endpoint, origin.Size); err != nil {
		return worker.Snapshot{}, transfer.NotCarriedOut(err)
	}
	info, err := c.CloneDrive(ctx, origin.UUID, api.CloneOptions{
		Name: api.DriveName("clone of " + origin.Name), Tags: []string{s.SnapshotTag()},
	})
	err = explainNoSpace(ctx, c, s.Spec.Source.Endpoint, origin.Size, explainBusy(&origin, err))
	return snapshotOf(s, &info, &origin), err
}

func snapshotOf(s *worker.Session, made, origin *api.DriveInfo) worker.Snapshot {
	return worker.Snapshot{Drive: made.UUID, Tagged: isSnapshot(s, made), Servers: origin.Writers()}
}

func isSnapshot(s *worker.Session, d *api.DriveInfo) bool {
	return slices.Contains(d.Tags, s.SnapshotTag())
}

// snapshotsOf returns the drives with the tag of the job's clones. There are several if the response
// to a request was lost and the request was repeated.
func snapshotsOf(ctx context.Context, c *api.Client, s *worker.Session) ([]api.DriveInfo, error) {
	drives, err := c.Drives(ctx)
	return slices.DeleteFunc(drives, func(d api.DriveInfo) bool { return !isSnapshot(s, &d) }), err
}

// SnapshotReady implements worker.Snapshotter.
func (o *Opener) SnapshotReady(ctx context.Context, s *worker.Session, drive string) (bool, error) {
	return o.ready(ctx, s, s.Spec.Source.Endpoint, drive)
}

// DestroySnapshots implements worker.Snapshotter.
func (o *Opener) DestroySnapshots(ctx context.Context, s *worker.Session, drive string, tagged bool) (int, error) {
	c, err := o.session(ctx, s, s.Spec.Source.Endpoint)
	if err != nil {
		return 0, err
	}
	found, err := snapshotsOf(ctx, c, s)
	if err != nil {
		return 0, err
	}
	var errs []error
	uuids := make(map[string]bool)
	for i := range found {
		if servers := found[i].Servers(); len(servers) > 0 {
			users := strings.Join(servers, ", ")
			errs = append(errs, transfer.Errorf(transfer.CodeInUse, "", "it is in use by %s", users))
			continue
		}
		uuids[found[i].UUID] = true
	}
	if drive != "" && !tagged {
		uuids[drive] = true
	}
	for uuid := range uuids {
		if err := c.DestroyDrive(ctx, uuid); transfer.CodeOf(err) != transfer.CodeNotFound {
			errs = append(errs, err)
		}
	}
	return len(uuids), errors.Join(errs...)
}
