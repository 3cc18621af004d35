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

// maxClockSkew is how far two clocks may be apart before that is a finding. A deadline and a signed
// URL are off by as much.
const maxClockSkew = 30 * time.Second

// checkQueue connects to the queue; nil: there is none.
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
			"allow CONFIG GET and TIME, or make sure of appendonly yes and maxmemory-policy noeviction")
		return q
	}
	good := true
	if p := durability.Eviction; p != "" && p != "noeviction" {
		good = false
		d.add(broken, "", "Redis may drop jobs when its memory is full (maxmemory-policy "+p+")",
			"set maxmemory-policy noeviction")
	}
	if durability.AppendOnly == "no" {
		good = false
		d.add(warning, "", "Redis forgets jobs when it restarts (appendonly no)", "set appendonly yes")
	}
	if good {
		d.ok("", "jobs outlast a restart, and none is dropped")
	}
	d.checkClock("queue", durability.Clock, before, time.Now(), 0)
	return q
}

// checkClock compares a clock with this host's. It was read between two moments, and counts in
// steps.
func (d *doctor) checkClock(subject string, clock, before, after time.Time, step time.Duration) {
	d.check = "clock"
	if clock.IsZero() {
		d.add(warning, subject, "it does not say its time", "make sure that its clock is right")
		return
	}
	off := max(clock.Sub(after), before.Sub(clock.Add(step)))
	if off > maxClockSkew {
		direction := "ahead of"
		if clock.Before(before) {
			direction = "behind"
		}
		d.add(warning, subject, fmt.Sprintf("its clock is %s %s this host's", off.Round(time.Second), direction),
			"set both by NTP: deadlines and signed URLs are off by as much")
		return
	}
	d.ok(subject, fmt.Sprintf("within %s of this host's", maxClockSkew))
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
			d.ok("queue "+name, fmt.Sprintf("%d transferds, %d jobs", served[name], jobs[name]))
		case jobs[name] > 0 || len(workers) == 0:
			d.add(broken, "queue "+name, fmt.Sprintf("no transferd serves it, and %d jobs wait", jobs[name]),
				"start transferd --queue "+name)
		}
	}
	d.checkLost(ctx, q)
}

func sortedKeys[V any](m map[string]V) []string {
	return slices.Sorted(maps.Keys(m))
}

func (d *doctor) checkLost(ctx context.Context, q *queue.Client) {
	d.check = "leftovers"
	lost, err := q.Lost(ctx)
	if err != nil {
		d.fail("", err)
		return
	}
	for i := range lost {
		j := &lost[i]
		d.add(warning, "job "+j.ID, fmt.Sprintf("it has lost its worker (%s)", j.Worker),
			fmt.Sprintf("a transferd --queue %s takes it up within 20 seconds; transferctl jobs cancel %s ends it",
				j.Queue, j.ID))
	}
}

// checkEndpoints logs in to each endpoint, and looks for the incomplete drives there.
func (d *doctor) checkEndpoints(ctx context.Context, q *queue.Client) {
	d.check = "endpoint"
	names := d.app.cfg.EndpointNames()
	if len(names) == 0 {
		d.fail("", noEndpoints())
	}
	for _, name := range names {
		d.check = "endpoint"
		limited, cancel := context.WithTimeout(ctx, endpointPatience)
		before := time.Now()
		check, err := d.app.checkEndpoint(limited, name)
		late := limited.Err() != nil
		cancel()
		if err != nil {
			if late {
				err = transfer.Errorf(transfer.CodeTimeout, "check the endpoint's url and the network",
					"%s has not answered after %s", name, endpointPatience)
			}
			d.fail(name, err)
			continue
		}
		d.ok(name, fmt.Sprintf("account %s, %.0f ms", check.Account, check.Seconds*1000))
		d.checkClock(name, check.clock, before, time.Now(), time.Second)
		d.checkLeftDrives(ctx, q, name)
	}
}

// endpointPatience is how long an endpoint may take to answer.
const endpointPatience = 15 * time.Second

func (d *doctor) checkLeftDrives(ctx context.Context, q *queue.Client, name string) {
	d.check = "leftovers"
	if q == nil && d.app.hasQueue() {
		return // without the queue no drive is known to be a leftover, and that it is away is a finding already
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
		d.add(warning, name, fmt.Sprintf("%d incomplete drives that jobs left, %s", n, human(size)),
			"transferctl drives cleanup "+name+": shows them, and removes them with --yes")
	}
}

