package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/transferd/transferd/internal/queue"
	"github.com/transferd/transferd/internal/transfer"
)

// allowedCodes is the codes with which a job may fail when its endpoints and Redis fail.
var allowedCodes = []transfer.Code{
	transfer.CodeTimeout, transfer.CodeServer, transfer.CodeNetwork, transfer.CodeUnreachable,
}

// checkAll checks all jobs after the transferds have stopped.
func (l *lab) checkAll(ctx context.Context) {
	jobs, err := l.queue.Jobs(ctx, queue.Filter{})
	if err != nil {
		l.errorf("list jobs: %v", err)
		return
	}
	listed := make(map[string]bool)
	for i := range jobs {
		listed[jobs[i].ID] = true
		l.checkJob(&jobs[i])
	}
	for _, id := range l.history.all() {
		switch {
		case listed[id]:
		case l.history.mayBeMissing(id):
			l.count("jobs that Redis had lost", 1)
		default:
			l.errorf("job %s is missing", id)
		}
	}
	l.count("jobs taken from a transferd that was cut off", l.runs.takeovers)
	for _, text := range l.runs.verdict() {
		l.errorf("%s", text)
	}
}

func (l *lab) checkJob(j *transfer.Job) {
	l.count(fmt.Sprintf("jobs %s", j.State), 1)
	switch {
	case l.history.doubted(j.ID):
		l.count("jobs whose end Redis had lost", 1)
	case !j.State.Terminal():
		l.errorf("job %s is %s", j.ID, j.State)
	case j.State == transfer.Failed && (!slices.Contains(allowedCodes, j.Error.Code) || j.Error.Message == ""):
		l.errorf("job %s (%s %s → %s) failed: %+v", j.ID, j.Kind, j.Source, j.Target, *j.Error)
	case j.State == transfer.Failed:
		fmt.Printf("failed: job %s (%s): %s\n", j.ID, j.Kind, j.Error.Message)
	case j.State == transfer.Succeeded && !j.Verified:
		l.errorf("job %s succeeded and is not verified", j.ID)
	}
	if n := l.runs.starts[j.ID]; n > 1 {
		l.count("jobs started again", 1)
		l.count("attempts beyond the first", n-1)
	}
	l.count("chunks stored", int(j.Chunks.Sent))
	l.count("retries after 409", int(j.Retries.Conflict))
	l.count("retries after 504", int(j.Retries.Timeout))
	l.count("retries after 5xx", int(j.Retries.Server))
	l.count("retries after cuts", int(j.Retries.Network))
	l.count("differences found", int(j.Retries.Mismatch))
	if j.Kind == transfer.Upload || (j.Kind == transfer.Clone && l.endpointOf(j.Endpoint) != l.endpointOf(j.Source)) {
		l.count("chunks to send to drives", int(j.Chunks.Done-j.Chunks.Zero))
	}
}

// endpointOf is the endpoint that an address names.
func (l *lab) endpointOf(address string) *endpoint {
	name, _, _ := strings.Cut(address, ":")
	for _, e := range l.endpoints {
		if slices.Contains(e.names, name) {
			return e
		}
	}
	return nil
}

// report prints the counts, and fails if there was an error.
func (l *lab) report() error {
	for _, e := range l.endpoints {
		l.count("write calls to endpoints", e.writes)
		for kind, n := range e.server.FaultCounts() {
			l.count("fault "+kind, int(n))
		}
	}
	for _, what := range slices.Sorted(maps.Keys(l.counts)) {
		fmt.Printf("%-40s %8d\n", what, l.counts[what])
	}
	if n := len(l.errors); n > 0 {
		return fmt.Errorf("%d errors, the first: %s", n, l.errors[0])
	}
	fmt.Println("no errors")
	return nil
}
