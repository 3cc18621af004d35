package queue

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"time"

	"github.com/hibiken/asynq"
	"go.uber.org/zap"
	"golang.org/x/sync/semaphore"

	"github.com/transferd/transferd/internal/lease"
	"github.com/transferd/transferd/internal/panics"
	"github.com/transferd/transferd/internal/transfer"
)

// The messages that a Server logs for each attempt, with the fields job, kind and attempt. The last
// two have the fields code, the outcome's transfer.Code, which is empty for success, and error.
const (
	LogStarted  = "job started"
	LogEnded    = "job ended"    // the job succeeded, failed or was canceled
	LogReleased = "job released" // another attempt continues the job
)

// ServerConfig configures a Server.
type ServerConfig struct {
	Name      string   // unique among the servers of a queue
	Queues    []string // served in all three priorities
	Endpoints []string // configured here; Client.Workers lists them
	Jobs      int      // how many run at once
	// Lease is how long a worker that does not renew it keeps its job; 0: DefaultLease. All other
	// intervals scale with it. No user sets it.
	Lease time.Duration
	// Life proves to other servers on this host that this process has ended, and to this server
	// that their processes have; may be nil.
	Life *lease.Life
	// Run runs an attempt. When drain closes, it returns an error with CodeDrained soon. When ctx
	// ends, it returns at once.
	Run func(ctx context.Context, drain <-chan struct{}, a *Attempt) error
	// Inspector looks at files of this host for clients; nil: it answers none.
	Inspector transfer.Inspector
	Log       *zap.Logger
}

// DefaultLease is how long a worker that does not renew its lease keeps its job.
const DefaultLease = 15 * time.Second

// timing is all intervals of the queue.
type timing struct {
	lease time.Duration // how long a lease lasts
	// claim is how long a claim lasts without renewals: longer than outages of Redis that jobs
	// survive.
	claim     time.Duration
	renew     time.Duration // how often a worker renews its lease
	tick      time.Duration // how often the leader does the maintenance that is due
	recheck   time.Duration // how often it checks that a queued job has its trigger
	reindex   time.Duration // how often it reads all records
	late      time.Duration // how long bytes may arrive after a lease has lapsed: docs/reliability.md
	grace     time.Duration // how long it leads before a lapsed lease means a lost worker
	leader    time.Duration // how long the leadership lasts without renewals
	drain     time.Duration // how long Run may take to return after drain has closed
	taskCheck time.Duration // how often asynq polls for tasks
}

// A job whose worker was killed continues on another worker after its lease, a tick and a task
// check: 18 seconds.
var defaultTiming = timing{
	lease: DefaultLease, claim: 5 * time.Minute, renew: time.Second, tick: 2 * time.Second, recheck: pickupTimeout,
	reindex: 10 * time.Minute, late: 15 * time.Second, grace: 5 * time.Second,
	leader: 10 * time.Second, drain: time.Minute, taskCheck: 200 * time.Millisecond,
}

// scaled is the timing for another lease: it scales the intervals that depend on the lease.
func (t timing) scaled(lease time.Duration) timing {
	factor := float64(lease) / float64(t.lease)
	scaled := []*time.Duration{
		&t.lease, &t.claim, &t.renew, &t.tick, &t.recheck, &t.grace, &t.late, &t.leader,
	}
	for _, d := range scaled {
		*d = time.Duration(float64(*d) * factor)
	}
	return t
}

// Server runs jobs of the queue.
type Server struct {
	client   *Client
	cfg      ServerConfig
	timing   timing
	slots    *semaphore.Weighted // asynq may free a slot of its own while its handler runs
	drain    chan struct{}
	mu       sync.Mutex
	jobs     map[string]bool // that run here, or whose outcome is not written yet
	waiters  *panics.Group   // attempts without a slot
	hardStop context.Context // ends the attempts that do not drain in time
	kill     context.CancelCauseFunc

	since   time.Time       // when Run began, by Redis' clock
	started chan struct{}   // closed when the server accepts jobs
	ticked  chan<- struct{} // of maintenance
}

// NewServer makes a server.
func NewServer(c *Client, cfg ServerConfig) *Server {
	s := &Server{
		client: c, cfg: cfg, timing: defaultTiming.scaled(cmp.Or(cfg.Lease, defaultTiming.lease)),
		slots: semaphore.NewWeighted(int64(cfg.Jobs)), jobs: make(map[string]bool), waiters: panics.NewGroup(),
		drain: make(chan struct{}), started: make(chan struct{}),
	}
	s.hardStop, s.kill = context.WithCancelCause(context.Background())
	return s
}

