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

// ServerConfig is what a Server needs.
type ServerConfig struct {
	Name      string   // unique among the servers of a queue
	Queues    []string // served in all three priorities
	Endpoints []string // configured here; shown to those who enqueue
	Jobs      int      // run at once
	// Lease is how long a worker that is silent keeps its job; 0: DefaultLease. All other intervals
	// follow it. No user sets it.
	Lease time.Duration
	// Life proves to other servers on this host that this process has ended, and to this one that
	// theirs have; may be nil.
	Life *lease.Life
	// Run carries out an attempt. When drain closes it returns an error with CodeDrained soon; when ctx ends, at once.
	Run func(ctx context.Context, drain <-chan struct{}, a *Attempt) error
	Log *zap.Logger
}

// DefaultLease is how long a worker that is silent keeps its job.
const DefaultLease = 15 * time.Second

// timing is all the intervals of the queue.
type timing struct {
	lease     time.Duration // how long a worker that is silent keeps its job
	claim     time.Duration // how long a drive is a job's after the last renewal: longer than outages of Redis that jobs outlive
	renew     time.Duration // how often a worker renews its lease
	tick      time.Duration // how often the leader does what maintenance is due
	recheck   time.Duration // how often it looks whether a job that waits has its trigger
	reindex   time.Duration // how often it reads all records
	late      time.Duration // for how long after a lease has lapsed bytes may arrive: docs/reliability.md
	calm      time.Duration // for how long it has led, with Redis there, before it takes a lapsed lease for a death
	leader    time.Duration // how long a leader that is silent stays the leader
	drain     time.Duration // how long a job may take to hand itself back
	taskCheck time.Duration // how often asynq looks for tasks
}

// A job whose worker was killed goes on elsewhere after its lease, a tick and a task check: 18 seconds.
var defaultTiming = timing{
	lease: DefaultLease, claim: 5 * time.Minute, renew: time.Second, tick: 2 * time.Second, recheck: pickUp,
	reindex: 10 * time.Minute, late: 15 * time.Second, calm: 5 * time.Second,
	leader: 10 * time.Second, drain: time.Minute, taskCheck: 200 * time.Millisecond,
}

// scaled is the timing with another lease, and with the intervals that depend on it in the same
// proportion.
func (t timing) scaled(lease time.Duration) timing {
	factor := float64(lease) / float64(t.lease)
	for _, d := range []*time.Duration{&t.lease, &t.claim, &t.renew, &t.tick, &t.recheck, &t.calm, &t.late, &t.leader} {
		*d = time.Duration(float64(*d) * factor)
	}
	return t
}

// Server takes jobs from the queue and runs them.
type Server struct {
	client *Client
	cfg    ServerConfig
	timing timing
	slots  *semaphore.Weighted // asynq may free a slot of its own while its handler runs
	drain  chan struct{}
	mu     sync.Mutex
	jobs   map[string]bool // those that this server runs, or whose outcome it has not written yet
	hard   context.Context // ends what does not drain in time
	kill   context.CancelCauseFunc

	since   time.Time       // when Run began, by Redis' clock
	started chan struct{}   // closed when the server takes jobs
	ticked  chan<- struct{} // of maintenance
}

// NewServer makes a server.
func NewServer(c *Client, cfg ServerConfig) *Server {
	s := &Server{
		client: c, cfg: cfg, timing: defaultTiming.scaled(cmp.Or(cfg.Lease, defaultTiming.lease)),
		slots: semaphore.NewWeighted(int64(cfg.Jobs)), jobs: make(map[string]bool),
		drain: make(chan struct{}), started: make(chan struct{}),
	}
	s.hard, s.kill = context.WithCancelCause(context.Background())
	return s
}

// Run serves until ctx ends. Then it takes no more jobs, lets those that run hand themselves back,
// for a minute at the most, and returns. A panic outside of the jobs stops it in the same way.
func (s *Server) Run(ctx context.Context) error {
	defer s.kill(nil)
	if err := s.prepare(ctx); err != nil {
		if ctx.Err() != nil {
			return nil // it was told to stop before it served
		}
		return err
	}
	engine := asynq.NewServerFromRedisClient(s.client.rdb, s.engineConfig())
	if err := engine.Start(asynq.HandlerFunc(s.handle)); err != nil {
		return failed("start taking jobs", err)
	}
	close(s.started)
	s.cfg.Log.Info("taking jobs", zap.String("worker", s.cfg.Name), zap.Strings("queues", s.cfg.Queues), zap.Int("jobs", s.cfg.Jobs))
	ctx, failed := context.WithCancelCause(ctx)
	defer failed(nil)
	announced := panics.Go(func() { s.keepAnnouncing(ctx) }, failed)
	maintained := panics.Go(func() { s.maintain(ctx) }, failed)
	<-ctx.Done()
	s.cfg.Log.Info("stopping, jobs hand themselves back")
	// In a goroutine: asynq may wait for a Redis that is away.
	stopped := panics.Go(engine.Stop, failed)
	close(s.drain)
	s.awaitJobs()
	engine.Shutdown()
	announced()
	maintained()
	stopped()
	err := s.withdraw()
	if cause := context.Cause(ctx); panics.Of(cause) != nil {
		err = errors.Join(cause, err)
	}
	return err
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
		Concurrency: s.cfg.Jobs, Queues: queues, TaskCheckInterval: s.timing.taskCheck, ShutdownTimeout: time.Second,
		BaseContext: func() context.Context { return s.hard }, Logger: asynqLog{s.cfg.Log.Sugar()}, LogLevel: asynq.WarnLevel,
		// A handler fails only when it could not look at the record; that says nothing of the job.
		IsFailure: func(error) bool { return false },
		RetryDelayFunc: func(_ int, err error, _ *asynq.Task) time.Duration {
			if errors.Is(err, errUnreadable) {
				return s.timing.recheck // a newer transferd may take it
			}
			return s.timing.tick
		},
	}
}

