package worker

import (
	"context"
	"reflect"
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

// TestBusyCallAboutAHeldDriveIsRepeated: what reads a clone of a held drive, the drive on request, or
// compares it, is repeated when the endpoint is busy. The server is not the reason.
func TestBusyCallAboutAHeldDriveIsRepeated(t *testing.T) {
	origin := transfer.Ref{Endpoint: "e", Drive: "origin"}
	for name, tc := range map[string]struct {
		mode  transfer.Mode
		kind  transfer.Kind
		cdrom bool
	}{
		"default": {"", transfer.Download, false}, "clone": {transfer.ModeClone, transfer.Download, false},
		"quiesce":              {transfer.ModeQuiesce, transfer.Download, false},
		"live":                 {transfer.ModeLive, transfer.Download, false},
		"copy by the endpoint": {"", transfer.Clone, false}, "CD": {"", transfer.Download, true},
	} {
		for _, call := range []string{"read", "source"} {
			synctest.Test(t, func(t *testing.T) {
				j, began := newSnapshotRead(t), time.Now()
				if tc.kind == transfer.Clone {
					image := randomBytes(3 * chunkSize)
					j = newClone(t, image, newMemImage(image))
				}
				source := j.opener.source.(*memImage)
				source.readOnly = tc.cdrom
				j.spec.Mode, j.opener.servers = tc.mode, map[transfer.Ref][]string{origin: {"s"}}
				if tc.mode == transfer.ModeQuiesce {
					j.opener.power = map[string]*fakeServer{"s": {running: true, config: "one", obeys: time.Second}}
				}
				busy := func(what string, n int) error {
					if what == call && n == 1 {
						return failure(transfer.CodeConflict)
					}
					return nil
				}
				j.opener.open = busy
				onRead := func(_ context.Context, _ transfer.Chunk, n int) error { return busy("read", n) }
				source.onRead = onRead
				if image := j.opener.snapshots.image; image != nil {
					image.onRead = onRead
				}
				if j.mustRun(); time.Since(began) == 0 {
					t.Errorf("%s: the job has not waited for the busy %s", name, call)
				}
			})
		}
	}
}

// newRead is a job that reads a drive, origin.
func newRead(t *testing.T, source *memImage) *job {
	j := newJob(t, source, newMemImage(nil))
	j.spec.Kind, j.spec.Source = transfer.Download, transfer.Ref{Endpoint: "e", Drive: "origin"}
	j.spec.Target = transfer.Ref{Path: "/x.img"}
	return j
}

// TestDriveInUseIsReadOnlyOnRequest: without a mode, a drive that a server holds, and that the
// endpoint does not clone, is not read. With
// the mode live it is, and the result says so, whether the server held the drive at the beginning,
// at the end or both.
func TestDriveInUseIsReadOnlyOnRequest(t *testing.T) {
	live := func(servers ...string) *transfer.InUse {
		return &transfer.InUse{Mode: transfer.ModeLive, Servers: servers}
	}
	for name, tc := range map[string]struct {
		first, last []string // the servers that hold the drive
		code        transfer.Code
		live        *transfer.InUse
	}{
		"never":        {nil, nil, "", nil},
		"all the time": {[]string{"s"}, []string{"s"}, transfer.CodeInUse, live("s")},
		"at first":     {[]string{"s"}, nil, transfer.CodeInUse, live("s")},
		"at last":      {nil, []string{"s"}, transfer.CodeSourceChanged, live("s")},
		"two servers":  {[]string{"s"}, []string{"s", "r"}, transfer.CodeInUse, live("s", "r")},
	} {
		for _, mode := range []transfer.Mode{"", transfer.ModeLive} {
			source := newMemImage(randomBytes(3 * chunkSize))
			j := newRead(t, source)
			j.spec.Mode, source.heldBy = mode, tc.first
			j.opener.servers = map[transfer.Ref][]string{j.spec.Source: tc.last}
			j.opener.open = func(what string, _ int) error {
				if what != "snapshot" {
					return nil
				}
				j.opener.servers[j.spec.Source] = tc.first
				return failure(transfer.CodeConflict)
			}
			if mode == "" && tc.code != "" {
				f := j.mustFail(tc.code)
				told := strings.Contains(f.Message, "server") && strings.Contains(f.Hint, "--mode live")
				if !told || source.closes != 1 {
					t.Errorf("%s: got %+v, want the servers and the hint to read live", name, f)
				}
				continue
			}
			p := j.mustRun()
			if !reflect.DeepEqual(p.InUse, tc.live) || (tc.live != nil) != (len(p.Warnings) > 0) {
				t.Errorf("%s, mode %q: got %+v with warnings %q, want %+v", name, mode, p.InUse, p.Warnings, tc.live)
			}
		}
	}
}

// TestManifestSaysThatTheDriveWasInUse: whoever has only the file and its manifest sees it.
func TestManifestSaysThatTheDriveWasInUse(t *testing.T) {
	source := newMemImage(randomBytes(3 * chunkSize))
	j := newRead(t, source)
	j.spec.Mode, source.heldBy = transfer.ModeLive, []string{"s"}
	sink := &manifestSink{memImage: newMemImage(nil)}
	j.opener.sink = sink
	j.mustRun()
	if want := (&transfer.InUse{Mode: "live", Servers: []string{"s"}}); !reflect.DeepEqual(sink.manifest.InUse, want) {
		t.Errorf("got %+v, want %+v", sink.manifest.InUse, want)
	}
}

// manifestSink keeps the manifest of its commit.
type manifestSink struct {
	*memImage
	manifest *transfer.Manifest
}

func (s *manifestSink) Commit(
	ctx context.Context, m *transfer.Manifest, owned func(context.Context) error,
) error {
	s.manifest = m
	return s.memImage.Commit(ctx, m, owned)
}

// TestInUseSurvivesAnAttempt: what an earlier attempt read while a server held the drive stays in
// the image, and in the result.
func TestInUseSurvivesAnAttempt(t *testing.T) {
	source := newMemImage(randomBytes(3 * chunkSize))
	j := newRead(t, source)
	j.spec.Mode, source.heldBy = transfer.ModeLive, []string{"s"}
	source.onRead = func(_ context.Context, c transfer.Chunk, _ int) error {
		if c.Index == 2 {
			return failure(transfer.CodeRefused)
		}
		return nil
	}
	j.mustFail(transfer.CodeRefused)
	source.onRead, source.heldBy = nil, nil
	if p := j.mustRun(); p.InUse == nil {
		t.Error("got no in_use, want that of the first attempt")
	}
}

// TestReadOnlyDriveInUseIsReadAsItIs: servers that hold a CD cannot change it.
func TestReadOnlyDriveInUseIsReadAsItIs(t *testing.T) {
	source := newMemImage(randomBytes(3 * chunkSize))
	j := newRead(t, source)
	source.heldBy, source.readOnly = []string{"s"}, true
	j.opener.servers = map[transfer.Ref][]string{j.spec.Source: {"s"}}
	if p := j.mustRun(); p.InUse != nil || j.opener.snapshots.requested > 0 {
		t.Errorf("got %+v and %d clones, want none", p.InUse, j.opener.snapshots.requested)
	}
}