// checkRoots looks whether the folders that jobs may use are there.
func (d *doctor) checkRoots() {
	d.check = "roots"
	for _, root := range d.app.cfg.Roots {
		info, err := os.Stat(root)
		switch {
		case err != nil:
			d.add(broken, root, err.Error(), "make the folder, or take it out of roots: in the config")
		case !info.IsDir():
			d.add(broken, root, "it is no folder", "name folders under roots: in the config")
		case unix.Access(root, unix.R_OK|unix.X_OK) != nil:
			d.add(broken, root, "this user may not read it", "let the user who runs transferd read it")
		case unix.Access(root, unix.W_OK) != nil:
			d.add(warning, root, "this user may not write to it, so nothing can be downloaded to it",
				"let the user who runs transferd write to it, if that is meant")
		default:
			d.ok(root, "readable and writable")
		}
	}
	if d.app.cfg.Redis != "" && len(d.app.cfg.Roots) == 0 {
		d.add(warning, "", "with a Redis that others reach, and no roots, jobs may touch no file of this host",
			"name folders under roots: in the config")
	}
}

// leastFree is how many bytes of the disk of the state folder must be free. A ledger takes 40 for
// each chunk.
const leastFree = 256 << 20

func (d *doctor) checkDisk() {
	d.check = "disk"
	dir := d.app.cfg.State
	for dir != "/" {
		if _, err := os.Stat(dir); err == nil {
			break
		}
		dir = filepath.Dir(dir) // where it will be made
	}
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		d.add(broken, dir, err.Error(), "set state: to a folder of this user's")
		return
	}
	free := int64(st.Bavail) * st.Bsize
	switch {
	case unix.Access(dir, unix.W_OK) != nil:
		d.add(broken, dir, "this user may not write to the state folder", "set state: to a folder of this user's")
	case free < leastFree:
		d.add(warning, dir, human(free)+" are free", "make room: what jobs have done is kept there")
	case st.Files > 0 && st.Ffree < 1000:
		d.add(warning, dir, fmt.Sprintf("%d inodes are free", st.Ffree),
			"remove files: what jobs have done is kept there")
	default:
		d.ok(dir, human(free)+" are free")
	}
}

// checkLeftFiles looks for partial files and for --local jobs that were stopped.
func (d *doctor) checkLeftFiles(ctx context.Context, q *queue.Client) {
	d.check = "leftovers"
	local, err := localstore.List(d.app.localFolder())
	if err != nil {
		d.fail("", err)
	}
	for _, j := range local {
		if !j.Running {
			d.add(warning, "job "+j.ID, "a --local job was stopped, and is kept to be resumed",
				"the same command resumes it; its journal is in "+d.app.localFolder())
		}
	}
	partial := make(map[string]bool)
	if q != nil {
		jobs, err := q.Jobs(ctx, queue.Filter{States: []transfer.State{transfer.Failed, transfer.Canceled}})
		if err != nil {
			d.fail("", err)
		}
		for i := range jobs {
			if path := jobs[i].Target + partialEnding; jobs[i].Kind == transfer.Download && isFile(path) {
				partial[path] = true
				d.add(warning, path, fmt.Sprintf("download %s, which is %s, left it", jobs[i].ID, jobs[i].State),
					"transferctl jobs retry "+jobs[i].ID+" goes on with it; else remove it")
			}
		}
	}
	for _, path := range d.partialFiles() {
		if !partial[path] {
			d.add(warning, path, "a download that has not ended, or was given up", "if no job writes it, remove it")
		}
	}
}

const partialEnding = ".partial"

func isFile(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.Mode().IsRegular()
}

// mostFiles is how many files below the roots are looked at.
const mostFiles = 100_000

// partialFiles is the partial files below the roots that nothing has written to for an hour.
func (d *doctor) partialFiles() (paths []string) {
	seen := 0
	for _, root := range d.app.cfg.Roots {
		_ = filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
			if seen++; seen > mostFiles {
				return fs.SkipAll
			}
			if err != nil || !e.Type().IsRegular() || !strings.HasSuffix(path, partialEnding) {
				return nil // what this user may not see is not his to remove
			}
			if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > lostAfter {
				paths = append(paths, path)
			}
			return nil
		})
	}
	return paths
}
