package main

import (
	"strconv"
	"time"

	"github.com/spf13/pflag"

	"github.com/transferd/transferd/internal/transfer"
)

// parseSize reads the value of a flag; empty: 0.
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

// duration is the value of a flag that transfer.ParseDuration reads.
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

func (d *duration) String() string {
	switch v := time.Duration(*d); {
	case v == 0:
		return ""
	case v%(24*time.Hour) == 0:
		return strconv.FormatInt(int64(v/(24*time.Hour)), 10) + "d"
	default:
		return v.String()
	}
}

// durationFlag adds a flag whose value stays as it is unless the flag is given.
func durationFlag(flags *pflag.FlagSet, value *time.Duration, name, usage string) {
	flags.Var((*duration)(value), name, usage)
}
