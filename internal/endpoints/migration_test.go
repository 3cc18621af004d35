package endpoints_test

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/transferd/transferd/internal/api"
	"github.com/transferd/transferd/internal/config"
	"github.com/transferd/transferd/internal/endpoints"
	"github.com/transferd/transferd/internal/sandbox"
	"github.com/transferd/transferd/internal/sandboxtest"
	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/worker"
)

// migration is a migration from the sandbox zrh to the sandbox lvs of a server with two drives.
type migration struct {
	t        *testing.T
	opener   *endpoints.Opener
	zrh, lvs *api.Client
	session  *worker.Session
	drives   []string
}

// newMigration makes the sandboxes and a stopped server with more keys; one with an empty value unsets
// a default.
func newMigration(t *testing.T, target sandbox.Config, more api.Object) *migration {
	t.Helper()
	t.Setenv("MIGRATION_PASSWORD", "p")
	named := make(map[string]config.Endpoint)
	for name, cfg := range map[string]sandbox.Config{"zrh": {}, "lvs": target} {
		cfg.Dir, cfg.User, cfg.Password = t.TempDir(), "u", "p"
		_, url := sandboxtest.Start(t, cfg)
		named[name] = config.Endpoint{URL: url, User: "u", PasswordEnv: "MIGRATION_PASSWORD"}
	}
	m := &migration{t: t, opener: endpoints.New(named, endpoints.Options{})}
	m.zrh, m.lvs = m.client("zrh"), m.client("lvs")
	keys := api.Object{"boot": "ide:0:0"}
	for _, name := range []string{"root", "data"} {
		d, err := m.zrh.CreateDrive(t.Context(),
			api.CreateOptions{Name: name, Size: 1 << 20, Tags: []string{"affinity:ssd"}})
		m.must(err)
		m.drives = append(m.drives, d.UUID)
	}
	maps.Copy(keys, more)
	server, err := m.zrh.CreateServer(api.ServerOptions{
		Name: "web", CPU: 2000, Mem: 512, Keys: keys,
		Devices: []api.Device{{Name: "ide:0:0", Drive: m.drives[0]}, {Name: "block:2", Drive: m.drives[1]}},
	}).Do(t.Context())
	m.must(err)
	spec := transfer.NewSpec(transfer.Migrate,
		transfer.Ref{Endpoint: "zrh", Drive: server.UUID}, transfer.Ref{Endpoint: "lvs"})
	m.session = &worker.Session{Job: worker.Job{ID: "job", Spec: spec}}
	return m
}

func (m *migration) client(name string) *api.Client {
	c, err := m.opener.Client(m.t.Context(), name)
	m.must(err)
	return c
}

func (m *migration) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

func (m *migration) set(keys api.Object) {
	m.t.Helper()
	_, err := m.zrh.SetServer(m.t.Context(), m.session.Spec.Source.Drive, keys)
	m.must(err)
}

func (m *migration) start() {
	m.t.Helper()
	_, err := m.zrh.StartServer(m.t.Context(), m.session.Spec.Source.Drive)
	m.must(err)
}

func (m *migration) plan() (*transfer.Migration, *transfer.MigrationPlan) {
	m.t.Helper()
	report, plan, err := m.opener.PlanMigration(m.t.Context(), m.session)
	m.must(err)
	return report, plan
}

// make makes the new server, with drives as copies, and compares it.
func (m *migration) make() (api.Server, *transfer.Comparison) {
	m.t.Helper()
	_, plan := m.plan()
	state, err := m.opener.ServerState(m.t.Context(), m.session, m.session.Spec.Source.Drive)
	m.must(err)
	plan.Config = state.Config
	for i := range plan.Drives {
		d := &plan.Drives[i]
		made, err := m.lvs.CreateDrive(m.t.Context(), api.CreateOptions{
			Name: d.Name, Size: 1 << 20, Tags: d.Tags, Readers: d.Readers,
		})
		m.must(err)
		d.Copy = made.UUID
	}
	uuid, err := m.opener.MakeServer(m.t.Context(), m.session, plan)
	m.must(err)
	if found, err := m.opener.MigratedServer(m.t.Context(), m.session, plan); err != nil || found != uuid {
		m.t.Errorf("got the server %s (%v), want %s", found, err, uuid)
	}
	plan.Server = uuid
	compared, err := m.opener.CompareServers(m.t.Context(), m.session, plan)
	m.must(err)
	server, err := m.lvs.Server(m.t.Context(), uuid)
	m.must(err)
	return server, compared
}

