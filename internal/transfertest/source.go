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

// Source checks the contract of transfer.Source, and of transfer.Stream or transfer.Digests if that is what open returns.
// open makes a source of content, which it does not change; the suite closes the source.
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
	for name, check := range map[string]func(transfer.Source){"read": s.read, "canceled": s.canceled} {
		src := open()
		identity := src.Identity()
		if check(src); src.Identity() != identity {
			s.t.Errorf("%s: the identity changes by itself, from %q to %q", name, identity, src.Identity())
		}
		if err := src.Close(); err != nil {
			s.t.Errorf("%s: Close: %v", name, err)
		}
	}
}

func (s *source) read(src transfer.Source) {
	stream, ok := src.(transfer.Stream)
	if ok {
		s.readStream(stream)
		return
	}
	if src.Size() != int64(len(s.content)) {
		s.t.Errorf("Size is %d, not %d", src.Size(), len(s.content))
	}
	switch src := src.(type) {
	case transfer.Digests:
		s.extents(src)
		s.digests(src)
	case transfer.RandomAccess:
		s.extents(src)
		s.chunksAtOnce(src)
	default:
		s.t.Errorf("a %T is none of RandomAccess, Stream and Digests", src)
	}
}

func (s *source) readStream(stream transfer.Stream) {
	if size := stream.Size(); size != -1 && size != int64(len(s.content)) {
		s.t.Errorf("Size is %d, neither -1 nor %d", size, len(s.content))
	}
	// A length that divides nothing finds mistakes at the seams of the buffers within.
	buf := make([]byte, s.chunk+13)
	var got []byte
	for {
		n, err := stream.Next(s.t.Context(), buf)
		got = append(got, buf[:n]...)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			s.t.Fatalf("Next after %d bytes: %v", len(got), err)
		}
		if n < len(buf) {
			s.t.Fatalf("Next is short by %d bytes before the end", len(buf)-n)
		}
	}
	if d := diff(got, s.content); d != "" {
		s.t.Error(d)
	}
	if n, err := stream.Next(s.t.Context(), buf); n != 0 || !errors.Is(err, io.EOF) {
		s.t.Errorf("Next after the end: %d, %v", n, err)
	}
	if stream.Size() != int64(len(s.content)) {
		s.t.Errorf("Size at the end is %d, not %d", stream.Size(), len(s.content))
	}
}

// extents must ascend without overlap, stay within the image, and cover every byte that is not zero. They can be asked
// for more than once.
func (s *source) extents(src transfer.Mapper) {
	for range 2 {
		var end int64
		for e, err := range src.Extents(s.t.Context()) {
			if err != nil {
				s.t.Fatalf("Extents: %v", err)
			}
			if e.Off < end || e.Len < 0 || e.Off+e.Len > int64(len(s.content)) {
				s.t.Fatalf("extent %+v after %d in an image of %d bytes", e, end, len(s.content))
			}
			if !isZero(s.content[end:e.Off]) {
				s.t.Errorf("bytes %d to %d hold data and are in no extent", end, e.Off)
			}
			end = e.Off + e.Len
		}
		if !isZero(s.content[end:]) {
			s.t.Errorf("bytes from %d on hold data and are in no extent", end)
		}
	}
	for _, err := range src.Extents(s.t.Context()) {
		if err != nil {
			s.t.Errorf("Extents: %v", err)
		}
		break // whoever stops early is not called again
	}
}

func (s *source) digests(d transfer.Digests) {
	for _, c := range chunks(s.content, d.ChunkSize()) {
		p := piece(s.content, c)
		got, ok := d.ChunkDigest(c.Index)
		if want := transfer.Digest(blake3.Sum256(p)); ok && got != want || !ok && !isZero(p) {
			s.t.Errorf("digest of chunk %d is %v, %t", c.Index, got, ok)
		}
	}
}

// chunksAtOnce reads each chunk twice, in no order, by several goroutines.
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
			if d := diff(buf[:c.Len], piece(s.content, c)); d != "" {
				return fmt.Errorf("chunk %d: %s", c.Index, d)
			}
			for _, b := range buf[c.Len:] {
				if b != guard {
					return fmt.Errorf("chunk %d was read beyond its buffer", c.Index)
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		s.t.Error(err)
	}
}

// canceled: nothing is read when the context has ended.
func (s *source) canceled(src transfer.Source) {
	ctx, cancel := context.WithCancel(s.t.Context())
	cancel()
	if len(s.content) == 0 {
		return
	}
	buf := make([]byte, min(s.chunk, len(s.content)))
	switch src := src.(type) {
	case transfer.Stream:
		if n, err := src.Next(ctx, buf); n != 0 || transfer.CodeOf(err) != transfer.CodeCanceled {
			s.t.Errorf("Next with a canceled context: %d, %v", n, err)
		}
	case transfer.RandomAccess:
		if err := src.ReadChunk(ctx, transfer.Chunk{Len: len(buf)}, buf); transfer.CodeOf(err) != transfer.CodeCanceled {
			s.t.Errorf("ReadChunk with a canceled context: %v", err)
		}
	}
}
