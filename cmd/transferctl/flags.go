package main

import (
	"time"

	"github.com/spf13/pflag"

	"github.com/transferd/transferd/internal/transfer"
)

// parseSize reads a flag's value. An empty value is 0.
func parseSize(flag, text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	n, err := transfer.ParseSize(text)
	if err != nil {
		return 0, transfer.Errorf(transfer.CodeOf(err), hintOf(err), "--%s: %q is not a size", flag, text)
	}
	return n, nil
}

// duration is a flag's value that transfer.ParseDuration reads.
type duration time.Duration

var _ pflag.Value = (*duration)(nil)

// Set implements pflag.Value.
func (d *duration) Set(text string) error {
	v, err := transfer.ParseDuration(text)
	*d = duration(v)
	return err
}

// Type implements pflag.Value.
func (*duration) Type() string { return "duration" }

// String implements pflag.Value. A duration of 0 is empty, so that the help shows no default.
func (d *duration) String() string {
	if *d == 0 {
		return ""
	}
	return transfer.FormatDuration(time.Duration(*d))
}

// durationFlag adds a flag whose default is *value.
func durationFlag(flags *pflag.FlagSet, value *time.Duration, name, usage string) {
	flags.Var((*duration)(value), name, usage)
}
