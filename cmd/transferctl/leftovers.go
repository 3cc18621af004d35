package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/transferd/transferd/internal/api"
	"github.com/transferd/transferd/internal/localstore"
	"github.com/transferd/transferd/internal/queue"
	"github.com/transferd/transferd/internal/transfer"
)

// leftover is a drive that a job made and did not complete.
type leftover struct {
	Drive   string  `json:"drive"`
	Name    string  `json:"name"`
	Size    int64   `json:"size"` // bytes
	Job     string  `json:"job"`
	Age     float64 `json:"age_seconds"` // since the job was enqueued; 0: not known
	Reason  string  `json:"reason"`      // why it is a leftover
	Kept    string  `json:"kept,omitempty"`
	Removed bool    `json:"removed"`

	tags []string
	lost bool // nothing on this host or in its queue knows the job
}

// lostAfter is the age of a lost job from which its drive is removed: until then a job of another
// queue, or a --local job on another host, may still write it.
const lostAfter = time.Hour

// leftoverFinder finds the leftovers among drives that are complete or still written.
type leftoverFinder struct {
	app    *app
	client *api.Client
	queue  *queue.Client // nil: this host has no queue
	names  []string      // of the endpoint, as jobs may have it
	local  map[string]localstore.Summary
	// What is younger than least is kept, and what lost jobs left if it is younger than leastLost.
	least, leastLost time.Duration
}

// hasQueue reports whether this host has a queue, or had one.
func (a *app) hasQueue() bool {
	if a.cfg.Redis != "" {
		return true
	}
	_, err := os.Stat(a.queueFolder())
	return !errors.Is(err, fs.ErrNotExist)
}

// queueIfAny connects to the queue; nil and no error: this host has none, and never had one.
func (a *app) queueIfAny(ctx context.Context) (*queue.Client, error) {
	if !a.hasQueue() {
		return nil, nil
	}
	return a.dial(ctx)
}

func (a *app) localFolder() string { return filepath.Join(a.cfg.State, "local") }

// newLeftoverFinder connects to the endpoint and to the queue. It fails if this host has a queue
// that cannot be reached, because then no drive is known to be a leftover.
func (a *app) newLeftoverFinder(ctx context.Context, address string) (*leftoverFinder, error) {
	client, drive, err := a.endpoint(ctx, address)
	if err != nil {
		return nil, err
	}
	if drive != "" {
		return nil, transfer.Errorf(transfer.CodeInvalid,
			"write ENDPOINT: for all that jobs left there, or destroy the one drive with drives destroy",
			"%q names one drive", address)
	}
	name, _, _ := strings.Cut(address, ":")
	f := &leftoverFinder{
		app: a, client: client, names: a.namesOf(name), local: make(map[string]localstore.Summary), leastLost: lostAfter,
	}
	jobs, err := localstore.List(a.localFolder())
	if err != nil {
		return nil, err
	}
	for _, j := range jobs {
		f.local[j.ID] = j
	}
	f.queue, err = a.queueIfAny(ctx)
	return f, err
}

// namesOf is all names that the config has for an endpoint.
func (a *app) namesOf(name string) []string {
	names := []string{name}
	for other, e := range a.cfg.Endpoints {
		if other != name && strings.TrimRight(e.URL, "/") == strings.TrimRight(a.cfg.Endpoints[name].URL, "/") {
			names = append(names, other)
		}
	}
	return names
}

func (f *leftoverFinder) close() error {
	if f.queue == nil {
		return nil
	}
	return f.queue.Close()
}

// find looks at all drives of the endpoint, the largest first.
func (f *leftoverFinder) find(ctx context.Context) ([]leftover, error) {
	drives, err := retried(ctx, f.app, f.client.InfoAll)
	if err != nil {
		return nil, err
	}
	var found []leftover
	for i := range drives {
		l, err := f.look(ctx, &drives[i])
		if err != nil {
			return nil, err
		}
		if l != nil {
			found = append(found, *l)
		}
	}
	slices.SortStableFunc(found, func(a, b leftover) int { return cmp.Compare(b.Size, a.Size) })
	return found, nil
}

// look returns the leftover that a drive is. It returns nil if the drive is complete, if a job
// still writes it, or if no job made it.
func (f *leftoverFinder) look(ctx context.Context, d *api.DriveInfo) (*leftover, error) {
	id := transfer.MakerOf(d.Tags)
	if id == "" {
		return nil, nil
	}
	l := &leftover{Drive: d.UUID, Name: d.Name, Size: d.Size, Job: id, tags: d.Tags}
	if made, ok := queue.TimeOf(strings.TrimPrefix(id, "local-")); ok {
		l.Age = time.Since(made).Seconds()
	}
	incomplete := slices.Contains(d.Tags, transfer.IncompleteTag)
	job, known, err := f.job(ctx, id)
	if err != nil {
		return nil, err
	}
	switch local, isLocal := f.local[id]; {
	case known && !leftBy(&job, incomplete), !known && !incomplete, isLocal && local.Running:
		return nil, nil
	case known:
		l.Reason = endedAs(&job)
		if job.Name != "" && job.Name != d.Name {
			l.Kept = fmt.Sprintf("it was named %q since", d.Name)
		}
	case isLocal:
		l.Reason = "a --local job that was stopped"
	default:
		if err := f.lookLost(ctx, l); err != nil {
			return nil, err
		}
	}
	return l, f.keepUsed(ctx, l, d)
}

