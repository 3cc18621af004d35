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

// compressedStream is a stream with a stored form and warnings.
type compressedStream struct {
	*stream
	stored string
	notes  []string
}

func (p compressedStream) StoredSHA256() string                 { return p.stored }
func (p compressedStream) Warnings(*transfer.Manifest) []string { return p.notes }

// TestDigestOfTheCompressedFileIsAccepted: --sha256 may be that of the image or that of the
// compressed file.
func TestDigestOfTheCompressedFileIsAccepted(t *testing.T) {
	image, stored := randomBytes(3*chunkSize), strings.Repeat("ab", 32)
	for want, warning := range map[string]string{
		sha256Hex(image): "", stored: "the image in it has SHA-256 " + sha256Hex(image),
		strings.ToUpper(stored): sha256Hex(image),
	} {
		sink := newMemImage(nil)
		j := newJob(t, compressedStream{stream: newStream(image), stored: stored}, sink)
		j.spec.SHA256 = want
		p := j.mustRun()
		checkContent(t, sink, image)
		if p.Digest.Image != sha256Hex(image) {
			t.Errorf("SHA-256 is %s, want %s", p.Digest.Image, sha256Hex(image))
		}
		if got := strings.Join(p.Warnings, "\n"); (got == "") != (warning == "") || !strings.Contains(got, warning) {
			t.Errorf("%s: warnings %q, want %q", want, got, warning)
		}
	}
	j := newJob(t, compressedStream{stream: newStream(image), stored: stored}, newMemImage(nil))
	j.spec.SHA256 = strings.Repeat("0", 64)
	f := j.mustFail(transfer.CodeMismatch)
	for _, word := range []string{sha256Hex(image), "compressed file or virtual disk " + stored, j.spec.SHA256} {
		if !strings.Contains(f.Message, word) {
			t.Errorf("got %q, want %s in it", f.Message, word)
		}
	}
}

// TestWarningsOfBothEndsAreReported: in the result of the attempt that succeeded.
func TestWarningsOfBothEndsAreReported(t *testing.T) {
	const size = 5 * chunkSize
	image := append(transfertest.GPT(512, size), randomBytes(size-1024)...)
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
			sink := newMemImage(make([]byte, max(size, tc.capacity)))
			if tc.clone || tc.want == nil {
				copy(sink.data, image)
			}
			sink.capacity = tc.capacity
			j := newJob(t, compressedStream{stream: newStream(image), notes: []string{"note"}}, sink)
			if tc.clone {
				j = newClone(t, image, sink)
				j.opener.source = noted{newMemImage(image)}
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

type noted struct{ *memImage }

func (noted) Warnings(*transfer.Manifest) []string { return []string{"note"} }

// tableless is a memImage whose first bytes cannot be read back on their own.
type tableless struct {
	*memImage
	calls *int
}

func (s tableless) ReadBack(ctx context.Context, c transfer.Chunk, w io.Writer) error {
	if c.Len == volume.HeadSize {
		*s.calls++
		return failure(transfer.CodeNotFound)
	}
	return s.memImage.ReadBack(ctx, c, w)
}

// TestUnreadablePartitionTableIsNoFailure: the job succeeds without its warning.
func TestUnreadablePartitionTableIsNoFailure(t *testing.T) {
	image := randomBytes(2 * volume.HeadSize)
	sink := newMemImage(nil)
	sink.capacity = int64(len(image))
	calls := 0
	j := newJob(t, newMemImage(image), tableless{sink, &calls})
	if p := j.mustRun(); len(p.Warnings) > 0 || calls == 0 {
		t.Errorf("got warnings %q after %d calls, want none after at least 1", p.Warnings, calls)
	}
}
