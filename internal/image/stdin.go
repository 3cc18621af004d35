package image

import (
	"context"
	"errors"
	"io"

	"github.com/transferd/transferd/internal/transfer"
)

// stdin is standard input as a medium. It can be read once, in order.
type stdin struct{ in *input }

var _ medium = (*stdin)(nil)

func openStdin(opts Options) (*stdin, error) {
	if opts.Stdin == nil {
		return nil, invalid("open standard input", "run the job with --local, or give a file",
			"this process has no standard input for jobs")
	}
	return &stdin{in: newInput(readCancelable(opts.Stdin), nil)}, nil
}

// readCancelable reads from a reader that may block without end, such as a pipe. When the context
// ends, it abandons the current read, which has a buffer of its own. No read may follow.
func readCancelable(r io.Reader) readFunc {
	own := make([]byte, readSize)
	return func(ctx context.Context, p []byte) (int, error) {
		buf := own[:min(len(p), len(own))]
		n, err := callUntil(ctx.Done(), func() (int, error) { return r.Read(buf) })
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

// metadata says that standard input may end because the program that writes it has failed.
func (s *stdin) metadata() metadata { return metadata{endsSilently: true} }

// Size is unknown.
func (s *stdin) Size() int64 { return -1 }

// Identity is unknown.
func (s *stdin) Identity() string { return "" }

func (s *stdin) head(ctx context.Context, n int) ([]byte, error) { return s.in.head(ctx, n) }

func (s *stdin) random() transfer.RandomAccess { return nil }

func (s *stdin) stream(context.Context) (*input, error) { return s.in, nil }

// Unchanged does nothing: standard input cannot be compared.
func (s *stdin) Unchanged(context.Context) error { return nil }

// Close does nothing: the process owns standard input.
func (s *stdin) Close() error { return nil }
