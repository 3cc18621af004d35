package worker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/transferd/transferd/internal/transfer"
)

// cachedSink is a file on a host with a page cache, which a flush writes to the disk.
type cachedSink struct {
	*memImage
	mu        sync.Mutex
	disk      []byte
	flushes   int
	diskReads int
	onFlush   func(n int) error
	onClose   func() error
}

var (
	_ transfer.Flusher    = (*cachedSink)(nil)
	_ transfer.DiskReader = (*cachedSink)(nil)
	_ transfer.Local      = (*cachedSink)(nil)
)

func newCachedSink() *cachedSink {
	return &cachedSink{
		memImage: newMemImage(nil), onFlush: func(int) error { return nil }, onClose: func() error { return nil },
	}
}

func (c *cachedSink) Flush(context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.flushes++
	if err := c.onFlush(c.flushes); err != nil {
		return err // a kernel treats failed writes as written
	}
	c.memImage.mu.Lock()
	defer c.memImage.mu.Unlock()
	c.disk = bytes.Clone(c.data)
	return nil
}

func (c *cachedSink) ReadDisk(_ context.Context, ch transfer.Chunk, w io.Writer) error {
	c.mu.Lock()
	c.diskReads++
	p := make([]byte, ch.Len)
	if ch.Off < int64(len(c.disk)) {
		copy(p, c.disk[ch.Off:])
	}
	c.mu.Unlock()
	_, err := w.Write(p)
	return err
}

func (c *cachedSink) ReadVia() transfer.ReadVia {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.diskReads > 0 {
		return transfer.ReadDirect
	}
	return transfer.ReadCached
}

func (c *cachedSink) Close() error { return c.onClose() }

// Discard leaves nothing, as the removal of a file does.
func (c *cachedSink) Discard(ctx context.Context) error {
	c.mu.Lock()
	c.disk = nil
	c.mu.Unlock()
	c.memImage.mu.Lock()
	c.data = nil
	c.memImage.mu.Unlock()
	return c.memImage.Discard(ctx)
}

// newDownload returns a job from a drive to a file.
func newDownload(t *testing.T, source transfer.Source, sink transfer.Sink) *job {
	j := newJob(t, source, sink)
	j.spec = transfer.NewSpec(transfer.Download, transfer.Ref{Endpoint: "e", Drive: "d"}, transfer.Ref{Path: "/x.img"})
	j.spec.ChunkSize = chunkSize
	return j
}

var errDisk = fmt.Errorf("%w: %w", transfer.ErrLost, unix.EIO)

// TestLostFlushStartsOver: after a failed flush no earlier write counts, although the next flush
// succeeds and every read from the page cache is right.
func TestLostFlushStartsOver(t *testing.T) {
	image := randomBytes(200 * chunkSize)
	for _, nth := range []int{1, 2, 3} {
		t.Run(fmt.Sprintf("flush %d", nth), func(t *testing.T) {
			sink := newCachedSink()
			sink.onFlush = func(n int) error {
				if n == nth {
					return errDisk
				}
				return nil
			}
			j := newDownload(t, newMemImage(image), sink)
			if err := j.run(t.Context(), nil); !errors.Is(err, transfer.ErrLost) {
				t.Fatalf("got %v, want what was lost", err)
			}
			if n := len(j.store.saved.Entries); n > 0 || sink.discards != 1 || sink.commits > 0 || sink.flushes != nth {
				t.Errorf("got %d entries, %d discards, %d commits, %d flushes; want 0, 1, 0 and the failed flush",
					n, sink.discards, sink.commits, sink.flushes)
			}
			before := sink.total(sink.writes)
			if p := j.mustRun(); !p.Verified || sink.total(sink.writes)-before != 200 {
				t.Errorf("verified %v after %d more writes, want 200", p.Verified, sink.total(sink.writes)-before)
			}
			if requests := j.opener.requests; requests[len(requests)-1].Resume {
				t.Error("the second attempt resumes, want it to start over")
			}
			if !bytes.Equal(sink.disk, image) {
				t.Error("the disk differs from the source, want them equal")
			}
		})
	}
}