// Run serves until ctx ends. Then it accepts no more jobs, gives the running ones up to a minute to
// release themselves, and returns. A panic outside of the jobs stops it in the same way.
func (s *Server) Run(ctx context.Context) error {
	defer s.kill(nil)
	if err := s.prepare(ctx); err != nil {
		if ctx.Err() != nil {
			return nil // ctx ended before it served
		}
		return err
	}
	engine := asynq.NewServerFromRedisClient(s.client.rdb, s.engineConfig())
	if err := engine.Start(asynq.HandlerFunc(s.handle)); err != nil {
		return failed("start taking jobs", err)
	}
	close(s.started)
	s.cfg.Log.Info("taking jobs", zap.String("worker", s.cfg.Name),
		zap.Strings("queues", s.cfg.Queues), zap.Int("jobs", s.cfg.Jobs))
	ctx, failed := context.WithCancelCause(ctx)
	defer failed(nil)
	announced := panics.Go(func() { s.announcePeriodically(ctx) }, failed)
	maintained := panics.Go(func() { s.maintain(ctx) }, failed)
	inspected := s.startInspections(ctx, failed)
	<-ctx.Done()
	s.cfg.Log.Info("stopping, releasing jobs")
	// In a goroutine: asynq may wait for a Redis that is away.
	stopped := panics.Go(engine.Stop, failed)
	close(s.drain)
	s.awaitJobs()
	engine.Shutdown()
	announced()
	maintained()
	inspected()
	stopped()
	s.withdraw()
	if cause := context.Cause(ctx); panics.Of(cause) != nil {
		return cause
	}
	return nil
}

// prepare checks Redis and announces this server.
func (s *Server) prepare(ctx context.Context) (err error) {
	if err := s.checkRedis(ctx); err != nil {
		return err
	}
	if s.since, err = s.client.now(ctx); err != nil {
		return err
	}
	return s.announce(ctx)
}

func (s *Server) maintain(ctx context.Context) {
	m := newMaintenance(s.client, s.cfg.Name, s.timing, s.cfg.Log)
	m.ticked = s.ticked
	m.run(ctx)
}

func (s *Server) engineConfig() asynq.Config {
	queues := make(map[string]int)
	for _, q := range s.cfg.Queues {
		queues[queueName(q, transfer.PriorityHigh)] = 6
		queues[queueName(q, transfer.PriorityDefault)] = 3
		queues[queueName(q, transfer.PriorityLow)] = 1
	}
	return asynq.Config{
		Concurrency: s.cfg.Jobs, Queues: queues,
		TaskCheckInterval: s.timing.taskCheck, ShutdownTimeout: time.Second,
		BaseContext: func() context.Context { return s.hardStop },
		Logger:      asynqLog{s.cfg.Log.Sugar()}, LogLevel: asynq.WarnLevel,
		// A handler fails only when it cannot read the record, which is no failure of the job.
		IsFailure: func(error) bool { return false },
		RetryDelayFunc: func(_ int, err error, _ *asynq.Task) time.Duration {
			if errors.Is(err, errUnreadable) {
				return s.timing.recheck // a newer transferd may run the job
			}
			return s.timing.tick
		},
	}
}

// asynqLog passes asynq's log lines on to zap.
type asynqLog struct{ *zap.SugaredLogger }

// awaitJobs waits until all running jobs have ended or been released, and cancels those that take
// too long. Each running job has a slot, except those of runWithoutSlot.
func (s *Server) awaitJobs() {
	ctx, cancel := context.WithTimeout(context.Background(), s.timing.drain)
	defer cancel()
	defer context.AfterFunc(ctx, panics.Func(func() {
		s.cfg.Log.Warn("jobs not released in time, canceling their runs")
		s.kill(transfer.Errorf(transfer.CodeDrained, "", "the worker was stopped"))
	}, func(err error) {
		s.cfg.Log.Error("canceling the runs panicked", zap.Error(err))
	}))()
	all := int64(s.cfg.Jobs)
	_ = s.slots.Acquire(context.Background(), all) // it fails only with its context
	s.slots.Release(all)
	_ = s.waiters.Wait() // none is added any more: that takes a slot
}

// handle acquires the job of a trigger and runs it. It ignores asynq's context, which ends when
// asynq has not reached Redis for half a minute.
func (s *Server) handle(_ context.Context, t *asynq.Task) error {
	if err := s.slots.Acquire(s.hardStop, 1); err != nil {
		return err
	}
	defer s.slots.Release(1)
	select {
	case <-s.drain:
		return errors.New("the worker is stopping")
	default:
	}
	id := string(t.Payload())
	if !s.addJob(id) {
		return nil // the lease lapsed during an outage of Redis, but the job still runs here
	}
	a, err := s.acquire(id, epochOf(t.ResultWriter().TaskID()))
	switch {
	case a == nil || err != nil:
		s.removeJob(id)
	case a.Spec.Action().MovesServer:
		s.runWithoutSlot(a)
	default:
		defer s.removeJob(id)
		s.runAttempt(a)
	}
	return err
}

