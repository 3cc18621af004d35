package image

import (
	"context"

	"github.com/transferd/transferd/internal/transfer"
)

// frameSink is a streamSink of a format that encodes each chunk by itself: chunks are encoded on
// all cores at once, and appended in order. Many goroutines may call Prepare at once.
type frameSink struct{ *streamSink }

var (
	_ transfer.Sink      = (*frameSink)(nil)
	_ transfer.Discarder = (*frameSink)(nil)
	_ transfer.Local     = (*frameSink)(nil)
	_ transfer.Preparer  = (*frameSink)(nil)
)

// withFrames is the sink with all abilities that its format has.
func (s *streamSink) withFrames() transfer.Sink {
	if s.enc.frames == nil {
		return s
	}
	return &frameSink{s}
}

// Prepare implements transfer.Preparer.
func (s *frameSink) Prepare(c transfer.Chunk, p []byte) transfer.Prepared {
	return &preparedFrame{sink: s, chunk: c, frame: s.enc.frames.compress(p)}
}

// preparedFrame is an encoded chunk.
type preparedFrame struct {
	sink  *frameSink
	chunk transfer.Chunk
	frame *encodedFrame
}

// Write implements transfer.Prepared.
func (p *preparedFrame) Write(ctx context.Context) error {
	return p.sink.append(ctx, p.chunk, p.frame.image, func() error { return p.sink.enc.frames.append(p.frame) })
}

// Release implements transfer.Prepared.
func (p *preparedFrame) Release() { p.frame.release() }
