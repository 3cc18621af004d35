package queue

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/transferd/transferd/internal/transfer"
)

// A service is one kind of maintenance. The leader calls Tick of one service after the other every
// few seconds. Tick does what is due and returns. What it could not do stays due for the next tick.
type service interface {
	Tick(ctx context.Context) error
}

// maintenance runs the services in one server at a time.
type maintenance struct {
	leader   *leader
	services []service
	ticked   chan<- struct{} // gets a signal after each tick as the leader; nil outside tests
}

func newMaintenance(c *Client, name string, t timing, log *zap.Logger) *maintenance {
	l := &leader{client: c, name: name, timing: t, log: log}
	return &maintenance{leader: l, services: []service{
		&reindex{client: c, leader: l},
		&deadlines{client: c, leader: l},
		&lostOwners{client: c, leader: l},
		&triggers{client: c, timing: t},
		&batches{client: c},
	}}
}

// run ticks until ctx ends.
func (m *maintenance) run(ctx context.Context) {
	tick := time.NewTicker(m.leader.timing.tick)
	defer tick.Stop()
	for {
		if err := m.tick(ctx); err != nil && ctx.Err() == nil {
			m.leader.log.Warn("maintenance failed", zap.Error(err))
		}
		select {
		case <-ctx.Done():
			m.leader.resign(ctx)
			return
		case <-tick.C:
		}
	}
}

// tick runs each service once, if this server leads. It takes no longer than a leadership lasts: a
// command that was sent before an outage of Redis and answered after it must not hide the outage.
func (m *maintenance) tick(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, m.leader.timing.leader)
	defer cancel()
	leads, err := m.leader.lead(ctx)
	if !leads || err != nil {
		return err
	}
	for _, s := range m.services {
		err := s.Tick(ctx)
		switch {
		case transfer.CodeOf(err) == transfer.CodeUnreachable:
			m.leader.reset()
			return err
		case err != nil:
			m.leader.log.Warn("maintenance failed", zap.Error(err))
		}
	}
	select {
	case m.ticked <- struct{}{}:
	default:
	}
	return nil
}