// TestLostCloseStartsOver: a file system may report a lost write only on close.
func TestLostCloseStartsOver(t *testing.T) {
	sink := newCachedSink()
	j := newDownload(t, newMemImage(randomBytes(60*chunkSize)), sink)
	sink.onWrite = func(_ context.Context, c transfer.Chunk, _ int) error {
		if c.Index == 50 {
			return failure(transfer.CodeRefused)
		}
		return nil
	}
	sink.onClose = func() error { return errDisk }
	if err := j.run(t.Context(), nil); !errors.Is(err, transfer.ErrLost) {
		t.Errorf("got %v, want what was lost too", err)
	}
	if n := len(j.store.saved.Entries); n > 0 {
		t.Errorf("got %d entries in the ledger, want none", n)
	}
}

// TestSavesDoNotWaitForADisk: because they renew the lease.
func TestSavesDoNotWaitForADisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := newCachedSink()
		slow := make(chan struct{})
		sink.onFlush = func(int) error { <-slow; return nil }
		j := newDownload(t, newMemImage(randomBytes(100*chunkSize)), sink)
		time.AfterFunc(time.Minute, func() { close(slow) })
		var last, longest time.Duration
		began := time.Now()
		j.store.onSave = func(int) error {
			longest = max(longest, time.Since(began)-last)
			last = time.Since(began)
			return nil
		}
		j.mustRun()
		if longest > 2*saveEvery || last < time.Minute {
			t.Errorf("got %s between two saves and the last one after %s, want at most %s and a minute",
				longest, last, 2*saveEvery)
		}
	})
}

// TestUnflushedIsBounded: a crash costs the chunks in flight and a bounded number of others.
func TestUnflushedIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := newCachedSink()
		slow := make(chan struct{})
		sink.onFlush = func(int) error { <-slow; return nil }
		j := newDownload(t, newMemImage(randomBytes(300*chunkSize)), sink)
		j.spec.Concurrency = 8
		time.AfterFunc(time.Minute, func() {
			if n := sink.total(sink.writes); n > maxUnflushed+8 {
				t.Errorf("got %d written chunks without a flush, want at most %d", n, maxUnflushed+8)
			}
			close(slow)
		})
		j.mustRun()
	})
}

// TestResumeReadsTheDisk: chunks of an earlier attempt that are in the page cache may not be on the
// disk.
func TestResumeReadsTheDisk(t *testing.T) {
	image := randomBytes(60 * chunkSize)
	sink := newCachedSink()
	j := newDownload(t, newMemImage(image), sink)
	j.spec.Concurrency = 1
	sink.onWrite = func(_ context.Context, c transfer.Chunk, _ int) error {
		if c.Index == 50 {
			return failure(transfer.CodeRefused)
		}
		return nil
	}
	j.mustFail(transfer.CodeRefused)
	if n := len(j.store.saved.Entries); n != 50 || sink.diskReads > 0 {
		t.Fatalf("got %d saved chunks and %d reads of the disk, want 50 and 0", n, sink.diskReads)
	}
	sink.onWrite = nil
	sink.disk[7*chunkSize] ^= 1
	if p := j.mustRun(); p.ReadVia != transfer.ReadDirect || p.Chunks.Sent != 61 || p.Chunks.Verified != 60 {
		t.Errorf("got read via %q and %+v, want direct, 61 sent, 60 verified", p.ReadVia, p.Chunks)
	}
	if !bytes.Equal(sink.disk, image) {
		t.Error("the disk differs from the source, want them equal")
	}
}

