package transfertest

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/transferd/transferd/internal/transfer"
)

// Target is a place that an image can be written to.
type Target struct {
	// Open opens the sink, which the suite closes. resume: it was opened before and closed without a Commit.
	Open func(t *testing.T, resume bool) transfer.Sink
	// Stored is the image that stands at the target, unpacked; ok is false while there is none.
	Stored func(t *testing.T) (content []byte, ok bool)
	// InPlace says that there is a target from the beginning, which shows what is written at once.
	InPlace bool
}

// Sink checks the contract of transfer.Sink, and of the further abilities that a sink has. begin makes a new target for an
// image of size bytes.
func Sink(t *testing.T, shape Shape, begin func(t *testing.T, size int64) Target) {
	for _, size := range shape.sizes() {
		t.Run(fmt.Sprintf("%d bytes", size), func(t *testing.T) {
			s := newSink(t, shape, size, begin)
			s.whole()
		})
	}
	for name, check := range map[string]func(*sink){
		"cut off": (*sink).cutOff, "rewritten": (*sink).rewritten, "zeros left out": (*sink).zerosLeftOut,
		"canceled": (*sink).canceled, "discarded": (*sink).discarded,
	} {
		t.Run(name, func(t *testing.T) { check(newSink(t, shape, shape.large(), begin)) })
	}
}

// Owned is the proof of ownership that a sink under test is given.
func Owned(context.Context) error { return nil }

type sink struct {
	Target
	t       *testing.T
	chunk   int
	content []byte
	all     []transfer.Chunk
}

func newSink(t *testing.T, shape Shape, size int64, begin func(*testing.T, int64) Target) *sink {
	content := Image(size, shape.chunk())
	return &sink{Target: begin(t, size), t: t, chunk: shape.chunk(), content: content, all: chunks(content, shape.chunk())}
}

// whole writes the image, several chunks at once and in no order if the sink allows that, and reads each back.
func (s *sink) whole() {
	dst := s.Open(s.t, false)
	s.write(dst, s.all)
	s.notYet()
	s.finish(dst)
}

// finish completes the target and compares it.
func (s *sink) finish(dst transfer.Sink) {
	s.t.Helper()
	if err := dst.Commit(s.t.Context(), Manifest(s.content, s.chunk), Owned); err != nil {
		s.t.Fatalf("Commit: %v", err)
	}
	s.close(dst)
	got, ok := s.Stored(s.t)
	if !ok {
		s.t.Fatal("nothing is there after Commit")
	}
	if d := diff(got, s.content); d != "" {
		s.t.Error(d)
	}
}

func (s *sink) close(dst transfer.Sink) {
	s.t.Helper()
	if err := dst.Close(); err != nil {
		s.t.Fatalf("Close: %v", err)
	}
}

func (s *sink) notYet() {
	s.t.Helper()
	if _, ok := s.Stored(s.t); ok && !s.InPlace {
		s.t.Error("the target is there before Commit")
	}
}

func (s *sink) write(dst transfer.Sink, all []transfer.Chunk) {
	s.t.Helper()
	var g errgroup.Group
	g.SetLimit(4)
	if !dst.Traits().Rewritable {
		g.SetLimit(1)
	} else {
		all = shuffled(all)
	}
	for _, c := range all {
		g.Go(func() error {
			p := slices.Clone(piece(s.content, c))
			if err := s.writeChunk(dst, c, p); err != nil {
				return fmt.Errorf("write chunk %d: %w", c.Index, err)
			}
			for i := range p {
				p[i] = 0xa5 // a sink that kept the buffer stores this
			}
			return s.readBack(dst, c)
		})
	}
	if err := g.Wait(); err != nil {
		s.t.Fatal(err)
	}
}

// writeChunk writes every other chunk in the way that reads it back too, if the sink has one.
func (s *sink) writeChunk(dst transfer.Sink, c transfer.Chunk, p []byte) error {
	both, ok := dst.(transfer.WriteBacker)
	if !ok || c.Index%2 == 1 {
		return dst.WriteChunk(s.t.Context(), c, p)
	}
	var got bytes.Buffer
	if err := both.WriteBack(s.t.Context(), c, p, &got); err != nil {
		return err
	}
	if d := diff(got.Bytes(), p); d != "" {
		return fmt.Errorf("what was handed back: %s", d)
	}
	return nil
}

