package worker

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"testing"

	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/transfertest"
)

// TestCopiesOfAllBoundarySizes: from sources with and without a size, to targets that are blank,
// not blank, and written in order.
func TestCopiesOfAllBoundarySizes(t *testing.T) {
	const c = chunkSize
	for _, size := range []int{1, c - 1, c, c + 1, 2 * c, 9*c + 5} {
		image := randomBytes(size)
		sources := map[string]func() transfer.Source{
			"file":   func() transfer.Source { return newMemImage(image) },
			"stream": func() transfer.Source { return newStream(image) },
		}
		sinks := map[string]func(m *memImage) transfer.Sink{
			"blank":    func(m *memImage) transfer.Sink { m.blank = true; return m },
			"dirty":    func(m *memImage) transfer.Sink { return m },
			"in order": func(m *memImage) transfer.Sink { return orderedSink{m} },
		}
		for from, source := range sources {
			for to, sink := range sinks {
				t.Run(fmt.Sprintf("%d bytes %s %s", size, from, to), func(t *testing.T) {
					m := newMemImage(nil)
					j := newJob(t, source(), sink(m))
					j.spec.ImageDigest = true
					p := j.mustRun()
					checkContent(t, m, image)
					count := transfer.ChunkCount(int64(size), c)
					if p.Size != int64(size) || p.Chunks.Total != count || p.Chunks.Done != count ||
						p.Chunks.Sent != count || m.commits != 1 {
						t.Errorf("got %+v, size %d, %d commits; want %d chunks done and sent, size %d, 1 commit",
							p.Chunks, p.Size, m.commits, count, size)
					}
					if inOrder := !j.opener.sink.Traits().Rewritable; inOrder == p.Verified || inOrder &&
						!slices.IsSorted(m.order) {
						t.Errorf("got verified %v and write order %v; want an ordered target in order and not verified",
							p.Verified, m.order)
					}
					sum := sha256.Sum256(image)
					if p.Digest.Image != hex.EncodeToString(sum[:]) {
						t.Errorf("got SHA-256 %s, want %x", p.Digest.Image, sum)
					}
				})
			}
		}
	}
}

// TestEmptyImageIsRejected: before the target is opened, if the size is known.
func TestEmptyImageIsRejected(t *testing.T) {
	j := newJob(t, newMemImage(nil), newMemImage(nil))
	j.mustFail(transfer.CodeInvalid)
	if j.opener.opened["sink"] > 0 {
		t.Error("the target was opened, want only the source")
	}
	m := newMemImage(nil)
	j = newJob(t, newStream(nil), m)
	j.mustFail(transfer.CodeInvalid)
	if m.discards != 1 || m.commits != 0 {
		t.Errorf("got %d discards and %d commits, want 1 and 0", m.discards, m.commits)
	}
}

// TestZerosAreLeftOutOnBlankTargets: holes and zeros are written only to other targets.
func TestZerosAreLeftOutOnBlankTargets(t *testing.T) {
	const count = 40
	image := make([]byte, count*chunkSize)
	copy(image[3*chunkSize:], randomBytes(2*chunkSize))
	copy(image[20*chunkSize+7:], randomBytes(10))
	extents := []transfer.Extent{{Off: 3 * chunkSize, Len: 2 * chunkSize}, {Off: 20 * chunkSize, Len: 2 * chunkSize}}
	for _, blank := range []bool{true, false} {
		source, sink := newMemImage(image), newMemImage(bytes.Repeat([]byte{0xee}, len(image)))
		if source.extents = extents; blank {
			clear(sink.data)
		}
		sink.blank = blank
		p := newJob(t, source, sink).mustRun()
		checkContent(t, sink, image)
		if n := source.total(source.reads); n != 4 {
			t.Errorf("blank %v: got %d reads of the source, want 4 where it may hold data", blank, n)
		}
		want := transfer.Chunks{Total: count, Done: count, Zero: 37, Sent: 3, Verified: 3}
		if !blank {
			want = transfer.Chunks{Total: count, Done: count, Sent: count, Verified: count}
		}
		if p.Chunks != want {
			t.Errorf("blank %v: counted %+v, not %+v", blank, p.Chunks, want)
		}
		// Ranges that were left out are sampled.
		if n := sink.total(sink.reads); blank != (n > 3 && n < count) {
			t.Errorf("blank %v: got %d chunks read back, want more than those written only on a blank target", blank, n)
		}
	}
}

// TestTargetThatIsNotBlankIsCleared: if a target that reports blank has other bytes, all of it is
// read back and cleared, not only the samples.
func TestTargetThatIsNotBlankIsCleared(t *testing.T) {
	image := make([]byte, 200*chunkSize)
	sink := newMemImage(bytes.Repeat([]byte{0xee}, len(image)))
	sink.blank = true
	if p := newJob(t, newMemImage(image), sink).mustRun(); !p.Verified || p.Chunks.Sent != 200 {
		t.Errorf("got verified %v and %+v, want true and 200 sent", p.Verified, p.Chunks)
	}
	checkContent(t, sink, image)
}

