package image

import (
	"context"
	"errors"
	"io"

	"github.com/transferd/transferd/internal/transfer"
)

// openStdin makes a stream of standard input; a compressed one is unpacked. Its size is -1 until it has ended.
func openStdin(ctx context.Context, opts Options) (transfer.Source, error) {
	if opts.Stdin == nil {
		return nil, invalid("open standard input", "run the job with --local, or give a file", "this process has no standard input for jobs")
	}
	r := &patientReader{r: opts.Stdin, ctx: ctx, buf: make([]byte, readSize)}
	s := &stream{name: "standard input", limit: opts.MaxSize}
	if err := s.start(ctx, r, -1); err != nil {
		return nil, err
	}
	return &stdin{stream: s, r: r}, nil
}

type stdin struct {
	*stream
	r *patientReader
}

var _ transfer.Stream = (*stdin)(nil)

// Next hands out what follows.
func (s *stdin) Next(ctx context.Context, p []byte) (int, error) {
	s.r.ctx = ctx
	return s.stream.Next(ctx, p)
}

// patientReader reads from what may keep its reader waiting for ever, such as a pipe. When the context ends, the call in
// progress is left alone, with a buffer of its own; after that nothing is read any more.
type patientReader struct {
	r   io.Reader
	ctx context.Context // of the call in progress
	buf []byte
}

func (r *patientReader) Read(p []byte) (int, error) {
	buf := r.buf[:min(len(p), len(r.buf))]
	n, err := orAbandon(r.ctx.Done(), func() (int, error) { return r.r.Read(buf) })
	switch {
	case errors.Is(err, errAbandoned):
		return 0, r.ctx.Err()
	case err != nil && !errors.Is(err, io.EOF):
		err = fileError("read standard input", err)
	}
	return copy(p, buf[:n]), err
}
