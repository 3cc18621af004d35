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

// stdout is standard output as a place. Nothing can be read back from it, and it has no manifest.
//
// It may be a pipe without a reader, where a write blocks for ever. When the place is stopped, the
// write in progress is left alone, with a buffer of its own, and no other begins.
type stdout struct {
	w       io.Writer
	buf     []byte // of the write in progress
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

// Write implements io.Writer. It is called by one goroutine at a time.
func (s *stdout) Write(p []byte) (int, error) {
	select {
	case <-s.stopped.Done():
		return 0, errAbandoned
	default:
	}
	s.buf = append(s.buf[:0], p...)
	buf := s.buf
	return orAbandon(s.stopped.Done(), func() (int, error) { return s.w.Write(buf) })
}

func (s *stdout) during(ctx context.Context, write func() error) error {
	defer context.AfterFunc(ctx, panics.Func(s.stop, s.cancel))()
	err := write()
	if errors.Is(err, unix.EPIPE) {
		return &transfer.Error{
			Op: "write standard output", Code: transfer.CodeFailed,
			Hint: "the program that the image was piped into ended early: look there",
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

// Close leaves standard output open, which is the process's.
func (s *stdout) Close() error { return nil }

// errAbandoned is of a call that orAbandon left alone.
var errAbandoned = errors.New("abandoned")

// orAbandon calls do and returns what it returns, or errAbandoned as soon as stop is closed.
// Nothing can interrupt a read or write of a pipe; the goroutine of an abandoned call ends with it,
// at the latest with the process.
func orAbandon(stop <-chan struct{}, do func() (int, error)) (int, error) {
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
