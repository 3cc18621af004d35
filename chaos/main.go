// Command chaos runs many jobs on several transferds while everything that they depend on fails at
// random: the endpoints in every way that the sandbox knows; Redis, which is killed, refuses, and
// is restored from an older copy; and the transferds, which are killed, stopped, and cut off from
// Redis and the endpoints. At the end each job must have succeeded with equal bytes, or failed with
// a clear error; none may be missing, or have been run twice at once.
//
// All random choices follow from the seed; the timing does not.
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
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
	queueRedis    = "redis"    // one that runs by itself
	queueEmbedded = "embedded" // the redis-server that a transferd brings
	queueMemory   = "memory"   // the one in a transferd's own process
)

func main() {
	o := options{}
	flag.Uint64Var(&o.seed, "seed", rand.Uint64N(1e9), "what all random choices follow from")
	flag.DurationVar(&o.time, "time", time.Minute, "for how `long` jobs are made and things fail")
	flag.IntVar(&o.daemons, "daemons", 0, "how `many` transferds (default 3, and 4 in runs of a minute and more)")
	flag.IntVar(&o.users, "users", 0,
		"how `many` jobs are wanted at once (default 6, and 40 in runs of a minute and more)")
	flag.StringVar(&o.queueKind, "queue", queueRedis, "which `queue`: redis, embedded or memory")
	flag.BoolVar(&o.verbose, "v", false, "tell of each job and each kill")
	flag.Parse()
	daemons, users := 3, 6
	if o.time >= longForm {
		daemons, users = 4, 40
	}
	o.daemons, o.users = cmp.Or(o.daemons, daemons), cmp.Or(o.users, users)
	if !slices.Contains([]string{queueRedis, queueEmbedded, queueMemory}, o.queueKind) {
		fmt.Fprintf(os.Stderr, "chaos: -queue %s is none of redis, embedded and memory\n", o.queueKind)
		os.Exit(2)
	}
	if o.queueKind == queueMemory {
		o.daemons = 1 // claims are lost with it, so no other transferd may outlive it
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

// dice are random choices that follow from the seed; each part of a run has its own, so that none depends on how the
// others' turns fell.
func (o *options) dice(part uint64) *rand.Rand { return rand.New(rand.NewPCG(o.seed, part)) }

// settleTime is how long the last jobs may take to end when nothing is killed any more.
const settleTime = 4 * time.Minute

func run(ctx context.Context, o options) (err error) {
	dir, err := os.MkdirTemp("", "transferd-chaos")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
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
	var users, killers sync.WaitGroup
	var all []*someone
	for i := range o.users {
		u := newUser(l, i)
		all = append(all, u)
		users.Go(func() { u.live(ctx, over) })
	}
	l.unleash(&killers, over)
	select {
	case <-time.After(o.time):
	case <-ctx.Done():
	}
	close(over)
	killers.Wait() // all that was killed is there again
	ended := make(chan struct{})
	go func() { users.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(settleTime):
		l.wrong("jobs have not ended %s after the last kill", settleTime)
	case <-ctx.Done():
		return ctx.Err()
	}
	l.stopDaemons()
	for _, u := range all {
		u.compareAll()
	}
	l.checkAll(ctx)
	return l.report()
}
