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

// Target is a destination of an image.
type Target struct {
	// Open opens the sink; the suite closes it. With resume, an earlier sink was closed without
	// Commit.
	Open func(t *testing.T, resume bool) transfer.Sink
	// Stored is the image at the target, unpacked; ok is false if there is none.
	Stored func(t *testing.T) (content []byte, ok bool)
	// InPlace says that the target exists from the beginning, and shows each write at once.
	InPlace bool
}

// Sink checks the contract of transfer.Sink, and of the further abilities that a sink has. begin
// makes a new target for an image of size bytes.
func Sink(t *testing.T, shape Shape, begin func(t *testing.T, size int64) Target) {
	for _, size := range shape.sizes() {
		t.Run(fmt.Sprintf("%d bytes", size), func(t *testing.T) {
			s := newSink(t, shape, size, begin)
			s.testWhole()
		})
	}
	for name, check := range map[string]func(*sink){
		"cut off": (*sink).testCutOff, "rewritten": (*sink).testRewrite, "zeros left out": (*sink).testZerosLeftOut,
		"canceled": (*sink).testCanceled, "discarded": (*sink).testDiscard,
	} {
		t.Run(name, func(t *testing.T) { check(newSink(t, shape, shape.large(), begin)) })
	}
}

// Owned is the ownership check for Commit of a sink under test. It succeeds.
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
	return &sink{
		Target: begin(t, size), t: t, chunk: shape.chunk(), content: content, all: chunks(content, shape.chunk()),
	}
}

// testWhole writes the image and reads each chunk back. If the sink allows it, it writes several
// chunks at once, in random order.
func (s *sink) testWhole() {
	dst := s.Open(s.t, false)
	s.write(dst, s.all)
	s.expectNoTarget()
	s.finish(dst)
}

// finish commits the target and compares it with the image.
func (s *sink) finish(dst transfer.Sink) {
	s.t.Helper()
	if err := dst.Commit(s.t.Context(), Manifest(s.content, s.chunk), Owned); err != nil {
		s.t.Fatalf("Commit: got %v, want success", err)
	}
	s.close(dst)
	got, ok := s.Stored(s.t)
	if !ok {
		s.t.Fatal("after Commit: got no target, want the image")
	}
	if d := diff(got, s.content); d != "" {
		s.t.Error(d)
	}
}

func (s *sink) close(dst transfer.Sink) {
	s.t.Helper()
	if err := dst.Close(); err != nil {
		s.t.Fatalf("Close: got %v, want success", err)
	}
}

func (s *sink) expectNoTarget() {
	s.t.Helper()
	if _, ok := s.Stored(s.t); ok && !s.InPlace {
		s.t.Error("before Commit: got a target, want none")
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
			p := slices.Clone(chunkOf(s.content, c))
			if err := s.writeChunk(dst, c, p); err != nil {
				return fmt.Errorf("write chunk %d: %w", c.Index, err)
			}
			for i := range p {
				p[i] = 0xa5 // a sink that still used the buffer would store this
			}
			return s.readBack(dst, c)
		})
	}
	if err := g.Wait(); err != nil {
		s.t.Fatal(err)
	}
}

// writeChunk writes a chunk. If the sink is a transfer.WriteBacker, every other chunk is written by
// WriteBack.
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
		return fmt.Errorf("WriteBack: %s", d)
	}
	return nil
}

// readBack compares a stored chunk, and its second half, with the image.
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
		if d := diff(got.Bytes(), chunkOf(s.content, c)); d != "" {
			return fmt.Errorf("read back %d bytes at %d: %s", c.Len, c.Off, d)
		}
	}
	return nil
}

// testCutOff closes the sink halfway. If the sink can be resumed, the next attempt finds the stored
// chunks.
func (s *sink) testCutOff() {
	dst := s.Open(s.t, false)
	half := len(s.all) / 2
	s.write(dst, s.all[:half])
	s.close(dst)
	s.expectNoTarget()
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

// testRewrite writes other data first.
func (s *sink) testRewrite() {
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

// testZerosLeftOut does not write chunks of zeros if the sink says that it is blank.
func (s *sink) testZerosLeftOut() {
	dst := s.Open(s.t, false)
	written := s.all
	if b, ok := dst.(transfer.BlankChecker); ok {
		blank, err := b.Blank(s.t.Context())
		if err != nil {
			s.t.Fatalf("Blank: got %v, want success", err)
		}
		if blank {
			written = slices.DeleteFunc(slices.Clone(s.all), func(c transfer.Chunk) bool {
				return isZero(chunkOf(s.content, c))
			})
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

// testCanceled: after the context has ended, nothing is written, and the sink can be closed.
func (s *sink) testCanceled() {
	ctx, cancel := context.WithCancel(s.t.Context())
	cancel()
	dst := s.Open(s.t, false)
	c := s.all[0]
	p := slices.Clone(chunkOf(s.content, c))
	expectCanceled(s.t, "WriteChunk", dst.WriteChunk(ctx, c, p))
	if both, ok := dst.(transfer.WriteBacker); ok {
		expectCanceled(s.t, "WriteBack", both.WriteBack(ctx, c, p, new(bytes.Buffer)))
	}
	if r, ok := dst.(transfer.ReadBacker); ok {
		expectCanceled(s.t, "ReadBack", r.ReadBack(ctx, c, new(bytes.Buffer)))
	}
	s.close(dst)
	s.expectNoTarget()
}

// testDiscard: the sink removes what it made, and only that.
func (s *sink) testDiscard() {
	dst := s.Open(s.t, false)
	d, ok := dst.(transfer.Discarder)
	if !ok {
		s.close(dst)
		return
	}
	s.write(dst, s.all[:1])
	if err := d.Discard(s.t.Context()); err != nil {
		s.t.Errorf("Discard: got %v, want success", err)
	}
	s.close(dst)
	s.expectNoTarget()
}

func expectCanceled(t *testing.T, call string, err error) {
	t.Helper()
	if transfer.CodeOf(err) != transfer.CodeCanceled {
		t.Errorf("%s with a canceled context: got %v, want %s", call, err, transfer.CodeCanceled)
	}
}
