package worker

import (
	"context"
	"strings"
	"testing"

	"github.com/transferd/transferd/internal/transfer"
)

// watched is a source that is touched, or whose changes cannot all be detected.
type watched struct {
	*memImage
	touches
	undetected string
	dropped    int
}

// touches is how many calls of Unchanged will report that the source was touched.
type touches int

// Unchanged implements transfer.ChangeDetector.
func (n *touches) Unchanged(context.Context) error {
	if *n > 0 {
		*n--
		return transfer.Errorf(transfer.CodeSourceChanged, "", "look: %w", transfer.ErrTouched)
	}
	return nil
}

func (s *watched) UndetectedChanges() string { return s.undetected }
func (s *watched) DropCache() error          { s.dropped++; return nil }
func (s *watched) Resembles(string) bool     { return true }

// sparseImage returns an image with a hole, and its extents.
func sparseImage() ([]byte, []transfer.Extent) {
	image := randomBytes(20 * chunkSize)
	clear(image[5*chunkSize : 15*chunkSize])
	return image, []transfer.Extent{{Len: 5 * chunkSize}, {Off: 15 * chunkSize, Len: 5 * chunkSize}}
}

// TestTouchedSourceIsReadAgain: after a chmod, for example. The job succeeds if the bytes are
// equal, and otherwise the image has changed, even if only a hole did.
func TestTouchedSourceIsReadAgain(t *testing.T) {
	for name, tc := range map[string]struct {
		touches int
		change  int64 // the chunk that differs at the second reading; 0: none
		code    transfer.Code
	}{
		"untouched":            {},
		"touched":              {touches: 1},
		"touched again":        {touches: 2},
		"touched all the time": {touches: 9, code: transfer.CodeSourceChanged},
		"data changed":         {1, 3, transfer.CodeSourceChanged},
		"a hole changed":       {1, 10, transfer.CodeSourceChanged},
	} {
		t.Run(name, func(t *testing.T) {
			image, extents := sparseImage()
			source := &watched{memImage: newMemImage(image), touches: touches(tc.touches)}
			source.extents = extents
			sink := newMemImage(make([]byte, len(image)))
			sink.blank = true
			if tc.change > 0 {
				sink.onWrite = func(_ context.Context, c transfer.Chunk, _ int) error {
					if c.Index == 19 {
						source.mu.Lock()
						defer source.mu.Unlock()
						source.data[tc.change*chunkSize] ^= 1
						source.extents = nil
					}
					return nil
				}
			}
			j := newJob(t, source, sink)
			j.spec.Concurrency = 1
			err := j.run(t.Context(), nil)
			if transfer.CodeOf(err) != tc.code {
				t.Fatalf("got %v, want code %q", err, tc.code)
			}
			if reads := source.total(source.reads); tc.code == "" && reads != 10*(1+tc.touches) {
				t.Errorf("got %d reads of chunks, want %d", reads, 10*(1+tc.touches))
			}
		})
	}
}

// TestResumeComparesATouchedSource: with the ledger, in this attempt or, if that fails, in the
// next.
func TestResumeComparesATouchedSource(t *testing.T) {
	for _, changed := range []bool{false, true} {
		image, extents := sparseImage()
		source := &watched{memImage: newMemImage(image)}
		source.extents = extents
		sink := newMemImage(make([]byte, len(image)))
		sink.blank = true
		refused := true
		sink.onWrite = func(_ context.Context, c transfer.Chunk, _ int) error {
			if c.Index == 17 && refused {
				return failure(transfer.CodeRefused)
			}
			return nil
		}
		j := newJob(t, source, sink)
		j.spec.Concurrency = 1
		j.mustFail(transfer.CodeRefused)
		source.identity = "two"
		j.mustFail(transfer.CodeRefused)
		if refused = false; changed {
			source.data[0] ^= 1
		}
		code := transfer.Code("")
		if changed {
			code = transfer.CodeSourceChanged
		}
		if err := j.run(t.Context(), nil); transfer.CodeOf(err) != code {
			t.Errorf("changed %t: got %v, want code %q", changed, err, code)
		}
		if !changed {
			checkContent(t, sink, image)
		}
	}
}

// TestUndetectedChangesAreReported: in the warnings. Full verification reads the source again, past
// the cache, and a difference ends the job.
func TestUndetectedChangesAreReported(t *testing.T) {
	for name, tc := range map[string]struct {
		verify  transfer.VerifyMode
		differs bool
		code    transfer.Code
		words   string
	}{
		"written": {
			transfer.VerifyWritten, false, "",
			"it may have been written: --verify full reads it a second time",
		},
		"full": {
			transfer.VerifyFull, false, "",
			"it may have been written; a second reading found no difference",
		},
		"differs": {transfer.VerifyFull, true, transfer.CodeSourceChanged, ""},
	} {
		image := randomBytes(5 * chunkSize)
		source := &watched{memImage: newMemImage(image), undetected: "it may have been written"}
		if tc.differs {
			source.corruptRead = func(c transfer.Chunk, n int, p []byte) {
				if c.Index == 3 && n > 1 {
					p[7] ^= 1
				}
			}
		}
		j := newJob(t, source, newMemImage(nil))
		j.spec.Verify = tc.verify
		if err := j.run(t.Context(), nil); transfer.CodeOf(err) != tc.code {
			t.Fatalf("%s: got %v, want code %q", name, err, tc.code)
		}
		if got := strings.Join(j.store.saved.Progress.Warnings, "\n"); got != tc.words {
			t.Errorf("%s: got warnings %q, want %q", name, got, tc.words)
		}
		if want := tc.verify == transfer.VerifyFull; (source.dropped == 1) != want {
			t.Errorf("%s: got %d drops of the cache, want one only with full verification", name, source.dropped)
		}
	}
}

// TestTouchedStreamIsReadAgain: from its start.
func TestTouchedStreamIsReadAgain(t *testing.T) {
	for _, changed := range []bool{false, true} {
		image := randomBytes(20*chunkSize + 5)
		again := append([]byte(nil), image...)
		if changed {
			again[len(again)-1] ^= 1
		}
		opened := 0
		j := newJob(t, nil, newMemImage(nil))
		ends := &onSource{fakeOpener: j.opener, do: func(*Session) error {
			if opened++; opened == 1 {
				j.opener.source = &touchedStream{stream: newStream(image), touches: 1}
			} else {
				j.opener.source = &touchedStream{stream: newStream(again)}
			}
			return nil
		}}
		err := j.runWith(t.Context(), nil, ends, j.store)
		var want transfer.Code
		if changed {
			want = transfer.CodeSourceChanged
		}
		if transfer.CodeOf(err) != want || opened != 2 {
			t.Errorf("changed %t: got %v, want code %q; opened %d times, want 2", changed, err, want, opened)
		}
	}
}

// touchedStream is a stream that is touched while it is read.
type touchedStream struct {
	*stream
	touches
}
