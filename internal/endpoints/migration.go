package endpoints

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/transferd/transferd/internal/api"
	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/worker"
)

// PlanMigration implements worker.Migrator.
func (o *Opener) PlanMigration(
	ctx context.Context, s *worker.Session,
) (*transfer.Migration, *transfer.MigrationPlan, error) {
	if err := o.differentAccounts(&s.Spec); err != nil {
		return nil, nil, err
	}
	f, err := o.readMigration(ctx, s)
	if err != nil {
		return nil, nil, err
	}
	p := newMigrationPlan(&s.Spec, f)
	return &p.report, &p.plan, nil
}

// differentAccounts refuses a migration within one account.
func (o *Opener) differentAccounts(spec *transfer.Spec) error {
	source, target := o.endpoints[spec.Source.Endpoint], o.endpoints[spec.Target.Endpoint]
	if source == nil || target == nil || source.config.Account() != target.config.Account() {
		return nil // an unknown endpoint is session's error
	}
	return transfer.Errorf(transfer.CodeInvalid, "write an endpoint of another account or another URL",
		"%s and %s are the same account", spec.Source.Endpoint, spec.Target.Endpoint)
}

// MigratedServer implements worker.Migrator.
func (o *Opener) MigratedServer(
	ctx context.Context, s *worker.Session, p *transfer.MigrationPlan,
) (string, error) {
	c, err := o.session(ctx, s, s.Spec.Target.Endpoint)
	if err != nil {
		return "", err
	}
	servers, err := c.Servers(ctx)
	if err != nil {
		return "", err
	}
	drives, err := c.Drives(ctx)
	if err != nil {
		return "", err
	}
	copies := make(map[string]bool)
	for i := range p.Drives {
		copies[p.Drives[i].Copy] = true
	}
	uuid := serverWith(servers, copies)
	if other := serverWith(servers, copiesOf(drives, p)); uuid == "" && other != "" {
		return "", transfer.Errorf(transfer.CodeExists,
			"if that server is not needed, destroy it and its drives, and run the migration again",
			"another migration has made server %s:%s of this server's drives", s.Spec.Target.Endpoint, other)
	}
	return uuid, nil
}

// StillMade implements worker.Migrator.
func (o *Opener) StillMade(
	ctx context.Context, s *worker.Session, p *transfer.MigrationPlan,
) (copies, server bool, err error) {
	c, err := o.session(ctx, s, s.Spec.Target.Endpoint)
	if err != nil {
		return false, false, err
	}
	servers, err := c.Servers(ctx)
	if err != nil {
		return false, false, err
	}
	drives, err := c.Drives(ctx)
	if err != nil {
		return false, false, err
	}
	copies = !slices.ContainsFunc(p.Drives, func(m transfer.MigratingDrive) bool {
		return !slices.ContainsFunc(drives, func(d api.DriveInfo) bool { return d.UUID == m.Copy })
	})
	return copies, slices.ContainsFunc(servers, func(s api.Server) bool { return s.UUID == p.Server }), nil
}

// copiesOf returns the drives that a migration, not necessarily this one, has copied from those of p.
func copiesOf(drives []api.DriveInfo, p *transfer.MigrationPlan) map[string]bool {
	copies := make(map[string]bool)
	for i := range drives {
		moved := slices.ContainsFunc(p.Drives, func(m transfer.MigratingDrive) bool {
			return slices.Contains(drives[i].Tags, transfer.MovedTag(m.Drive))
		})
		if moved {
			copies[drives[i].UUID] = true
		}
	}
	return copies
}

// serverWith returns the UUID of the first server that has one of the drives; empty: none has.
func serverWith(servers []api.Server, drives map[string]bool) string {
	for i := range servers {
		if slices.ContainsFunc(servers[i].Devices, func(d api.Device) bool { return drives[d.Drive] }) {
			return servers[i].UUID
		}
	}
	return ""
}

