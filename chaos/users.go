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

// simUser enqueues one job after another, and checks the result of each.
type simUser struct {
	*lab
	dice   *rand.Rand
	number int
	files  int
	names  int
	drives []madeDrive
}

// madeDrive is a drive with its expected content.
type madeDrive struct {
	at   *endpoint
	uuid string
	im   image
	job  string // that wrote it
}

func newUser(l *lab, number int) *simUser {
	return &simUser{lab: l, dice: l.dice(uint64(1000 + number)), number: number}
}

func (u *simUser) live(ctx context.Context, over <-chan struct{}) {
	for {
		select {
		case <-over:
			return
		case <-ctx.Done():
			return
		default:
		}
		switch n := u.dice.IntN(11); {
		case len(u.drives) == 0 || n < 3:
			u.upload(ctx)
		case n < 4:
			u.uploadTwice(ctx)
		case n < 5:
			u.rewrite(ctx)
		case n < 7:
			u.download(ctx)
		case n < 9:
			u.clone(ctx)
		case n < 10:
			u.verify(ctx)
		default:
			u.cancel(ctx)
		}
		u.tidy()
	}
}

func (u *simUser) image() image        { return u.images[u.dice.IntN(len(u.images))] }
func (u *simUser) endpoint() *endpoint { return u.endpoints[u.dice.IntN(len(u.endpoints))] }
func (u *simUser) drive() madeDrive    { return u.drives[u.dice.IntN(len(u.drives))] }

// address is the address of a drive by one of its endpoint's names; with an empty UUID, of a new
// drive.
func (u *simUser) address(e *endpoint, uuid string) string {
	return e.names[u.dice.IntN(len(e.names))] + ":" + uuid
}

// name returns a flag with a unique name for a new drive. Without it, the same job of two users is
// one job.
func (u *simUser) name() []string {
	u.names++
	return []string{"--name", fmt.Sprintf("drive-%d-%d", u.number, u.names)}
}

// flags returns random flags of a job. Reads return flipped bits, so a job that reads a drive needs
// --verify full, which reads twice.
func (u *simUser) flags(kind string) []string {
	pick := func(list ...string) string { return list[u.dice.IntN(len(list))] }
	flags := []string{
		"--chunk-size", pick("64k", "256k", "1M", "4M"), "--compression", pick("auto", "none", "1"),
		"--concurrency", pick("auto", "1", "8"), "--priority", pick("low", "default", "high"), "--verify",
	}
	if kind == "download" || kind == "clone" {
		return append(flags, "full")
	}
	return append(flags, pick("written", "full"))
}

func (u *simUser) upload(ctx context.Context) {
	im, e := u.image(), u.endpoint()
	job, ok := u.do(ctx, append([]string{"upload", im.path, u.address(e, "")}, u.name()...)...)
	if ok {
		u.addDrive(job, e, im)
	}
}

// rewrite writes a drive by a second job after the first has succeeded. If a worker that lost the
// first job still sends data, the drive differs from the second image in the end.
func (u *simUser) rewrite(ctx context.Context) {
	d := u.drive()
	second := u.fitting(d)
	job, ok := u.do(ctx, "upload", second.path, u.address(d.at, d.uuid), "--overwrite")
	if !ok {
		u.destroy(d) // it may hold a part of either
		return
	}
	d.im, d.job = onDrive(d.im, second), job.ID
	u.drives = slices.DeleteFunc(u.drives, func(o madeDrive) bool { return o.uuid == d.uuid })
	u.drives = append(u.drives, d)
	u.compare(d)
}

