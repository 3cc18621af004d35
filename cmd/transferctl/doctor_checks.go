package main

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/transferd/transferd/internal/localstore"
	"github.com/transferd/transferd/internal/queue"
	"github.com/transferd/transferd/internal/transfer"
)

// maxClockSkew is the largest difference of two clocks that is not a finding. Deadlines and signed
// URLs are off by this difference.
const maxClockSkew = 30 * time.Second

// checkQueue connects to the queue. It returns nil if it cannot.
func (d *doctor) checkQueue(ctx context.Context) *queue.Client {
	d.check = "queue"
	q, err := d.app.dial(ctx)
	if err != nil {
		d.fail("", err)
		return nil
	}
	before := time.Now()
	durability, err := q.Durability(ctx)
	if err != nil {
		d.add(warning, "", err.Error(),
			"allow CONFIG GET and TIME, or check that appendonly is yes and maxmemory-policy is noeviction")
		return q
	}
	good := true
	if p := durability.Eviction; p != "" && p != "noeviction" {
		good = false
		d.add(broken, "", "Redis may evict jobs when its memory is full (maxmemory-policy "+p+")",
			"set maxmemory-policy noeviction")
	}
	if durability.AppendOnly == "no" {
		good = false
		d.add(warning, "", "Redis loses jobs when it restarts (appendonly no)", "set appendonly yes")
	}
	if good {
		d.ok("", "jobs survive a restart, and are never evicted")
	}
	d.checkClock("queue", durability.Clock, before, time.Now(), 0)
	return q
}

// checkClock compares a clock with this host's. The clock was read between before and after, and
// has a resolution of step.
func (d *doctor) checkClock(subject string, clock, before, after time.Time, step time.Duration) {
	d.check = "clock"
	if clock.IsZero() {
		d.add(warning, subject, "its responses have no time", "check that its clock is right")
		return
	}
	skew := max(clock.Sub(after), before.Sub(clock.Add(step)))
	if skew > maxClockSkew {
		direction := "ahead of"
		if clock.Before(before) {
			direction = "behind"
		}
		d.add(warning, subject, fmt.Sprintf("its clock is %s %s this host's", ageText(skew), direction),
			"set both by NTP: deadlines and signed URLs are off by this difference")
		return
	}
	d.ok(subject, fmt.Sprintf("its clock is within %s of this host's", ageText(maxClockSkew)))
}

// checkWorkers checks that a transferd serves each queue that has jobs.
func (d *doctor) checkWorkers(ctx context.Context, q *queue.Client) {
	d.check = "workers"
	workers, err := q.Workers(ctx)
	if err != nil {
		d.fail("", err)
		return
	}
	served := make(map[string]int)
	for _, w := range workers {
		for _, name := range w.Queues {
			served[name]++
		}
	}
	waiting, err := q.Jobs(ctx, queue.Filter{States: []transfer.State{transfer.Queued, transfer.Running}})
	if err != nil {
		d.fail("", err)
		return
	}
	jobs := map[string]int{transfer.DefaultQueue: 0}
	for i := range waiting {
		jobs[waiting[i].Queue]++
	}
	for name := range served {
		jobs[name] += 0
	}
	for _, name := range sortedKeys(jobs) {
		switch {
		case served[name] > 0:
			d.ok("queue "+name, transfer.Count(served[name], "transferd")+", "+transfer.Count(jobs[name], "job"))
		case jobs[name] > 0 || len(workers) == 0:
			d.add(broken, "queue "+name, "no transferd serves it, and it has "+transfer.Count(jobs[name], "job"),
				"start transferd --queue "+name)
		}
	}
	d.checkLost(ctx, q)
}

func sortedKeys[V any](m map[string]V) []string {
	return slices.Sorted(maps.Keys(m))
}

// checkLost reports running jobs whose worker has stopped.
func (d *doctor) checkLost(ctx context.Context, q *queue.Client) {
	d.check = "leftovers"
	lost, err := q.Lost(ctx)
	if err != nil {
		d.fail("", err)
		return
	}
	for i := range lost {
		j := &lost[i]
		d.add(warning, "job "+j.ID, fmt.Sprintf("its worker (%s) has stopped", j.Worker),
			fmt.Sprintf("start transferd --queue %s, which continues it within 20 seconds; "+
				"or cancel it with transferctl jobs cancel %s", j.Queue, j.ID))
	}
}

// checkEndpoints logs in to each endpoint, and searches it for incomplete drives.
func (d *doctor) checkEndpoints(ctx context.Context, q *queue.Client) {
	d.check = "endpoint"
	names := d.app.cfg.EndpointNames()
	if len(names) == 0 {
		d.fail("", noEndpoints())
	}
	for _, name := range names {
		d.check = "endpoint"
		limited, cancel := context.WithTimeout(ctx, endpointTimeout)
		before := time.Now()
		check, err := d.app.checkEndpoint(limited, name)
		timedOut := limited.Err() != nil
		cancel()
		if err != nil {
			if timedOut {
				err = transfer.Errorf(transfer.CodeTimeout, "check the endpoint's url and the network",
					"%s did not respond within %s", name, ageText(endpointTimeout))
			}
			d.fail(name, err)
			continue
		}
		d.ok(name, fmt.Sprintf("account %s, %.0f ms", check.Account, check.Seconds*1000))
		d.checkClock(name, check.clock, before, time.Now(), time.Second)
		d.checkLeftDrives(ctx, q, name)
	}
}