// asynqLog writes asynq's log to ours.
type asynqLog struct{ *zap.SugaredLogger }

// awaitJobs waits for the jobs to hand themselves back, and ends those that do not. A job that runs has a slot.
func (s *Server) awaitJobs() {
	ctx, cancel := context.WithTimeout(context.Background(), s.timing.drain)
	defer cancel()
	all := int64(s.cfg.Jobs)
	if s.slots.Acquire(ctx, all) != nil {
		s.cfg.Log.Warn("jobs did not hand themselves back in time, ending them")
		s.kill(transfer.Errorf(transfer.CodeDrained, "", "the worker was stopped"))
		_ = s.slots.Acquire(context.Background(), all) // it fails only with its context
	}
	s.slots.Release(all)
}

// handle takes the job of a trigger up and runs it. The job's context is not asynq's, which ends when asynq has not reached
// Redis for half a minute.
func (s *Server) handle(_ context.Context, t *asynq.Task) error {
	if err := s.slots.Acquire(s.hard, 1); err != nil {
		return err
	}
	defer s.slots.Release(1)
	select {
	case <-s.drain:
		return errors.New("the worker is stopping")
	default:
	}
	id := string(t.Payload())
	if !s.begin(id) {
		return nil // its lease lapsed during an outage of Redis, but it still runs here
	}
	defer s.end(id)
	if err := s.client.checkTakeable(s.hard, id); err != nil {
		return err
	}
	a, err := s.client.acquire(s.hard, id, s.cfg.Name, s.timing, s.cfg.Life)
	if a == nil || err != nil {
		return err
	}
	s.attempt(a)
	return nil
}

// begin adds a job to those that run here; false: it runs already.
func (s *Server) begin(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.jobs[id] {
		return false
	}
	s.jobs[id] = true
	return true
}

func (s *Server) end(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.jobs, id)
}

// attempt runs a job and writes its outcome.
func (s *Server) attempt(a *Attempt) {
	log := s.cfg.Log.With(zap.String("job", a.Job.ID))
	log.Info("job taken up", zap.String("kind", string(a.Spec.Kind)), zap.Int("attempt", a.Job.Attempts))
	ctx, stop := context.WithCancelCause(s.hard)
	if due := a.Job.Deadline; due != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, due.Sub(a.Job.AsOf), errDue)
		defer cancel()
	}
	renewing, stopRenewing := context.WithCancel(s.hard)
	renewed := panics.Go(func() { a.keepLease(renewing, stop, log) }, stop)
	defer func() { // also if writing the outcome panics, which asynq recovers: the lease must lapse
		stopRenewing()
		renewed()
	}()
	err := panics.Catch(func() error { return s.cfg.Run(ctx, s.drain, a) })
	if cause := context.Cause(ctx); cause != nil && err != nil {
		err = cause
	}
	if p := panics.Of(err); p != nil {
		log.Error("job panicked", zap.Any("panic", p.Value), zap.ByteString("stack", p.Stack))
	}
	stop(nil)
	s.writeOutcome(a, err, log)
}

// writeOutcome tries until Redis is back: a job whose outcome is not written runs again.
func (s *Server) writeOutcome(a *Attempt, outcome error, log *zap.Logger) {
	for {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(s.hard), dialTimeout)
		err := a.writeOutcome(ctx, outcome)
		cancel()
		switch {
		case err == nil:
			log.Info("job put down", zap.String("code", string(transfer.CodeOf(outcome))), zap.NamedError("outcome", outcome))
			return
		case s.hard.Err() != nil:
			log.Error("outcome not written, the job will run again", zap.Error(err))
			return
		}
		log.Warn("outcome not written, trying again", zap.Error(err))
		select {
		case <-time.After(time.Second):
		case <-s.hard.Done():
		}
	}
}

// checkRedis refuses a Redis that may drop what it was given, and warns of one that forgets at a restart.
func (s *Server) checkRedis(ctx context.Context) error {
	policy, err := s.client.setting(ctx, "maxmemory-policy")
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		s.cfg.Log.Warn("settings of Redis are not readable; make sure that maxmemory-policy is noeviction and appendonly is on", zap.Error(err))
		return nil
	}
	if policy != "" && policy != "noeviction" {
		return transfer.Errorf(transfer.CodeInvalid, "set maxmemory-policy noeviction in Redis", "this Redis may drop jobs when its memory is full (maxmemory-policy %s)", policy)
	}
	if aof, err := s.client.setting(ctx, "appendonly"); err == nil && aof == "no" {
		s.cfg.Log.Warn("Redis runs without appendonly: jobs may be lost when it restarts")
	}
	return nil
}
