package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"github.com/transferd/transferd/internal/panics"
	"github.com/transferd/transferd/internal/transfer"
)

// An inspection is read-only work that a worker does at once, although all its slots may be taken
// by jobs. The client pushes a request to a list of the queue, and waits at a list of the request
// for answers: a sign of life every few seconds, then the reports. Inspections change nothing, so
// one whose worker dies is requested again.

// inspectKey is the list of the requests of a queue.
func inspectKey(queue string) string { return "td:inspect:" + queue }

// inspectedKey is the list of the answers to a request.
func inspectedKey(id string) string { return "td:inspected:" + id }

const (
	inspectPoll = 2 * time.Second // how long a worker waits for a request
	inspectSign = 3 * time.Second // the time between two signs of life
	// inspectLost is how long a client waits for a sign of life before it requests again.
	inspectLost = 15 * time.Second
	// inspectTries is how often a client requests.
	inspectTries = 3
	// inspectKept is how long an answer waits for its client, and a request for a worker.
	inspectKept = time.Minute
	// inspectPage is how many queries are in one request.
	inspectPage = 1000
)

type inspectRequest struct {
	ID      string               `json:"id"`
	Queries []transfer.FileQuery `json:"queries"`
}

type inspectAnswer struct {
	Reports []transfer.FileReport `json:"reports"` // none: the worker is still at work
	Error   *transfer.Failure     `json:"error,omitempty"`
}

// Inspector returns the inspector of the hosts that serve a queue.
func (c *Client) Inspector(queue string) transfer.Inspector { return &inspector{c, queue} }

type inspector struct {
	client *Client
	queue  string
}

var _ transfer.Inspector = (*inspector)(nil)

// Inspect implements transfer.Inspector.
func (i *inspector) Inspect(ctx context.Context, queries []transfer.FileQuery) ([]transfer.FileReport, error) {
	reports := make([]transfer.FileReport, 0, len(queries))
	for len(queries) > 0 {
		page := queries[:min(inspectPage, len(queries))]
		queries = queries[len(page):]
		got, err := i.inspectPage(ctx, page)
		if err != nil {
			return nil, err
		}
		reports = append(reports, got...)
	}
	return reports, nil
}

func (i *inspector) inspectPage(ctx context.Context, queries []transfer.FileQuery) ([]transfer.FileReport, error) {
	for range inspectTries {
		workers, err := i.client.Workers(ctx)
		if err != nil {
			return nil, err
		}
		if served, _ := serving(workers, i.queue, nil); !served {
			return nil, i.unserved("no transferd serves queue " + i.queue)
		}
		reports, err := i.request(ctx, queries)
		if !errors.Is(err, errNoAnswer) {
			return reports, err
		}
	}
	return nil, i.unserved("no transferd that serves queue " + i.queue + " answers")
}

func (i *inspector) unserved(why string) error {
	return transfer.Errorf(transfer.CodeUnreachable,
		fmt.Sprintf("start a transferd with --queue %s on a host that has the files, or use --local", i.queue),
		"%s", why)
}

var errNoAnswer = errors.New("no answer")

func (i *inspector) request(ctx context.Context, queries []transfer.FileQuery) ([]transfer.FileReport, error) {
	const op = "inspect files"
	id := NewID()
	text, err := json.Marshal(inspectRequest{ID: id, Queries: queries})
	if err != nil {
		return nil, fmt.Errorf("encode the request: %w", err)
	}
	rdb := i.client.rdb
	_, err = rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		p.RPush(ctx, inspectKey(i.queue), text)
		p.Expire(ctx, inspectKey(i.queue), inspectKept)
		return nil
	})
	if err != nil {
		return nil, failed(op, err)
	}
	for {
		got, err := rdb.BLPop(ctx, inspectLost, inspectedKey(id)).Result()
		if err == redis.Nil { //nolint:errorlint // go-redis returns it bare
			// A worker that has lost it, or begins with it only now, does no harm.
			return nil, errors.Join(errNoAnswer, rdb.LRem(ctx, inspectKey(i.queue), 1, text).Err())
		}
		if err != nil {
			return nil, failed(op, err)
		}
		var answer inspectAnswer
		if err := json.Unmarshal([]byte(got[1]), &answer); err != nil {
			return nil, fmt.Errorf("decode the answer: %w", err)
		}
		switch {
		case answer.Error != nil:
			return nil, answer.Error.Err()
		case len(answer.Reports) == len(queries):
			return answer.Reports, nil
		}
	}
}

// startInspections answers the requests of all queues until ctx ends. wait waits for the end.
func (s *Server) startInspections(ctx context.Context, fail func(error)) (wait func()) {
	var waits []func()
	for _, queue := range s.cfg.Queues {
		if s.cfg.Inspector != nil {
			waits = append(waits, panics.Go(func() { s.serveInspections(ctx, queue) }, fail))
		}
	}
	return func() {
		for _, wait := range waits {
			wait()
		}
	}
}

// serveInspections answers the requests of a queue until ctx ends.
func (s *Server) serveInspections(ctx context.Context, queue string) {
	for ctx.Err() == nil {
		got, err := s.client.rdb.BLPop(ctx, inspectPoll, inspectKey(queue)).Result()
		switch {
		case err == redis.Nil: //nolint:errorlint // go-redis returns it bare
			continue
		case err != nil:
			_ = sleep(ctx, s.timing.renew) // an outage of Redis, which others report
			continue
		}
		if err := s.inspect(ctx, []byte(got[1])); err != nil && ctx.Err() == nil {
			s.cfg.Log.Warn("inspection not answered", zap.Error(err))
		}
	}
}

func (s *Server) inspect(ctx context.Context, text []byte) error {
	var request inspectRequest
	if err := json.Unmarshal(text, &request); err != nil {
		return fmt.Errorf("decode the request: %w", err)
	}
	working, done := context.WithCancel(ctx)
	signed := panics.Go(func() { s.signInspection(working, request.ID) }, func(err error) {
		s.cfg.Log.Error("inspection panicked", zap.Error(err))
	})
	var answer inspectAnswer
	err := panics.Catch(func() (err error) {
		answer.Reports, err = s.cfg.Inspector.Inspect(ctx, request.Queries)
		return err
	})
	done()
	signed()
	answer.Error = transfer.FailureOf(err)
	return s.answer(ctx, request.ID, &answer)
}

// signInspection sends signs of life until ctx ends.
func (s *Server) signInspection(ctx context.Context, id string) {
	tick := time.NewTicker(inspectSign)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			_ = s.answer(ctx, id, new(inspectAnswer)) // without it the client requests again
		}
	}
}

func (s *Server) answer(ctx context.Context, id string, answer *inspectAnswer) error {
	text, err := json.Marshal(answer)
	if err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	_, err = s.client.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		p.RPush(ctx, inspectedKey(id), text)
		p.Expire(ctx, inspectedKey(id), inspectKept)
		return nil
	})
	return failed("answer an inspection", err)
}
