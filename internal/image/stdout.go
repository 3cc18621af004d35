package image

import (
	"context"
	"errors"
	"io"

	"golang.org/x/sys/unix"

	"github.com/transferd/transferd/internal/transfer"
)

// stdout is standard output as an image's sink. Nothing can be read back from it, and it has no manifest.
type stdout struct {
	inOrder
	out *patientWriter
}

var _ transfer.Sink = (*stdout)(nil)

func newStdout(opts CreateOptions) (transfer.Sink, error) {
	if opts.Stdout == nil {
		return nil, invalid("open standard output", "run the job with --local, or give a file", "this process has no standard output for jobs")
	}
	ctx, stop := context.WithCancel(context.Background())
	out := &patientWriter{w: opts.Stdout, ctx: ctx, stop: stop}
	enc, err := newEncoder(opts.Format, out)
	if err != nil {
		stop()
		return nil, err
	}
	return &stdout{inOrder: inOrder{enc: enc, name: "standard output"}, out: out}, nil
}

// Traits implements transfer.Sink.
func (s *stdout) Traits() transfer.Traits { return transfer.Traits{ReadBack: transfer.ReadBackNever} }

// WriteChunk appends a chunk. It does not outlive ctx even while nobody reads.
func (s *stdout) WriteChunk(ctx context.Context, c transfer.Chunk, p []byte) error {
	defer context.AfterFunc(ctx, s.out.stop)()
	return s.out.explain(ctx, s.inOrder.WriteChunk(ctx, c, p))
}

// Commit writes what is left of the stream.
func (s *stdout) Commit(ctx context.Context, _ *transfer.Manifest, _ func(context.Context) error) error {
	defer context.AfterFunc(ctx, s.out.stop)()
	return s.out.explain(ctx, s.finish())
}

// Close gives up what has not been written.
func (s *stdout) Close() error {
	s.out.stop()
	s.enc.abandon()
	return nil
}

// patientWriter writes to what may keep its writer waiting for ever, such as a pipe that nobody reads. When it is
// stopped, the call in progress is left alone, with a buffer of its own.
type patientWriter struct {
	w    io.Writer
	ctx  context.Context // ends when stop is called
	stop context.CancelFunc
	buf  []byte
}

func (w *patientWriter) Write(p []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	w.buf = append(w.buf[:0], p...)
	buf := w.buf
	return leave(w.ctx, func() (int, error) { return w.w.Write(buf) })
}

// explain tells a writer that was stopped because ctx ended, and one whose reader has gone.
func (w *patientWriter) explain(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, unix.EPIPE):
		return &transfer.Error{
			Op: "write standard output", Code: transfer.CodeFailed, Hint: "the program that the image was piped into ended early: look there",
			Err: errors.New("nobody reads it any more"),
		}
	}
	return err
}
