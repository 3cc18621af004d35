package image

import (
	"context"
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/transferd/transferd/internal/panics"
	"github.com/transferd/transferd/internal/transfer"
)

// stdout is standard output as a destination. It cannot be read back, and it has no manifest.
//
// It may be a pipe without a reader, where a write blocks without end. stop abandons the current
// write, which has a buffer of its own; no other write begins.
type stdout struct {
	w       io.Writer
	buf     []byte // of the current write
	stopped context.Context
	cancel  context.CancelCauseFunc // ends stopped
}

var _ appendable = (*stdout)(nil)

func openStdout(opts CreateOptions) (*stdout, error) {
	if opts.Stdout == nil {
		return nil, invalid("open standard output", "run the job with --local, or give a file",
			"this process has no standard output for jobs")
	}
	s := &stdout{w: opts.Stdout}
	s.stopped, s.cancel = context.WithCancelCause(context.Background())
	return s, nil
}

func (s *stdout) name() string { return "standard output" }

// Write implements io.Writer. Only one goroutine at a time may call it.
func (s *stdout) Write(p []byte) (int, error) {
	select {
	case <-s.stopped.Done():
		return 0, errAbandoned
	default:
	}
	s.buf = append(s.buf[:0], p...)
	buf := s.buf
	return callUntil(s.stopped.Done(), func() (int, error) { return s.w.Write(buf) })
}

func (s *stdout) writeUntil(ctx context.Context, write func() error) error {
	defer context.AfterFunc(ctx, panics.Func(s.stop, s.cancel))()
	err := write()
	if errors.Is(err, unix.EPIPE) {
		return &transfer.Error{
			Op: "write standard output", Code: transfer.CodeFailed,
			Hint: "the program that reads the pipe ended early: see its messages",
			Err:  errors.New("its reader has closed the pipe"),
		}
	}
	return err
}

func (s *stdout) stop() { s.cancel(errAbandoned) }

func (s *stdout) stored() *os.File { return nil }

func (s *stdout) sync() error { return nil }

func (s *stdout) publish(context.Context, *transfer.Manifest, ownership) error { return nil }

func (s *stdout) remove() error { return nil }

// Close does nothing: the process owns standard output.
func (s *stdout) Close() error { return nil }

// errAbandoned is the error of a call that callUntil abandoned.
var errAbandoned = errors.New("abandoned")

// callUntil calls do and returns its result, or errAbandoned as soon as stop is closed. Nothing can
// interrupt a read or write of a pipe, so an abandoned call keeps its goroutine until it returns.
func callUntil(stop <-chan struct{}, do func() (int, error)) (int, error) {
	type result struct {
		n   int
		err error
	}
	done := make(chan result, 1)
	panics.Go(func() {
		n, err := do()
		done <- result{n, err}
	}, func(err error) { done <- result{0, err} })
	select {
	case r := <-done:
		return r.n, r.err
	case <-stop:
		return 0, errAbandoned
	}
}
