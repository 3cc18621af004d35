package endpoints

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/transferd/transferd/internal/api"
	"github.com/transferd/transferd/internal/panics"
	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/worker"
)

// CompareServers implements worker.Migrator. It does not show passwords.
func (o *Opener) CompareServers(
	ctx context.Context, s *worker.Session, p *transfer.MigrationPlan,
) (*transfer.Comparison, error) {
	f, err := o.readMigration(ctx, s)
	if err != nil {
		return nil, err
	}
	var made api.Server
	var copies []api.DriveInfo
	g, reading := panics.WithContext(ctx)
	g.Go(func() (err error) { made, err = f.target.Server(reading, p.Server); return err })
	g.Go(func() (err error) { copies, err = f.target.Drives(reading); return err })
	if err := g.Wait(); err != nil {
		return nil, err
	}
	c := &comparison{found: transfer.Comparison{Differences: []transfer.Difference{}}}
	c.servers(newServerKeys(&s.Spec, f), &made, p)
	for i := range p.Drives {
		d := &p.Drives[i]
		at := slices.IndexFunc(copies, func(info api.DriveInfo) bool { return info.UUID == d.Copy })
		if at < 0 {
			c.add(d.Device, d.Drive, "", "")
			continue
		}
		origin := f.drives[d.Drive]
		c.drives(d.Device, &origin, &copies[at])
	}
	if now := configOf(&f.server); now != p.Config {
		c.found.Differences = append(c.found.Differences, transfer.Difference{
			Field: "configuration of the old server", Source: "changed since its drives were cloned",
		})
	}
	return &c.found, nil
}

// comparison collects what differs.
type comparison struct{ found transfer.Comparison }

// add compares two values. why says why they must differ.
func (c *comparison) add(field, source, target, why string) {
	if source == target {
		c.found.Equal++
		return
	}
	if strings.Contains(field, "password") {
		source, target = "(hidden)", "(hidden)"
	}
	c.found.Differences = append(c.found.Differences, transfer.Difference{
		Field: field, Source: source, Target: target, Why: why,
	})
}

// servers compares the keys of the old server with those of the new one.
func (c *comparison) servers(k *serverKeys, made *api.Server, p *transfer.MigrationPlan) {
	source := k.facts.server.Keys
	all := maps.Clone(source)
	maps.Copy(all, made.Keys)
	for _, key := range slices.Sorted(maps.Keys(all)) {
		if runKey(key) {
			continue
		}
		why := k.why[key]
		device, isMedia := strings.CutSuffix(key, ":media")
		switch {
		case why != "":
		case deviceKey.MatchString(key):
			why = k.facts.leftOut(device)
			if !isMedia && isCopy(p, key, source[key], made.Keys[key]) {
				why = "the copy of the drive"
			}
		case key == "nic:1:mac" && source[key] == "":
			why = "the endpoint chose it"
		}
		c.add(key, source[key], made.Keys[key], why)
	}
}

func isCopy(p *transfer.MigrationPlan, device, source, target string) bool {
	return slices.ContainsFunc(p.Drives, func(d transfer.MigratingDrive) bool {
		return d.Device == device && d.Drive == source && d.Copy == target
	})
}

// drives compares a drive with its copy.
func (c *comparison) drives(device string, origin, made *api.DriveInfo) {
	c.add(device+" name", origin.Name, made.Name, "")
	c.add(device+" size", strconv.FormatInt(origin.Size, 10), strconv.FormatInt(made.Size, 10), "")
	c.add(device+" tags", tagText(origin), tagText(made), "")
	why := ""
	if !slices.Contains(origin.Readers, api.AllReaders) && len(origin.Readers) > 0 {
		why = "they are accounts of the old endpoint"
	}
	c.add(device+" readers", strings.Join(origin.Readers, " "), strings.Join(made.Readers, " "), why)
	for _, key := range slices.Sorted(maps.Keys(origin.Keys)) {
		if copiedAttribute(key) || strings.HasPrefix(key, "encryption:cipher") {
			c.add(device+" "+key, origin.Keys[key], made.Keys[key], "")
		}
	}
}

// tagText is the tags of a drive that are not those of jobs.
func tagText(d *api.DriveInfo) string {
	return strings.Join(slices.Sorted(slices.Values(copiedTags(*d))), " ")
}
