package worker

import (
	"context"
	"io"
	"strings"
	"testing"

	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/transfertest"
	"github.com/transferd/transferd/internal/volume"
)

// packed is a stream that is stored in another form, and has something to tell.
type packed struct {
	*stream
	stored string
	notes  []string
}

func (p packed) StoredSHA256() string                 { return p.stored }
func (p packed) Warnings(*transfer.Manifest) []string { return p.notes }

// TestStoredDigest takes --sha256 for that of the image or, told apart, that of the file it came
// in.
func TestStoredDigest(t *testing.T) {
	image, stored := noise(3*chunkSize), strings.Repeat("ab", 32)
	for want, warning := range map[string]string{
		sum(image): "", stored: "the image in it has SHA-256 " + sum(image), strings.ToUpper(stored): sum(image),
	} {
		sink := newChunked(nil)
		j := newJob(t, packed{stream: newStream(image), stored: stored}, sink)
		j.spec.SHA256 = want
		p := j.mustRun()
		equal(t, sink, image)
		if p.Digest.Image != sum(image) {
			t.Errorf("SHA-256 is %s, want %s", p.Digest.Image, sum(image))
		}
		if got := strings.Join(p.Warnings, "\n"); (got == "") != (warning == "") || !strings.Contains(got, warning) {
			t.Errorf("%s: warnings %q, want %q", want, got, warning)
		}
	}
	j := newJob(t, packed{stream: newStream(image), stored: stored}, newChunked(nil))
	j.spec.SHA256 = strings.Repeat("0", 64)
	f := j.mustFail(transfer.CodeMismatch)
	for _, word := range []string{sum(image), "compressed file " + stored, j.spec.SHA256} {
		if !strings.Contains(f.Message, word) {
			t.Errorf("%q does not say %s", f.Message, word)
		}
	}
}

// TestWarnings has those of the source and of the target in the result of the attempt that
// succeeded.
func TestWarnings(t *testing.T) {
	const size = 5 * chunkSize
	image := append(transfertest.GPT(512, size), noise(size-1024)...)
	for name, tc := range map[string]struct {
		capacity int64
		clone    bool
		want     []string
	}{
		"as large as the image":    {size, false, []string{"note"}},
		"no limit":                 {0, false, []string{"note"}},
		"larger":                   {size + 512, false, []string{"note", "sgdisk -e"}},
		"copied by the endpoint":   {size, true, []string{"note"}},
		"a larger one of these":    {2 * size, true, []string{"note", "sgdisk -e"}},
		"nothing is written there": {size + 512, false, nil},
	} {
		t.Run(name, func(t *testing.T) {
			sink := newChunked(make([]byte, max(size, tc.capacity)))
			if tc.clone || tc.want == nil {
				copy(sink.data, image)
			}
			sink.capacity = tc.capacity
			j := newJob(t, packed{stream: newStream(image), notes: []string{"note"}}, sink)
			if tc.clone {
				j = newClone(t, image, sink)
				j.ends.source = noted{newChunked(image)}
			}
			if tc.want == nil {
				j.spec.Kind, tc.want = transfer.Verify, []string{"note"}
			}
			j.store.saved.Progress.Warnings = []string{"of an earlier attempt"}
			got := j.mustRun().Warnings
			if len(got) != len(tc.want) {
				t.Fatalf("warnings %q, want %q", got, tc.want)
			}
			for i, w := range tc.want {
				if !strings.Contains(got[i], w) {
					t.Errorf("warning %q, want %q", got[i], w)
				}
			}
		})
	}
}

type noted struct{ *chunked }

func (noted) Warnings(*transfer.Manifest) []string { return []string{"note"} }

// tableless is a chunked whose first bytes cannot be read back by themselves.
type tableless struct {
	*chunked
	calls *int
}

func (s tableless) ReadBack(ctx context.Context, c transfer.Chunk, w io.Writer) error {
	if c.Len == volume.HeadSize {
		*s.calls++
		return failure(transfer.CodeNotFound)
	}
	return s.chunked.ReadBack(ctx, c, w)
}

// TestPartitionTableUnread lets a job succeed whose target cannot be read once more.
func TestPartitionTableUnread(t *testing.T) {
	image := noise(2 * volume.HeadSize)
	sink := newChunked(nil)
	sink.capacity = int64(len(image))
	calls := 0
	j := newJob(t, newChunked(image), tableless{sink, &calls})
	if p := j.mustRun(); len(p.Warnings) > 0 || calls == 0 {
		t.Errorf("warnings %q after %d calls", p.Warnings, calls)
	}
}
