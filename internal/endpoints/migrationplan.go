package endpoints

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/transferd/transferd/internal/api"
	"github.com/transferd/transferd/internal/transfer"
)

// migrationPlan is a migration that is being planned.
type migrationPlan struct {
	*serverKeys
	report transfer.Migration
	plan   transfer.MigrationPlan
}

func newMigrationPlan(spec *transfer.Spec, f *migrationFacts) *migrationPlan {
	p := &migrationPlan{serverKeys: newServerKeys(spec, f)}
	p.report = transfer.Migration{
		Name: p.keys["name"], Running: f.server.Running(), Networks: p.networks,
		Drives: []transfer.MigratedDrive{}, Space: []transfer.Space{},
	}
	if p.report.Networks == nil {
		p.report.Networks = []transfer.MigratedNIC{}
	}
	for _, d := range f.server.Devices {
		p.addDrive(d)
	}
	if p.findMoved(); p.report.Moved {
		p.findings = nil // nothing is done
	} else {
		p.checkServer()
		p.checkSpace()
		p.checkHardware()
	}
	p.report.Findings = p.findings
	if p.findings == nil {
		p.report.Findings = []transfer.Finding{}
	}
	return p
}

// addDrive adds the drive in a device.
func (p *migrationPlan) addDrive(d api.Device) {
	if why := p.facts.leftOut(d.Name); why != "" {
		p.warn(d.Name, why+", so the device is empty on the new server", "")
		return
	}
	info, device := p.facts.drives[d.Drive], d.Name
	if slices.ContainsFunc(p.plan.Drives, func(m transfer.MigratingDrive) bool { return m.Drive == d.Drive }) {
		p.fail(transfer.CodeInvalid, device, "drive "+d.Drive+" is in two devices", "take it out of one")
		return
	}
	p.report.Drives = append(p.report.Drives, transfer.MigratedDrive{
		Device: device, Source: info.UUID, Name: info.Name, Size: info.Size, Media: cmp.Or(d.Media, "disk"),
	})
	p.plan.Drives = append(p.plan.Drives, transfer.MigratingDrive{
		Device: device, Drive: info.UUID, Name: cmp.Or(api.DriveName(info.Name), device),
		Tags: append(copiedTags(info), transfer.MovedTag(info.UUID)), Readers: p.readers(device, &info),
	})
	p.checkDrive(device, &info)
}

// readers are those of the source drive that mean the same at the target: only all accounts.
func (p *migrationPlan) readers(device string, info *api.DriveInfo) []string {
	if slices.Contains(info.Readers, api.AllReaders) {
		return []string{api.AllReaders}
	}
	if len(info.Readers) > 0 {
		p.warn(device, fmt.Sprintf("its %s are accounts of %s, so the copy has none",
			transfer.Count(len(info.Readers), "reader"), p.spec.Source.Endpoint),
			"transferctl drives share shares the copy")
	}
	return nil
}

// checkDrive finds what prevents that a drive is cloned, or that its copy is like it.
func (p *migrationPlan) checkDrive(device string, info *api.DriveInfo) {
	if _, err := info.Ready(); err != nil {
		p.fail(transfer.CodeRefused, device, err.Error(), "")
	}
	others := slices.DeleteFunc(info.Writers(), func(server string) bool { return server == p.facts.server.UUID })
	if len(others) > 0 {
		p.fail(transfer.CodeInUse, device, "drive "+info.UUID+" is also in use by server "+strings.Join(others, ", "),
			"stop it while the drives are cloned")
	}
	if info.Keys["encryption:cipher"] == "none" {
		p.warn(device,
			"drive "+info.UUID+" is not encrypted; the copy is as "+p.spec.Target.Endpoint+" makes new drives", "")
	}
	if licenses := info.Keys["licenses"]; licenses != "" {
		p.warn(device, "its licenses ("+licenses+") belong to the account at "+p.spec.Source.Endpoint,
			"subscribe to them at "+p.spec.Target.Endpoint)
	}
}