// findingsOf is the findings as severity, item and a word of the cause.
func findingsOf(m *transfer.Migration) (texts []string) {
	for _, f := range m.Findings {
		texts = append(texts, string(f.Severity)+" "+f.Item+": "+f.Cause)
	}
	return texts
}

// TestPlanFindsWhatPreventsAMigration: and what cannot be carried over, each with its cause.
func TestPlanFindsWhatPreventsAMigration(t *testing.T) {
	for name, tc := range map[string]struct {
		target  sandbox.Config
		prepare func(m *migration)
		want    []string // the beginning of each finding, and what it contains, separated by …
	}{
		"nothing": {},
		"dynamic address": {prepare: func(m *migration) {
			m.set(api.Object{"nic:0:dhcp": "auto"})
			m.start()
		}, want: []string{"error server: …address is not static"}},
		"dynamic address, allowed": {prepare: func(m *migration) {
			m.set(api.Object{"nic:0:dhcp": "auto"})
			m.start()
			m.session.Spec.AllowNewAddress = true
		}},
		"static address": {prepare: func(m *migration) {
			ip, err := m.zrh.CreateIP().Do(m.t.Context())
			m.must(err)
			m.set(api.Object{"nic:0:dhcp": ip.Address, "vnc:ip": "auto"})
			m.start()
		}, want: []string{"warning nic:0:dhcp: …static address of zrh"}},
		"not persistent": {prepare: func(m *migration) {
			m.set(api.Object{"persistent": "false"})
			m.start()
		}, want: []string{"error server: …not persistent"}},
		"not persistent, stopped": {prepare: func(m *migration) { m.set(api.Object{"persistent": "false"}) }},
		"VLAN": {prepare: func(m *migration) { m.vlan("zrh-net", "") }, want: []string{
			"error nic:1:vlan: no VLAN of lvs is named for …(zrh-net)",
		}},
		"VLAN, mapped": {prepare: func(m *migration) { m.vlan("zrh-net", "lvs-net") }},
		"VLAN, mapped to none": {prepare: func(m *migration) {
			m.vlan("zrh-net", "")
			m.session.Spec.VLANs = map[string]string{"zrh-net": "cellar"}
		}, want: []string{`error nic:1:vlan: …no VLAN "cellar"`}},
		"another VLAN mapped": {prepare: func(m *migration) {
			m.session.Spec.VLANs = map[string]string{"cellar": "cellar"}
		}, want: []string{"error --map-vlan cellar: …"}},
		"parent": {
			prepare: func(m *migration) { m.set(api.Object{"parent": "p"}) },
			want:    []string{"warning parent: …object of zrh"},
		},
		"CD of the library": {prepare: func(m *migration) {
			library, err := m.zrh.ListStandardCDs(m.t.Context())
			m.must(err)
			m.set(api.Object{"ide:1:0": library[0], "ide:1:0:media": "cdrom", "boot": "ide:1:0 ide:0:0"})
		}, want: []string{"warning ide:1:0: …not the account's"}},
		"readers": {prepare: func(m *migration) {
			_, err := m.zrh.SetDrive(m.t.Context(), m.drives[0], api.Object{"readers": m.drives[1]})
			m.must(err)
		}, want: []string{"warning ide:0:0: its 1 reader…"}},
		"in use by another server": {prepare: func(m *migration) {
			_, err := m.zrh.CreateServer(api.ServerOptions{
				Name: "other", CPU: 1, Mem: 1, Start: true,
				Devices: []api.Device{{Name: "ide:0:0", Drive: m.drives[0]}},
			}).Do(m.t.Context())
			m.must(err)
		}, want: []string{"error ide:0:0: …also in use by server"}},
		"no drives": {prepare: func(m *migration) {
			m.set(api.Object{"ide:0:0": "", "block:2": ""})
		}, want: []string{"error server: it has no drive…"}},
		"no disk": {
			target: sandbox.Config{Quotas: []sandbox.Quota{{Resource: "disk", Amount: 1 << 20}}},
			want:   []string{"error lvs:: the new drives need 2097152 bytes…"},
		},
		"no balance": {
			target: sandbox.Config{Balance: "0"},
			want:   []string{"error lvs:: the new drives need …", "error lvs:: …of cpu", "error lvs:: …of mem"},
		},
		"too few processors": {
			target: sandbox.Config{Quotas: []sandbox.Quota{{Resource: "cpu", Amount: 1000}}},
			want:   []string{"error lvs:: the server needs 2000 MHz of cpu…"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMigration(t, tc.target, nil)
			if tc.prepare != nil {
				tc.prepare(m)
			}
			report, plan := m.plan()
			got := findingsOf(report)
			for i, want := range tc.want {
				begin, part, _ := strings.Cut(want, "…")
				if len(got) != len(tc.want) || !strings.HasPrefix(got[i], begin) || !strings.Contains(got[i], part) {
					t.Fatalf("got the findings %q, want %q", got, tc.want)
				}
			}
			if len(got) != len(tc.want) || len(report.Drives) != len(plan.Drives) {
				t.Errorf("got the findings %q and the drives %+v, want %q", got, report.Drives, tc.want)
			}
		})
	}
}