// job is the record of a job, if there is one.
func (f *leftoverFinder) job(ctx context.Context, id string) (job transfer.Job, known bool, err error) {
	if f.queue == nil {
		return job, false, nil
	}
	job, err = f.queue.Job(ctx, id)
	switch transfer.CodeOf(err) {
	case transfer.CodeNotFound:
		return job, false, nil
	case transfer.CodeFailed: // its record cannot be read, so it may not have ended
		f.app.warn(err)
		return transfer.Job{ID: id, State: transfer.Running}, true, nil
	}
	return job, err == nil, err
}

// leftBy reports whether a job has left a drive that it made. The job has ended without success,
// and the drive still has the incomplete tag: a user who removes the tag takes the drive into use.
// A job that never learned its drive's UUID cannot have tagged it.
func leftBy(j *transfer.Job, incomplete bool) bool {
	if j.State != transfer.Failed && j.State != transfer.Canceled {
		return false
	}
	return incomplete || j.DriveLeft && j.Drive == ""
}

func endedAs(j *transfer.Job) string {
	if j.State == transfer.Canceled {
		return "the job was canceled"
	}
	return "the job failed: " + string(j.Error.Code)
}

// lookLost sets the reason of a drive whose job has no record: it was pruned, or it is lost.
func (f *leftoverFinder) lookLost(ctx context.Context, l *leftover) error {
	if f.queue != nil {
		pruned, err := f.queue.WasPruned(ctx, l.Job)
		if err != nil {
			return err
		}
		if pruned {
			l.Reason = "the job failed or was canceled, and was pruned"
			return nil
		}
	}
	l.Reason, l.lost = "the job is lost: neither the queue nor this host knows it", true
	if l.Age < f.leastLost.Seconds() {
		l.Kept = fmt.Sprintf("it is younger than %s, and another queue or host may still be at work; "+
			"--older-than 0s removes it", f.leastLost)
	}
	return nil
}

// keepUsed keeps a drive that is in use, or younger than asked for.
func (f *leftoverFinder) keepUsed(ctx context.Context, l *leftover, d *api.DriveInfo) error {
	if len(d.Claimed) > 0 {
		l.Kept = "it is in use: claimed by " + strings.Join(d.Claimed, ", ")
		return nil
	}
	users, err := f.app.usersOf(ctx, f.queue, f.names, d.UUID)
	switch {
	case err != nil:
		return err
	case len(users) > 0:
		l.Kept = "it is in use: " + strings.Join(users, ", ")
	case l.Kept == "" && l.Age < f.least.Seconds():
		l.Kept = fmt.Sprintf("it is younger than %s", f.least)
	}
	return nil
}

// usersOf says which jobs of the queue and of this host use a drive. q may be nil.
func (a *app) usersOf(
	ctx context.Context, q *queue.Client, endpoints []string, drive string,
) (users []string, err error) {
	if q != nil {
		jobs, err := q.UsersOf(ctx, endpoints, drive)
		if err != nil {
			return nil, err
		}
		for i := range jobs {
			users = append(users, fmt.Sprintf("job %s (%s, %s)", jobs[i].ID, jobs[i].Kind, jobs[i].State))
		}
	}
	claim := a.opener().Claim(endpoints[0], drive)
	if q != nil {
		holders, err := q.LocalHolders(ctx, claim)
		if err != nil {
			return nil, err
		}
		for _, id := range holders {
			users = append(users, fmt.Sprintf("job %s (--local)", id))
		}
	}
	used, err := localstore.InUse(a.localFolder(), claim)
	if used {
		users = append(users, "a --local job on this host")
	}
	return users, err
}

// remove looks at a leftover once more and destroys it. Before that it takes the drive from the job
// that made it, so that a retry at the same time makes another drive.
func (f *leftoverFinder) remove(ctx context.Context, l *leftover) error {
	info, err := f.app.driveInfo(ctx, f.client, l.Drive)
	if err != nil {
		return err
	}
	now, err := f.look(ctx, &info)
	switch {
	case err != nil:
		return err
	case now == nil:
		l.Kept = "it has been completed or taken into use meanwhile"
		return nil
	}
	if *l = *now; l.Kept != "" {
		return nil
	}
	if l.lost {
		// A job without the right to change tags could not have removed the tag of a complete
		// drive.
		if _, err := f.client.Set(ctx, l.Drive, api.Object{"tags": strings.Join(l.tags, " ")}); err != nil {
			return fmt.Errorf("find out whether drive %s is incomplete: %w", l.Drive, err)
		}
	}
	if f.queue != nil {
		owned, err := f.queue.Disown(ctx, l.Job)
		if err != nil {
			return err
		}
		if !owned {
			l.Kept = "its job was retried meanwhile"
			return nil
		}
	}
	if err := f.app.destroy(ctx, f.client, l.Drive); err != nil {
		return err
	}
	l.Removed = true
	if f.queue == nil {
		return nil
	}
	return f.queue.Destroyed(ctx, l.Job)
}