// TestVerifyModesReadBackAsMuchAsRequested: none, the written chunks, or everything.
func TestVerifyModesReadBackAsMuchAsRequested(t *testing.T) {
	image := make([]byte, 10*chunkSize)
	copy(image, randomBytes(2*chunkSize))
	for mode, want := range map[transfer.VerifyMode]struct {
		reads    func(n int) bool
		verified int64
	}{
		transfer.VerifyNone:    {func(n int) bool { return n == 0 }, 0},
		transfer.VerifyWritten: {func(n int) bool { return n > 2 }, 2},
		transfer.VerifyFull:    {func(n int) bool { return n == 12 }, 10},
	} {
		sink := newMemImage(make([]byte, len(image)))
		sink.blank = true
		j := newJob(t, newMemImage(image), sink)
		j.spec.Verify = mode
		p := j.mustRun()
		if n := sink.total(sink.reads); !want.reads(n) || p.Chunks.Verified != want.verified ||
			p.Verified != (mode != transfer.VerifyNone) {
			t.Errorf("%s: got %d reads, %+v, verified %v; want %d chunks verified",
				mode, n, p.Chunks, p.Verified, want.verified)
		}
	}
}

// TestWrongImageIsDiscarded: an image with another SHA-256 than requested leaves no drive.
func TestWrongImageIsDiscarded(t *testing.T) {
	sink := newMemImage(nil)
	j := newJob(t, newMemImage(randomBytes(3*chunkSize)), sink)
	j.opener.drive = "uuid"
	j.spec.SHA256 = hex.EncodeToString(make([]byte, sha256.Size))
	j.mustFail(transfer.CodeMismatch)
	if sink.discards != 1 || sink.commits != 0 || j.store.saved.Plan.Drive != "" || len(j.store.saved.Entries) > 0 {
		t.Errorf("got %d discards, %d commits, plan %+v; want 1, 0 and no drive",
			sink.discards, sink.commits, j.store.saved.Plan)
	}
}

// manifest is a source that has only digests.
type manifest struct {
	imageMap
	m *transfer.Manifest
}

// imageMap is an image without its bytes.
type imageMap interface {
	transfer.Source
	transfer.Mapper
}

func (m manifest) ImageDigest() string { return m.m.Image }
func (m manifest) ChunkSize() int      { return m.m.ChunkSize }
func (m manifest) ChunkDigest(i int64) (transfer.Digest, bool) {
	d, ok := m.m.Chunks[i]
	return d, ok
}

func manifestOf(image []byte) manifest {
	return manifest{newMemImage(image), transfertest.Manifest(image, chunkSize)}
}

// TestComparisonFindsEqualDifferentAndLargerDrives: with an image, a stream and a manifest as the
// source.
func TestComparisonFindsEqualDifferentAndLargerDrives(t *testing.T) {
	image := randomBytes(5*chunkSize + 100)
	clear(image[chunkSize : 2*chunkSize])
	references := map[string]func() transfer.Source{
		"image":    func() transfer.Source { return newMemImage(image) },
		"stream":   func() transfer.Source { return newStream(image) },
		"manifest": func() transfer.Source { return manifestOf(image) },
	}
	for name, reference := range references {
		compare := func(drive []byte) (*job, *memImage) {
			m := newMemImage(drive)
			j := newJob(t, reference(), m)
			j.spec.Kind, m.capacity = transfer.Verify, int64(len(drive))
			return j, m
		}
		j, m := compare(bytes.Clone(image))
		if p := j.mustRun(); !p.Verified || p.Chunks.Verified != 6 || p.Chunks.Sent != 0 ||
			m.commits+m.total(m.writes) != 0 {
			t.Errorf("%s: got %+v and %d commits, want 6 chunks verified, none sent, 0 commits",
				name, p.Chunks, m.commits)
		}
		j, _ = compare(append(bytes.Clone(image), make([]byte, 3*chunkSize)...))
		j.mustRun()
		j, _ = compare(append(bytes.Clone(image), append(make([]byte, 2*chunkSize), 1)...))
		j.mustFail(transfer.CodeMismatch)
		changed := bytes.Clone(image)
		changed[3*chunkSize+17] ^= 1
		j, m = compare(changed)
		f := j.mustFail(transfer.CodeMismatch)
		want := int64(3*chunkSize + 17)
		if name == "manifest" {
			want = 3 * chunkSize // a digest covers the whole chunk
		}
		if f.Offset == nil || *f.Offset != want || m.discards != 0 {
			t.Errorf("%s: the difference is at %v, not %d", name, f.Offset, want)
		}
		// The drive is repaired and the job retried: everything is compared again.
		copy(m.data, image)
		j.opener.source = reference()
		if p := j.mustRun(); p.Chunks.Verified != 6 {
			t.Errorf("%s, retried: got %+v, want 6 chunks verified", name, p.Chunks)
		}
	}
}

// TestEndedContextStopsWithItsCause: at once.
func TestEndedContextStopsWithItsCause(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	sink := newMemImage(nil)
	sink.onWrite = func(ctx context.Context, _ transfer.Chunk, _ int) error {
		cancel(failure(transfer.CodeWaitTimeout))
		<-ctx.Done()
		return ctx.Err()
	}
	j := newJob(t, newMemImage(randomBytes(5*chunkSize)), sink)
	if err := j.run(ctx, nil); transfer.CodeOf(err) != transfer.CodeWaitTimeout {
		t.Errorf("got %v, want code %s", err, transfer.CodeWaitTimeout)
	}
}
