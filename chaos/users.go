package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/transferd/transferd/internal/transfer"
)

// someone wants one job after another, and looks at what each has done.
type someone struct {
	*lab
	dice   *rand.Rand
	number int
	files  int
	drives []owned
}

// owned is a drive and what is on it.
type owned struct {
	at   *endpoint
	uuid string
	im   image
}

func newUser(l *lab, number int) *someone {
	return &someone{lab: l, dice: l.dice(uint64(1000 + number)), number: number}
}

func (u *someone) live(ctx context.Context, over <-chan struct{}) {
	for {
		select {
		case <-over:
			return
		case <-ctx.Done():
			return
		default:
		}
		switch n := u.dice.IntN(10); {
		case len(u.drives) == 0 || n < 3:
			u.upload(ctx)
		case n < 4:
			u.uploadTwice(ctx)
		case n < 6:
			u.download(ctx)
		case n < 8:
			u.clone(ctx)
		case n < 9:
			u.verify(ctx)
		default:
			u.cancel(ctx)
		}
		u.tidy()
	}
}

func (u *someone) image() image        { return u.images[u.dice.IntN(len(u.images))] }
func (u *someone) endpoint() *endpoint { return u.endpoints[u.dice.IntN(len(u.endpoints))] }
func (u *someone) drive() owned        { return u.drives[u.dice.IntN(len(u.drives))] }

// how is random settings of a job. A bit that is wrong when a drive is read shows only to who reads it twice.
func (u *someone) how(kind string) []string {
	pick := func(list ...string) string { return list[u.dice.IntN(len(list))] }
	how := []string{
		"--chunk-size", pick("64k", "256k", "1M", "4M"), "--compression", pick("auto", "none", "1"),
		"--concurrency", pick("auto", "1", "8"), "--priority", pick("low", "default", "high"), "--verify",
	}
	if kind == "download" || kind == "clone" {
		return append(how, "full")
	}
	return append(how, pick("written", "full"))
}

func (u *someone) upload(ctx context.Context) {
	im, e := u.image(), u.endpoint()
	job, ok := u.do(ctx, "upload", im.path, e.name+":")
	if ok {
		u.owns(job, e, im)
	}
}

// uploadTwice writes two images to one drive at once: one job waits for the other, and one of them is on the drive in the
// end.
func (u *someone) uploadTwice(ctx context.Context) {
	d := u.drive()
	other := d.im
	for _, im := range u.images {
		if len(im.data) <= len(d.im.data) && im.path != d.im.path {
			other = im
		}
	}
	address := d.at.name + ":" + d.uuid
	first := u.enqueue(ctx, "upload", d.im.path, address, "--overwrite")
	second := u.enqueue(ctx, "upload", other.path, address, "--overwrite")
	one, two := u.await(ctx, first), u.await(ctx, second)
	if one.State != transfer.Succeeded || two.State != transfer.Succeeded {
		u.forget(d) // it may hold a part of either
		return
	}
	errOne, errTwo := d.at.driveEquals(d.uuid, d.im), d.at.driveEquals(d.uuid, over(d.im, other))
	if errOne != nil && errTwo != nil {
		u.wrong("drive %s holds neither of the images of jobs %s and %s: %v; %v", d.uuid, first, second, errOne, errTwo)
	}
	if errOne != nil {
		u.forget(d)
	}
}

// over is what a drive holds after a shorter image was written over a longer one.
func over(long, short image) image {
	data := slices.Clone(long.data)
	copy(data, short.data)
	return image{path: short.path + " over " + long.path, data: data}
}

func (u *someone) download(ctx context.Context) {
	d := u.drive()
	u.files++
	path := u.path(fmt.Sprintf("download-%d-%d.img", u.number, u.files))
	args := []string{"download", d.at.name + ":" + d.uuid, path}
	if u.dice.IntN(3) == 0 {
		path += ".gz"
		args = []string{"download", d.at.name + ":" + d.uuid, path, "--format", "gz"}
	}
	if _, ok := u.do(ctx, args...); ok {
		if err := fileEquals(path, d.im); err != nil {
			u.wrong("%s: %v", path, err)
		}
		if left, _ := filepath.Glob(path + ".partial"); len(left) > 0 {
			u.wrong("%s is left", left[0])
		}
	}
	for _, name := range []string{path, path + ".partial", path + ".manifest.json"} {
		if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
			u.wrong("%v", err)
		}
	}
}