// vlan puts the server into a new VLAN, and maps that to a new one at the target; empty: to none.
func (m *migration) vlan(name, target string) {
	m.t.Helper()
	v, err := m.zrh.CreateVLAN(name).Do(m.t.Context())
	m.must(err)
	m.set(api.Object{"nic:1:vlan": v.UUID, "nic:1:model": "virtio", "nic:1:mac": "22:a7:a0:0b:2e:01"})
	if target == "" {
		return
	}
	_, err = m.lvs.CreateVLAN(target).Do(m.t.Context())
	m.must(err)
	m.session.Spec.VLANs = map[string]string{name: target}
}

// TestNewServerIsLikeTheOldOne: every key is the same but those that must differ, the drives are in the
// same devices, and the password is not shown.
func TestNewServerIsLikeTheOldOne(t *testing.T) {
	m := newMigration(t, sandbox.Config{}, api.Object{
		"smp": "2", "nic:0:dhcp": "auto", "nic:0:model": "virtio", "vnc:ip": "auto", "vnc:password": "hunter2",
		"vnc:tls": "on", "use": "webserver", "user:team": "blue", "persistent": "true", "block:2:media": "disk",
	})
	m.vlan("office", "office")
	_, err := m.zrh.SetDrive(t.Context(), m.drives[1], api.Object{"claim:type": "shared", "user:disk": "one"})
	m.must(err)
	m.session.Spec.Name, m.session.Spec.AllowNewAddress = "web2", true
	m.start()
	made, compared := m.make()
	keys := made.Keys
	if made.Running() || made.Name != "web2" || keys["vnc:password"] != "hunter2" || keys["user:team"] != "blue" {
		t.Errorf("got %+v, want a stopped server web2 with the keys of the old one", made.Keys)
	}
	var differ []string
	for _, d := range compared.Differences {
		differ = append(differ, d.Field)
		if strings.Contains(d.Source+d.Target, "hunter2") {
			t.Errorf("got %+v, want no password", d)
		}
	}
	want := []string{"block:2", "ide:0:0", "name", "nic:0:dhcp", "nic:1:vlan", "vnc:ip"}
	if !slices.Equal(differ, want) || len(compared.Unexpected()) > 0 || compared.Equal < 20 {
		t.Errorf("got %d equal fields and the differences %+v, want %q, all of them expected",
			compared.Equal, compared.Differences, want)
	}
	again, _ := m.plan()
	if !again.Moved || again.Server != made.UUID {
		t.Errorf("planned again: got %+v, want that it was moved to %s", again, made.UUID)
	}
}