// readBack compares what is stored of a chunk, and of its second half, with the image.
func (s *sink) readBack(dst transfer.Sink, c transfer.Chunk) error {
	r, ok := dst.(transfer.ReadBacker)
	if !ok {
		return nil
	}
	half := c
	half.Off, half.Len = c.Off+int64(c.Len/2), c.Len-c.Len/2
	for _, c := range []transfer.Chunk{c, half} {
		var got bytes.Buffer
		if err := r.ReadBack(s.t.Context(), c, &got); err != nil {
			return fmt.Errorf("read back %d bytes at %d: %w", c.Len, c.Off, err)
		}
		if d := diff(got.Bytes(), piece(s.content, c)); d != "" {
			return fmt.Errorf("read back %d bytes at %d: %s", c.Len, c.Off, d)
		}
	}
	return nil
}

// cutOff closes the sink halfway. What was stored is there for the next attempt, if the sink can be resumed.
func (s *sink) cutOff() {
	dst := s.Open(s.t, false)
	half := len(s.all) / 2
	s.write(dst, s.all[:half])
	s.close(dst)
	s.notYet()
	dst = s.Open(s.t, true)
	if !dst.Traits().Rewritable {
		half = 0
	}
	for _, c := range s.all[:half] {
		if err := s.readBack(dst, c); err != nil {
			s.t.Fatal(err)
		}
	}
	s.write(dst, s.all[half:])
	s.finish(dst)
}

// rewritten writes something else first.
func (s *sink) rewritten() {
	dst := s.Open(s.t, false)
	if dst.Traits().Rewritable {
		c := s.all[len(s.all)/2]
		for _, wrong := range []byte{0xff, 0} {
			if err := dst.WriteChunk(s.t.Context(), c, bytes.Repeat([]byte{wrong}, c.Len)); err != nil {
				s.t.Fatal(err)
			}
		}
	}
	s.write(dst, s.all)
	s.finish(dst)
}

// zerosLeftOut writes only what is not zeros, to a sink that says it is blank.
func (s *sink) zerosLeftOut() {
	dst := s.Open(s.t, false)
	written := s.all
	if b, ok := dst.(transfer.BlankChecker); ok {
		blank, err := b.Blank(s.t.Context())
		if err != nil {
			s.t.Fatalf("Blank: %v", err)
		}
		if blank {
			written = slices.DeleteFunc(slices.Clone(s.all), func(c transfer.Chunk) bool { return isZero(piece(s.content, c)) })
		}
	}
	s.write(dst, written)
	for _, c := range s.all {
		if err := s.readBack(dst, c); err != nil {
			s.t.Error(err)
		}
	}
	s.finish(dst)
}

// canceled: nothing is written when the context has ended, and the sink can be closed.
func (s *sink) canceled() {
	ctx, cancel := context.WithCancel(s.t.Context())
	cancel()
	dst := s.Open(s.t, false)
	c := s.all[0]
	if err := dst.WriteChunk(ctx, c, slices.Clone(piece(s.content, c))); transfer.CodeOf(err) != transfer.CodeCanceled {
		s.t.Errorf("WriteChunk with a canceled context: %v", err)
	}
	if both, ok := dst.(transfer.WriteBacker); ok {
		if err := both.WriteBack(ctx, c, slices.Clone(piece(s.content, c)), new(bytes.Buffer)); transfer.CodeOf(err) != transfer.CodeCanceled {
			s.t.Errorf("WriteBack with a canceled context: %v", err)
		}
	}
	if r, ok := dst.(transfer.ReadBacker); ok {
		if err := r.ReadBack(ctx, c, new(bytes.Buffer)); transfer.CodeOf(err) != transfer.CodeCanceled {
			s.t.Errorf("ReadBack with a canceled context: %v", err)
		}
	}
	s.close(dst)
	s.notYet()
}

// discarded: the sink removes what it made, and only that.
func (s *sink) discarded() {
	dst := s.Open(s.t, false)
	d, ok := dst.(transfer.Discarder)
	if !ok {
		s.close(dst)
		return
	}
	s.write(dst, s.all[:1])
	if err := d.Discard(s.t.Context()); err != nil {
		s.t.Errorf("Discard: %v", err)
	}
	s.close(dst)
	s.notYet()
}