func (s *Server) acquire(id, epoch string) (*Attempt, error) {
	if err := s.client.checkReadable(s.hardStop, id); err != nil {
		return nil, err
	}
	return s.client.acquire(s.hardStop, id, epoch, s.cfg.Name, s.timing, s.cfg.Life)
}

// runWithoutSlot starts an attempt that moves no bytes, and waits for jobs that do. With a slot it
// could take the one that they need. awaitJobs waits for it.
func (s *Server) runWithoutSlot(a *Attempt) {
	run := panics.Func(func() {
		defer s.removeJob(a.Job.ID)
		s.runAttempt(a)
	}, func(err error) {
		s.cfg.Log.Error("attempt panicked", zap.String("job", a.Job.ID), zap.Error(err))
	})
	s.waiters.Go(func() error {
		run()
		return nil
	})
}

// addJob adds a job to those that run here; false: it runs already.
func (s *Server) addJob(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.jobs[id] {
		return false
	}
	s.jobs[id] = true
	return true
}

func (s *Server) removeJob(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.jobs, id)
}

// runAttempt runs a job and writes its outcome.
func (s *Server) runAttempt(a *Attempt) {
	log := s.cfg.Log.With(zap.String("job", a.Job.ID), zap.String("kind", string(a.Spec.Kind)),
		zap.Int("attempt", a.Job.Attempts))
	log.Info(LogStarted)
	ctx, stop := context.WithCancelCause(s.hardStop)
	if due := a.Job.Deadline; due != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, due.Sub(a.Job.AsOf), errDue)
		defer cancel()
	}
	if a.lost {
		stop(errLost)
	}
	renewing, stopRenewing := context.WithCancel(s.hardStop)
	renewed := panics.Go(func() { a.renewPeriodically(renewing, stop, log) }, stop)
	defer func() { // also if writeOutcome panics, which asynq recovers: then the lease must lapse
		stopRenewing()
		renewed()
	}()
	err := panics.Catch(func() error { return s.cfg.Run(ctx, s.drain, a) })
	// If it was drained while it undid what the job owes, another attempt continues that.
	if cause := context.Cause(ctx); cause != nil && err != nil && transfer.CodeOf(err) != transfer.CodeDrained {
		err = cause
	}
	if p := panics.Of(err); p != nil {
		log.Error("job panicked", zap.Any("panic", p.Value), zap.ByteString("stack", p.Stack))
	}
	stop(nil)
	s.writeOutcome(a, err, log)
}

// writeOutcome tries until Redis answers: a job whose outcome is not written runs again.
func (s *Server) writeOutcome(a *Attempt, outcome error, log *zap.Logger) {
	for {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(s.hardStop), dialTimeout)
		ended, err := a.writeOutcome(ctx, outcome)
		cancel()
		code := zap.Skip()
		if outcome != nil {
			code = zap.String("code", string(transfer.CodeOf(outcome)))
		}
		switch {
		case err == nil && ended:
			log.Info(LogEnded, code, zap.Error(outcome))
			return
		case err == nil:
			log.Info(LogReleased, code, zap.Error(outcome))
			return
		case s.hardStop.Err() != nil:
			log.Error("outcome not written, another attempt will follow", zap.Error(err))
			return
		}
		log.Warn("outcome not written, trying again", zap.Error(err))
		select {
		case <-time.After(time.Second):
		case <-s.hardStop.Done():
		}
	}
}

// checkRedis fails if Redis may evict keys, and warns if Redis loses its data at a restart.
func (s *Server) checkRedis(ctx context.Context) error {
	policy, err := s.client.setting(ctx, "maxmemory-policy")
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		s.cfg.Log.Warn("settings of Redis are not readable; set maxmemory-policy noeviction and appendonly yes",
			zap.Error(err))
		return nil
	}
	if policy != "" && policy != "noeviction" {
		return transfer.Errorf(transfer.CodeInvalid, "set maxmemory-policy noeviction in Redis",
			"this Redis may evict jobs when its memory is full (maxmemory-policy %s)", policy)
	}
	if aof, err := s.client.setting(ctx, "appendonly"); err == nil && aof == "no" {
		s.cfg.Log.Warn("appendonly is off in Redis, jobs may be lost when it restarts")
	}
	return nil
}
