package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/transferd/transferd/internal/cli"
	"github.com/transferd/transferd/internal/config"
	"github.com/transferd/transferd/internal/embedded"
	"github.com/transferd/transferd/internal/endpoints"
	"github.com/transferd/transferd/internal/flow"
	"github.com/transferd/transferd/internal/image"
	"github.com/transferd/transferd/internal/panics"
	"github.com/transferd/transferd/internal/queue"
	"github.com/transferd/transferd/internal/sandbox"
	"github.com/transferd/transferd/internal/status"
	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/worker"
)

// daemonFlags are the flags of the command line.
type daemonFlags struct {
	config, listen string
	queues         []string
	jobs           int
	dev, verbose   bool
	lease          time.Duration // of jobs; 0: the queue's default. No flag sets it
}

const maxJobs = 256

func daemonCommand(stderr io.Writer, signals *cli.Signals) *cobra.Command {
	f := &daemonFlags{}
	cmd := &cobra.Command{
		Use:   "transferd",
		Short: "Run the jobs of the queue that transferctl fills",
		Example: `  transferd --dev                               # with a queue and a sandbox endpoint, for trials
  transferd --config config.yaml --jobs 4
  transferd --queue default --queue big         # serve two queues`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.jobs < 1 || f.jobs > maxJobs {
				return transfer.Errorf(transfer.CodeInvalid, "use a number of jobs in this range",
					"--jobs %d is out of range 1-%d", f.jobs, maxJobs)
			}
			for _, name := range f.queues {
				if !transfer.ValidEndpointName(name) {
					return transfer.Errorf(transfer.CodeInvalid, "use letters, digits, dot, dash and underscore",
						"--queue: %q cannot be a queue's name", name)
				}
			}
			log := newLogger(stderr, f.verbose)
			restore, err := logStandard(log)
			if err != nil {
				return err
			}
			defer restore()
			err = panics.Catch(func() error { return serve(cmd.Context(), f, signals, log) })
			if p := panics.Of(err); p != nil {
				log.Error("transferd panicked", zap.Any("panic", p.Value), zap.ByteString("stack", p.Stack))
			}
			return err
		},
	}
	cmd.Flags().StringVar(&f.config, "config", "",
		"config `file` (default $TRANSFERD_CONFIG, ~/.config/transferd/config.yaml, /etc/transferd/config.yaml)")
	cmd.Flags().StringVar(&f.listen, "listen", "",
		"`address` of the status API (default: \"listen\" of the config, else "+config.DefaultListen+")")
	cmd.Flags().StringArrayVar(&f.queues, "queue", []string{transfer.DefaultQueue},
		"`name` of a queue to serve (may be repeated)")
	cmd.Flags().IntVar(&f.jobs, "jobs", 2, fmt.Sprintf("run `n` jobs at once, 1 to %d", maxJobs))
	cmd.Flags().BoolVar(&f.dev, "dev", false,
		"also start an embedded queue and a sandbox endpoint named "+config.DevEndpoint)
	cmd.Flags().BoolVarP(&f.verbose, "verbose", "v", false, "log every retry")
	return cmd
}

// daemon is the parts of a running transferd, in the order of their start; they end in the reverse
// order.
type daemon struct {
	cfg     *config.Config
	log     *zap.Logger
	signals *cli.Signals
	fail    context.CancelCauseFunc // ends the daemon with an error
	opener  *endpoints.Opener
	close   []func() error

	statusAPI *guardedHandler
}

// serve runs until ctx ends, and then waits until the running jobs have ended or been released. If
// ctx ends during the start, that is a normal stop, not an error.
func serve(ctx context.Context, f *daemonFlags, signals *cli.Signals, log *zap.Logger) (err error) {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	d := &daemon{log: log, signals: signals, fail: fail}
	signals.OnReload(func() {}) // replaced by reloadOnHangup
	defer func() { err = errors.Join(err, d.stop()) }()
	server, err := d.start(ctx, f)
	switch {
	case err == nil:
		err = server.Run(ctx)
	case ctx.Err() != nil && failure(ctx) == nil:
		log.Info("stopped by a signal during the start")
		return nil
	}
	return errors.Join(err, failure(ctx))
}

// start starts the parts of the daemon. The server that it returns takes no jobs before Run.
func (d *daemon) start(ctx context.Context, f *daemonFlags) (_ *queue.Server, err error) {
	if d.cfg, err = config.Load(f.config); err != nil {
		return nil, err
	}
	if f.dev {
		if err := d.startDev(f); err != nil {
			return nil, err
		}
	}
	if f.listen != "" {
		d.cfg.Listen = f.listen
	}
	name := workerName()
	life := d.openLife(name) // before the first connection, so that a killed process closes it last
	guard := d.startGuard(f.lease, life)
	c, err := d.connect(ctx)
	if err != nil {
		return nil, err
	}
	if err := d.startStatus(ctx, c); err != nil {
		return nil, err
	}
	d.opener = endpoints.New(d.cfg.Endpoints, endpoints.Options{
		Roots: d.roots(), Spool: d.cfg.SpoolFolder(), Guard: guard,
		URLCredentials: endpoints.URLCredentials(d.cfg.URLCredentials),
	})
	d.reloadOnHangup(ctx, func(ctx context.Context) error { return errors.Join(d.opener.Reload(ctx), d.relogin(f, c)) })
	return queue.NewServer(c, queue.ServerConfig{
		Name: name, Queues: f.queues, Endpoints: d.cfg.EndpointNames(), Jobs: f.jobs, Run: d.runJobs(), Log: d.log,
		Lease: f.lease, Life: life, Inspector: d.opener,
	}), nil
}

