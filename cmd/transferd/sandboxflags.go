package main

import (
	"github.com/spf13/pflag"

	"github.com/transferd/transferd/internal/sandbox"
	"github.com/transferd/transferd/internal/transfer"
)

const (
	sandboxHelp = `Serve an endpoint whose drives are sparse files on this host, for trials and tests.

Its servers run no operating system: they hold their drives, have addresses, and obey shutdown after
3 seconds. With --guest-writes they overwrite random pages of their drives while they run.

--fault makes it fail on purpose: 409=5%, 504=2%, 500=1%, reset=1%, truncate=1%,
corrupt-write=0.1%, corrupt-read=0.1%, latency=20ms, bandwidth=100M (bytes a second), imaging=2s
(the shortest time of a clone), shutdown=10s (how long a server takes to obey) or shutdown=never.

--balance is the account's money, in EUR, which subscriptions cost. It is applied to new data, and
when it differs from the last one that was applied, so that a restart keeps what is left. An account
without money may use only what it is subscribed to.

--quota limits what the account may use beyond its subscriptions: disk=10G, mem=2G (or mem=2048,
MB), cpu=4000 (core MHz). Drives and servers beyond it are refused.`

	sandboxExamples = `  transferd sandbox
  transferd sandbox --listen 127.0.0.1:8080 --data ./drives --user me --password secret
  transferd sandbox --fault 409=5% --fault latency=20ms
  transferd sandbox --guest-writes 1M --fault shutdown=never
  transferd sandbox --balance 10.00 --quota disk=10G,cpu=4000,mem=2G`
)

// sandboxFlags are the flags of transferd sandbox, as they were typed.
type sandboxFlags struct {
	cfg                 sandbox.Config
	listen, guestWrites string
	faults, quotas      []string
}

func (f *sandboxFlags) register(set *pflag.FlagSet) {
	set.StringVar(&f.listen, "listen", "127.0.0.1:7420", "`address` to serve on")
	set.StringVar(&f.cfg.Dir, "data", "sandbox-data", "`folder` for the files of the drives")
	set.StringVar(&f.cfg.User, "user", "sandbox", "`name` of the account")
	set.StringVar(&f.cfg.Password, "password", "",
		"`password` of the account (default: a random one, which is printed)")
	set.StringVar(&f.cfg.Balance, "balance", "",
		"`amount` of money on the account, such as 10.00 (default: 1000.00 for new data)")
	set.StringSliceVar(&f.quotas, "quota", nil,
		"`limits` of what the account may use, such as disk=10G,cpu=4000,mem=2G (may be repeated)")
	set.StringArrayVar(&f.faults, "fault", nil, "`fault` to inject, such as 409=5% (may be repeated)")
	set.Uint64Var(&f.cfg.Seed, "seed", 0,
		"`seed` of the random choice of faults, a number (default: a random one)")
	set.BoolVar(&f.cfg.CloneInUse, "clone-in-use", false,
		"allow clones of drives that a running server holds (default: they are busy)")
	set.StringVar(&f.guestWrites, "guest-writes", "",
		"`rate` at which each running server writes to its drives, such as 1M, bytes a second (default: 0)")
}

// config is the configuration that the flags make.
func (f *sandboxFlags) config() (cfg sandbox.Config, err error) {
	cfg = f.cfg
	cfg.Faults, err = parseEach("fault", "transferd sandbox --help lists the faults", f.faults, sandbox.ParseFault)
	if err != nil {
		return cfg, err
	}
	if cfg.GuestWrites, err = parseRate(f.guestWrites); err != nil {
		return cfg, err
	}
	cfg.Quotas, err = parseEach("quota", "write it as --quota disk=10G,cpu=4000,mem=2G", f.quotas, sandbox.ParseQuota)
	if err != nil {
		return cfg, err
	}
	return cfg, checkBalance(cfg.Balance)
}

// parseEach reads the values of a flag that may be repeated.
func parseEach[T any](flag, hint string, specs []string, parse func(string) (T, error)) (values []T, err error) {
	for _, spec := range specs {
		v, err := parse(spec)
		if err != nil {
			return nil, transfer.Errorf(transfer.CodeInvalid, hint, "--%s: %w", flag, err)
		}
		values = append(values, v)
	}
	return values, nil
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
