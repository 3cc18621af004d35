package worker

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/transferd/transferd/internal/transfer"
)

// fakeMigration is the target of a fakeOpener's migrations.
type fakeMigration struct {
	findings []transfer.Finding
	servers  map[string][]string // the drives of each server
	asked    int                 // requests for a server, in all
	// late is how long after a request whose response is lost the server is made; 0: before that.
	late    time.Duration
	started []string
	differ  []transfer.Difference
	parts   *fakeParts
}

func (e *fakeOpener) PlanMigration(
	context.Context, *Session,
) (*transfer.Migration, *transfer.MigrationPlan, error) {
	if err := e.opening("plan"); err != nil {
		return nil, nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	report := &transfer.Migration{Name: "s", Findings: e.migration.findings}
	plan := new(transfer.MigrationPlan)
	for _, drive := range []string{"one", "two"} {
		report.Drives = append(report.Drives,
			transfer.MigratedDrive{Device: "ide:" + drive, Source: drive, Size: 1 << 20})
		plan.Drives = append(plan.Drives, transfer.MigratingDrive{Device: "ide:" + drive, Drive: drive, Name: drive})
	}
	for uuid := range e.migration.servers {
		report.Moved, report.Server = true, uuid
	}
	return report, plan, nil
}

func (e *fakeOpener) MigratedServer(_ context.Context, _ *Session, p *transfer.MigrationPlan) (string, error) {
	if err := e.opening("migrated server"); err != nil {
		return "", err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for uuid, drives := range e.migration.servers {
		if slices.Contains(drives, p.Drives[0].Copy) {
			return uuid, nil
		}
	}
	return "", nil
}

func (e *fakeOpener) StillMade(
	_ context.Context, _ *Session, p *transfer.MigrationPlan,
) (copies, server bool, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	_, server = e.migration.servers[p.Server]
	e.migration.parts.mu.Lock()
	defer e.migration.parts.mu.Unlock()
	copies = true
	for i := range p.Drives {
		_, exists := e.migration.parts.copies[p.Drives[i].Job]
		copies = copies && exists
	}
	return copies, server, nil
}

func (e *fakeOpener) MakeServer(_ context.Context, _ *Session, p *transfer.MigrationPlan) (string, error) {
	err := e.opening("make server")
	e.mu.Lock()
	defer e.mu.Unlock()
	m := &e.migration
	if err != nil && !transfer.MayBeCarriedOut(err) && transfer.CodeOf(err) != transfer.CodeFenced {
		return "", err
	}
	m.asked++
	uuid := fmt.Sprintf("server-%d", m.asked)
	add := func() {
		if m.servers == nil {
			m.servers = make(map[string][]string)
		}
		m.servers[uuid] = []string{p.Drives[0].Copy, p.Drives[1].Copy}
	}
	if err != nil && m.late > 0 {
		time.AfterFunc(m.late, func() {
			e.mu.Lock()
			defer e.mu.Unlock()
			add()
		})
		return "", err
	}
	add()
	return uuid, err
}

func (e *fakeOpener) CompareServers(
	context.Context, *Session, *transfer.MigrationPlan,
) (*transfer.Comparison, error) {
	return &transfer.Comparison{Equal: 7, Differences: e.migration.differ}, e.opening("compare")
}

func (e *fakeOpener) StartMigrated(_ context.Context, _ *Session, server string) error {
	err := e.opening("start migrated")
	if err == nil {
		e.migration.started = append(e.migration.started, server)
	}
	return err
}

func (e *fakeOpener) DestroyCopies(_ context.Context, _ *Session, jobs []string) ([]string, error) {
	if err := e.opening("destroy copies"); err != nil {
		return nil, err
	}
	e.migration.parts.destroy(jobs)
	return jobs, nil
}

// fakeParts is the jobs that have the parts of a job. A job takes three seconds, that of drive two
// takes six, and to stop takes one.
type fakeParts struct {
	mu     sync.Mutex
	jobs   map[string]*transfer.Job
	made   int
	copies map[string]string       // the drives that the jobs have made, by job
	failed bool                    // the second job fails
	clones func(drive string) bool // reports whether a clone exists
	called func(what string) error // at each call
	early  int                     // jobs whose copy was destroyed while they ran
	gone   int                     // jobs that ended by themselves after their clone was destroyed
}

func (s *memoryStore) NewID() string {
	s.parts.mu.Lock()
	defer s.parts.mu.Unlock()
	s.parts.made++
	return fmt.Sprintf("part-%d", s.parts.made)
}

func (s *memoryStore) EnqueuePart(_ context.Context, id string, spec transfer.Spec) error {
	p := &s.parts
	if err := p.called("part"); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.jobs == nil {
		p.jobs, p.copies = make(map[string]*transfer.Job), make(map[string]string)
	}
	if p.jobs[id] != nil {
		return nil
	}
	job := transfer.NewJob(id, &spec, time.Now())
	p.jobs[id] = &job
	p.copies[id] = "copy-" + id
	took := 3 * time.Second
	if spec.Name == "two" {
		took *= 2
	}
	time.AfterFunc(took, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		switch {
		case job.State.Terminal():
			return
		case p.failed && spec.Name == "two":
			job.State, job.Error = transfer.Failed, &transfer.Failure{Code: transfer.CodeMismatch, Message: "injected"}
		default:
			job.State, job.Drive, job.Verified = transfer.Succeeded, p.copies[id], true
		}
		if !p.clones(spec.Source.Drive) {
			p.gone++
		}
	})
	return nil
}

func (s *memoryStore) Parts(_ context.Context, ids []string) (jobs []transfer.Job, err error) {
	if err := s.parts.called("parts"); err != nil {
		return nil, err
	}
	s.parts.mu.Lock()
	defer s.parts.mu.Unlock()
	for _, id := range ids {
		if job := s.parts.jobs[id]; job != nil {
			jobs = append(jobs, *job)
		}
	}
	return jobs, nil
}

func (s *memoryStore) CancelPart(_ context.Context, id string) error {
	p := &s.parts
	p.mu.Lock()
	defer p.mu.Unlock()
	job := p.jobs[id]
	if job == nil || job.State.Terminal() || job.Stopping {
		return nil
	}
	job.Stopping = true
	time.AfterFunc(time.Second, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if !job.State.Terminal() {
			job.State, job.Stopping = transfer.Canceled, false
		}
	})
	return nil
}

func (s *memoryStore) Estimate(context.Context, *transfer.Migration) (transfer.Estimate, error) {
	return transfer.Estimate{Jobs: 3}, s.parts.called("estimate")
}

// forget deletes the record of a job.
func (p *fakeParts) forget(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.jobs, id)
}

func (p *fakeParts) destroy(ids []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, id := range ids {
		if job := p.jobs[id]; job != nil && !job.State.Terminal() {
			p.early++
		}
		delete(p.copies, id)
	}
}
