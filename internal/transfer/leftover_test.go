package transfer

import (
	"testing"
	"time"
)

// TestFailedJobNamesItsLeftover: the drive that it made or began to overwrite, and no other.
func TestFailedJobNamesItsLeftover(t *testing.T) {
	fresh, old := Ref{Endpoint: "zrh"}, Ref{Endpoint: "zrh", Drive: "u"}
	made := Plan{DriveRequested: true, Drive: "u", Created: time.Now()}
	for name, tc := range map[string]struct {
		state  State
		target Ref
		plan   Plan
		want   string
	}{
		"failed":   {Failed, fresh, made, "why; drive zrh:u stays, incomplete"},
		"canceled": {Canceled, fresh, made, "why; drive zrh:u stays, incomplete"},
		"no answer": {
			Failed, fresh, Plan{DriveRequested: true},
			"why; zrh may have made a drive, which then has the tag transferd:job",
		},
		"nothing made": {Failed, fresh, Plan{}, "why"},
		"an old drive": {Failed, old, Plan{Drive: "u"}, "why"},
		"overwritten": {
			Failed, old, Plan{Drive: "u", ChunkSize: 4096},
			"why; drive zrh:u may be overwritten in part",
		},
		"a file":        {Failed, Ref{Path: "/a"}, Plan{}, "why"},
		"still running": {Running, fresh, made, "why"},
	} {
		failure := &Failure{Message: "why", Hint: "hint"}
		j := Job{ID: "job", State: tc.state, Error: failure}
		j.NoteLeftover(&Spec{Target: tc.target}, &tc.plan, "remedy")
		left := tc.want != "why" && tc.target == fresh
		if j.Error.Message != tc.want || j.DriveLeft != left || (j.Error.Hint == "hint; remedy") != left {
			t.Errorf("%s: got %+v, drive left %v; want %q, %v", name, j.Error, j.DriveLeft, tc.want, left)
		}
		if failure.Message != "why" {
			t.Errorf("%s: the given error became %q, want it unchanged", name, failure.Message)
		}
	}
}

// TestMakerOfReadsTheJobTag and no other tag of a job.
func TestMakerOfReadsTheJobTag(t *testing.T) {
	for _, tc := range []struct {
		tags []string
		want string
	}{
		{[]string{"a", "transferd:job", "transferd:incomplete"}, "job"},
		{[]string{"transferd:incomplete"}, ""},
		{[]string{"transferd:job", "transferd:overwriting:other"}, "job"},
		{nil, ""},
		{[]string{"transferd:"}, ""},
	} {
		if got := MakerOf(tc.tags); got != tc.want {
			t.Errorf("%q: got %q, want %q", tc.tags, got, tc.want)
		}
	}
}
