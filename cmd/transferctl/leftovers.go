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

// leftover is an incomplete drive that a job made, or the clone that it read.
type leftover struct {
	Drive   string  `json:"drive"`
	Name    string  `json:"name"`
	Size    int64   `json:"size"` // bytes
	Job     string  `json:"job"`
	Age     float64 `json:"age_seconds"`    // since the job was enqueued; 0: not known
	Reason  string  `json:"reason"`         // why it is a leftover
	Kept    string  `json:"kept,omitempty"` // why it is not removed; empty: it may be
	Removed bool    `json:"removed"`

	snapshot bool // the job read the drive in place of its source drive
	tags     []string
	lost     bool // neither the queue nor this host has a record of the job
}

// lostAge is the age of a lost job from which its drive may be removed. Until then a job of another
// queue, or a --local job on another host, may still write to it.
const lostAge = time.Hour

// leftoverFinder finds the leftovers among the drives of an endpoint.
type leftoverFinder struct {
	app    *app
	client *api.Client
	queue  *queue.Client // nil: this host has no queue
	names  []string      // all names that jobs may use for the endpoint
	local  map[string]localstore.Summary
	// Leftovers younger than minAge are kept, and those of lost jobs younger than minAgeLost.
	minAge, minAgeLost time.Duration
}

// hasQueue reports whether this host has or had a queue.
func (a *app) hasQueue() bool {
	if a.cfg.Redis != "" {
		return true
	}
	_, err := os.Stat(a.queueFolder())
	return !errors.Is(err, fs.ErrNotExist)
}

// queueIfAny connects to the queue. It returns nil and no error if this host never had one.
func (a *app) queueIfAny(ctx context.Context) (*queue.Client, error) {
	if !a.hasQueue() {
		return nil, nil
	}
	return a.dial(ctx)
}

// localFolder is where --local jobs keep their state.
func (a *app) localFolder() string { return filepath.Join(a.cfg.State, "local") }

// newLeftoverFinder connects to the endpoint and to the queue. It fails if this host has a queue
// that is not reachable, because only the records of the queue show which drives are leftovers.
func (a *app) newLeftoverFinder(ctx context.Context, address string) (*leftoverFinder, error) {
	client, drive, err := a.endpoint(ctx, address)
	if err != nil {
		return nil, err
	}
	if drive != "" {
		return nil, transfer.Errorf(transfer.CodeInvalid,
			"write ENDPOINT: to clean up the endpoint; transferctl drives destroy destroys one drive",
			"%q is the address of one drive", address)
	}
	name, _, _ := strings.Cut(address, ":")
	f := &leftoverFinder{
		app: a, client: client, names: a.namesOf(name), local: make(map[string]localstore.Summary), minAgeLost: lostAge,
	}
	jobs, err := localstore.List(a.localFolder())
	if err != nil {
		return nil, err
	}
	for _, j := range jobs {
		f.local[j.ID] = j
	}
	if f.queue, err = a.queueIfAny(ctx); err != nil {
		return nil, &transfer.Error{
			Op: "look for leftovers", Code: transfer.CodeOf(err), Err: err,
			Hint: "start transferd: only the records of its queue show which drives are leftovers",
		}
	}
	return f, nil
}

// namesOf is all names that the config has for the URL of an endpoint.
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

