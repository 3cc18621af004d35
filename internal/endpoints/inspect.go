package endpoints

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/transferd/transferd/internal/api"
	"github.com/transferd/transferd/internal/chunker"
	"github.com/transferd/transferd/internal/image"
	"github.com/transferd/transferd/internal/panics"
	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/verify"
)

var _ transfer.Inspector = (*Opener)(nil)

// inspectedAtOnce is how many files are opened at the same time.
const inspectedAtOnce = 8

// Inspect implements transfer.Inspector for this host. It reads a whole image only to compare it
// with a known one of the same size and another identity.
func (o *Opener) Inspect(ctx context.Context, queries []transfer.FileQuery) ([]transfer.FileReport, error) {
	reports := make([]transfer.FileReport, len(queries))
	g, ctx := panics.WithContext(ctx)
	g.SetLimit(inspectedAtOnce)
	for i := range queries {
		g.Go(func() error {
			reports[i] = o.inspect(ctx, &queries[i])
			return ctx.Err()
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return reports, nil
}

func (o *Opener) inspect(ctx context.Context, q *transfer.FileQuery) (r transfer.FileReport) {
	var err error
	switch {
	case q.Pattern != "":
		r.Names, err = o.opts.Roots.Glob(q.Pattern, transfer.MaxNames)
	case q.Target != "":
		err = o.inspectTarget(ctx, q, &r)
	default:
		err = o.inspectSource(ctx, q.Source, q, &r)
	}
	r.Error = transfer.FailureOf(err)
	return r
}

func (o *Opener) inspectTarget(ctx context.Context, q *transfer.FileQuery, r *transfer.FileReport) error {
	room, err := o.opts.Roots.Room(q.Target)
	r.Exists, r.Free, r.Disk = room.Exists, room.Free, room.Disk
	if err != nil || !room.Exists || q.Known == nil {
		return err
	}
	if err := o.inspectSource(ctx, q.Target, q, r); err != nil {
		r.Unchanged = false // it is not the image, whatever it is
	}
	return nil
}

// inspectSource describes an image and, as far as the query asks, compares its content.
func (o *Opener) inspectSource(ctx context.Context, path string, q *transfer.FileQuery, r *transfer.FileReport) error {
	src, err := image.Open(ctx, path, image.Options{
		Roots: o.opts.Roots, Format: q.Format, AllowMounted: q.AllowMounted,
	})
	if err != nil {
		return err
	}
	defer src.Close()
	r.Size, r.Format = src.Size(), image.FormatOf(src)
	random, _ := src.(transfer.RandomAccess)
	switch known := q.Known; {
	case known != nil && random != nil && len(q.Stored) > 0:
		if r.Size == known.Size {
			r.Unchanged, err = holds(ctx, random, known, q.Stored)
		}
	case known != nil && known.Identity != "" && known.Identity == src.Identity():
		r.Unchanged = true
	case known != nil && known.ChunksRoot != "" && (r.Size < 0 || r.Size == known.Size):
		root, size, err := rootOf(ctx, src, known.ChunkSize)
		if err != nil {
			return err
		}
		r.Size, r.Unchanged = size, root == known.ChunksRoot && size == known.Size
	}
	if q.Sample > 0 {
		r.Sample, err = sampleOf(ctx, src, q.Sample)
	}
	return err
}

// rootOf reads a whole image, and returns its chunks root and its size.
func rootOf(ctx context.Context, src transfer.Source, chunkSize int) (root string, size int64, err error) {
	chunks := make(map[int64]transfer.Digest)
	size, err = eachChunk(ctx, src, chunkSize, func(index int64, p []byte) bool {
		chunks[index] = verify.Sum(p)
		return true
	})
	return verify.Root(size, chunkSize, verify.Ascending(chunks)), size, err
}

// sampleOf returns the digests of up to n chunks that are not zeros, spread over the image; of an
// image that can only be read in order, those of its first such chunks.
func sampleOf(ctx context.Context, src transfer.Source, n int) (sample []transfer.Entry, err error) {
	random, ok := src.(transfer.RandomAccess)
	if !ok {
		_, err = eachChunk(ctx, src, transfer.DefaultChunkSize, func(index int64, p []byte) bool {
			sample = append(sample, transfer.Entry{Index: index, Digest: verify.Sum(p)})
			return len(sample) < n
		})
		return sample, err
	}
	var chunks []transfer.Chunk
	for c, err := range chunker.Chunks(ctx, random.Extents(ctx), src.Size(), transfer.DefaultChunkSize, false) {
		if err != nil {
			return nil, err
		}
		chunks = append(chunks, c.Chunk)
	}
	buf := make([]byte, transfer.DefaultChunkSize)
	for i := range min(n, len(chunks)) {
		c := chunks[i*len(chunks)/min(n, len(chunks))]
		if err := random.ReadChunk(ctx, c, buf[:c.Len]); err != nil {
			return nil, err
		}
		sample = append(sample, transfer.Entry{Index: c.Index, Digest: verify.Sum(buf[:c.Len])})
	}
	return sample, nil
}

// eachChunk calls do with the chunks that are not zeros, in order, until it returns false. It
// returns the size of the image, or what was read of it before that.
func eachChunk(
	ctx context.Context, src transfer.Source, chunkSize int, do func(index int64, p []byte) bool,
) (size int64, err error) {
	buf := make([]byte, chunkSize)
	switch s := src.(type) {
	case transfer.RandomAccess:
		for c, err := range chunker.Chunks(ctx, s.Extents(ctx), s.Size(), chunkSize, false) {
			if err == nil {
				err = s.ReadChunk(ctx, c.Chunk, buf[:c.Len])
			}
			if err != nil {
				return 0, err
			}
			if !chunker.IsZero(buf[:c.Len]) && !do(c.Index, buf[:c.Len]) {
				break
			}
		}
		return s.Size(), nil
	case transfer.Stream:
		for index := int64(0); ; index++ {
			n, err := s.Next(ctx, buf)
			size += int64(n)
			if n > 0 && !chunker.IsZero(buf[:n]) && !do(index, buf[:n]) {
				return size, nil
			}
			if errors.Is(err, io.EOF) {
				return size, nil
			}
			if err != nil {
				return 0, err
			}
		}
	}
	return 0, errors.New("the image cannot be read")
}

// Holds reports whether a drive is as large as a known image, and has these chunks of it.
// CodeNotFound: there is no such drive.
func (o *Opener) Holds(
	ctx context.Context, r transfer.Ref, known *transfer.KnownImage, chunks []transfer.Entry,
) (bool, error) {
	c, err := o.Client(ctx, r.Endpoint)
	if err != nil {
		return false, err
	}
	d, err := api.OpenDrive(ctx, c, r.Drive)
	if err != nil || d.Size() < known.Size {
		return false, err
	}
	return holds(ctx, d, known, chunks)
}

// holds reports whether an image has the chunks of a known one.
func holds(
	ctx context.Context, src transfer.RandomAccess, known *transfer.KnownImage, chunks []transfer.Entry,
) (bool, error) {
	buf := make([]byte, known.ChunkSize)
	for _, e := range chunks {
		c := transfer.ChunkAt(e.Index, known.Size, known.ChunkSize)
		if err := src.ReadChunk(ctx, c, buf[:c.Len]); err != nil {
			return false, err
		}
		if verify.Sum(buf[:c.Len]) != e.Digest {
			return false, nil
		}
	}
	return true, nil
}

// CheckAllowance refuses new drives of size bytes in sum, if the account may not have that much
// more: CodeNoSpace. An endpoint that does not say what the account may use refuses nothing here.
func (o *Opener) CheckAllowance(ctx context.Context, endpoint string, size int64) error {
	c, err := o.Client(ctx, endpoint)
	if err != nil {
		return err
	}
	a, err := readAccount(ctx, c)
	if err != nil {
		return err
	}
	allowed := a.allowance(time.Now())
	return allowed.check(endpoint, size)
}
