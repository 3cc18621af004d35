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

// clear is the codes with which a job may fail when everything around it does.
var clearCodes = []transfer.Code{
	transfer.CodeTimeout, transfer.CodeServer, transfer.CodeNetwork, transfer.CodeUnreachable,
}

// checkAll looks at all jobs when nothing runs any more.
func (l *lab) checkAll(ctx context.Context) {
	jobs, err := l.queue.Jobs(ctx, queue.Filter{})
	if err != nil {
		l.wrong("list jobs: %v", err)
		return
	}
	there := make(map[string]bool)
	for i := range jobs {
		there[jobs[i].ID] = true
		l.checkJob(&jobs[i])
	}
	for _, id := range l.history.all() {
		switch {
		case there[id]:
		case l.history.mayBeMissing(id):
			l.happened("jobs that Redis had lost", 1)
		default:
			l.wrong("job %s is missing", id)
		}
	}
	l.happened("jobs taken from one that was cut off", l.runs.takenFromCutOff)
	for _, w := range l.runs.verdict() {
		l.wrong("%s", w)
	}
}

func (l *lab) checkJob(j *transfer.Job) {
	l.happened(fmt.Sprintf("jobs %s", j.State), 1)
	switch {
	case l.history.doubted(j.ID):
		l.happened("jobs whose end Redis had lost", 1)
	case !j.State.Terminal():
		l.wrong("job %s is %s", j.ID, j.State)
	case j.State == transfer.Failed && (!slices.Contains(clearCodes, j.Error.Code) || j.Error.Message == ""):
		l.wrong("job %s (%s %s → %s) failed: %+v", j.ID, j.Kind, j.Source, j.Target, *j.Error)
	case j.State == transfer.Failed:
		fmt.Printf("failed: job %s (%s): %s\n", j.ID, j.Kind, j.Error.Message)
	case j.State == transfer.Succeeded && !j.Verified:
		l.wrong("job %s succeeded and is not verified", j.ID)
	}
	if n := l.runs.taken[j.ID]; n > 1 {
		l.happened("jobs taken up again", 1)
		l.happened("attempts beyond the first", n-1)
	}
	l.happened("chunks stored", int(j.Chunks.Sent))
	l.happened("retries after 409", int(j.Retries.Conflict))
	l.happened("retries after 504", int(j.Retries.Timeout))
	l.happened("retries after 5xx", int(j.Retries.Server))
	l.happened("retries after cuts", int(j.Retries.Network))
	l.happened("differences found", int(j.Retries.Mismatch))
	if j.Kind == transfer.Upload || (j.Kind == transfer.Clone && l.endpointOf(j.Endpoint) != l.endpointOf(j.Source)) {
		l.happened("chunks to send to drives", int(j.Chunks.Done-j.Chunks.Zero))
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

// report prints the figures, and fails if anything is wrong.
func (l *lab) report() error {
	for _, e := range l.endpoints {
		l.happened("writes that endpoints were asked for", e.writes)
		for kind, n := range e.server.FaultCounts() {
			l.happened("fault "+kind, int(n))
		}
	}
	for _, what := range slices.Sorted(maps.Keys(l.counts)) {
		fmt.Printf("%-40s %8d\n", what, l.counts[what])
	}
	if n := len(l.faults); n > 0 {
		return fmt.Errorf("%d things are wrong, the first: %s", n, l.faults[0])
	}
	fmt.Println("nothing is lost, and nothing is wrong")
	return nil
}
