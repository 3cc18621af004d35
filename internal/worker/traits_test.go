package worker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/transferd/transferd/internal/transfer"
)

// traitSink is a sink with any traits, such as those of neither files nor drives.
type traitSink struct {
	*memImage
	traits transfer.Traits

	mu      sync.Mutex
	flushed []byte // what a read returns; nil: what was written
	flushes int
	cleared []int64
}

func (s *traitSink) Traits() transfer.Traits { return s.traits }

// Flush shows what was written before it.
func (s *traitSink) Flush(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.memImage.mu.Lock()
	defer s.memImage.mu.Unlock()
	s.flushed = bytes.Clone(s.data)
	s.flushes++
	return nil
}

func (s *traitSink) ClearChunk(_ context.Context, c transfer.Chunk) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.memImage.mu.Lock()
	defer s.memImage.mu.Unlock()
	s.cleared = append(s.cleared, c.Index)
	clear(s.data[c.Off : c.Off+int64(c.Len)])
	return nil
}

// TestFlushedTargetIsReadBackAndRepaired: if a target returns what it stored only after a flush.
func TestFlushedTargetIsReadBackAndRepaired(t *testing.T) {
	for _, wrong := range []int{0, 1, 2} {
		t.Run(fmt.Sprintf("written wrong %d times", wrong), func(t *testing.T) {
			image, m := randomBytes(20*chunkSize+7), newMemImage(nil)
			m.corruptWrite = flip(wrong)
			sink := &traitSink{memImage: m,
				traits: transfer.Traits{Rewritable: true, ReadBack: transfer.ReadBackAfterFlush}}
			m.onRead = func(context.Context, transfer.Chunk, int) error {
				sink.mu.Lock()
				defer sink.mu.Unlock()
				if sink.flushes == 0 {
					t.Error("read back before a flush, want after")
				}
				return nil
			}
			p := newJob(t, newMemImage(image), sink).mustRun()
			checkContent(t, m, image)
			if !p.Verified || p.Chunks.Verified != p.Chunks.Total || sink.flushes == 0 {
				t.Errorf("got verified %v, %+v, %d flushes; want true, all chunks verified, at least 1",
					p.Verified, p.Chunks, sink.flushes)
			}
		})
	}
	sink := &traitSink{memImage: newMemImage(nil),
		traits: transfer.Traits{Rewritable: true, ReadBack: transfer.ReadBackAfterFlush}}
	sink.corruptWrite = flip(1 << 30)
	newJob(t, newMemImage(randomBytes(5*chunkSize)), sink).mustFail(transfer.CodeMismatch)
	if sink.commits > 0 {
		t.Error("a target that always differs was committed, want no commit")
	}
}

// TestLedgerHasOnlyWhatIsFlushed: so that a later attempt does not trust chunks that the target has
// lost.
func TestLedgerHasOnlyWhatIsFlushed(t *testing.T) {
	m := newMemImage(nil)
	sink := &traitSink{memImage: m, traits: transfer.Traits{Rewritable: true, ReadBack: transfer.ReadBackAfterFlush}}
	j := newJob(t, newMemImage(randomBytes(60*chunkSize)), sink)
	m.onWrite = func(_ context.Context, c transfer.Chunk, _ int) error {
		if c.Index == 50 {
			return failure(transfer.CodeRefused)
		}
		return nil
	}
	j.store.onSave = func(int) error {
		sink.mu.Lock()
		stored := int64(len(sink.flushed)) / chunkSize
		sink.mu.Unlock()
		if n := int64(len(j.store.saved.Entries)); n > stored {
			t.Errorf("got %d chunks in the ledger, want at most the %d that are flushed", n, stored)
		}
		return nil
	}
	j.mustFail(transfer.CodeRefused)
	if len(j.store.saved.Entries) == 0 {
		t.Error("got no saved chunks, want those that were flushed on closing")
	}
	m.onWrite = nil
	j.mustRun()
	checkContent(t, m, j.opener.source.(*memImage).data)
}