// TestFullVerificationReadsTheDisk: it repairs what the disk stored wrongly, and fails if the disk
// keeps doing so. Other modes read the page cache.
func TestFullVerificationReadsTheDisk(t *testing.T) {
	image := randomBytes(20*chunkSize + 7)
	for _, tc := range []struct {
		mode  transfer.VerifyMode
		wrong int // so many flushes store wrongly
		want  transfer.ReadVia
		code  transfer.Code
	}{
		{transfer.VerifyWritten, 0, transfer.ReadCached, ""},
		{transfer.VerifyFull, 0, transfer.ReadDirect, ""},
		{transfer.VerifyFull, 1 << 30, "", transfer.CodeMismatch},
		{transfer.VerifyNone, 0, "", ""},
	} {
		t.Run(fmt.Sprintf("%s, %d times wrong", tc.mode, tc.wrong), func(t *testing.T) {
			sink := &rottenDisk{cachedSink: newCachedSink(), wrong: tc.wrong}
			j := newDownload(t, newMemImage(image), sink)
			j.spec.Verify = tc.mode
			err := j.run(t.Context(), nil)
			if transfer.CodeOf(err) != tc.code {
				t.Fatalf("got %v, want %q", err, tc.code)
			}
			if err != nil && sink.commits > 0 {
				t.Error("a target that differs was committed, want no commit")
			}
			if p := j.store.saved.Progress; err == nil && p.ReadVia != tc.want {
				t.Errorf("read via %q, want %q", p.ReadVia, tc.want)
			}
		})
	}
}

// rottenDisk is a disk that stores one chunk wrongly.
type rottenDisk struct {
	*cachedSink
	wrong int
}

func (r *rottenDisk) ReadDisk(ctx context.Context, ch transfer.Chunk, w io.Writer) error {
	var p bytes.Buffer
	if err := r.cachedSink.ReadDisk(ctx, ch, &p); err != nil {
		return err
	}
	if ch.Index == 5 && r.flushes <= r.wrong {
		p.Bytes()[9] ^= 1
	}
	_, err := w.Write(p.Bytes())
	return err
}

// TestRewrittenChunkIsReadFromTheDisk: a chunk that full verification has rewritten is verified
// again.
func TestRewrittenChunkIsReadFromTheDisk(t *testing.T) {
	image := randomBytes(20 * chunkSize)
	sink := newCachedSink()
	sink.onFlush = func(n int) error {
		if n == 1 {
			sink.memImage.mu.Lock()
			defer sink.memImage.mu.Unlock()
			sink.data[3*chunkSize] ^= 1 // what the disk stores
		}
		return nil
	}
	j := newDownload(t, newMemImage(image), flushedReads{sink})
	j.spec.Verify = transfer.VerifyFull
	p := j.mustRun()
	if !bytes.Equal(sink.disk, image) || p.Chunks.Sent != 21 {
		t.Errorf("got %+v, or a disk that differs from the source; want 21 chunks sent", p.Chunks)
	}
	if sink.diskReads < 22 {
		t.Errorf("%d reads of the disk, want one more of what was stored again", sink.diskReads)
	}
}

// flushedReads flushes before it reads the disk, like O_DIRECT.
type flushedReads struct{ *cachedSink }

func (f flushedReads) ReadDisk(ctx context.Context, ch transfer.Chunk, w io.Writer) error {
	if err := f.Flush(ctx); err != nil {
		return err
	}
	return f.cachedSink.ReadDisk(ctx, ch, w)
}

// TestUselessFileIsRemoved: a file without a done chunk would only be in the way of other jobs.
func TestUselessFileIsRemoved(t *testing.T) {
	for _, written := range []int64{0, 1} {
		sink := newCachedSink()
		sink.onWrite = func(_ context.Context, c transfer.Chunk, _ int) error {
			if c.Index >= written {
				return failure(transfer.CodeRefused)
			}
			return nil
		}
		j := newDownload(t, newMemImage(randomBytes(20*chunkSize)), sink)
		j.spec.Concurrency = 1
		j.mustFail(transfer.CodeRefused)
		if kept := sink.discards == 0; kept != (written > 0) {
			t.Errorf("with %d done chunks: kept %v, want %v", written, kept, written > 0)
		}
	}
}
