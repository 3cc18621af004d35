package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"github.com/transferd/transferd/internal/transfer"
)

// Worker is a transferd that serves the queue.
type Worker struct {
	Name      string    `json:"name"`
	Queues    []string  `json:"queues"`
	Endpoints []string  `json:"endpoints"`
	Jobs      int       `json:"jobs"`       // at once
	StartedAt time.Time `json:"started_at"` // by Redis' clock
}

// Workers lists the transferds that serve the queue, by name.
func (c *Client) Workers(ctx context.Context) ([]Worker, error) {
	names, err := c.rdb.SMembers(ctx, keyWorkers).Result()
	if err != nil {
		return nil, failed("list workers", err)
	}
	slices.Sort(names)
	var workers []Worker
	for _, name := range names {
		text, err := c.rdb.Get(ctx, workerKey(name)).Bytes()
		if err == redis.Nil { //nolint:errorlint // go-redis returns it bare
			continue // it was killed, and its announcement has lapsed
		}
		var w Worker
		if err == nil {
			err = json.Unmarshal(text, &w)
		}
		var newer *json.UnmarshalTypeError
		var damaged *json.SyntaxError
		switch {
		case err == nil:
			workers = append(workers, w)
		case answered(err) || errors.As(err, &newer) || errors.As(err, &damaged):
			c.skip(workerKey(name), unreadableWorker(name, err))
		default:
			return nil, failed("read worker "+name, err)
		}
	}
	return workers, nil
}

func unreadableWorker(name string, cause error) error {
	return &transfer.Error{
		Op: "read worker " + name, Code: transfer.CodeFailed,
		Err:  fmt.Errorf("its description %w: %w", errUnreadable, cause),
		Hint: "the list leaves it out; if it is a newer transferd, update this program",
	}
}

func (s *Server) announce(ctx context.Context) error {
	text, err := json.Marshal(Worker{
		Name: s.cfg.Name, Queues: s.cfg.Queues, Endpoints: s.cfg.Endpoints, Jobs: s.cfg.Jobs, StartedAt: s.since,
	})
	if err != nil {
		return fmt.Errorf("encode worker: %w", err)
	}
	_, err = s.client.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		p.Set(ctx, workerKey(s.cfg.Name), text, s.timing.lease)
		p.SAdd(ctx, keyWorkers, s.cfg.Name)
		return nil
	})
	return failed("announce this worker", err)
}

func (s *Server) announcePeriodically(ctx context.Context) {
	tick := time.NewTicker(s.timing.lease / 3)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := s.announce(ctx); err != nil && ctx.Err() == nil {
				s.cfg.Log.Warn("worker not announced", zap.Error(err))
			}
		}
	}
}

// withdraw removes this server from the list of workers.
func (s *Server) withdraw() {
	ctx, cancel := context.WithTimeout(context.Background(), dialTimeout)
	defer cancel()
	_, err := s.client.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		p.Del(ctx, workerKey(s.cfg.Name))
		p.SRem(ctx, keyWorkers, s.cfg.Name)
		return nil
	})
	if err != nil {
		// In an outage of Redis the announcement lapses.
		s.cfg.Log.Warn("worker not withdrawn", zap.Error(err))
	}
}