// find returns the leftovers among all drives of the endpoint, the largest first.
func (f *leftoverFinder) find(ctx context.Context) ([]leftover, error) {
	drives, err := retried(ctx, f.app, f.client.Drives)
	if err != nil {
		return nil, err
	}
	var found []leftover
	for i := range drives {
		l, err := f.leftoverOf(ctx, &drives[i])
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

// leftoverOf describes a drive as a leftover. It returns nil if the drive is complete, if a job
// still writes to it, or if no job made it.
func (f *leftoverFinder) leftoverOf(ctx context.Context, d *api.DriveInfo) (*leftover, error) {
	reader := transfer.ReaderOf(d.Tags)
	id := cmp.Or(transfer.MakerOf(d.Tags), reader)
	if id == "" {
		return nil, nil
	}
	l := &leftover{snapshot: id == reader, Drive: d.UUID, Name: d.Name, Size: d.Size, Job: id, tags: d.Tags}
	if enqueued, ok := queue.TimeOf(strings.TrimPrefix(id, "local-")); ok {
		l.Age = time.Since(enqueued).Seconds()
	}
	incomplete := l.snapshot || slices.Contains(d.Tags, transfer.IncompleteTag)
	job, known, err := f.job(ctx, id)
	if err != nil {
		return nil, err
	}
	switch local, isLocal := f.local[id]; {
	case known && !l.isLeftBy(&job, incomplete), !known && !incomplete, isLocal && local.Running:
		return nil, nil
	case known:
		l.Reason = outcome(&job)
		if job.Name != "" && job.Name != d.Name && !l.snapshot {
			l.Kept = fmt.Sprintf("it was renamed to %q", d.Name)
		}
	case isLocal:
		l.Reason = "a --local job that was stopped"
	default:
		if err := f.explainLost(ctx, l); err != nil {
			return nil, err
		}
	}
	return l, f.keepIfUsed(ctx, l, d)
}

// job reads the record of a job. known is false if the queue has none.
func (f *leftoverFinder) job(ctx context.Context, id string) (job transfer.Job, known bool, err error) {
	if f.queue == nil {
		return job, false, nil
	}
	job, err = f.queue.Job(ctx, id)
	switch transfer.CodeOf(err) {
	case transfer.CodeNotFound:
		return job, false, nil
	case transfer.CodeFailed: // the record is not readable, so the job may not have ended
		f.app.warn(err)
		return transfer.Job{ID: id, State: transfer.Running}, true, nil
	}
	return job, err == nil, err
}

// isLeftBy is leftBy; a job that has ended, in whatever way, reads no clone any more.
func (l *leftover) isLeftBy(j *transfer.Job, incomplete bool) bool {
	return l.snapshot && j.State.Terminal() || leftBy(j, incomplete)
}

// leftBy reports whether a drive is a leftover of the job that made it: the job ended without
// success, and the drive still has the incomplete tag. A user may remove the tag to keep the drive.
// A job that never received its drive's UUID could not tag it.
func leftBy(j *transfer.Job, incomplete bool) bool {
	if j.State != transfer.Failed && j.State != transfer.Canceled {
		return false
	}
	return incomplete || j.DriveLeft && j.Drive == ""
}

// outcome says how a job ended that did not succeed.
func outcome(j *transfer.Job) string {
	switch j.State {
	case transfer.Canceled:
		return "the job was canceled"
	case transfer.Succeeded:
		return "the job has read its clone"
	}
	return "the job failed: " + string(j.Error.Code)
}

// explainLost sets the reason of a drive whose job has no record: it was pruned, or it is lost.
func (f *leftoverFinder) explainLost(ctx context.Context, l *leftover) error {
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
	l.Reason, l.lost = "the job is lost: neither the queue nor this host has its record", true
	if l.Age < f.minAgeLost.Seconds() {
		l.Kept = fmt.Sprintf("it is younger than %s, and a job of another queue or host may still write to it; "+
			"--older-than 0s removes it", transfer.FormatDuration(f.minAgeLost))
	}
	return nil
}

// keepIfUsed sets Kept of a drive that is in use, or younger than minAge.
func (f *leftoverFinder) keepIfUsed(ctx context.Context, l *leftover, d *api.DriveInfo) error {
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
	case l.Kept == "" && l.Age < f.minAge.Seconds():
		l.Kept = "it is younger than " + transfer.FormatDuration(f.minAge)
	}
	return nil
}

// usersOf names the jobs of the queue and of this host that use a drive. q may be nil.
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

// remove reads a leftover once more and destroys it. Before that it removes the drive from the
// record of the job that made it, so that a concurrent retry of the job makes another drive.
func (f *leftoverFinder) remove(ctx context.Context, l *leftover) error {
	info, err := f.app.driveInfo(ctx, f.client, l.Drive)
	if err != nil {
		return err
	}
	now, err := f.leftoverOf(ctx, &info)
	switch {
	case err != nil:
		return err
	case now == nil:
		l.Kept = "it was completed, or is in use now"
		return nil
	}
	if *l = *now; l.Kept != "" {
		return nil
	}
	if l.lost {
		// A job without the permission to change tags could not remove the incomplete tag from a
		// complete drive. So an account without this permission must not remove the drive.
		if _, err := f.client.SetDrive(ctx, l.Drive, api.Object{"tags": strings.Join(l.tags, " ")}); err != nil {
			return fmt.Errorf("check that drive %s is incomplete by setting its tags: %w", l.Drive, err)
		}
	}
	if f.queue != nil && !l.snapshot {
		owned, err := f.queue.Disown(ctx, l.Job)
		if err != nil {
			return err
		}
		if !owned {
			l.Kept = "its job was retried"
			return nil
		}
	}
	free, err := f.app.destroyOf(ctx, f.client, l.Job, l.Drive)
	switch {
	case err != nil:
		return err
	case !free:
		l.Kept = "its job was started again"
		return nil
	}
	l.Removed = true
	if f.queue == nil {
		return nil
	}
	return f.queue.Destroyed(ctx, l.Job)
}
