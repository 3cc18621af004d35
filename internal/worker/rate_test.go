package worker

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/transferd/transferd/internal/transfer"
)

// TestRateIsThatOfTheLastSeconds: and 0 when no byte moves.
func TestRateIsThatOfTheLastSeconds(t *testing.T) {
	start := time.Now()
	var m rateMeter
	var b transfer.Bytes
	at := func(second int) float64 { return m.update(start.Add(time.Duration(second)*time.Second), &b) }
	for second := range 60 {
		if got := at(second); second > 0 && got != 100 {
			t.Fatalf("after %d s: got %v B/s, want 100", second, got)
		}
		b.Done += 100
	}
	b.Done -= 100
	if got := at(62); got <= 0 || got >= 100 {
		t.Errorf("3 s into an outage: got %v B/s, want between 0 and 100", got)
	}
	if got := at(65); got != 0 {
		t.Errorf("6 s into an outage: got %v B/s, want 0", got)
	}
	// Bytes cross a slow link, and no chunk is done for a while.
	b.Done += 1500
	for second := 66; second < 86; second++ {
		if b.WireOut++; at(second) <= 0 {
			t.Errorf("after %d s: got 0 B/s while bytes move, want more", second)
		}
	}
	for second := 86; second < 110; second++ {
		b.WireOut++
		at(second)
	}
	if got := at(110); got != 0 {
		t.Errorf("no chunk done for half a minute: got %v B/s, want 0", got)
	}
}

// TestBytesDoneEndAtTheirTotal: they start at 0 with any zeros in the image, and include everything
// that is read again or cleared.
func TestBytesDoneEndAtTheirTotal(t *testing.T) {
	image, extents := sparse()
	const data, tail = 14 * chunkSize, 9 * chunkSize
	size := int64(len(image))
	for name, tc := range map[string]struct {
		kind   transfer.Kind
		mode   transfer.VerifyMode
		old    bool // the drive existed before and is larger
		stream bool // the total is known only at its end
		total  int64
	}{
		"holes":          {kind: transfer.Upload, mode: transfer.VerifyWritten, total: data},
		"all read again": {kind: transfer.Upload, mode: transfer.VerifyFull, total: 2 * size},
		"an old drive":   {kind: transfer.Upload, mode: transfer.VerifyWritten, old: true, total: size + tail},
		"old, all again": {kind: transfer.Upload, mode: transfer.VerifyFull, old: true, total: 2 * (size + tail)},
		"verify":         {kind: transfer.Verify, mode: transfer.VerifyWritten, old: true, total: size + tail},
		"stream":         {kind: transfer.Upload, mode: transfer.VerifyWritten, stream: true, total: size},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				source, sink := newMemImage(image), newMemImage(make([]byte, len(image)))
				if source.extents, sink.blank = extents, !tc.old; tc.old {
					sink = newMemImage(append(append([]byte(nil), image...), make([]byte, tail)...))
					sink.capacity = int64(len(sink.data))
				}
				sink.onRead = func(ctx context.Context, _ transfer.Chunk, _ int) error {
					return sleep(ctx, 100*time.Millisecond)
				}
				j := newJob(t, source, sink)
				if tc.stream {
					j = newJob(t, newStream(image), sink)
				}
				j.spec.Kind, j.spec.Verify, j.spec.Concurrency = tc.kind, tc.mode, 1
				var first, last transfer.Bytes
				store := observedStore{j.store, func(b transfer.Bytes) {
					if first.Total == 0 {
						first = b
					}
					if b.Done < last.Done {
						t.Errorf("done went from %d to %d, want that it never falls", last.Done, b.Done)
					}
					last = b
				}}
				if err := j.runWith(t.Context(), nil, j.opener, store); err != nil {
					t.Fatal(err)
				}
				if !tc.stream && (first.Done != 0 || first.Total != tc.total) {
					t.Errorf("began with %d of %d bytes, want 0 of %d", first.Done, first.Total, tc.total)
				}
				if last.Done != last.Total || last.Total != tc.total {
					t.Errorf("ended with %d of %d bytes, want %d", last.Done, last.Total, tc.total)
				}
			})
		})
	}
}

// observedStore calls see with the bytes of each save.
type observedStore struct {
	*memoryStore
	see func(transfer.Bytes)
}

func (s observedStore) Save(ctx context.Context, c *transfer.Checkpoint) error {
	s.see(c.Progress.Bytes)
	return s.memoryStore.Save(ctx, c)
}