func (u *someone) clone(ctx context.Context) {
	d, e := u.drive(), u.endpoint()
	if job, ok := u.do(ctx, "clone", d.at.name+":"+d.uuid, e.name+":"); ok {
		u.owns(job, e, d.im)
	}
}

func (u *someone) verify(ctx context.Context) {
	d := u.drive()
	u.do(ctx, "verify", d.at.name+":"+d.uuid, d.im.path)
}

// cancel begins a job and changes its mind.
func (u *someone) cancel(ctx context.Context) {
	im, e := u.image(), u.endpoint()
	id := u.enqueue(ctx, "upload", im.path, e.name+":")
	time.Sleep(atMost(u.dice, 2*time.Second))
	if _, err := u.queue.Cancel(ctx, id); err != nil {
		u.tell("job %s is not canceled: %v", id, err)
	}
	if job := u.await(ctx, id); job.State == transfer.Succeeded {
		u.owns(job, e, im)
	} else if job.Drive != "" {
		u.forget(owned{at: e, uuid: job.Drive})
	}
}

// do has a job done; ok if it succeeded.
func (u *someone) do(ctx context.Context, args ...string) (transfer.Job, bool) {
	job := u.await(ctx, u.enqueue(ctx, args...))
	return job, job.State == transfer.Succeeded
}

// enqueue types a command, again while the queue is away.
func (u *someone) enqueue(ctx context.Context, args ...string) string {
	args = append(args, u.how(args[0])...)
	for ctx.Err() == nil {
		cmd := exec.CommandContext(ctx, u.path("transferctl"), append(args, "-o", "json")...)
		var stderr bytes.Buffer
		cmd.Env, cmd.Stderr = u.env(), &stderr
		out, err := cmd.Output()
		if err == nil {
			var job transfer.Job
			if err := json.Unmarshal(out, &job); err != nil {
				u.wrong("%q prints no job: %v", args, err)
			}
			u.acknowledged(job.ID)
			u.tell("%s: %s", job.ID, strings.Join(args, " "))
			return job.ID
		}
		if code := cmd.ProcessState.ExitCode(); code != transfer.CodeUnreachable.ExitStatus() && ctx.Err() == nil {
			u.wrong("%q exits with %d: %s", args, code, &stderr)
			return ""
		}
		u.happened("commands that found no queue", 1)
		time.Sleep(atMost(u.dice, time.Second))
	}
	return ""
}

func (u *someone) acknowledged(id string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.known = append(u.known, id)
}

const pollEvery = 100 * time.Millisecond

// await waits for a job's end.
func (u *someone) await(ctx context.Context, id string) transfer.Job {
	for id != "" && ctx.Err() == nil {
		job, err := u.queue.Job(ctx, id)
		if transfer.CodeOf(err) == transfer.CodeNotFound {
			u.wrong("job %s is lost", id)
			break
		}
		if err == nil && job.State.Terminal() {
			u.tell("%s: %s %+v", id, job.State, job.Error)
			return job
		}
		time.Sleep(pollEvery)
	}
	return transfer.Job{}
}

// owns looks at the drive that a job has made.
func (u *someone) owns(job transfer.Job, e *endpoint, im image) {
	d := owned{at: e, uuid: job.Drive, im: im}
	u.drives = append(u.drives, d)
	if err := e.driveEquals(d.uuid, im); err != nil {
		u.wrong("drive %s of job %s: %v", d.uuid, job.ID, err)
	}
	w, err := e.plain(http.MethodGet, "/drives/info")
	if err != nil {
		u.wrong("%v", err)
		return
	}
	if n := strings.Count(w.Body.String(), "transferd:"+job.ID); n > 1 {
		u.wrong("job %s has made %d drives", job.ID, n)
	}
}

// forget destroys a drive of which nothing is known any more.
func (u *someone) forget(d owned) {
	u.drives = slices.DeleteFunc(u.drives, func(o owned) bool { return o.uuid == d.uuid })
	if _, err := d.at.plain(http.MethodPost, "/drives/"+d.uuid+"/destroy"); err != nil {
		u.tell("drive %s stays: %v", d.uuid, err) // a canceled clone may still be imaging
	}
}

const keptDrives = 4

func (u *someone) tidy() {
	for len(u.drives) > keptDrives {
		u.forget(u.drives[0])
	}
}
