// Command chaos runs many jobs on several transferds while everything that they depend on fails at
// random. Endpoints have every fault of the sandbox. Redis is killed, refuses commands, and is
// restored from an older copy. Transferds are killed, stopped, and cut off from Redis and the
// endpoints. At the end each job must have succeeded with equal bytes, or failed with one of a few
// codes. No job may be missing, and none may have run twice at once.
//
// All random choices follow from the seed; the timing does not.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

type options struct {
	seed    uint64
	time    time.Duration
	daemons int
	users   int
	verbose bool

	queueKind string
}

// The kinds of queues.
const (
	queueRedis    = "redis"    // a redis-server that chaos starts
	queueEmbedded = "embedded" // the redis-server of a transferd
	queueMemory   = "memory"   // the queue in a transferd's own process
)

func main() {
	o := options{}
	flag.Uint64Var(&o.seed, "seed", rand.Uint64N(1e9), "`number` that determines all random choices")
	flag.DurationVar(&o.time, "time", time.Minute, "`duration` of new jobs and failures")
	flag.IntVar(&o.daemons, "daemons", 0,
		"`number` of transferds (default 3; 4 in runs of a minute and more)")
	flag.IntVar(&o.users, "users", 0,
		"`number` of users, each with one job at a time (default 6; 40 in runs of a minute and more)")
	flag.StringVar(&o.queueKind, "queue", queueRedis, "`kind` of queue: redis, embedded or memory")
	flag.BoolVar(&o.verbose, "v", false, "print each job and each failure")
	flag.Parse()
	daemons, users := 3, 6
	if o.time >= longRun {
		daemons, users = 4, 40
	}
	o.daemons, o.users = cmp.Or(o.daemons, daemons), cmp.Or(o.users, users)
	if !slices.Contains([]string{queueRedis, queueEmbedded, queueMemory}, o.queueKind) {
		fmt.Fprintf(os.Stderr, "chaos: -queue %s is not redis, embedded or memory\n", o.queueKind)
		os.Exit(2)
	}
	if o.queueKind == queueMemory {
		o.daemons = 1 // its claims end with the process, so no other transferd may survive it
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	again := fmt.Sprintf("go run ./chaos -seed %d -time %s -daemons %d -users %d -queue %s",
		o.seed, o.time, o.daemons, o.users, o.queueKind)
	fmt.Println("chaos:", again)
	err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "chaos: %v\nagain: %s\n", err, again)
		os.Exit(1)
	}
}

// dice is a random generator that depends on the seed. Each part of a run has its own, so its
// choices do not depend on the timing of the others.
func (o *options) dice(part uint64) *rand.Rand { return rand.New(rand.NewPCG(o.seed, part)) }

// endTime is how long the last jobs may take to end after the last failure.
const endTime = 4 * time.Minute

// logFolder has the logs of the transferds, which stay after a run with errors.
const logFolder = "logs"

func run(ctx context.Context, o options) (err error) {
	dir, err := makeFolder()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cleanUp(dir, err != nil)) }()
	build := exec.CommandContext(ctx, "go", "build", "-o", dir+"/", "./cmd/transferd", "./cmd/transferctl")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build (run this in the project's folder): %w\n%s", err, out)
	}
	l, err := newLab(o, dir)
	if err != nil {
		return err
	}
	defer l.close()
	if err := l.makeImages(); err != nil {
		return err
	}
	over := make(chan struct{})
	var users, failures sync.WaitGroup
	var all []*simUser
	for i := range o.users {
		u := newUser(l, i)
		all = append(all, u)
		users.Go(func() { u.live(ctx, over) })
	}
	l.startFailures(&failures, over)
	select {
	case <-time.After(o.time):
	case <-ctx.Done():
	}
	close(over)
	failures.Wait() // everything runs again
	if err := l.awaitEnd(ctx, &users); err != nil {
		return err
	}
	l.stopDaemons()
	for _, u := range all {
		u.compareAll()
	}
	l.checkAll(ctx)
	return l.report()
}

// makeFolder makes the folder of a run.
func makeFolder() (dir string, err error) {
	if dir, err = os.MkdirTemp("", "transferd-chaos"); err != nil {
		return "", err
	}
	return dir, os.Mkdir(filepath.Join(dir, logFolder), 0o700)
}

// awaitEnd waits until the jobs of all users have ended, for endTime at most.
func (l *lab) awaitEnd(ctx context.Context, users *sync.WaitGroup) error {
	ended := make(chan struct{})
	go func() { users.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(endTime):
		l.errorf("jobs have not ended %s after the last failure", endTime)
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// cleanUp removes what a run leaves in dir. With keepLogs the logs stay, and cleanUp says where.
func cleanUp(dir string, keepLogs bool) error {
	if !keepLogs {
		return os.RemoveAll(dir)
	}
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if e.Name() != logFolder {
			err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
		}
	}
	fmt.Println("logs:", filepath.Join(dir, logFolder))
	return err
}