// failure is the error that ended the daemon; nil if a signal did.
func failure(ctx context.Context) error {
	cause := context.Cause(ctx)
	if errors.Is(cause, context.Canceled) {
		return nil
	}
	return cause
}

func (d *daemon) onStop(f func() error) { d.close = append(d.close, f) }

func (d *daemon) stop() (err error) {
	for i := len(d.close) - 1; i >= 0; i-- {
		err = errors.Join(err, d.close[i]())
	}
	return err
}

// startDev starts a sandbox, and announces it to programs that share the state folder.
func (d *daemon) startDev(f *daemonFlags) error {
	if d.cfg.Redis != "" {
		return transfer.Errorf(transfer.CodeInvalid, "leave out --dev, or `redis:` in the config",
			"--dev starts a queue, and the config names another")
	}
	const user = "dev"
	password := rand.Text()
	cfg := sandbox.Config{Dir: filepath.Join(d.cfg.State, "sandbox"), User: user, Password: password}
	s, err := startSandbox(cfg, "127.0.0.1:0", d.log)
	if err != nil {
		return err
	}
	d.onStop(s.close)
	withdraw, err := config.AnnounceDev(d.cfg.State, s.url, user, password)
	if err != nil {
		return err
	}
	d.onStop(withdraw)
	d.log.Info("sandbox is ready", zap.String("endpoint", config.DevEndpoint), zap.String("url", s.url))
	// The config that was loaded before may have the sandbox of a transferd that was killed.
	d.cfg, err = config.Load(f.config)
	return err
}

// connect connects to the configured Redis, or to an embedded one that it starts.
func (d *daemon) connect(ctx context.Context) (*queue.Client, error) {
	opts := queue.Options{URL: d.cfg.Redis, CAFile: d.cfg.RedisCAFile}
	if d.cfg.Redis == "" {
		server, err := exec.LookPath("redis-server")
		if err != nil {
			server = ""
		}
		r, err := embedded.Start(ctx, embedded.Config{
			Dir: filepath.Join(d.cfg.State, "queue"), Server: server, Schema: queue.Schema{},
			Log: d.log, Failed: d.fail,
		})
		if err != nil {
			return nil, err
		}
		d.onStop(r.Close)
		d.signals.BeforeExit(r.Kill)
		opts = queue.Options{URL: r.URL()}
	}
	opts.Warn = func(err error) { d.log.Warn("record not readable, left alone", zap.Error(err)) }
	c, err := queue.Dial(ctx, opts)
	if err != nil {
		return nil, err
	}
	d.onStop(c.Close)
	return c, nil
}

// recentJobs adapts the queue to the status API.
type recentJobs struct{ *queue.Client }

// Newest implements status.Jobs.
func (r recentJobs) Newest(ctx context.Context, states []transfer.State, limit int) ([]transfer.Job, bool, error) {
	return r.Client.Newest(ctx, queue.Filter{States: states, Limit: limit})
}

func (d *daemon) startStatus(ctx context.Context, c *queue.Client) error {
	l, guard, err := d.listenHTTP(ctx)
	if err != nil {
		return err
	}
	d.statusAPI = newGuardedHandler(guard, status.NewHandler(recentJobs{c}))
	server := &http.Server{
		Handler: d.statusAPI, ErrorLog: zap.NewStdLog(d.log),
		ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: time.Minute,
		MaxHeaderBytes: 16 << 10,
	}
	served := make(chan error, 1)
	panics.Go(func() { served <- server.Serve(l) }, func(err error) { served <- err })
	d.onStop(func() error {
		err := server.Close()
		if serveErr := <-served; !errors.Is(serveErr, http.ErrServerClosed) {
			err = errors.Join(err, serveErr)
		}
		return err
	})
	d.log.Info("status API is ready", zap.Stringer("address", l.Addr()))
	return nil
}

// runJobs returns the function that runs the queue's attempts on the engine.
func (d *daemon) runJobs() func(ctx context.Context, drain <-chan struct{}, a *queue.Attempt) error {
	w := worker.New(worker.Config{Opener: d.opener, Policy: flow.DefaultPolicy, Log: d.log})
	return func(ctx context.Context, drain <-chan struct{}, a *queue.Attempt) error {
		if err := endpoints.Schemes.Check(&a.Spec); err != nil {
			return err // others than transferctl may write to the queue
		}
		return w.Run(ctx, drain, worker.Job{ID: a.Job.ID, Spec: a.Spec}, a)
	}
}

// roots are the folders that jobs may touch. By default these are all with the embedded queue,
// which only this user can reach, and none with a Redis that others may reach too.
func (d *daemon) roots() image.Roots {
	if d.cfg.Roots == nil && d.cfg.Redis == "" {
		return image.Roots{"/"}
	}
	return d.cfg.Roots
}

// workerName is a name that no other process has: two containers on the host's network may have the
// same host name, and both the process ID 1.
func workerName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	return fmt.Sprintf("%s:%d:%s", host, os.Getpid(), strings.ToLower(rand.Text()[:8]))
}
