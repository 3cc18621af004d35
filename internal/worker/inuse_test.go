package worker

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/transferd/transferd/internal/transfer"
)

// TestDifferenceOnADriveInUse: the error says that a server uses the drive, and not that the data
// was stored wrong.
func TestDifferenceOnADriveInUse(t *testing.T) {
	old, origin := transfer.Ref{Endpoint: "e", Drive: "old"}, transfer.Ref{Endpoint: "e", Drive: "origin"}
	for name, used := range map[string]transfer.Ref{"target": old, "source": origin, "none": {}} {
		synctest.Test(t, func(t *testing.T) {
			j := newJob(t, newMemImage(randomBytes(3*chunkSize)), newMemImage(make([]byte, 3*chunkSize)))
			j.spec.Kind, j.spec.Source = transfer.Verify, origin
			j.opener.servers = map[transfer.Ref][]string{used: {"server-1"}}
			f := j.mustFail(transfer.CodeMismatch)
			named := strings.Contains(f.Message, "drive "+used.Drive+" is in use by server server-1: ")
			stored := strings.Contains(f.Hint, "do not use the drive")
			if named != (name != "none") || named == stored || f.Offset == nil {
				t.Errorf("%s: got %+v, want the server only for a drive in use, and an offset", name, f)
			}
		})
	}
}

// TestHeldDriveEndsTheJobAtOnce: a call that is refused as busy is not repeated if a running server
// holds the drive. If none does, it is repeated.
func TestHeldDriveEndsTheJobAtOnce(t *testing.T) {
	origin, target := transfer.Ref{Endpoint: "e", Drive: "origin"}, transfer.Ref{Endpoint: "e", Drive: "old"}
	busy := func(what string, call string, n int) error {
		if what == call && n == 1 {
			return failure(transfer.CodeConflict)
		}
		return nil
	}
	for name, tc := range map[string]struct {
		kind transfer.Kind
		call string // that is refused
		held transfer.Ref
	}{
		"write":                   {transfer.Upload, "write", target},
		"open the target":         {transfer.Upload, "sink", target},
		"open an image":           {transfer.Upload, "source", target},
		"read":                    {transfer.Download, "read", origin},
		"open the source":         {transfer.Download, "source", origin},
		"copy by the endpoint":    {transfer.Clone, "provision", origin},
		"read the copy's tags":    {transfer.Clone, "tags", transfer.Ref{Endpoint: "e", Drive: "uuid"}},
		"compare with the target": {transfer.Verify, "sink", target},
	} {
		for _, held := range []bool{true, false} {
			synctest.Test(t, func(t *testing.T) {
				data, began := randomBytes(3*chunkSize), time.Now()
				source, sink := newMemImage(data), newMemImage(append([]byte(nil), data...))
				j := newJob(t, source, sink)
				j.spec.Kind = tc.kind
				switch tc.kind {
				case transfer.Download:
					j.spec.Source, j.spec.Target = origin, transfer.Ref{Path: "/x.img"}
				case transfer.Clone:
					j = newClone(t, data, sink)
				}
				j.opener.open = func(what string, n int) error { return busy(what, tc.call, n) }
				onChunk := func(call string) func(context.Context, transfer.Chunk, int) error {
					return func(_ context.Context, _ transfer.Chunk, n int) error { return busy(call, tc.call, n) }
				}
				source.onRead, sink.onWrite = onChunk("read"), onChunk("write")
				if !held {
					if j.mustRun(); time.Since(began) == 0 {
						t.Errorf("%s: the job has not waited for the busy drive", name)
					}
					return
				}
				j.opener.servers = map[transfer.Ref][]string{tc.held: {"server-1", "server-2"}}
				f := j.mustFail(transfer.CodeInUse)
				if !strings.Contains(f.Message, "in use by servers server-1, server-2") || time.Since(began) > 0 {
					t.Errorf("%s: got %+v after %s, want the servers at once", name, f, time.Since(began))
				}
			})
		}
	}
}