// MakeServer implements worker.Migrator. Before that it gives the copies of the drives what a new
// drive cannot be made with.
func (o *Opener) MakeServer(ctx context.Context, s *worker.Session, p *transfer.MigrationPlan) (string, error) {
	f, err := o.readMigration(ctx, s)
	if err != nil {
		return "", transfer.NotCarriedOut(fmt.Errorf("read the server again: %w", err))
	}
	k := newServerKeys(&s.Spec, f)
	if err := f.mustHaveDrives(p); err != nil {
		return "", transfer.NotCarriedOut(err)
	}
	if err := (&transfer.Migration{Findings: k.findings}).Err(); err != nil {
		return "", transfer.NotCarriedOut(err)
	}
	opts := api.ServerOptions{Name: k.keys["name"], CPU: f.server.CPU, Mem: f.server.Mem, Keys: k.keys}
	for i := range p.Drives {
		d := &p.Drives[i]
		if err := f.setAttributes(ctx, d); err != nil {
			return "", transfer.NotCarriedOut(fmt.Errorf("set the attributes of drive %s: %w", d.Copy, err))
		}
		opts.Devices = append(opts.Devices, api.Device{Name: d.Device, Drive: d.Copy, Media: f.media(d.Device)})
	}
	made, err := f.target.CreateServer(opts).Do(ctx)
	if err == nil && made.Running() { // some endpoints start what they make
		err = f.target.StopServer(ctx, made.UUID)
	}
	return made.UUID, explainServer(s.Spec.Target.Endpoint, err)
}

// explainServer adds what to do if the endpoint refuses to make or start a server.
func explainServer(endpoint string, err error) error {
	var e *transfer.Error
	if transfer.CodeOf(err) != transfer.CodeNoSpace || !errors.As(err, &e) {
		return err
	}
	return &transfer.Error{
		Code: transfer.CodeNoSpace, Err: err,
		Hint: "transferctl account show " + endpoint + ": shows what the account may use; " +
			"with more of it, run the migration again",
	}
}

// mustHaveDrives fails if the source server has not the drives any more that were cloned.
func (f *migrationFacts) mustHaveDrives(p *transfer.MigrationPlan) error {
	for i := range p.Drives {
		d := &p.Drives[i]
		has := slices.ContainsFunc(f.server.Devices, func(dev api.Device) bool {
			return dev.Name == d.Device && dev.Drive == d.Drive
		})
		if !has {
			return transfer.Errorf(transfer.CodeSourceChanged, "put it back, and run the migration again",
				"server %s has not drive %s in %s any more", f.server.UUID, d.Drive, d.Device)
		}
	}
	return nil
}

func (f *migrationFacts) media(device string) string { return f.server.Keys[device+":media"] }

// setAttributes sets what drives have besides name, size, tags and readers.
func (f *migrationFacts) setAttributes(ctx context.Context, d *transfer.MigratingDrive) error {
	keys := make(api.Object)
	for key, value := range f.drives[d.Drive].Keys {
		if copiedAttribute(key) && value != "" {
			keys[key] = value
		}
	}
	if len(keys) == 0 {
		return nil
	}
	_, err := f.target.SetDrive(ctx, d.Copy, keys)
	return err
}

// copiedAttribute reports whether a key of a drive is set on its copy.
func copiedAttribute(key string) bool {
	return key == "claim:type" || key == "use" || strings.HasPrefix(key, "user:")
}

// StartMigrated implements worker.Migrator.
func (o *Opener) StartMigrated(ctx context.Context, s *worker.Session, server string) error {
	c, err := o.session(ctx, s, s.Spec.Target.Endpoint)
	if err != nil {
		return err
	}
	_, err = c.StartServer(ctx, server)
	return explainServer(s.Spec.Target.Endpoint, err)
}

// DestroyCopies implements worker.Migrator.
func (o *Opener) DestroyCopies(
	ctx context.Context, s *worker.Session, jobs []string,
) (destroyed []string, err error) {
	c, err := o.session(ctx, s, s.Spec.Target.Endpoint)
	if err != nil {
		return nil, err
	}
	drives, err := c.Drives(ctx)
	if err != nil {
		return nil, err
	}
	servers, err := c.Servers(ctx)
	if err != nil {
		return nil, err
	}
	var errs []error
	for i := range drives {
		d := &drives[i]
		used := serverWith(servers, map[string]bool{d.UUID: true}) != ""
		if used || !slices.Contains(jobs, transfer.MakerOf(d.Tags)) {
			continue
		}
		switch err := c.DestroyDrive(ctx, d.UUID); {
		case err == nil:
			destroyed = append(destroyed, d.UUID)
		case transfer.CodeOf(err) != transfer.CodeNotFound:
			errs = append(errs, err)
		}
	}
	return destroyed, errors.Join(errs...)
}
