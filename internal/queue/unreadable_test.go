package queue

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/transfertest"
)

// damages makes readable records unreadable for this version.
var damages = map[string]func(t testing.TB, c *Client, id string){
	"spec of a newer version":  setField("spec", `{"kind":"upload","limit_rate":{"08:00":20}}`),
	"kind of a newer version":  setField("spec", `{"kind":"publish","queue":"default"}`),
	"spec cut off":             setField("spec", `{"kind":"upl`),
	"no spec":                  func(t testing.TB, c *Client, id string) { do(t, c, "HDEL", recordKey(id), "spec") },
	"plan":                     setField("plan", `[]`),
	"progress":                 setField("progress", `{"size":"1"}`),
	"error":                    setField("error", `"x"`),
	"epoch":                    setField("epoch", "one"),
	"no epoch":                 func(t testing.TB, c *Client, id string) { do(t, c, "HDEL", recordKey(id), "epoch") },
	"attempts":                 setField("attempts", ""),
	"created":                  setField("created", "yesterday"),
	"deadline":                 setField("due", "tomorrow"),
	"state of a newer version": setField("state", "paused"),
	"another type": func(t testing.TB, c *Client, id string) {
		do(t, c, "DEL", recordKey(id))
		do(t, c, "RPUSH", recordKey(id), "x")
	},
}

func setField(field, value string) func(testing.TB, *Client, string) {
	return func(t testing.TB, c *Client, id string) { do(t, c, "HSET", recordKey(id), field, value) }
}

func do(t testing.TB, c *Client, args ...any) {
	t.Helper()
	if err := c.rdb.Do(context.Background(), args...).Err(); err != nil {
		t.Fatalf("%v: %v", args, err)
	}
}

// warnings collects what a client reports to Warn.
type warnings struct {
	mu   sync.Mutex
	text []string
}

func (w *warnings) add(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text = append(w.text, err.Error())
}

// naming returns how many warnings name a job or worker.
func (w *warnings) naming(id string) (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, text := range w.text {
		if strings.Contains(text, id) {
			n++
		}
	}
	return n
}

// TestUnreadableCostsOneJob: functions that read many jobs skip records that cannot be read, report
// each once and do not change them. Maintenance still handles the readable ones.
func TestUnreadableCostsOneJob(t *testing.T) {
	r := startRedis(t)
	named := new(warnings)
	r.options.Warn = named.add
	c := dial(t, r.options)
	bad := make(map[string]string) // what Redis has of each, by its ID
	for _, damage := range damages {
		for _, state := range []transfer.State{transfer.Queued, transfer.Running, transfer.Succeeded} {
			id := enqueueIn(t, c, state)
			damage(t, c, id)
			bad[id] = contents(t, c, id)
		}
	}
	lost, ended := enqueueIn(t, c, transfer.Running), enqueueIn(t, c, transfer.Succeeded)
	late := enqueueIn(t, c, transfer.Queued)
	setField("due", "1")(t, c, late)
	do(t, c, "ZADD", keyDeadlines, "1", late)
	untriggered := enqueueUntriggered(t, c)

	jobs, err := c.Jobs(t.Context(), Filter{})
	if err != nil || len(jobs) != 4 {
		t.Errorf("got %d jobs (%v), want the 4 that can be read", len(jobs), err)
	}
	for id := range bad {
		if _, err := c.Job(t.Context(), id); err == nil || !strings.Contains(err.Error(), id) {
			t.Errorf("Job: got %v, want an error with the ID", err)
		}
		if _, err := c.Cancel(t.Context(), id); err == nil {
			t.Error("Cancel: got no error for a job that cannot be read")
		}
		if _, err := c.Retry(t.Context(), id); err == nil {
			t.Error("Retry: got no error for a job that cannot be read")
		}
	}
	ran := make(chan string, 10)
	serve(t, c, "one", func(ctx context.Context, _ <-chan struct{}, a *Attempt) error {
		ran <- a.Job.ID
		return awaitLate(ctx, a)
	}, func(s *Server) { s.timing.reindex = quick.tick })
	await(t, c, lost, transfer.Succeeded)
	await(t, c, untriggered, transfer.Succeeded)
	await(t, c, late, transfer.Failed)
	if close(ran); len(ran) != 2 {
		t.Errorf("got %d jobs that ran, want the lost and the untriggered one", len(ran))
	}
	if n, err := c.CancelAll(t.Context(), []transfer.State{transfer.Queued, transfer.Running}); n != 0 || err != nil {
		t.Errorf("got %d canceled jobs (%v), want none", n, err)
	}
	if n, err := c.Prune(t.Context(), PruneOptions{}); n != 4 || err != nil {
		t.Errorf("got %d pruned jobs (%v), want %s and the three others", n, err, ended)
	}
	for id, want := range bad {
		if got := contents(t, c, id); got != want {
			t.Errorf("job %s: got %s, want %s", id, got, want)
		}
		if n := named.naming(id); n != 1 {
			t.Errorf("job %s: got %d warnings, want 1", id, n)
		}
	}
}

// contents is the whole record of a job, as text.
func contents(t testing.TB, c *Client, id string) string {
	t.Helper()
	switch kind := c.rdb.Type(t.Context(), recordKey(id)).Val(); kind {
	case "hash":
		return mustJSON(c.rdb.HGetAll(t.Context(), recordKey(id)).Val())
	case "list":
		return mustJSON(c.rdb.LRange(t.Context(), recordKey(id), 0, -1).Val())
	default:
		t.Fatalf("the record of job %s is %s", id, kind)
		return ""
	}
}