// endpointTimeout is how long an endpoint may take to respond.
const endpointTimeout = 15 * time.Second

func (d *doctor) checkLeftDrives(ctx context.Context, q *queue.Client, name string) {
	d.check = "leftovers"
	if q == nil && d.app.hasQueue() {
		return // only the records of the queue show which drives are leftovers, and checkQueue has reported its error
	}
	f, err := d.app.newLeftoverFinder(ctx, name)
	if err != nil {
		d.fail(name, err)
		return
	}
	defer f.close()
	found, err := f.find(ctx)
	if err != nil {
		d.fail(name, err)
		return
	}
	var size int64
	n := 0
	for i := range found {
		if found[i].Kept == "" || found[i].lost {
			n++
			size += found[i].Size
		}
	}
	if n > 0 {
		d.add(warning, name, transfer.Count(n, "incomplete drive")+" that jobs left, "+sizeText(size),
			"transferctl drives cleanup "+name+": lists them, and destroys them with --yes")
	}
}

// checkRoots checks that the folders that jobs may use exist and are accessible.
func (d *doctor) checkRoots() {
	d.check = "roots"
	for _, root := range d.app.cfg.Roots {
		info, err := os.Stat(root)
		switch {
		case err != nil:
			d.add(broken, root, err.Error(), "create the folder, or remove it from roots: in the config")
		case !info.IsDir():
			d.add(broken, root, "it is not a folder", "list folders under roots: in the config")
		case unix.Access(root, unix.R_OK|unix.X_OK) != nil:
			d.add(broken, root, "this user may not read it", "grant the user who runs transferd read access")
		case unix.Access(root, unix.W_OK) != nil:
			d.add(warning, root, "this user may not write to it, so jobs cannot download to it",
				"grant the user who runs transferd write access, unless this is intended")
		default:
			d.ok(root, "readable and writable")
		}
	}
	if d.app.cfg.Redis != "" && len(d.app.cfg.Roots) == 0 {
		d.add(warning, "", "with a shared Redis and no roots, jobs may use no file of this host",
			"list folders under roots: in the config")
	}
}

// minFree is how many bytes must be free on the disk of the state folder. A ledger takes 40 bytes
// for each chunk.
const minFree = 256 << 20

func (d *doctor) checkDisk() {
	d.check = "disk"
	dir := d.app.cfg.State
	for dir != "/" {
		if _, err := os.Stat(dir); err == nil {
			break
		}
		dir = filepath.Dir(dir) // where the state folder will be created
	}
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		d.add(broken, dir, err.Error(), "set state: to a folder of this user")
		return
	}
	free := int64(st.Bavail) * st.Bsize
	switch {
	case unix.Access(dir, unix.W_OK) != nil:
		d.add(broken, dir, "this user may not write to the state folder", "set state: to a folder of this user")
	case free < minFree:
		d.add(warning, dir, sizeText(free)+" are free", "free space: the progress of jobs is saved there")
	case st.Files > 0 && st.Ffree < 1000:
		d.add(warning, dir, fmt.Sprintf("free inodes: %d", st.Ffree),
			"remove files: the progress of jobs is saved there")
	default:
		d.ok(dir, sizeText(free)+" are free")
	}
}

// checkLeftFiles searches for partial files and for --local jobs that were stopped.
func (d *doctor) checkLeftFiles(ctx context.Context, q *queue.Client) {
	d.check = "leftovers"
	local, err := localstore.List(d.app.localFolder())
	if err != nil {
		d.fail("", err)
	}
	for _, j := range local {
		if !j.Running {
			d.add(warning, "job "+j.ID, "a --local job was stopped and can be resumed",
				"run the same command to resume it, or remove its folder: rm -r "+j.Dir)
		}
	}
	partial := make(map[string]bool)
	if q != nil {
		jobs, err := q.Jobs(ctx, queue.Filter{States: []transfer.State{transfer.Failed, transfer.Canceled}})
		if err != nil {
			d.fail("", err)
		}
		for i := range jobs {
			j := &jobs[i]
			if path := j.Target + partialEnding; j.Kind == transfer.Download && isFile(path) {
				partial[path] = true
				d.add(warning, path, fmt.Sprintf("the partial file of download %s, which is %s", j.ID, j.State),
					"continue it with transferctl jobs retry "+j.ID+", or remove it")
			}
		}
	}
	for _, path := range d.partialFiles() {
		if !partial[path] {
			d.add(warning, path, "the partial file of a download", "remove it unless a job still writes it")
		}
	}
}

const partialEnding = ".partial"

func isFile(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.Mode().IsRegular()
}

// maxFiles is how many files below the roots are visited.
const maxFiles = 100_000

// partialFiles is the partial files below the roots that were last written at least an hour ago.
func (d *doctor) partialFiles() (paths []string) {
	seen := 0
	for _, root := range d.app.cfg.Roots {
		_ = filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
			if seen++; seen > maxFiles {
				return fs.SkipAll
			}
			if err != nil || !e.Type().IsRegular() || !strings.HasSuffix(path, partialEnding) {
				return nil // folders that this user may not read are skipped
			}
			if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > lostAge {
				paths = append(paths, path)
			}
			return nil
		})
	}
	return paths
}
