package worker

import (
	"context"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/transferd/transferd/internal/transfer"
)

// TestOriginThatChangesIsNoMismatch: chunk 1 of the origin differs from the endpoint's copy. If a
// server holds the origin, or its content is soon another, that says nothing about the copy, and is
// counted. If the origin stays the same, the copy is wrong.
func TestOriginThatChangesIsNoMismatch(t *testing.T) {
	held := []string{"s"}
	for name, tc := range map[string]struct {
		copied, opened, now []string // the servers that hold the origin, at these times
		goesOn              bool     // it changes while it is compared
		code                transfer.Code
	}{
		"stays the same":           {code: transfer.CodeMismatch},
		"changes":                  {goesOn: true},
		"in use when it is copied": {copied: held},
		"in use when it is opened": {opened: held},
		"in use at the difference": {now: held},
	} {
		synctest.Test(t, func(t *testing.T) {
			image := randomBytes(3*chunkSize + 5)
			j := newClone(t, append([]byte(nil), image...), newMemImage(image))
			origin := j.opener.source.(*memImage)
			origin.data[chunkSize+9] = 0
			origin.heldBy, j.opener.snapshots.users = tc.opened, tc.copied
			if tc.now != nil {
				j.opener.servers = map[transfer.Ref][]string{j.spec.Source: tc.now}
			}
			if tc.goesOn {
				origin.onRead = func(_ context.Context, c transfer.Chunk, n int) error {
					if c.Index == 1 && n%13 == 0 {
						origin.data[chunkSize+9] = byte(n)
					}
					return nil
				}
			}
			if tc.code != "" {
				j.mustFail(tc.code)
				return
			}
			p := j.mustRun()
			want := &transfer.Changed{Chunks: 1, Bytes: chunkSize}
			if !reflect.DeepEqual(p.Changed, want) || p.Verified || p.Chunks.Verified != 3 || p.Chunks.Done != 4 {
				t.Errorf("%s: got %+v, verified %t, chunks %+v; want %+v, false, 3 of 4 verified",
					name, p.Changed, p.Verified, p.Chunks, want)
			}
			if !strings.Contains(strings.Join(p.Warnings, "\n"), "1 chunk (4096 bytes) of the drive changed") {
				t.Errorf("%s: got warnings %q, want the chunk", name, p.Warnings)
			}
			if inUse := p.InUse != nil; inUse != (tc.copied != nil) {
				t.Errorf("%s: got in use %+v, want the servers that held the origin when it was copied", name, p.InUse)
			}
		})
	}
}

// TestWrongReadsAreNoChange: wrong reads of the origin of an intact copy are not taken for changes.
func TestWrongReadsAreNoChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		image := randomBytes(20 * chunkSize)
		j := newClone(t, append([]byte(nil), image...), newMemImage(image))
		origin := j.opener.source.(*memImage)
		origin.corruptRead = func(_ transfer.Chunk, n int, p []byte) {
			if n <= 2 {
				p[n] ^= 1
			}
		}
		if p := j.mustRun(); p.Changed != nil || !p.Verified {
			t.Errorf("got %+v and verified %t, want no change and true", p.Changed, p.Verified)
		}
	})
}
