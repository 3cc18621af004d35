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
	var listen, guestWrites string
	var faults, quotas []string
	cfg := sandbox.Config{}
	cmd := &cobra.Command{
		Use:   "sandbox",
		Short: "Serve an endpoint whose drives are sparse files on this host, for trials and tests",
		Long: `Serve an endpoint whose drives are sparse files on this host, for trials and tests.

Its servers run no operating system: they hold their drives, have addresses, and obey shutdown after
3 seconds. With --guest-writes they overwrite random pages of their drives while they run.

--fault makes it fail on purpose: 409=5%, 504=2%, 500=1%, reset=1%, truncate=1%,
corrupt-write=0.1%, corrupt-read=0.1%, latency=20ms, bandwidth=100M (bytes a second), imaging=2s
(the shortest time of a clone), shutdown=10s (how long a server takes to obey) or shutdown=never.

--balance is the account's money, in EUR, which subscriptions cost. It is applied to new data, and
when it differs from the last one that was applied, so that a restart keeps what is left. An account
without money may use only what it is subscribed to.

--quota limits what the account may use beyond its subscriptions: disk=10G, mem=2G (or mem=2048,
MB), cpu=4000 (core MHz). Drives and servers beyond it are refused.`,
		Example: `  transferd sandbox
  transferd sandbox --listen 127.0.0.1:8080 --data ./drives --user me --password secret
  transferd sandbox --fault 409=5% --fault latency=20ms
  transferd sandbox --guest-writes 1M --fault shutdown=never
  transferd sandbox --balance 10.00 --quota disk=10G,cpu=4000,mem=2G`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if cfg.Faults, err = parseFaults(faults); err != nil {
				return err
			}
			if cfg.GuestWrites, err = parseRate(guestWrites); err != nil {
				return err
			}
			if cfg.Quotas, err = parseQuotas(quotas); err != nil {
				return err
			}
			if err := checkBalance(cfg.Balance); err != nil {
				return err
			}
			return serveSandbox(cmd.Context(), cfg, listen, stderr)
		},
	}
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:7420", "`address` to serve on")
	cmd.Flags().StringVar(&cfg.Dir, "data", "sandbox-data", "`folder` for the files of the drives")
	cmd.Flags().StringVar(&cfg.User, "user", "sandbox", "`name` of the account")
	cmd.Flags().StringVar(&cfg.Password, "password", "",
		"`password` of the account (default: a random one, which is printed)")
	cmd.Flags().StringVar(&cfg.Balance, "balance", "",
		"`amount` of money on the account, such as 10.00 (default: 1000.00 for new data)")
	cmd.Flags().StringSliceVar(&quotas, "quota", nil,
		"`limits` of what the account may use, such as disk=10G,cpu=4000,mem=2G (may be repeated)")
	cmd.Flags().StringArrayVar(&faults, "fault", nil, "`fault` to inject, such as 409=5% (may be repeated)")
	cmd.Flags().Uint64Var(&cfg.Seed, "seed", 0, "`seed` of the random choice of faults, a number (default: a random one)")
	cmd.Flags().StringVar(&guestWrites, "guest-writes", "",
		"`rate` at which each running server writes to its drives, such as 1M, bytes a second (default: 0)")
	return cmd
}

func parseFaults(specs []string) (faults []sandbox.Fault, err error) {
	for _, spec := range specs {
		f, err := sandbox.ParseFault(spec)
		if err != nil {
			return nil, transfer.Errorf(transfer.CodeInvalid, "transferd sandbox --help lists the faults", "--fault: %w", err)
		}
		faults = append(faults, f)
	}
	return faults, nil
}

func parseQuotas(specs []string) (quotas []sandbox.Quota, err error) {
	for _, spec := range specs {
		q, err := sandbox.ParseQuota(spec)
		if err != nil {
			return nil, transfer.Errorf(transfer.CodeInvalid,
				"write it as --quota disk=10G,cpu=4000,mem=2G", "--quota: %w", err)
		}
		quotas = append(quotas, q)
	}
	return quotas, nil
}

// checkBalance checks the value of --balance, which may be empty.
func checkBalance(balance string) error {
	if balance == "" {
		return nil
	}
	if _, err := sandbox.ParseBalance(balance); err != nil {
		return transfer.Errorf(transfer.CodeInvalid, "write it as --balance 10.00", "--balance: %w", err)
	}
	return nil
}

// parseRate reads the value of --guest-writes. An empty value is 0.
func parseRate(text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	rate, err := transfer.ParseSize(text)
	if err != nil {
		return 0, transfer.Errorf(transfer.CodeInvalid, "write bytes a second, such as 1M",
			"--guest-writes: %q is not a rate", text)
	}
	return rate, nil
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
