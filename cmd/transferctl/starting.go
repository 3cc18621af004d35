package main

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/transferd/transferd/internal/cli"
	"github.com/transferd/transferd/internal/embedded"
	"github.com/transferd/transferd/internal/queue"
	"github.com/transferd/transferd/internal/transfer"
)

// A command may run right after the command that starts what it needs, such as in `transferd &`
// followed by `transferctl upload`. So it waits for a queue or an endpoint that may be starting.
const (
	// startWait is how long a command waits for what shows signs of a start: a transferd that has
	// locked the folder of its queue, a Redis that loads its data, or a host that answers but has
	// nothing that listens, which a program that starts cannot be told from.
	startWait = 5 * time.Second
	// lockWait is how long a command waits for a transferd that shows no sign yet, because it has
	// not locked the folder of its queue. It does that within some 10 ms, or later on a busy host.
	lockWait = 2 * time.Second
	// startNote is how long a command waits before it prints that.
	startNote  = time.Second
	startPause = 50 * time.Millisecond
)

// awaitStart repeats call while its error shows that what may be starting: as long as limit, which
// gets the error, allows since the first call.
func (a *app) awaitStart(
	ctx context.Context, what string, limit func(error) time.Duration, call func() error,
) error {
	started, noted := time.Now(), false
	for {
		err := call()
		waited := time.Since(started)
		if err == nil || waited >= limit(err) {
			return err
		}
		if waited >= startNote && !noted {
			noted = true
			fmt.Fprintf(cli.EscapeControls(a.stderr), "%v; waiting for %s, which may be starting\n", err, what)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(startPause):
		}
	}
}

// dial connects to the queue of the config, or to the embedded queue of a transferd on this host.
// It waits for one that may be starting.
func (a *app) dial(ctx context.Context) (c *queue.Client, err error) {
	what, limit := "transferd", a.embeddedWait
	if a.cfg.Redis != "" {
		what, limit = "Redis", redisWait
	}
	err = a.awaitStart(ctx, what, limit, func() error {
		c, err = a.dialOnce(ctx)
		return err
	})
	return c, err
}

// embeddedWait is how long the embedded queue may take to start; 0: it does not start.
func (a *app) embeddedWait(err error) time.Duration {
	switch {
	case transfer.CodeOf(err) != transfer.CodeUnreachable:
		return 0
	case embedded.Starting(a.queueFolder()):
		return startWait
	}
	return lockWait
}

var errNoWorker = errors.New("no transferd serves a queue")

// workers lists the transferds that serve the queue. It waits for that of an embedded queue, which
// opens the queue before it takes jobs.
func (a *app) workers(ctx context.Context, c *queue.Client) (list []queue.Worker, err error) {
	limit := func(err error) time.Duration {
		if errors.Is(err, errNoWorker) && a.cfg.Redis == "" && embedded.Starting(a.queueFolder()) {
			return startWait
		}
		return 0
	}
	err = a.awaitStart(ctx, "transferd", limit, func() error {
		if list, err = c.Workers(ctx); err == nil && len(list) == 0 {
			return errNoWorker
		}
		return err
	})
	if errors.Is(err, errNoWorker) {
		err = nil
	}
	return list, err
}

// redisWait is how long a Redis may take to start; 0: it does not start.
func redisWait(err error) time.Duration {
	if queue.Starting(err) || nothingListens(err) {
		return startWait
	}
	return 0
}

// endpointWait is how long an endpoint may take to start; 0: it does not start.
func endpointWait(err error) time.Duration {
	if nothingListens(err) {
		return startWait
	}
	return 0
}

// nothingListens reports whether a host, or the folder of a socket, was reached and nothing
// listens there.
func nothingListens(err error) bool {
	return transfer.CodeOf(err) == transfer.CodeUnreachable &&
		(errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ENOENT))
}
