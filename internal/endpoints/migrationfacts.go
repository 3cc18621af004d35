package endpoints

import (
	"context"
	"time"

	"github.com/transferd/transferd/internal/api"
	"github.com/transferd/transferd/internal/panics"
	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/worker"
)

// migrationFacts is what the two endpoints say about a migration.
type migrationFacts struct {
	server     api.Server
	newAddress bool                     // the server may have another address after a stop and a start
	drives     map[string]api.DriveInfo // of the server's devices, by UUID
	owned      map[string]bool          // those that belong to the account
	sourceIPs  []string                 // static
	sourceVLAN []api.VLAN
	sourceSide account

	target        *api.Client
	targetDrives  []api.DriveInfo
	targetServers []api.Server
	targetIPs     []string // static
	targetVLANs   []api.VLAN
	targetSide    account
	now           time.Time
}

// readMigration reads what a migration depends on. Its calls run at the same time, as far as they can.
func (o *Opener) readMigration(ctx context.Context, s *worker.Session) (*migrationFacts, error) {
	source, err := o.session(ctx, s, s.Spec.Source.Endpoint)
	if err != nil {
		return nil, err
	}
	target, err := o.session(ctx, s, s.Spec.Target.Endpoint)
	if err != nil {
		return nil, err
	}
	f := &migrationFacts{target: target, now: time.Now()}
	g, reading := panics.WithContext(ctx)
	g.Go(func() error { return f.readSource(reading, source, s.Spec.Source.Drive) })
	g.Go(func() (err error) { f.targetDrives, err = target.Drives(reading); return err })
	g.Go(func() (err error) { f.targetServers, err = target.Servers(reading); return err })
	g.Go(func() (err error) { f.targetIPs, err = target.ListIPs(reading); return err })
	g.Go(func() (err error) { f.targetVLANs, err = vlansOf(reading, target); return err })
	g.Go(func() (err error) { f.targetSide, err = readAccount(reading, target); return err })
	return f, g.Wait()
}

func (f *migrationFacts) readSource(ctx context.Context, c *api.Client, server string) (err error) {
	if f.server, err = c.Server(ctx, server); err != nil {
		return err
	}
	g, reading := panics.WithContext(ctx)
	g.Go(func() error { return f.readDrives(reading, c) })
	g.Go(func() (err error) { f.sourceIPs, err = c.ListIPs(reading); return err })
	g.Go(func() (err error) { f.sourceVLAN, err = vlansOf(reading, c); return err })
	g.Go(func() (err error) { f.sourceSide, err = readAccount(reading, c); return err })
	g.Go(func() (err error) { f.newAddress, err = hasDynamicAddress(reading, c, &f.server); return err })
	return g.Wait()
}

// readDrives reads the drives in the server's devices. Those of others, as of the library, are not
// among the account's.
func (f *migrationFacts) readDrives(ctx context.Context, c *api.Client) error {
	own, err := c.Drives(ctx)
	if err != nil {
		return err
	}
	f.drives, f.owned = make(map[string]api.DriveInfo), make(map[string]bool)
	for i := range own {
		f.drives[own[i].UUID], f.owned[own[i].UUID] = own[i], true
	}
	for _, d := range f.server.Devices {
		if f.owned[d.Drive] {
			continue
		}
		info, err := c.Drive(ctx, d.Drive)
		switch {
		case transfer.CodeOf(err) == transfer.CodeNotFound: // a stopped server may have one that was destroyed
		case err != nil:
			return err
		default:
			f.drives[d.Drive] = info
		}
	}
	return nil
}

// vlansOf describes the VLANs of an account; without their names if the endpoint has no call for
// that, which is not in the manual.
func vlansOf(ctx context.Context, c *api.Client) ([]api.VLAN, error) {
	vlans, err := c.VLANs(ctx)
	if code := transfer.CodeOf(err); code != transfer.CodeNotFound && code != transfer.CodeRefused {
		return vlans, err
	}
	ids, err := c.ListVLANs(ctx)
	vlans = make([]api.VLAN, len(ids))
	for i, id := range ids {
		vlans[i].UUID = id
	}
	return vlans, err
}
