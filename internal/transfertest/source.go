package transfertest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/zeebo/blake3"
	"golang.org/x/sync/errgroup"

	"github.com/transferd/transferd/internal/transfer"
)

// Source checks the contract of transfer.Source, and of transfer.Stream or transfer.Digests if open
// returns one. open makes a source of content, which it does not change. The suite closes the
// source.
func Source(t *testing.T, shape Shape, open func(t *testing.T, content []byte) transfer.Source) {
	for _, size := range shape.sizes() {
		t.Run(fmt.Sprintf("%d bytes", size), func(t *testing.T) {
			s := source{t: t, chunk: shape.chunk(), content: Image(size, shape.chunk())}
			s.run(func() transfer.Source { return open(t, s.content) })
		})
	}
	t.Run("all zeros", func(t *testing.T) {
		s := source{t: t, chunk: shape.chunk(), content: make([]byte, shape.large())}
		s.run(func() transfer.Source { return open(t, s.content) })
	})
}

type source struct {
	t       *testing.T
	chunk   int
	content []byte
}

func (s *source) run(open func() transfer.Source) {
	for name, check := range map[string]func(transfer.Source){"read": s.testRead, "canceled": s.testCanceled} {
		src := open()
		identity := src.Identity()
		if check(src); src.Identity() != identity {
			s.t.Errorf("%s: got identity %q, want %q, as before", name, src.Identity(), identity)
		}
		if err := src.Close(); err != nil {
			s.t.Errorf("%s: Close: got %v, want success", name, err)
		}
	}
}

func (s *source) testRead(src transfer.Source) {
	stream, ok := src.(transfer.Stream)
	if ok {
		s.readStream(stream)
		return
	}
	if src.Size() != int64(len(s.content)) {
		s.t.Errorf("got Size %d, want %d", src.Size(), len(s.content))
	}
	switch src := src.(type) {
	case transfer.Digests:
		s.extents(src)
		s.digests(src)
	case transfer.RandomAccess:
		s.extents(src)
		s.chunksAtOnce(src)
	default:
		s.t.Errorf("got a %T, want a RandomAccess, Stream or Digests", src)
	}
}

func (s *source) readStream(stream transfer.Stream) {
	if size := stream.Size(); size != -1 && size != int64(len(s.content)) {
		s.t.Errorf("got Size %d, want -1 or %d", size, len(s.content))
	}
	// An odd length finds mistakes at the edges of internal buffers.
	buf := make([]byte, s.chunk+13)
	var got []byte
	for {
		n, err := stream.Next(s.t.Context(), buf)
		got = append(got, buf[:n]...)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			s.t.Fatalf("Next after %d bytes: got %v, want success", len(got), err)
		}
		if n < len(buf) {
			s.t.Fatalf("Next before the end: got %d bytes, want %d", n, len(buf))
		}
	}
	if d := diff(got, s.content); d != "" {
		s.t.Error(d)
	}
	if n, err := stream.Next(s.t.Context(), buf); n != 0 || !errors.Is(err, io.EOF) {
		s.t.Errorf("Next after the end: got %d, %v; want 0, io.EOF", n, err)
	}
	if stream.Size() != int64(len(s.content)) {
		s.t.Errorf("at the end: got Size %d, want %d", stream.Size(), len(s.content))
	}
}

// extents checks that extents ascend without overlap, stay within the image, and cover every byte
// that is not zero. They can be requested more than once.
func (s *source) extents(src transfer.Mapper) {
	for range 2 {
		var end int64
		for e, err := range src.Extents(s.t.Context()) {
			if err != nil {
				s.t.Fatalf("Extents: got %v, want success", err)
			}
			if e.Off < end || e.Len < 0 || e.Off+e.Len > int64(len(s.content)) {
				s.t.Fatalf("got extent %+v, want one after %d in an image of %d bytes", e, end, len(s.content))
			}
			if !isZero(s.content[end:e.Off]) {
				s.t.Errorf("bytes %d to %d: got no extent, want one for the data", end, e.Off)
			}
			end = e.Off + e.Len
		}
		if !isZero(s.content[end:]) {
			s.t.Errorf("bytes from %d on: got no extent, want one for the data", end)
		}
	}
	for _, err := range src.Extents(s.t.Context()) {
		if err != nil {
			s.t.Errorf("Extents: got %v, want success", err)
		}
		break // Extents must not call an iteration again after it stopped
	}
}

func (s *source) digests(d transfer.Digests) {
	for _, c := range chunks(s.content, d.ChunkSize()) {
		p := chunkOf(s.content, c)
		got, ok := d.ChunkDigest(c.Index)
		if want := transfer.Digest(blake3.Sum256(p)); ok && got != want || !ok && !isZero(p) {
			s.t.Errorf("digest of chunk %d: got %v, %t; want %v", c.Index, got, ok, want)
		}
	}
}

// chunksAtOnce reads each chunk twice, in random order, with several goroutines.
func (s *source) chunksAtOnce(src transfer.RandomAccess) {
	all := chunks(s.content, s.chunk)
	var g errgroup.Group
	g.SetLimit(4)
	for _, c := range append(shuffled(all), all...) {
		g.Go(func() error {
			const guard = 0xa5
			buf := make([]byte, c.Len+8)
			for i := range buf {
				buf[i] = guard
			}
			if err := src.ReadChunk(s.t.Context(), c, buf[:c.Len]); err != nil {
				return fmt.Errorf("read chunk %d: %w", c.Index, err)
			}
			if d := diff(buf[:c.Len], chunkOf(s.content, c)); d != "" {
				return fmt.Errorf("chunk %d: %s", c.Index, d)
			}
			for _, b := range buf[c.Len:] {
				if b != guard {
					return fmt.Errorf("chunk %d: got bytes beyond its buffer, want none", c.Index)
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		s.t.Error(err)
	}
}

// testCanceled: after the context has ended, nothing is read.
func (s *source) testCanceled(src transfer.Source) {
	ctx, cancel := context.WithCancel(s.t.Context())
	cancel()
	if len(s.content) == 0 {
		return
	}
	buf := make([]byte, min(s.chunk, len(s.content)))
	switch src := src.(type) {
	case transfer.Stream:
		n, err := src.Next(ctx, buf)
		if expectCanceled(s.t, "Next", err); n != 0 {
			s.t.Errorf("Next with a canceled context: got %d bytes, want none", n)
		}
	case transfer.RandomAccess:
		expectCanceled(s.t, "ReadChunk", src.ReadChunk(ctx, transfer.Chunk{Len: len(buf)}, buf))
	}
}
