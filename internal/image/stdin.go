package image

import (
	"context"
	"errors"
	"io"

	"github.com/transferd/transferd/internal/transfer"
)

// stdin is standard input as a medium, which is read once and in order.
type stdin struct{ in *input }

var _ medium = (*stdin)(nil)

func openStdin(opts Options) (*stdin, error) {
	if opts.Stdin == nil {
		return nil, invalid("open standard input", "run the job with --local, or give a file", "this process has no standard input for jobs")
	}
	return &stdin{in: newInput(readPatiently(opts.Stdin), nil)}, nil
}

// readPatiently reads from what may block its reader for ever, such as a pipe. When the context
// ends, the read in progress is left alone, with a buffer of its own; nothing may be read after
// that.
func readPatiently(r io.Reader) readFunc {
	own := make([]byte, readSize)
	return func(ctx context.Context, p []byte) (int, error) {
		buf := own[:min(len(p), len(own))]
		n, err := orAbandon(ctx.Done(), func() (int, error) { return r.Read(buf) })
		switch {
		case errors.Is(err, errAbandoned):
			return 0, ctx.Err()
		case err != nil && !errors.Is(err, io.EOF):
			err = fileError("read standard input", err)
		}
		return copy(p, buf[:n]), err
	}
}

func (s *stdin) name() string { return "standard input" }

// labels says that standard input may end because what writes it has failed.
func (s *stdin) labels() labels { return labels{endsSilently: true} }

// Size is not known.
func (s *stdin) Size() int64 { return -1 }

// Identity is not known.
func (s *stdin) Identity() string { return "" }

func (s *stdin) head(ctx context.Context, n int) ([]byte, error) { return s.in.head(ctx, n) }

func (s *stdin) random() transfer.RandomAccess { return nil }

func (s *stdin) stream(context.Context) (*input, error) { return s.in, nil }

// Unchanged has nothing to compare.
func (s *stdin) Unchanged(context.Context) error { return nil }

// Close leaves standard input open, which is the process's.
func (s *stdin) Close() error { return nil }