// TestCompletedTargetIsReadBack: if a target returns what it stored only when it is complete.
func TestCompletedTargetIsReadBack(t *testing.T) {
	for _, wrong := range []int{0, 1 << 30} {
		m := newMemImage(nil)
		m.corruptWrite = flip(wrong)
		m.onRead = func(context.Context, transfer.Chunk, int) error {
			if m.commits == 0 {
				t.Error("read back before the commit, want after")
			}
			return nil
		}
		sink := &traitSink{memImage: m,
			traits: transfer.Traits{Rewritable: true, ReadBack: transfer.ReadBackAfterCommit}}
		j := newJob(t, newMemImage(randomBytes(20*chunkSize+7)), sink)
		if wrong > 0 {
			j.mustFail(transfer.CodeMismatch)
			continue
		}
		if p := j.mustRun(); !p.Verified || p.Chunks.Verified != 21 {
			t.Errorf("got verified %v and %+v, want true and 21 chunks verified", p.Verified, p.Chunks)
		}
	}
}

// TestZerosAreCleared: where they cannot be left out, and read back like other chunks.
func TestZerosAreCleared(t *testing.T) {
	image := randomBytes(6 * chunkSize)
	clear(image[2*chunkSize : 4*chunkSize])
	for _, blank := range []bool{false, true} {
		m := newMemImage(bytes.Repeat([]byte{0xee}, len(image)))
		if m.blank = blank; blank {
			clear(m.data)
		}
		sink := &traitSink{memImage: m, traits: transfer.Traits{Rewritable: true, ReadBack: transfer.ReadBackAtOnce,
			Zeros: transfer.ZerosCleared}}
		newJob(t, newMemImage(image), sink).mustRun()
		checkContent(t, m, image)
		if want := map[bool]int{false: 2, true: 0}[blank]; len(sink.cleared) != want || m.total(m.writes) != 4 {
			t.Errorf("blank %v: %d chunks cleared, want %d; %d written, want 4", blank, len(sink.cleared), want,
				m.total(m.writes))
		}
	}
}

// TestTargetDecidesTheChunkSize: or rejects the requested one.
func TestTargetDecidesTheChunkSize(t *testing.T) {
	for name, tc := range map[string]struct {
		geometry transfer.Geometry
		want     int // 0: refused
	}{
		"free":                {transfer.Geometry{}, chunkSize},
		"large enough":        {transfer.Geometry{MaxChunk: chunkSize}, chunkSize},
		"too small":           {transfer.Geometry{MaxChunk: chunkSize - 1}, 0},
		"fixed":               {transfer.Geometry{FixedChunk: 4 * chunkSize}, 4 * chunkSize},
		"aligned":             {transfer.Geometry{Align: chunkSize / 2}, chunkSize},
		"aligned to too much": {transfer.Geometry{Align: 2 * chunkSize}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			sink := &traitSink{memImage: newMemImage(nil),
				traits: transfer.Traits{Rewritable: true, Geometry: tc.geometry}}
			j := newJob(t, newMemImage(randomBytes(9*chunkSize)), sink)
			if tc.want == 0 {
				j.mustFail(transfer.CodeInvalid)
				return
			}
			if j.mustRun(); j.store.saved.Plan.ChunkSize != tc.want {
				t.Errorf("got chunks of %d bytes, want %d", j.store.saved.Plan.ChunkSize, tc.want)
			}
		})
	}
}

// TestCopyOfARangeCarriesNoOtherChunk: and all of its own.
func TestCopyOfARangeCarriesNoOtherChunk(t *testing.T) {
	image, sink := randomBytes(20*chunkSize+7), newMemImage(nil)
	j := newJob(t, newMemImage(image), sink)
	for _, r := range []chunkRange{{3, 7}, {0, 1}, {20, 21}, {7, 7}, {19, 100}, wholeImage} {
		sink.order = nil
		a := newAttempt(New(Config{Opener: j.opener, Policy: j.policy, Log: j.log}), nil,
			Job{ID: "job", Spec: j.spec}, &memoryStore{})
		if err := errors.Join(a.ends.setSource(j.opener.source), a.ends.setSink(sink)); err != nil {
			t.Fatal(err)
		}
		a.state.updatePlan(func(p *transfer.Plan) { p.ChunkSize = chunkSize })
		lay := layout{size: int64(len(image)), chunkSize: chunkSize}
		err := a.state.runWithSaves(t.Context(), func(error) {}, func() error {
			return newCopier(a, lay).copy(t.Context(), r)
		})
		if err != nil {
			t.Fatal(err)
		}
		want := int(min(r.end, 21) - r.first)
		for _, i := range sink.order {
			if i < r.first || i >= r.end {
				t.Errorf("%v: chunk %d was written, want only chunks of the range", r, i)
			}
		}
		if len(sink.order) != want {
			t.Errorf("%v: got %d chunks, want %d", r, len(sink.order), want)
		}
	}
	checkContent(t, sink, image)
}