// findMoved finds a server at the target that has copies of the drives. Copies without a server are
// those of a migration that was interrupted.
func (p *migrationPlan) findMoved() {
	copies := copiesOf(p.facts.targetDrives, &p.plan)
	if p.report.Server = serverWith(p.facts.targetServers, copies); p.report.Server != "" {
		p.report.Moved = true
		return
	}
	if len(copies) > 0 {
		p.warn(p.spec.Target.Endpoint+":", fmt.Sprintf(
			"%s of this server's drives exist there and no server has them: an earlier migration was interrupted",
			transfer.Count(len(copies), "copy")),
			"if it goes on, it uses them; otherwise transferctl drives destroy removes those with the tag "+
				transfer.MovedTag("UUID"))
	}
}

// checkServer finds what prevents that the source server is shut down and started again.
func (p *migrationPlan) checkServer() {
	s := &p.facts.server
	switch {
	case len(p.plan.Drives) == 0:
		p.fail(transfer.CodeInvalid, "server", "it has no drive that could be moved",
			"make a server at "+p.spec.Target.Endpoint+" instead")
	case !s.Running():
	case s.Keys["persistent"] == "false":
		p.fail(transfer.CodeInUse, "server", "it is not persistent, so a shutdown would remove it",
			"set persistent true, or stop it yourself")
	case p.facts.newAddress && !p.spec.AllowNewAddress:
		p.fail(transfer.CodeInUse, "server", "its address is not static, so after the shutdown it may have another one",
			"give --allow-new-address, or stop it yourself")
	}
}

// checkSpace finds out whether the disk suffices: for the clones at the source, and for the copies at
// the target.
func (p *migrationPlan) checkSpace() {
	size := p.report.Size()
	p.addSpace(p.spec.Source.Endpoint, "the clones of the drives need", size, &p.facts.sourceSide)
	p.addSpace(p.spec.Target.Endpoint, "the new drives need", size, &p.facts.targetSide)
}

func (p *migrationPlan) addSpace(endpoint, what string, size int64, a *account) {
	allowed := a.allowance(p.facts.now)
	space := transfer.Space{Endpoint: endpoint, Needed: size}
	if left := allowed.left(); left != unlimited {
		space.Left = &left
	}
	if a.balance != nil {
		space.Balance = a.balance.String()
	}
	p.report.Space = append(p.report.Space, space)
	var lack *transfer.Error
	if errors.As(allowed.checkSum(endpoint, what, size), &lack) {
		p.fail(lack.Code, endpoint+":", lack.Err.Error(), lack.Hint)
	} else if allowed.broke != nil {
		p.warn(endpoint+":", "its balance is "+allowed.broke.String()+", so it may refuse new drives and servers",
			"add money to the account")
	}
}

// checkHardware finds out whether the target's account may use the processors and the memory.
func (p *migrationPlan) checkHardware() {
	usage := p.facts.targetSide.usage
	if usage == nil {
		return
	}
	for _, r := range []struct {
		name, unit string
		amounts    api.Amounts
		needed     int64
	}{
		{"cpu", "MHz", usage.CPU, p.facts.server.CPU}, {"mem", "MiB", usage.Mem, p.facts.server.Mem},
	} {
		limit, limited := api.Whole(r.amounts.Limit)
		used, _ := api.Whole(r.amounts.Used)
		item := p.spec.Target.Endpoint + ":"
		cause := fmt.Sprintf("the server needs %d %s of %s, and the account may use %d and uses %d",
			r.needed, r.unit, r.name, limit, used)
		const remedy = "stop servers there, or subscribe to more"
		switch {
		case !limited || r.needed <= limit-used:
		case r.needed > limit || p.spec.Start:
			p.fail(transfer.CodeNoSpace, item, cause, remedy)
		default:
			p.warn(item, cause+": it can be made and not be started", remedy)
		}
	}
}