// TestDifferencesThatShouldNotBeAreFound: what someone changes at the target.
func TestDifferencesThatShouldNotBeAreFound(t *testing.T) {
	m := newMigration(t, sandbox.Config{}, nil)
	made, _ := m.make()
	_, plan := m.plan()
	plan.Server = made.UUID
	for i := range plan.Drives {
		plan.Drives[i].Copy = made.Keys[plan.Drives[i].Device]
	}
	_, err := m.lvs.SetServer(t.Context(), made.UUID, api.Object{"cpu": "1000"})
	m.must(err)
	_, err = m.lvs.SetDrive(t.Context(), plan.Drives[0].Copy, api.Object{"size": "2097152"})
	m.must(err)
	compared, err := m.opener.CompareServers(t.Context(), m.session, plan)
	m.must(err)
	want := []string{"cpu", "block:2 size", "configuration of the old server"} // the plan has another one
	if got := compared.Unexpected(); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestServerOfAnotherMigrationIsNotMadeAgain: by a job that another queue has.
func TestServerOfAnotherMigrationIsNotMadeAgain(t *testing.T) {
	m := newMigration(t, sandbox.Config{}, nil)
	_, ours := m.plan()
	m.make() // theirs
	for i := range ours.Drives {
		ours.Drives[i].Copy = m.drives[i] // not at the target, as far as this matters
	}
	_, err := m.opener.MigratedServer(t.Context(), m.session, ours)
	if transfer.CodeOf(err) != transfer.CodeExists {
		t.Errorf("got %v, want %s", err, transfer.CodeExists)
	}
}

// TestOnlyUnusedCopiesOfTheJobsAreDestroyed: not those that a server has, nor those of others.
func TestOnlyUnusedCopiesOfTheJobsAreDestroyed(t *testing.T) {
	m := newMigration(t, sandbox.Config{}, nil)
	drive := func(tag string) string {
		d, err := m.lvs.CreateDrive(t.Context(), api.CreateOptions{Name: "d", Size: 1 << 20, Tags: []string{tag}})
		m.must(err)
		return d.UUID
	}
	unused, used := drive(transfer.JobTag("one")), drive(transfer.JobTag("one"))
	other, moved := drive(transfer.JobTag("two")), drive(transfer.MovedTag("one"))
	_, err := m.lvs.CreateServer(api.ServerOptions{
		Name: "s", CPU: 1, Mem: 1, Devices: []api.Device{{Name: "ide:0:0", Drive: used}},
	}).Do(t.Context())
	m.must(err)
	destroyed, err := m.opener.DestroyCopies(context.Background(), m.session, []string{"one"})
	m.must(err)
	if !slices.Equal(destroyed, []string{unused}) {
		t.Errorf("got that %q are destroyed, want %s", destroyed, unused)
	}
	left, err := m.lvs.ListDrives(t.Context())
	m.must(err)
	if slices.Contains(left, unused) || len(left) != 3 {
		t.Errorf("got %q, want %q", left, []string{used, other, moved})
	}
}

// TestStillMadeSeesWhatWasDestroyed: the copies and the new server, each for itself.
func TestStillMadeSeesWhatWasDestroyed(t *testing.T) {
	m := newMigration(t, sandbox.Config{}, nil)
	made, _ := m.make()
	_, plan := m.plan()
	plan.Server = made.UUID
	for i := range plan.Drives {
		plan.Drives[i].Copy = made.Keys[plan.Drives[i].Device]
	}
	check := func(copies, server bool) {
		t.Helper()
		gotCopies, gotServer, err := m.opener.StillMade(t.Context(), m.session, plan)
		if gotCopies != copies || gotServer != server || err != nil {
			t.Errorf("got copies %t, server %t (%v); want %t, %t", gotCopies, gotServer, err, copies, server)
		}
	}
	check(true, true)
	m.must(m.lvs.DestroyServer(t.Context(), made.UUID))
	check(true, false)
	m.must(m.lvs.DestroyDrive(t.Context(), plan.Drives[1].Copy))
	check(false, false)
}