// uploadTwice writes two images to one drive at once. One job waits for the other, and in the end
// the drive equals one of the images.
func (u *simUser) uploadTwice(ctx context.Context) {
	d := u.drive()
	other := u.fitting(d)
	first := u.enqueue(ctx, "upload", d.im.path, u.address(d.at, d.uuid), "--overwrite")
	second := u.enqueue(ctx, "upload", other.path, u.address(d.at, d.uuid), "--overwrite")
	one, two := u.await(ctx, first), u.await(ctx, second)
	doubted := u.history.doubted(first) || u.history.doubted(second)
	if one.State != transfer.Succeeded || two.State != transfer.Succeeded || doubted {
		u.destroy(d) // it may hold a part of either
		return
	}
	errOne, errTwo := d.at.driveEquals(d.uuid, d.im), d.at.driveEquals(d.uuid, onDrive(d.im, other))
	if errOne != nil && errTwo != nil && !u.history.doubted(first) && !u.history.doubted(second) {
		u.errorf("drive %s holds neither of the images of jobs %s and %s: %v; %v",
			d.uuid, first, second, errOne, errTwo)
	}
	if errOne != nil {
		u.destroy(d)
	}
}

// fitting returns another image that fits on a drive; the same one if none does.
func (u *simUser) fitting(d madeDrive) image {
	fit := d.im
	for _, i := range u.dice.Perm(len(u.images)) {
		if im := u.images[i]; len(im.data) <= len(d.im.data) && im.path != d.im.path {
			fit = im
		}
	}
	return fit
}

// onDrive is the content of a drive of the size of long after short was written to it: the rest is
// zeros.
func onDrive(long, short image) image {
	data := make([]byte, len(long.data))
	copy(data, short.data)
	return image{path: short.path, data: data}
}

func (u *simUser) download(ctx context.Context) {
	d := u.drive()
	u.files++
	path := u.path(fmt.Sprintf("download-%d-%d.img", u.number, u.files))
	var format []string
	if u.dice.IntN(3) == 0 {
		path += ".gz"
		format = []string{"--format", "gz"}
	}
	job, ok := u.do(ctx, append([]string{"download", u.address(d.at, d.uuid), path}, format...)...)
	u.history.uses(job.ID, d.job)
	if ok {
		err := fileEquals(path, d.im)
		left, _ := filepath.Glob(path + ".partial")
		switch u.history.uses(job.ID, d.job); {
		case u.history.doubted(job.ID):
		case err != nil:
			u.errorf("%s of job %s: %v", path, job.ID, err)
		case len(left) > 0:
			u.errorf("%s was not removed", left[0])
		}
	}
	for _, name := range []string{path, path + ".partial", path + ".manifest.json"} {
		if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
			u.errorf("%v", err)
		}
	}
}

func (u *simUser) clone(ctx context.Context) {
	d, e := u.drive(), u.endpoint()
	job, ok := u.do(ctx, append([]string{"clone", u.address(d.at, d.uuid), u.address(e, "")}, u.name()...)...)
	u.history.uses(job.ID, d.job)
	if ok {
		u.addDrive(job, e, d.im)
	}
}

// verify compares a drive with its image.
func (u *simUser) verify(ctx context.Context) {
	d := u.drive()
	job, _ := u.do(ctx, "verify", u.address(d.at, d.uuid), d.im.path)
	u.history.uses(job.ID, d.job)
}

// cancel enqueues a job and cancels it after up to 2 seconds.
func (u *simUser) cancel(ctx context.Context) {
	im, e := u.image(), u.endpoint()
	id := u.enqueue(ctx, append([]string{"upload", im.path, u.address(e, "")}, u.name()...)...)
	time.Sleep(atMost(u.dice, 2*time.Second))
	if _, err := u.queue.Cancel(ctx, id); err != nil {
		u.logf("job %s is not canceled: %v", id, err)
	}
	if job := u.await(ctx, id); job.State == transfer.Succeeded {
		u.addDrive(job, e, im)
	} else if job.Drive != "" {
		u.destroy(madeDrive{at: e, uuid: job.Drive})
	}
}

// do enqueues a job and waits for its end; ok if it succeeded.
func (u *simUser) do(ctx context.Context, args ...string) (transfer.Job, bool) {
	job := u.await(ctx, u.enqueue(ctx, args...))
	return job, job.State == transfer.Succeeded
}