// enqueueIn makes a job in a state. A running one has lost its worker; a queued one has no trigger,
// and no worker serves its queue.
func enqueueIn(t testing.TB, c *Client, state transfer.State) string {
	t.Helper()
	spec := newSpec()
	if state == transfer.Queued {
		spec.Queue = "not-served"
	}
	job, err := c.Enqueue(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	do(t, c, "HSET", recordKey(job.ID), "state", string(state), "epoch", "1", "attempts", "1", "started", "1")
	if state.Terminal() {
		do(t, c, "HSET", recordKey(job.ID), "finished", "1")
	}
	do(t, c, "DEL", taskKey(spec.Queue, job.ID+":0"))
	do(t, c, "DEL", "asynq:{"+spec.Queue+"}:pending")
	return job.ID
}

// TestUnreadableIsNotTaken: a worker does not run a job whose spec or plan has an unknown field.
func TestUnreadableIsNotTaken(t *testing.T) {
	for field, text := range map[string]string{
		"plan":  `{"size":1,"quiesced":true}`,
		"spec":  strings.Replace(mustJSON(newSpec()), "{", `{"keep_all":true,`, 1),
		"epoch": "one",
	} {
		t.Run(field, func(t *testing.T) {
			r := startRedis(t)
			named := make(chan error, 1)
			r.options.Warn = func(err error) { named <- err }
			c := dial(t, r.options)
			id := enqueue(t, c)
			setField(field, text)(t, c, id)
			serve(t, c, "one", func(_ context.Context, _ <-chan struct{}, a *Attempt) error {
				if a.Job.ID == id {
					t.Error("the job runs")
				}
				return nil
			})
			if err := transfertest.Receive(t, named, "warning"); !strings.Contains(err.Error(), id) {
				t.Errorf("got the warning %v, want one with the ID", err)
			}
			await(t, c, enqueue(t, c), transfer.Succeeded)
			if h := c.rdb.HGetAll(t.Context(), recordKey(id)).Val(); h["state"] != "queued" || h["worker"] != "" {
				t.Errorf("got the record %v, want a queued job without a worker", h)
			}
		})
	}
}

// TestUnreadableNeighboursAreSkipped: damage outside of the records costs no other job. It damages
// a ledger, by a partial entry and by a chunk outside of the image (a chunk of its tail is valid);
// the index, by entries without a record; a worker's description; the last job of a spec; and the
// queue of a job.
func TestUnreadableNeighboursAreSkipped(t *testing.T) {
	r := startRedis(t)
	named := new(warnings)
	r.options.Warn = named.add
	c := dial(t, r.options)
	id := enqueueIn(t, c, transfer.Succeeded)
	for _, ledger := range []string{
		strings.Repeat("x", transfer.EntrySize+1), string(transfer.AppendEntries(nil, entries(3, 1))),
	} {
		do(t, c, "SET", ledgerKey(id), ledger)
		setField("plan", `{"size":3000,"chunk_size":1000}`)(t, c, id)
		_, _, err := c.Ledger(t.Context(), id)
		if !errors.Is(err, errUnreadable) || !strings.Contains(err.Error(), id) {
			t.Errorf("a damaged ledger: got %v, want an error with the ID", err)
		}
	}
	tail := entries(transfer.TailIndex+3, 1)
	do(t, c, "SET", ledgerKey(id), string(transfer.AppendEntries(nil, append(entries(0, 3), tail...))))
	if _, at, err := c.Ledger(t.Context(), id); err != nil || len(at.Entries) != 4 {
		t.Errorf("a ledger with a chunk of the tail: got %d entries (%v), want 4", len(at.Entries), err)
	}
	do(t, c, "ZADD", keyJobs, "1", "gone", "2", "td:{}", "3", "")
	for set, id := range map[string]string{keyQueued: "gone-1", keyRunning: "gone-2", keyDeadlines: "gone-3"} {
		do(t, c, "ZADD", set, "1", id)
	}
	do(t, c, "SADD", keyWorkers, "a", "b", "c")
	do(t, c, "SET", workerKey("a"), `{"name":1}`)
	do(t, c, "SET", workerKey("b"), `{`)
	do(t, c, "RPUSH", workerKey("c"), "x")
	noQueue := enqueueIn(t, c, transfer.Queued)
	setField("spec", strings.Replace(mustJSON(newSpec()), `"default"`, `""`, 1))(t, c, noQueue)
	spec := newSpec()
	spec.Name = "once"
	last, _ := enqueueOnce(t, c, spec)
	setField("epoch", "x")(t, c, last)

	if jobs, err := c.Jobs(t.Context(), Filter{}); len(jobs) != 2 || err != nil {
		t.Errorf("got %d jobs (%v), want 2", len(jobs), err)
	}
	if next, exists := enqueueOnce(t, c, spec); exists || next == last {
		t.Errorf("a spec whose last job cannot be read: got job %s, exists %t; want a new job", next, exists)
	}
	ticked := make(chan struct{})
	run := succeed
	serve(t, c, "one", run, func(s *Server) { s.ticked = ticked })
	await(t, c, enqueueUntriggered(t, c), transfer.Succeeded)
	transfertest.Receive(t, ticked, "tick of the leader") // every service has read its index
	workers, err := c.Workers(t.Context())
	if len(workers) != 1 || err != nil {
		t.Errorf("got the workers %v (%v), want that of this test", workers, err)
	}
	for _, name := range []string{"worker a", "worker b", "worker c", last, noQueue} {
		if n := named.naming(name); n != 1 {
			t.Errorf("%q: got %d warnings in %q, want 1", name, n, named.text)
		}
	}
}

// enqueueUntriggered makes a job of the default queue whose trigger is lost.
func enqueueUntriggered(t testing.TB, c *Client) string {
	t.Helper()
	id := enqueueIn(t, c, transfer.Queued)
	setField("spec", mustJSON(newSpec()))(t, c, id)
	return id
}
