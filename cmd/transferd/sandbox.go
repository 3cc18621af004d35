package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/transferd/transferd/internal/panics"
	"github.com/transferd/transferd/internal/sandbox"
	"github.com/transferd/transferd/internal/transfer"
)

func sandboxCommand(stderr io.Writer) *cobra.Command {
	var flags sandboxFlags
	cmd := &cobra.Command{
		Use:     "sandbox",
		Short:   "Serve an endpoint whose drives are sparse files on this host, for trials and tests",
		Long:    sandboxHelp,
		Example: sandboxExamples,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := flags.config()
			if err != nil {
				return err
			}
			return serveSandbox(cmd.Context(), cfg, flags.listen, stderr)
		},
	}
	flags.register(cmd.Flags())
	return cmd
}

// serveSandbox serves until ctx ends.
func serveSandbox(ctx context.Context, cfg sandbox.Config, listen string, stderr io.Writer) error {
	if cfg.Password == "" {
		cfg.Password = rand.Text()
	}
	log := newLogger(stderr, false)
	restore, err := logStandard(log)
	if err != nil {
		return err
	}
	defer restore()
	s, err := startSandbox(cfg, listen, log)
	if err != nil {
		return err
	}
	fmt.Fprintf(stderr, "sandbox: %s, user %s, password %s, data in %s\n", s.url, cfg.User, cfg.Password, cfg.Dir)
	<-ctx.Done()
	return s.close()
}

// sandboxServer is a sandbox behind an HTTP server.
type sandboxServer struct {
	url     string
	sandbox *sandbox.Server
	http    *http.Server
	served  chan error
}

func startSandbox(cfg sandbox.Config, listen string, log *zap.Logger) (*sandboxServer, error) {
	l, err := listenOn(listen)
	if err != nil {
		return nil, err
	}
	s, err := sandbox.New(cfg)
	if err != nil {
		return nil, errors.Join(sandboxError(err), l.Close())
	}
	server := &sandboxServer{
		url: "http://" + l.Addr().String(), sandbox: s, served: make(chan error, 1),
		http: &http.Server{Handler: s.Handler(), ReadHeaderTimeout: 10 * time.Second, ErrorLog: zap.NewStdLog(log)},
	}
	panics.Go(func() { server.served <- server.http.Serve(l) }, func(err error) { server.served <- err })
	return server, nil
}

// sandboxError adds the code and the hint to the error of a data folder in use.
func sandboxError(err error) error {
	if inUse := new(sandbox.InUseError); errors.As(err, &inUse) {
		return transfer.Errorf(transfer.CodeInvalid, "stop it first, or choose another folder: "+
			"--data for a sandbox, `state:` in the config for transferd --dev", "%w", err)
	}
	return fmt.Errorf("open sandbox: %w", err)
}

func listenOn(address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, &transfer.Error{
			Op: "listen", Code: transfer.CodeInvalid, Hint: "choose another address with --listen", Err: err,
		}
	}
	return l, nil
}

const httpStopTimeout = 5 * time.Second

func (s *sandboxServer) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), httpStopTimeout)
	defer cancel()
	err := s.http.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = s.http.Close()
	}
	if served := <-s.served; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return errors.Join(err, s.sandbox.Close())
}