// enqueue runs a command, again while the queue is away, and returns the job's ID.
func (u *simUser) enqueue(ctx context.Context, args ...string) string {
	args = append(args, u.flags(args[0])...)
	for ctx.Err() == nil {
		began := time.Now()
		cmd := exec.CommandContext(ctx, u.path("transferctl"), append(args, "-o", "json")...)
		var stderr bytes.Buffer
		cmd.Env, cmd.Stderr = u.env(), &stderr
		out, err := cmd.Output()
		if err == nil {
			var job transfer.Job
			if err := json.Unmarshal(out, &job); err != nil {
				u.errorf("%q prints no job: %v", args, err)
			}
			u.history.enqueued(job.ID, began)
			u.logf("%s: %s", job.ID, strings.Join(args, " "))
			return job.ID
		}
		full := bytes.Contains(stderr.Bytes(), []byte("the queue's memory is full"))
		code := cmd.ProcessState.ExitCode()
		if code != transfer.CodeUnreachable.ExitStatus() && !full && ctx.Err() == nil {
			u.errorf("%q exits with %d: %s", args, code, &stderr)
			return ""
		}
		u.count("commands repeated because the queue was away", 1)
		time.Sleep(atMost(u.dice, time.Second))
	}
	return ""
}

const pollEvery = 100 * time.Millisecond

// await waits for a job's end.
func (u *simUser) await(ctx context.Context, id string) transfer.Job {
	for id != "" && ctx.Err() == nil {
		asked := time.Now()
		job, err := u.queue.Job(ctx, id)
		if transfer.CodeOf(err) == transfer.CodeNotFound {
			if !u.history.mayBeMissing(id) {
				u.errorf("job %s is lost", id)
			}
			break
		}
		if err == nil && job.State.Terminal() {
			u.history.ended(id, asked)
			u.logf("%s: %s %+v", id, job.State, job.Error)
			return job
		}
		time.Sleep(pollEvery)
	}
	return transfer.Job{}
}

// addDrive adds the drive that a job has made.
func (u *simUser) addDrive(job transfer.Job, e *endpoint, im image) {
	d := madeDrive{at: e, uuid: job.Drive, im: im, job: job.ID}
	u.drives = append(u.drives, d)
	u.compare(d)
	w, err := e.plain(http.MethodGet, "/drives/info")
	if err != nil {
		u.errorf("%v", err)
		return
	}
	if n := strings.Count(w.Body.String(), "transferd:"+job.ID); n > 1 && u.history.undisturbed(job.ID) {
		u.errorf("job %s has made %d drives", job.ID, n)
	}
}

// compare checks that a drive holds what its last job wrote.
func (u *simUser) compare(d madeDrive) {
	if err := d.at.driveEquals(d.uuid, d.im); err != nil && !u.history.doubted(d.job) {
		u.errorf("drive %s of job %s: %v", d.uuid, d.job, err)
	}
}

// compareAll compares all drives that are left.
func (u *simUser) compareAll() {
	for _, d := range u.drives {
		u.count("drives compared at the end", 1)
		u.compare(d)
	}
}

// destroy destroys a drive.
func (u *simUser) destroy(d madeDrive) {
	u.drives = slices.DeleteFunc(u.drives, func(o madeDrive) bool { return o.uuid == d.uuid })
	if _, err := d.at.plain(http.MethodPost, "/drives/"+d.uuid+"/destroy"); err != nil {
		u.logf("drive %s stays: %v", d.uuid, err) // a canceled clone may still be imaging
	}
}

const keptDrives = 4

// tidy destroys the drives whose content is unknown, and the oldest of the others.
func (u *simUser) tidy() {
	for _, d := range slices.Clone(u.drives) {
		if u.history.doubted(d.job) {
			u.destroy(d)
		}
	}
	for len(u.drives) > keptDrives {
		u.compare(u.drives[0])
		u.destroy(u.drives[0])
	}
}
